"""The kept corpus against what must hold, without atheris: on every Python, in every run."""

from __future__ import annotations

import logging
import random
import time
import tracemalloc
from typing import Any

import pytest

from aemp_core.wire import Connection, Proved
from fuzz import finds, framings, handshake, judge, listener
from fuzz.corpus import inputs
from fuzz.judge import Violation, prompt
from fuzz.script import cut
from fuzz.targets import TARGETS

#: Machines that run tests may be several times slower than those that fuzz.
PATIENCE = 3
#: Bytes that the values of one byte may take once they arrived: an empty dict of its own.
BYTES_OF_VALUES = 80
#: Bytes that may be taken for values that are only declared: lists of 1,024 inside each other.
BYTES_OF_DECLARED = 10_000_000


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refusals go nowhere, and constants that targets make smaller come back."""
    logging.getLogger("aemp_core").setLevel(logging.ERROR)
    monkeypatch.setattr("aemp_core.wire.connection.MAX_EARLY", handshake.MAX_EARLY)
    monkeypatch.setattr("aemp_core.inflow.KEPT_BYTES", listener.KEPT_BYTES)


@pytest.mark.parametrize("name", list(TARGETS))
def test_every_kept_input_breaks_nothing(name: str) -> None:
    target = TARGETS[name]
    run = target.load()
    for called, data in inputs(name):
        try:
            prompt(run, data, target.slow * PATIENCE)
        except Exception as failure:
            pytest.fail(f"{name} {called} ({data!r:.300}): {failure!r}")


@pytest.mark.parametrize("name", ["msgpack", "json", "long"])
def test_kept_streams_take_bounded_memory(name: str) -> None:
    """What Python really allocates, buffers of msgpack included, for streams in pieces."""
    framing: Any
    for called, data in inputs(name):
        framing, limit, stream = framings.meant(name, data)
        decoder = framing.decoder(limit)
        bound = 2 * limit + BYTES_OF_VALUES * len(stream) + BYTES_OF_DECLARED
        tracemalloc.start()
        try:
            for piece in cut(stream, data[1]):
                decoder.decode(piece)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak <= bound, f"{name} {called} ({data!r:.300}) takes {peak} bytes of {bound}"


def test_seeds_get_where_they_are_meant_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a target could be content with inputs that never pass the first line."""
    proved: list[str] = []
    delivered: list[int] = []
    receive, decode = Connection.receive, Connection.decode

    def received(self: Connection, piece: bytes) -> list[Any]:
        events = receive(self, piece)
        proved.extend(event.method for event in events if isinstance(event, Proved))
        return events

    def decoded(self: Connection, piece: bytes) -> list[list[Any]]:
        messages = decode(self, piece)
        delivered.append(len(messages))
        return messages

    monkeypatch.setattr(Connection, "receive", received)
    monkeypatch.setattr(Connection, "decode", decoded)
    for name in ("dial", "accept"):
        run = TARGETS[name].load()
        for called, data in inputs(name):
            if called in ("valid-msgpack", "valid-json", "valid-legacy"):
                proved.clear()
                delivered.clear()
                run(data)
                assert proved and sum(delivered) == 4, f"{name} {called}: {proved}, {delivered}"


@pytest.mark.parametrize("name", ["msgpack", "json", "dial", "accept", "inside"])
def test_mutations_are_inputs_again(name: str) -> None:
    """Also of what no target would take; and most of them change something."""
    target = TARGETS[name]
    changed = total = 0
    for number, (_, data) in enumerate(inputs(name)):
        for seed in range(3):
            mutated = target.mutate(data[target.head :], random.Random(10 * number + seed))
            total += 1
            changed += mutated != data[target.head :]
    assert changed > total / 4


def test_what_is_slow_or_wrong_is_told() -> None:
    def wrong(data: bytes) -> None:
        raise Violation("wrong")

    def slow(data: bytes) -> None:
        ends = time.thread_time() + 2 * judge.HANG_SECONDS
        while time.thread_time() < ends:
            pass

    with pytest.raises(Violation, match="wrong"):
        prompt(wrong, b"")
    with pytest.raises(Violation, match=r"took \d+ ms, 4 times"):
        prompt(slow, b"")
    prompt(slow, b"", 3)


def test_a_find_is_made_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left is what breaks it: here, a line that is longer than the limit."""
    monkeypatch.setattr(handshake, "MAX_LINE", 1_000)  # as if the connection kept a longer one
    target = TARGETS["dial"]
    data = b"\x00\x05\x01aemp;1;peer;x" + b"\xc1\xc8." * 8 + b";json;provider=fuzz"
    assert isinstance(finds.failure_of(target, data), Violation)
    smaller = finds.shrink(target, data)
    assert isinstance(finds.failure_of(target, smaller), Violation)
    assert len(smaller) <= len(data) // 2
