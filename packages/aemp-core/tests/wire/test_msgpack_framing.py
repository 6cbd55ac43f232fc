"""The framing msgpack: hostile frames cost no memory, and both gaits read the same."""

from __future__ import annotations

import struct
import tracemalloc
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_kit import LIMIT, cut, decode_all, quick, sizes

from aemp_core.wire import MsgpackFraming, pack
from aemp_core.wire.msgpack_framing import HEADS, LONG_FRAME, LONG_LIST, are_flat

FRAMING = MsgpackFraming()
GOOD = pack(("good",))
BIG = 16_777_216


@pytest.mark.parametrize(
    ("frame", "problem"),
    [
        (b"\xc1", "FormatError"),
        (b"\x91\xc1", "FormatError"),
        (b"\x01", "a message is a list, not int"),
        (b"\xa1a", "a message is a list, not str"),
        (b"\x80", "a message is a list, not dict"),
        (b"\x91\x01", "begins with a str"),
        (b"\x91\xc4\x01a", "begins with a str, not bytes"),
        (b"\x91\xa1\xff", "can't decode byte 0xff"),
        (b"\x91\xa3\xed\xa0\x80", "can't decode byte 0xed"),
        (b"\x92\xa1a\x81\x01\x01", "int is not allowed for map key"),
        (b"\x92\xa1a\x81\x90\x01", "list is not allowed for map key"),
        (b"\x92\xa1a\x81\xc4\x01a\x01", "the key b'a' is no str"),
        (b"\x92\xa1a\x81\xa1b\x81\xc4\x01a\x01", "the key b'a' is no str"),
        (b"\x92\xa1a\xcb\x7f\xf8" + bytes(6), "nan is not a finite float"),
        (b"\x92\xa1a\xca\xff\x80\x00\x00", "-inf is not a finite float"),
        (b"\x92\xa1a\xd4\x05x", "exceeds max_ext_len"),
        (b"\x92\xa1a\xd6\xff1234", "exceeds max_ext_len"),
        (b"\x92\xa1a\xc7\x00\x05", "extension type 5 is no plain value"),
        (b"\x92\xa1a\xc7\x00\xff", "unreadable msgpack frame"),
        (b"\x92\xa1a" + b"\x91" * 128 + b"\xc0", "nested more than 128 deep"),
        (b"\x92\xa1a" + b"\x81\xa1k" * 128 + b"\xc0", "nested more than 128 deep"),
        (b"\x92\xa1a" + b"\x91" * 1_000 + b"\xc0", "nested more than 128 deep"),
        (b"\x91" * 5_000, "StackError"),
        (b"\x81\xa1a" * 5_000, "StackError"),
        (b"\xdd\xff\xff\xff\xff", "longer than 65536 bytes"),
        (b"\x92\xa1a\xdd\x00\x01\x00\x01", "longer than 65536 bytes"),
        (b"\x92\xa1a\xdf\xff\xff\xff\xff", "4294967295 exceeds max_map_len"),
        (b"\x92\xa1a\xdb\xff\xff\xff\xff" + bytes(65_536), "longer than 65536 bytes"),
        (b"\x92\xa1a\xc6\x00\x01\x00\x01" + bytes(65_536), "longer than 65536 bytes"),
    ],
)
def test_frames_that_are_no_message(frame: bytes, problem: str) -> None:
    for pieces in ([GOOD + frame], [GOOD, frame], cut(GOOD + frame, [61] * 2_000)):
        decoder = FRAMING.decoder(LIMIT)
        assert decode_all(decoder, pieces) == [["good"]]
        assert problem in str(decoder.error)
        assert decoder.decode(GOOD) == []


UNPLAIN = {
    "nan": b"\xcb\x7f\xf8" + bytes(6),
    "extension": b"\xd4\x05x",
    "timestamp": b"\xd6\xff1234",
    "bytes as key": b"\x81\xc4\x01a\x01",
    "deep": b"\x91" * 128 + b"\xc0",
    "infinity in a list": b"\x91\xca\xff\x80\x00\x00",
}


