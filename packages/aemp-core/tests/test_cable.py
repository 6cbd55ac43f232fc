"""A cable behaves as a TCP connection between two machines, seen by raw protocols at its ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from world_kit import Talker, dial, joined, listen

from aemp_core.testing import Process, World


@pytest.fixture
def ends(aemp_world: World) -> tuple[Process, Process]:
    """Two processes on machines of their own."""
    return aemp_world.process("a"), aemp_world.process("b")


def data(talker: Talker) -> bytes:
    return bytes(talker.data)


# -- how bytes travel ------------------------------------------------------------------------


async def test_bytes_take_the_latency_of_their_direction(aemp_world: World, ends: Any) -> None:
    near, far = await joined(*ends, latency=0.25)
    aemp_world.network.shape(*ends, latency=0.5)  # what is joined already feels it, too
    began = aemp_world.now
    near.transport.write(b"there")
    far.transport.write(b"back")
    await asyncio.sleep(1)
    assert far.chunks == [(pytest.approx(began + 0.5), b"there")]
    assert near.chunks == [(pytest.approx(began + 0.25), b"back")]


async def test_jitter_spreads_arrivals_and_never_the_order(aemp_world: World, ends: Any) -> None:
    near, far = await joined(*ends, latency=0.1, jitter=0.2)
    delays = []
    for number in range(50):
        began = aemp_world.now
        near.transport.write(b"%02d" % number)
        await asyncio.sleep(0.4)
        delays.append(far.chunks[-1][0] - began)
    assert 0.1 <= min(delays) < 0.15 < 0.25 < max(delays) <= 0.3
    for number in range(50):
        near.transport.write(b"%02d" % number)
        await asyncio.sleep(0.01)  # sooner than the jitter
    await asyncio.sleep(1)
    assert data(far) == b"".join(b"%02d" % number for number in range(50)) * 2


async def test_bandwidth_makes_bytes_queue(aemp_world: World, ends: Any) -> None:
    near, far = await joined(*ends, latency=0.1, bandwidth=1_000)
    began = aemp_world.now
    for _ in range(4):
        near.transport.write(bytes(500))
    await asyncio.sleep(5)
    times = [when - began for when, _ in far.chunks]
    assert times == [pytest.approx(0.1 + 0.5 * count) for count in (1, 2, 3, 4)]


async def test_beyond_the_capacity_the_writer_waits(aemp_world: World, ends: Any) -> None:
    near, far = await joined(*ends, latency=0.1, capacity=1_000)
    far.transport.pause_reading()
    near.transport.set_write_buffer_limits(high=500, low=100)
    near.transport.write(bytes(1_400))
    assert near.transport.get_write_buffer_size() == 400
    assert near.told == ["made"]
    near.transport.write(bytes(200))
    assert near.told == ["made", "pause"]
    await asyncio.sleep(10)
    assert not far.data and near.transport.get_write_buffer_size() == 600
    resumed = aemp_world.now
    far.transport.resume_reading()
    await asyncio.sleep(1)
    assert len(far.data) == 1_600
    assert near.when("resume") == pytest.approx(resumed + 0.1), "the news has to travel"


async def test_without_a_reader_what_arrived_waits(ends: Any) -> None:
    near, far = await joined(*ends)
    far.transport.pause_reading()
    near.transport.write(b"one")
    near.transport.close()
    await asyncio.sleep(60)
    assert (data(far), far.told) == (b"", ["made"])
    far.transport.resume_reading()
    await asyncio.sleep(1)
    assert (data(far), far.told) == (b"one", ["made", "eof", "lost"])


async def test_chop_gives_polls_parts(ends: Any) -> None:
    near, far = await joined(*ends, chop=1)
    text = bytes(range(256)) * 8
    for start in range(0, len(text), 64):
        near.transport.write(text[start : start + 64])
    await asyncio.sleep(1)
    assert data(far) == text
    assert len(far.chunks) > 1


async def test_what_arrived_together_is_read_together_up_to_a_limit(ends: Any) -> None:
    near, far = await joined(*ends)
    for _ in range(10):
        near.transport.write(b"x")
    await asyncio.sleep(1)
    assert [chunk for _, chunk in far.chunks] == [b"x" * 10]
    near.transport.write(bytes(600_000))
    await asyncio.sleep(1)
    assert [len(chunk) for _, chunk in far.chunks[1:]] == [262_144, 262_144, 75_712]


# -- how connections end -----------------------------------------------------------------------


async def test_close_lets_what_was_written_arrive(ends: Any) -> None:
    near, far = await joined(*ends, capacity=10)
    near.transport.write(bytes(1_000))
    near.transport.close()
    near.transport.write(b"too late")
    await asyncio.sleep(1)
    assert (len(far.data), far.told, far.error) == (1_000, ["made", "eof", "lost"], None)
    assert (near.told, near.error) == (["made", "lost"], None)


async def test_abort_resets_the_other_end(ends: Any) -> None:
    near, far = await joined(*ends)
    text = bytes(range(200))
    for byte in text:
        near.transport.write(bytes([byte]))
    near.transport.abort()
    await asyncio.sleep(1)
    assert text.startswith(data(far)), "what was on its way may be lost, the end of it first"
    assert far.told == ["made", "reset"]
    assert (near.told, near.error) == (["made", "lost"], None)


async def test_a_closed_end_resets_who_goes_on_sending(ends: Any) -> None:
    near, far = await joined(*ends)
    far.eof_received = lambda: True  # type: ignore[method-assign]  # keeps its half open
    near.transport.close()
    await asyncio.sleep(1)
    assert far.told == ["made"]
    far.transport.write(b"still there?")
    await asyncio.sleep(1)
    assert far.told == ["made", "reset"]


async def test_both_ends_close_while_one_cannot_write_out(ends: Any) -> None:
    """An end that is closing meets the end of file of a peer that will not read the rest."""
    near, far = await joined(*ends, capacity=10)
    far.transport.pause_reading()
    near.transport.write(bytes(1_000))
    near.transport.close()
    await asyncio.sleep(1)
    assert near.told == ["made"], "it has still something to write"
    far.transport.close()
    await asyncio.sleep(1)
    assert near.told == ["made", "reset"]
    assert far.told == ["made", "lost"]


# -- a killed process --------------------------------------------------------------------------


async def test_of_a_killed_process_the_kernel_sends_the_rest(ends: Any) -> None:
    near, far = await joined(*ends, latency=1)
    near.transport.write(b"last words")
    ends[0].kill()
    await asyncio.sleep(5)
    assert (data(far), far.told, far.error) == (b"last words", ["made", "eof", "lost"], None)
    assert near.told == ["made"], "nobody is there to be told"


async def test_of_a_killed_process_the_kernel_had_no_more_than_its_capacity(ends: Any) -> None:
    near, far = await joined(*ends, capacity=100)
    far.transport.pause_reading()
    near.transport.write(bytes(1_000))
    ends[0].kill()
    far.transport.resume_reading()
    await asyncio.sleep(5)
    assert (len(far.data), far.told) == (100, ["made", "eof", "lost"])


async def test_unread_input_makes_it_a_reset(ends: Any) -> None:
    near, far = await joined(*ends)
    near.transport.pause_reading()
    far.transport.write(b"never read")
    await asyncio.sleep(1)
    ends[0].kill()
    await asyncio.sleep(1)
    assert far.told == ["made", "reset"]


async def test_who_sends_to_a_killed_process_is_reset(ends: Any) -> None:
    near, far = await joined(*ends)
    far.eof_received = lambda: True  # type: ignore[method-assign]
    ends[0].kill()
    await asyncio.sleep(1)
    assert far.told == ["made"]
    far.transport.write(b"still there?")
    await asyncio.sleep(1)
    assert far.told == ["made", "reset"]


async def test_a_process_killed_before_it_accepted_still_ends_the_connection(ends: Any) -> None:
    one, other = ends
    near, far = Talker(one.world), Talker(one.world)
    await listen(other, "late", far)
    other.stall(5)
    await dial(one, "late", near)
    assert (near.told, far.told) == (["made"], [])
    other.kill()
    await asyncio.sleep(10)
    assert near.told == ["made", "eof", "lost"]
    assert far.told == []
