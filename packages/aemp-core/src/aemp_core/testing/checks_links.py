"""What the conformance kit asks of links."""

from __future__ import annotations

from typing import Any

from ..wire import HEARTBEAT, pack, pack_apart
from .bench import Bench, Check, Side, demand

__all__ = ["CHECKS"]

#: More than any path holds by itself, so that a reader who pauses is felt by the writer.
FLOOD = 24
MEBIBYTE = 1_048_576


def _numbers(side: Side) -> list[Any]:
    return [message[1] for message in side.witness.messages]


# -- links: reading --------------------------------------------------------------------------


async def a_link_knows_its_peer(bench: Bench) -> None:
    """`peer` is what the candidate said, now proven."""
    one, other = await bench.links()
    demand(one.link.peer.id == "listening", f"the dialling side has {one.link.peer.id!r}")
    demand(other.link.peer.id == "dialling", f"the listening side has {other.link.peer.id!r}")


async def nothing_is_delivered_before_start(bench: Bench) -> None:
    """What came in meanwhile is delivered first and in order, and never inside `start`."""
    one, other = await bench.links(start=False)
    for number in range(100):
        one.send("port", number)
    await bench.idle()
    demand(not other.witness.batches, "nothing should be delivered before start")
    other.link.start(other.witness)
    demand(not other.witness.batches, "nothing should be delivered inside start")
    for number in range(100, 200):
        one.send("port", number)
    await other.witness.until(lambda: len(_numbers(other)) == 200, "all should be delivered")
    demand(_numbers(other) == list(range(200)), "messages should be delivered in order")


async def what_came_before_a_loss_is_delivered_before_it(bench: Bench) -> None:
    """A link that was lost before `start` still delivers, then tells."""
    one, other = await bench.links(start=False)
    one.link.start(one.witness)
    for number in range(10):
        one.send("port", number)
    one.link.close("done")
    await bench.soon(other.candidate.wait_closed(), "the other side should see the end")
    other.link.start(other.witness)
    demand(not other.witness.batches, "nothing should be delivered inside start")
    demand(other.witness.reason is None, "lost should not be told inside start")
    await other.witness.until_lost()
    demand(_numbers(other) == list(range(10)), "what came before the loss should be delivered")


async def messages_arrive_as_they_were(bench: Bench) -> None:
    """Values of every plain kind, large ones, in order, in both directions."""
    one, other = await bench.links()
    messages: list[tuple[Any, ...]] = [
        ("port",),
        ("", "time", "x#y"),
        ("port", None, True, False, 0, -(2**63), 2**64 - 1, 0.5),
        ("port", "text \u20ac \U0001f600", b"\x00\xff bytes", [1, [2, [3]]], {"key": {"k": []}}),
        ("port", "x" * MEBIBYTE, b"y" * (3 * MEBIBYTE)),
        ("port", list(range(10_000))),
    ]
    for side, far in ((one, other), (other, one)):
        for message in messages:
            side.send(*message)
        await far.witness.until(
            lambda far=far: len(far.witness.messages) >= len(messages),  # type: ignore[misc]
            "all messages should arrive",
        )
        demand(
            far.witness.messages == [list(message) for message in messages],
            "messages should arrive as they were sent, in order",
        )


async def a_heartbeat_is_heard_and_not_delivered(bench: Bench) -> None:
    """The empty message tells of bytes, and of no message."""
    one, other = await bench.links()
    one.link.send(one.link.encode(HEARTBEAT))
    await other.witness.until(lambda: other.witness.batches, "bytes should be told of")
    demand(not other.witness.messages, "a heartbeat is no message")


async def a_paused_link_holds_its_peer_back(bench: Bench) -> None:
    """`pause` stops reading and the peer's `buffered` grows; `resume` goes on where it was."""
    one, other = await bench.links()
    other.link.pause()
    payload = b"x" * MEBIBYTE
    for number in range(FLOOD):
        one.send("port", number, payload)
    demand(one.link.buffered >= FLOOD * MEBIBYTE, "buffered should count what was sent")
    await bench.idle()
    demand(not other.witness.batches, "a paused link should deliver nothing")
    demand(one.link.measure() > 0, "a peer that does not read should be felt")
    demand(one.link.measure() == one.link.buffered, "measure should bring buffered up to date")
    other.link.resume()
    await other.witness.until(
        lambda: len(other.witness.messages) == FLOOD, "reading should go on after resume"
    )
    demand(_numbers(other) == list(range(FLOOD)), "nothing should be lost by pausing")
    await one.witness.until(
        lambda: one.link.measure() == 0, "writable should be told as buffered falls, down to 0"
    )
    demand(one.witness.writables, "writable should be told after buffered was high")