@pytest.mark.parametrize("value", UNPLAIN.values(), ids=UNPLAIN)
def test_a_frame_among_many_is_checked_like_any(value: bytes) -> None:
    good, bad = [["good"]] * 9, b"\x92\xa1a" + value
    for behind in (b"", GOOD[:1], GOOD[:3], GOOD * 9, GOOD * 9 + GOOD[:3]):
        decoder = FRAMING.decoder(LIMIT)
        assert decoder.decode(GOOD * 9 + GOOD[:2]) == good
        assert decoder.decode(GOOD[2:] + GOOD * 8 + bad + behind) == good
        assert decoder.error is not None


@pytest.mark.parametrize("value", UNPLAIN.values(), ids=UNPLAIN)
def test_a_frame_that_comes_alone_is_checked_like_any(value: bytes) -> None:
    for before in (0, 1, 2):
        decoder = FRAMING.decoder(LIMIT)
        for _ in range(before):
            assert decoder.decode(GOOD) == [["good"]]
        assert decoder.decode(b"\x92\xa1a" + value) == []
        assert decoder.error is not None
        assert decoder.decode(GOOD) == []


#: Values whose bytes look like the beginnings of others, and values that begin with such bytes.
lookalikes = st.sampled_from(
    [
        0x90,
        0x8080,
        0xCACBDCDD,
        -(0x5555_5555_5555_5555),
        "\x90\x81",
        "\u07ca\u0290",
        b"\x90\xcb",
        b"",
    ]
)
unlikely = st.sampled_from([1.5, -0.0, float("nan"), [], {}, [[]], ["a", 1.5], {"k": []}, "a", 1])


@quick
@given(
    st.lists(st.lists(lookalikes | unlikely, max_size=3), min_size=1, max_size=6),
    st.lists(lookalikes | unlikely, max_size=3),
    st.integers(0, 40),
)
def test_bytes_tell_of_flat_messages_alone(rows: list[Any], last: list[Any], cut_at: int) -> None:
    frames = b"".join(msgpack.packb(["port", *row]) for row in rows)
    begun = msgpack.packb(["port", *last])
    flat = not any(isinstance(value, (float, list, dict)) for row in rows for value in row)
    # The beginning of one more message may follow, but not all of it.
    if are_flat(frames + begun[: min(cut_at, len(begun) - 1)], len(rows)):
        assert flat


@quick
@given(
    st.lists(st.integers(-(2**31), 127) | st.text(st.characters(max_codepoint=127), max_size=20)),
    st.integers(1, 20),
    st.integers(0, 20),
)
def test_bytes_tell_that_most_messages_are_flat(row: list[Any], count: int, cut_at: int) -> None:
    frame = pack(("port", "tag", *(value for value in row[:4] if not has_heads(value))))
    assert are_flat(frame * count + frame[: min(cut_at, len(frame) - 1)], count)


def has_heads(value: Any) -> bool:
    return bool(set(pack((value,))[1:]) & set(HEADS))


def test_numbers_of_every_width_read() -> None:
    frame = b"\x99\xa1a\xcc\xff\xcd\xff\xff\xce\xff\xff\xff\xff\xcf" + b"\xff" * 8
    frame += b"\xd0\x80\xd3\x80" + bytes(7) + b"\xca\x3f\xc0\x00\x00\xcb\x3f\xf8" + bytes(6)
    frame += b"\xc2"
    expected = ["a", 255, 65_535, 2**32 - 1, 2**64 - 1, -128, -(2**63), 1.5, 1.5]
    assert decode_all(FRAMING.decoder(LIMIT), cut(frame[:-1], [1] * 99)) == [expected]


long_messages = st.lists(
    st.tuples(
        st.just("a"),
        st.sampled_from([0, 3, LONG_LIST, LONG_LIST + 1, 3 * LONG_LIST]).map(lambda n: [7] * n),
        st.sampled_from([0, 10, 9_000, 20_000, 60_000]).map(bytes),
        st.sampled_from([{}, {"k": [1] * 2_000}, [[2] * 1_500, []]]),
    ),
    max_size=8,
)


