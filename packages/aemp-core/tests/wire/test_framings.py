"""What holds for every framing: round trips at any cut, any bytes, limits, errors."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_kit import FRAMINGS, LIMIT, as_read, cut, decode_all, messages, quick, sizes

from aemp_core.errors import RemoteProtocolError
from aemp_core.wire import HEARTBEAT, Framing, pack

framings = pytest.mark.parametrize("framing", FRAMINGS, ids=lambda framing: framing.name)


@framings
@quick
@given(batch=st.lists(messages, max_size=6), sizes=sizes)
def test_messages_read_back_at_any_cut(
    framing: Framing, batch: list[tuple[Any, ...]], sizes: list[int]
) -> None:
    data = b"".join(framing.encode(pack(message)) for message in batch)
    expected = [as_read(message, json=framing.name == "json") for message in batch]
    for pieces in ([data], cut(data, sizes), cut(data, [1] * len(data))):
        decoder = framing.decoder(LIMIT)
        assert decode_all(decoder, pieces) == expected
        assert decoder.error is None


@framings
@quick
@given(data=st.binary(max_size=300), sizes=sizes)
def test_any_bytes_are_messages_or_an_error_and_never_raise(
    framing: Framing, data: bytes, sizes: list[int]
) -> None:
    whole, pieces = framing.decoder(LIMIT), framing.decoder(LIMIT)
    assert whole.decode(data) == decode_all(pieces, cut(data, sizes))
    assert (whole.error is None) == (pieces.error is None)
    for decoder in (whole, pieces):
        if decoder.error is not None:
            assert isinstance(decoder.error, RemoteProtocolError)
            assert decoder.decode(framing.encode(pack(("good",)))) == []


@framings
@quick
@given(
    message=messages,
    at=st.integers(0, 10_000),
    byte=st.integers(0, 255),
    limit=st.integers(1, 200),
    sizes=sizes,
)
def test_one_changed_byte_and_any_limit_never_raise(
    framing: Framing, message: tuple[Any, ...], at: int, byte: int, limit: int, sizes: list[int]
) -> None:
    data = bytearray(framing.encode(pack(message)))
    data[at % len(data)] = byte
    whole, pieces = framing.decoder(limit), framing.decoder(limit)
    assert whole.decode(bytes(data)) == decode_all(pieces, cut(bytes(data), sizes))


@framings
def test_heartbeats_are_left_out(framing: Framing) -> None:
    beat, message = framing.encode(HEARTBEAT), framing.encode(pack(("a",)))
    decoder = framing.decoder(LIMIT)
    assert decoder.decode(beat) == []
    assert decoder.decode(beat + message + beat + message) == [["a"], ["a"]]
    assert decoder.error is None


@framings
def test_good_messages_before_a_fault_are_read(framing: Framing) -> None:
    message = framing.encode(pack(("good", 1)))
    bad = framing.encode(pack((1, "no port")))
    for data in ([message * 3 + bad + message], [message, message + message, bad, message]):
        decoder = framing.decoder(LIMIT)
        assert decode_all(decoder, data) == [["good", 1]] * 3
        assert "begins with a str, not int" in str(decoder.error)


@framings
@pytest.mark.parametrize("limit", [10, 100, LIMIT])
@pytest.mark.parametrize("piece", [1, 7, 4_096, 10_000_000])
def test_a_frame_may_fill_the_limit_and_not_one_byte_more(
    framing: Framing, limit: int, piece: int
) -> None:
    if piece == 1 and limit == LIMIT:
        piece = 61
    small = framing.encode(pack(("x",)))
    longest = limit
    while len(framing.encode(pack(("x", "y" * longest)))) > limit:
        longest -= 1
    fits, over = (framing.encode(pack(("x", "y" * n))) for n in (longest, longest + 1))
    assert len(over) > limit
    decoder = framing.decoder(limit)
    assert decode_all(decoder, cut(small + fits + small + fits, [piece] * limit * 9)) == [
        ["x"],
        ["x", "y" * longest],
        ["x"],
        ["x", "y" * longest],
    ]
    assert decoder.error is None
    decoder = framing.decoder(limit)
    assert decode_all(decoder, cut(small + over + small, [piece] * limit * 9)) == [["x"]]
    assert f"longer than {limit} bytes" in str(decoder.error)


@framings
def test_many_messages_in_one_read_may_exceed_the_limit_together(framing: Framing) -> None:
    frame = framing.encode(pack(("port", 1, "x" * 32)))
    decoder = framing.decoder(100)
    assert len(decoder.decode(frame * 5_000)) == 5_000
    assert decoder.error is None


@framings
def test_nothing_is_kept_of_a_peer_that_broke_the_protocol(framing: Framing) -> None:
    """The frame that was too long stayed in memory for as long as its connection."""
    limit = 1_000_000
    frame = framing.encode(pack(("tag", "x" * (limit + limit // 2))))
    good = framing.encode(pack(("good",)))
    tracemalloc.start()
    try:
        decoder = framing.decoder(limit)
        assert decode_all(decoder, [good, *cut(frame, [100_000] * 20)]) == [["good"]]
        assert "longer than 1000000 bytes" in str(decoder.error)
        assert tracemalloc.get_traced_memory()[0] < limit // 10
    finally:
        tracemalloc.stop()