async def parts_of_a_frame_arrive_as_one(bench: Bench) -> None:
    """In order with other frames, also by a peer that does not read for a while."""
    one, other = await bench.links()
    if not hasattr(one.link, "send_parts"):
        return
    other.link.pause()
    payload = b"x" * MEBIBYTE
    for number in range(0, FLOOD, 2):
        parts = pack_apart((number, payload, "end"), "port")
        demand(isinstance(parts, list), "a long value should be a part of its own")
        one.link.send_parts(parts)
        one.send("port", number + 1)
    demand(one.link.measure() >= FLOOD // 2 * MEBIBYTE, "measure should count all parts")
    other.link.resume()
    await other.witness.until(
        lambda: len(other.witness.messages) == FLOOD, "all messages should arrive"
    )
    demand(_numbers(other) == list(range(FLOOD)), "parts should stay in order")
    demand(
        all(message[2:] == [payload, "end"] for message in other.witness.messages[::2]),
        "parts should make the message they are parts of",
    )
    one.link.close("done")
    one.link.send_parts([b"too ", b"late"])
    await other.witness.until_lost()
    demand(len(other.witness.messages) == FLOOD, "nothing should be sent after close")


async def frames_sent_at_once_stay_in_order(bench: Bench) -> None:
    """Alone, behind others of their turn, and behind what the peer does not read."""
    one, other = await bench.links()
    if not hasattr(one.link, "send_now"):
        return
    one.link.send_now(one.link.encode(pack(("port", 0))))
    one.send("port", 1)
    one.link.send_now(one.link.encode(pack(("port", 2))))
    await other.witness.until(lambda: len(other.witness.messages) == 3, "all should arrive")
    other.link.pause()
    for number in range(3, FLOOD, 2):
        one.send("port", number, b"x" * MEBIBYTE)
        await bench.idle()
        one.link.send_now(one.link.encode(pack(("port", number + 1))))
    other.link.resume()
    await other.witness.until(
        lambda: len(other.witness.messages) == FLOOD + 1, "all messages should arrive"
    )
    demand(_numbers(other) == list(range(FLOOD + 1)), "frames sent at once should stay in order")
    one.link.close("done")
    one.link.send_now(one.link.encode(pack(("port", "too late"))))
    await other.witness.until_lost()
    demand(other.witness.messages[-1][1] != "too late", "nothing should be sent after close")


async def frames_may_join_those_that_wait(bench: Bench) -> None:
    """In order, in the same turn of the loop and while the peer does not read."""
    one, other = await bench.links()
    waiting = getattr(one.link, "waiting", None)
    if waiting is None:
        return
    other.link.pause()
    payload = b"x" * MEBIBYTE
    for number in range(FLOOD):
        frame = one.link.encode(pack((number, payload), "port"))
        if waiting:
            waiting.append(frame)
        else:
            one.link.send(frame)
        if number % 3 == 0:
            await bench.idle()
    demand(one.link.measure() > 0, "a peer that does not read should be felt")
    other.link.resume()
    await other.witness.until(
        lambda: len(other.witness.messages) == FLOOD, "all messages should arrive"
    )
    demand(_numbers(other) == list(range(FLOOD)), "frames should stay in order")
    await one.witness.until(lambda: one.link.measure() == 0, "everything should be written")
    one.link.abort("done")
    demand(not waiting and one.link.waiting is waiting, "nothing should wait after the end")  # type: ignore[attr-defined]


async def malformed_frames_end_the_link(bench: Bench) -> None:
    """After the good messages before them; the link does not go deaf."""
    one, other = await bench.links()
    one.send("port", 1)
    one.link.send(b"\xc1\xc1\xc1\xc1")
    one.send("port", 2)
    await other.witness.until_lost()
    demand(_numbers(other) == [1], "just the messages before the fault should be delivered")
    await one.witness.until_lost()


async def a_frame_over_the_limit_ends_the_link(bench: Bench) -> None:
    """The receiver's `frame_limit` bounds what it takes in, after the good messages before."""
    one, other = await bench.links(listening={"frame_limit": 65_536})
    demand(one.link.peer.frame_limit == 65_536, "the limit should be known to the sender")
    one.send("port", 1)
    one.send("port", b"x" * 200_000)
    await other.witness.until_lost()
    demand(_numbers(other) == [1], "just the messages before the fault should be delivered")
    await one.witness.until_lost()


# -- links: ending ---------------------------------------------------------------------------


async def close_writes_out_what_is_queued(bench: Bench) -> None:
    """All that was sent before `close` arrives, and then both sides are told once."""
    one, other = await bench.links()
    payload = b"x" * 1_000
    for number in range(4_000):
        one.send("port", number, payload)
    one.link.close("done")
    one.link.close("done twice")
    one.link.send(b"too late")
    await other.witness.until_lost()
    demand(_numbers(other) == list(range(4_000)), "all that was sent should arrive before lost")
    reason = await one.witness.until_lost()
    demand("done" in str(reason[1]), f"the reason of close should be told, not {reason!r}")


async def close_reaches_a_peer_that_is_sending(bench: Bench) -> None:
    """What was queued arrives even if the peer keeps sending meanwhile."""
    one, other = await bench.links()
    for number in range(200):
        other.send("port", number, b"x" * 10_000)
        one.send("port", number)
    one.link.close("done")
    for number in range(200):
        other.send("port", number, b"x" * 10_000)
    await other.witness.until_lost()
    demand(_numbers(other) == list(range(200)), "all that was sent should arrive before lost")
    await one.witness.until_lost()


async def abort_tells_at_once(bench: Bench) -> None:
    """`lost` was told when `abort` returns, nothing follows, and the peer is told too."""
    one, other = await bench.links()
    other.send("port", 1)
    await one.witness.until(lambda: one.witness.messages, "the message should arrive")
    other.send("port", 2)
    one.link.abort("enough")
    demand(one.witness.reason is not None, "lost should be told before abort returns")
    demand("enough" in str(one.witness.reason), "the reason of abort should be told")
    await other.witness.until_lost()
    await bench.idle()


async def both_may_close_at_once(bench: Bench) -> None:
    """Each side is told once, however the ends meet."""
    for first, second in (("close", "close"), ("close", "abort"), ("abort", "abort")):
        one, other = await bench.links()
        one.send("port", 1)
        getattr(one.link, first)("here")
        getattr(other.link, second)("there")
        await one.witness.until_lost()
        await other.witness.until_lost()
        for side in (one, other):
            await bench.soon(side.candidate.wait_closed(), "wait_closed should return")


async def a_link_may_be_ended_while_it_delivers(bench: Bench) -> None:
    """An observer may close or abort inside `received`: that was the last delivery."""
    for how in ("close", "abort"):
        one, other = await bench.links()
        await _ended_by_its_observer(one, other, how)


async def _ended_by_its_observer(one: Side, other: Side, how: str) -> None:
    def end() -> None:
        getattr(other.link, how)("enough")

    other.witness.then = end
    one.send("port", 1)
    await other.witness.until(lambda: other.witness.batches, "the message should arrive")
    for number in range(100):
        one.send("port", number)
    await other.witness.until_lost()
    demand(len(other.witness.batches) == 1, f"nothing should be delivered after {how}")
    await one.witness.until_lost()


async def a_lost_link_can_be_called(bench: Bench) -> None:
    """Everything on a lost link is ignored; nothing is buffered."""
    one, other = await bench.links()
    one.send("port", 1)
    one.link.abort("over")
    await other.witness.until_lost()
    for side in (one, other):
        side.link.send(pack(("port", 1)))
        side.link.pause()
        side.link.resume()
        side.link.close()
        side.link.abort()
        demand(side.link.measure() == 0 == side.link.buffered, "a lost link buffers nothing")
        await bench.soon(side.candidate.wait_closed(), "wait_closed should return")
        demand(side.link.peer.id, "a lost link still knows its peer")
        side.link.send(pack(("port", 1)))


CHECKS: tuple[Check, ...] = (
    a_link_knows_its_peer,
    nothing_is_delivered_before_start,
    what_came_before_a_loss_is_delivered_before_it,
    messages_arrive_as_they_were,
    a_heartbeat_is_heard_and_not_delivered,
    a_paused_link_holds_its_peer_back,
    parts_of_a_frame_arrive_as_one,
    frames_sent_at_once_stay_in_order,
    frames_may_join_those_that_wait,
    malformed_frames_end_the_link,
    a_frame_over_the_limit_ends_the_link,
    close_writes_out_what_is_queued,
    close_reaches_a_peer_that_is_sending,
    abort_tells_at_once,
    both_may_close_at_once,
    a_link_may_be_ended_while_it_delivers,
    a_lost_link_can_be_called,
)