@quick
@given(long_messages, sizes, st.sampled_from([LIMIT, 4 * LIMIT, 100 * LIMIT]))
def test_short_and_long_frames_and_lists_read_in_any_order(
    batch: list[tuple[Any, ...]], sizes: list[int], limit: int
) -> None:
    data = b"".join(map(pack, batch))
    for pieces in ([data], cut(data, sizes), cut(data, [n * 997 for n in sizes])):
        decoder = FRAMING.decoder(limit)
        assert decode_all(decoder, pieces) == [list(message) for message in batch]
        assert decoder.error is None


def test_a_fault_after_a_long_list_is_found() -> None:
    long = pack(("a", [1] * 2_000))
    for bad in (b"\xc1", b"\x91\xa1\xff", b"\x01", pack(("a", [1] * LIMIT))):
        for data in ([long + bad], [long[:50], long[50:] + long + bad]):
            decoder = FRAMING.decoder(LIMIT)
            assert set(map(len, decode_all(decoder, data))) == {2}
            assert decoder.error is not None
    # What is no text, behind what the careful gait began with.
    decoder = FRAMING.decoder(LIMIT)
    assert decoder.decode(b"\x93\xa1a" + pack([1] * 2_000) + b"\xa1\xff") == []
    assert "can't decode" in str(decoder.error)


HOSTILE = {
    "lists declared inside lists": b"\xdd\x00\xff\xff\xff" * 1_000,
    "maps declared inside maps": b"\xdf\x00\xff\xff\xff\xa1k" * 1_000,
    "short lists declared inside lists": b"\xdc\xff\xff" * 1_000,
    "a text that is only declared": b"\x92\xa1a\xdb\x00\xff\xff\xf0" + b"x" * 1_000,
    "lists nested a thousand deep": b"\x91" * 1_000,
}


@pytest.mark.parametrize("frame", HOSTILE.values(), ids=HOSTILE)
def test_lengths_that_are_only_declared_cost_no_memory(frame: bytes) -> None:
    decoder = FRAMING.decoder(BIG)
    tracemalloc.start()
    try:
        decode_all(decoder, cut(frame, [97] * 200))
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_lists_of_the_length_the_fast_gait_takes_cost_little_nested() -> None:
    decoder = FRAMING.decoder(BIG)
    tracemalloc.start()
    try:
        decoder.decode((b"\xdc" + struct.pack(">H", LONG_LIST)) * 1_000)
        assert tracemalloc.get_traced_memory()[1] < BIG
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(pack(("a", bytes(BIG - 9))), id="bytes"),
        pytest.param(b"\x92\xa1a\xdd\x00\xff\xff\xff" + b"\x01" * (BIG - 9), id="a list cut off"),
        pytest.param(b"\x92\xa1a\xc6\x01\x00\x00\x00" + bytes(BIG), id="bytes over the limit"),
    ],
)
def test_memory_stays_at_about_twice_the_limit(frame: bytes) -> None:
    decoder = FRAMING.decoder(BIG)
    tracemalloc.start()
    try:
        for at in range(0, len(frame), 262_144):
            decoder.decode(frame[at : at + 262_144])
        assert tracemalloc.get_traced_memory()[1] < 2.5 * BIG
        assert (decoder.error is None) == (len(frame) <= BIG)
    finally:
        tracemalloc.stop()


def test_a_decoder_forgets_what_a_long_frame_took() -> None:
    decoder = FRAMING.decoder(BIG)
    tracemalloc.start()
    try:
        decode_all(decoder, cut(pack(("a", bytes(BIG // 2))) + GOOD, [262_144] * 64))
        assert tracemalloc.get_traced_memory()[0] < LONG_FRAME
    finally:
        tracemalloc.stop()


def test_a_declared_length_over_the_limit_ends_the_link_before_the_bytes_came() -> None:
    for head in (b"\xc6", b"\xdb"):
        decoder = FRAMING.decoder(BIG)
        decode_all(decoder, [GOOD + b"\x92\xa1a" + head + b"\x7f\xff\xff\xff", bytes(40_000)])
        assert decoder.error is None
        decoder.decode(bytes(40_000))
        assert "longer than" in str(decoder.error)
