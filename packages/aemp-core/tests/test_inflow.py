"""The inflow: what was read is delivered in portions, in order, and before any end of the link."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from core_kit import settle
from stream_kit import SECRET, Scene

from aemp_core.conversation import Origin, connections
from aemp_core.inflow import FIRST_BYTES, KEPT_BYTES, PORTION
from aemp_core.pipe import pipe
from aemp_core.stream import CLOSE_SECONDS, Stream
from aemp_core.testing import StandIn, Witness, virtual_clock
from aemp_core.wire import pack


def many(scene: Scene, count: int = 5_000) -> bytes:
    return b"".join(scene.frame("port", number) for number in range(count))


def numbers(scene: Scene) -> list[int]:
    return [message[1] for message in scene.witness.messages]


@virtual_clock
async def test_a_long_read_is_delivered_a_portion_in_each_turn() -> None:
    scene = Scene()
    await scene.link()
    data = many(scene)
    scene.stream.data_received(data)
    turns = 0
    while len(scene.witness.messages) < 5_000:
        assert len(scene.witness.batches) == turns + 1
        await asyncio.sleep(0)
        turns += 1
    assert numbers(scene) == list(range(5_000))
    assert sum(size for _, size in scene.witness.batches) == len(data)
    assert max(count for count, _ in scene.witness.batches[1:]) < 1.5 * PORTION
    assert turns < 2 * 5_000 / PORTION


@virtual_clock
async def test_portions_grow_with_the_messages() -> None:
    scene = Scene()
    await scene.link()
    frame = scene.frame("port", b"x" * 300_000)
    scene.stream.data_received(frame * 4)
    await settle()
    assert [len(message[1]) for message in scene.witness.messages] == [300_000] * 4
    assert len(scene.witness.batches) < 8


@virtual_clock
async def test_what_comes_in_behind_a_portion_waits_its_turn() -> None:
    scene = Scene()
    await scene.link()
    data = many(scene)
    scene.stream.data_received(data[: 2 * FIRST_BYTES])
    for start in range(2 * FIRST_BYTES, len(data), 101):  # short ones, all in the same turn
        scene.stream.data_received(data[start : start + 101])
    assert len(scene.witness.batches) == 1
    await settle()
    assert numbers(scene) == list(range(5_000))


@virtual_clock
async def test_reading_stops_while_much_is_not_delivered() -> None:
    scene = Scene(capacity=1_000_000)
    await scene.link()
    for _ in range(20):
        scene.write(many(scene))
    kept = 0
    while len(scene.witness.messages) < 100_000:
        await asyncio.sleep(0)
        kept = max(kept, scene.stream._kept_size)
    assert kept < KEPT_BYTES + 300_000
    assert numbers(scene) == list(range(5_000)) * 20


@virtual_clock
async def test_a_pause_holds_back_what_was_read() -> None:
    scene = Scene()
    await scene.link()
    scene.witness.then = scene.stream.pause
    scene.stream.data_received(many(scene))
    await settle()
    first = len(scene.witness.messages)
    assert 0 < first < 5_000
    scene.witness.then = None
    scene.stream.resume()
    scene.stream.resume()
    await settle()
    assert numbers(scene) == list(range(5_000))
    scene.write(scene.frame("port", 5_000))
    await settle()
    assert numbers(scene)[-1] == 5_000


@virtual_clock
async def test_what_was_read_is_delivered_before_the_loss() -> None:
    scene = Scene()
    await scene.link()
    scene.stream.data_received(many(scene))
    scene.stream.connection_lost(OSError("the cable was pulled"))
    assert numbers(scene) == list(range(5_000))
    assert scene.witness.reason is not None
    await settle()
    scene.witness.verify()


@virtual_clock
@pytest.mark.parametrize("end", ["close", "abort"])
async def test_nothing_is_delivered_behind_the_end_of_a_link(end: str) -> None:
    scene = Scene()
    await scene.link()
    scene.stream.data_received(many(scene))
    first = len(scene.witness.messages)
    assert first < 5_000
    getattr(scene.stream, end)()
    await settle()
    assert len(scene.witness.messages) == first


@virtual_clock
async def test_a_portion_that_cannot_be_delivered_ends_the_link(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A transport ends a connection whose `data_received` raises; portions come from the loop."""
    scene = Scene()
    await scene.link()
    unhandled: list[Any] = []
    scene.loop.set_exception_handler(lambda _, context: unhandled.append(context["exception"]))
    decode, calls = scene.stream._decoder.decode, itertools.count(1)

    def decode_but_once(data: bytes) -> list[list[Any]]:
        if next(calls) == 3:
            raise MemoryError("once")
        return decode(data)

    monkeypatch.setattr(scene.stream._decoder, "decode", decode_but_once)
    scene.write(many(scene))
    await scene.witness.until_lost()
    count = len(scene.witness.messages)
    assert 0 < count < 5_000 and numbers(scene) == list(range(count))
    assert [type(error) for error in unhandled] == [MemoryError]


@virtual_clock
async def test_early_bytes_that_cannot_be_delivered_end_the_link() -> None:
    scene = Scene()
    await scene.link(start=False)
    unhandled: list[Any] = []
    scene.loop.set_exception_handler(lambda _, context: unhandled.append(context["exception"]))
    scene.write(scene.frame("port", 1))
    await settle()

    def fail() -> None:
        raise MemoryError("once")

    scene.witness.then = fail
    scene.stream.start(scene.witness)
    await scene.witness.until_lost()
    assert [type(error) for error in unhandled] == [MemoryError]


@virtual_clock
async def test_a_fault_in_what_was_read_is_told_though_the_peer_has_gone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = Scene()
    await scene.link()
    scene.stream.data_received(many(scene) + b"\x91\x01")
    scene.stream.eof_received()
    assert numbers(scene) == list(range(5_000))
    assert scene.witness.reason is not None and "begins with a str" in scene.witness.reason[1]
    assert "begins with a str" in caplog.text


@virtual_clock
async def test_both_sides_close_at_once_with_much_to_write_and_much_kept() -> None:
    """Each writes out what is queued only if the other reads, though it delivers nothing more."""
    loop = asyncio.get_running_loop()
    origin = Origin("test://other", "other")
    one, other = (
        Stream(loop, lambda _: origin, connections(StandIn(name, secret=SECRET), role, SECRET))
        for name, role in (("one", "dial"), ("other", "accept"))
    )
    ends = pipe(loop, (one, {}), (other, {}))
    for end in ends:
        end.open()
    await asyncio.gather(one.greeted(), other.greeted())
    for stream in (one, other):
        stream.confirm()
    await asyncio.gather(one.proved(), other.proved())
    for stream in (one, other):
        stream.start(Witness())
    await settle()
    for stream in (one, other):
        frame = stream.encode(pack(("port", "x" * 90)))
        for _ in range(60_000):
            stream.send(frame)
    while all(end.is_reading() for end in ends):
        await asyncio.sleep(0)
    began = loop.time()
    one.close("done")
    other.close("done")
    await asyncio.gather(one.wait_closed(), other.wait_closed())
    assert loop.time() - began < CLOSE_SECONDS
