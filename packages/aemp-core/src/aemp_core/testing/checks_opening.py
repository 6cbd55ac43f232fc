"""What the conformance kit asks of dialling, listening, and connections that are not links yet."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from ..errors import AddressError, TransportError
from ..link import Candidate
from .bench import Bench, Check, Violation, demand

__all__ = ["CHECKS"]


async def _refused(bench: Bench, what: Awaitable[Any], sentence: str) -> TransportError:
    try:
        await bench.soon(what, sentence)
    except TransportError as error:
        return error
    raise Violation(sentence)


def _ignore(candidate: Candidate) -> None:
    """Take no interest in a connection; the bench ends it."""


# -- dialling and listening ------------------------------------------------------------------


async def dial_returns_when_the_peer_has_greeted(bench: Bench) -> None:
    """Both sides know who the other says it is, and where the connection leads."""
    dialled, accepted = await bench.candidates(dialling={"heartbeat": 7.0})
    demand(dialled.peer.id == "listening", f"the dialling side met {dialled.peer.id!r}")
    demand(accepted.peer.id == "dialling", f"the listening side met {accepted.peer.id!r}")
    demand(accepted.peer.heartbeat == 7.0, "the greeting should be passed on")
    demand(accepted.peer.incarnation, "the incarnation should be passed on")
    demand(accepted.peer.attributes, "the attributes should be passed on")
    demand(dialled.peer.origin and accepted.peer.origin, "origin should tell logs the address")


async def dialling_nowhere_is_a_transport_error(bench: Bench) -> None:
    """Raise `TransportError` if it cannot connect; the text names the address."""
    address = bench.harness.nowhere()
    error = await _refused(
        bench, bench.node("dialling").dial(address), "nobody is there: a TransportError is due"
    )
    demand(address in str(error), f"{str(error)!r} should name {address}")


async def an_unreadable_address_is_an_address_error(bench: Bench) -> None:
    """An address without any content is no address: to check, to dial, to listen on."""
    address = bench.harness.nowhere()
    scheme = address.partition("://")[0]
    transport = bench.node("node")
    transport.check(address)
    try:
        transport.check(f"{scheme}://")
    except AddressError:
        pass
    else:
        raise Violation(f"check({scheme}://) should be an AddressError")
    for what in (transport.dial(f"{scheme}://"), transport.listen(f"{scheme}://", id)):  # type: ignore[arg-type]
        try:
            await bench.soon(what, "an unreadable address should be refused")
        except AddressError:
            continue
        raise Violation(f"{scheme}:// should be an AddressError")


async def a_node_does_not_talk_to_itself(bench: Bench) -> None:
    """A peer that goes by our own ID is refused, on both sides."""
    came: list[Candidate] = []
    transport = bench.node("node")
    listener = await bench.listen(transport, came.append)
    await _refused(
        bench, transport.dial(listener.addresses[0]), "a node should not be able to dial itself"
    )
    await bench.idle()
    demand(not came, "a connection of a node with itself should not be handed over")


async def a_cancelled_dial_leaves_nothing(bench: Bench) -> None:
    """Whoever stops dialling is rid of the connection."""
    came: list[Candidate] = []
    listener = await bench.listen(bench.node("listening"), came.append)
    for turns in range(5):
        dialling = asyncio.ensure_future(bench.node("dialling").dial(listener.addresses[0]))
        for _ in range(turns):
            await asyncio.sleep(0)
        if dialling.done():
            dialling.result().close()
        dialling.cancel()
        await asyncio.wait({dialling})
    await bench.idle()
    for candidate in came:
        await bench.soon(candidate.wait_closed(), "the connection should have ended")


async def many_may_dial_at_once(bench: Bench) -> None:
    """Each connection becomes one candidate on both sides."""
    came: list[Candidate] = []
    enough = asyncio.Event()

    def accept(candidate: Candidate) -> None:
        came.append(candidate)
        if len(came) == 20:
            enough.set()

    listener = await bench.listen(bench.node("listening"), accept)
    transports = [bench.node(f"dialling/{number}") for number in range(20)]
    dialled = await asyncio.gather(
        *(bench.dial(transport, listener.addresses[0]) for transport in transports)
    )
    await bench.soon(enough.wait(), "the listener should hand over every connection")
    demand(len(set(map(id, dialled))) == 20, "every dial should return a candidate of its own")
    ids = sorted(candidate.peer.id for candidate in came)
    demand(ids == sorted(f"dialling/{n}" for n in range(20)), f"the listener met {ids}")


async def a_listener_tells_addresses_others_may_dial(bench: Bench) -> None:
    """Scheme included, with real port numbers."""
    came: asyncio.Queue[Candidate] = asyncio.Queue()
    address = bench.harness.address()
    listener = await bench.listen(bench.node("listening"), came.put_nowait, address)
    demand(listener.addresses, "there should be at least one address")
    for each in listener.addresses:
        demand(each.startswith(address.partition("//")[0]), f"{each} should begin as {address}")
        await bench.dial(bench.node("dialling"), each)
        await bench.soon(came.get(), f"{each} should lead to the listener")


async def an_address_is_bound_once(bench: Bench) -> None:
    """The second to listen there is told by a `TransportError` that names the address."""
    listener = await bench.listen(bench.node("one"), _ignore)
    address = listener.addresses[0]
    error = await _refused(
        bench, bench.node("other").listen(address, _ignore), f"{address} is bound already"
    )
    demand(address in str(error), f"{str(error)!r} should name {address}")


async def a_closed_listener_releases_its_address(bench: Bench) -> None:
    """It stops accepting, may be closed again, and the address may be bound again."""
    listener = await bench.listen(bench.node("one"), _ignore)
    address = listener.addresses[0]
    await bench.soon(listener.close(), "close should return")
    await bench.soon(listener.close(), "close should return the second time")
    await _refused(bench, bench.node("other").dial(address), "a closed listener accepts nobody")
    again = await bench.listen(bench.node("one"), _ignore, address)
    await bench.dial(bench.node("other"), again.addresses[0])


async def closing_a_listener_ends_candidates_not_links(bench: Bench) -> None:
    """Connections that are not links yet end, links stay."""
    came: asyncio.Queue[Candidate] = asyncio.Queue()
    listener = await bench.listen(bench.node("listening"), came.put_nowait)
    first = await bench.dial(bench.node("one"), listener.addresses[0])
    its_side = await bench.soon(came.get(), "the first connection should be handed over")
    ours, theirs = await bench.confirmed(first, its_side)
    one, other = bench.side(ours, first), bench.side(theirs, its_side)
    second = await bench.dial(bench.node("two"), listener.addresses[0])
    waiting = await bench.soon(came.get(), "the second connection should be handed over")
    await bench.soon(listener.close(), "close should return")
    await bench.soon(waiting.wait_closed(), "the candidate should have ended")
    await bench.soon(second.wait_closed(), "the candidate should have ended at the other side")
    other.send("port", 1)
    await one.witness.until(lambda: one.witness.messages, "the link should still carry messages")


# -- candidates ------------------------------------------------------------------------------


async def either_side_may_prove_itself_first(bench: Bench) -> None:
    """`proved` and `confirm` come in either order, on either side."""
    for dialler_first in (True, False):
        pair = await bench.candidates()
        first, second = pair if dialler_first else pair[::-1]
        link = first.confirm()
        await bench.soon(second.proved(), "the first to confirm should be proved to the other")
        other_link = second.confirm()
        await bench.soon(first.proved(), "the second to confirm should be proved to the first")
        one, other = bench.side(link, first), bench.side(other_link, second)
        for side, witness in ((one, other.witness), (other, one.witness)):
            side.send("port", "hello")
            await witness.until(lambda w=witness: w.messages, "the link should carry messages")  # type: ignore[misc]


async def nobody_is_proved_before_confirming(bench: Bench) -> None:
    """A greeting proves nothing."""
    pair = await bench.candidates()
    waiting = [asyncio.ensure_future(candidate.proved()) for candidate in pair]
    await bench.idle()
    done = [each.done() for each in waiting]
    pair[0].confirm()
    await bench.soon(waiting[1], "the accepting side should see the proof")
    await bench.idle()
    done.append(waiting[0].done())
    waiting[0].cancel()
    await asyncio.wait(waiting)
    demand(not any(done), "proved should not return before the other side confirmed")


async def a_wrong_secret_is_never_proved(bench: Bench) -> None:
    """`proved` raises `TransportError` on both sides, whichever sees it first."""
    pair = await bench.candidates(dialling={"secret": b"quite another secret"})
    for candidate in pair:
        try:
            candidate.confirm()
        except TransportError:
            pass  # the other side saw through it already
    for candidate in pair:
        await _refused(bench, candidate.proved(), "a wrong secret should be a TransportError")
        await bench.soon(candidate.wait_closed(), "the connection should end")


async def a_cancelled_proved_may_be_asked_again(bench: Bench) -> None:
    """Who waits for `proved` may give up; others and later callers are not disturbed."""
    dialled, accepted = await bench.candidates()
    waiting = [asyncio.ensure_future(dialled.proved()) for _ in range(2)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.wait({waiting[0]})
    accepted.confirm()
    await bench.soon(waiting[1], "the second waiter should be told")
    await bench.soon(dialled.proved(), "a later caller should be told")


async def a_closed_candidate_ends_both_sides(bench: Bench) -> None:
    """`close` is idempotent; `proved` raises and `wait_closed` returns, on both sides."""
    for closing in (0, 1):
        pair = await bench.candidates()
        waiting = [asyncio.ensure_future(candidate.proved()) for candidate in pair]
        await asyncio.sleep(0)
        pair[closing].close("not this one")
        pair[closing].close()
        for candidate, task in zip(pair, waiting, strict=True):
            await _refused(bench, task, "proved should raise when the connection ends")
            await bench.soon(candidate.wait_closed(), "wait_closed should return")
            await _refused(bench, candidate.proved(), "proved should raise after the end")
            try:
                candidate.confirm()
            except TransportError:
                continue
            raise Violation("confirm should raise TransportError once the connection is broken")


async def a_held_candidate_learns_that_its_peer_has_gone(bench: Bench) -> None:
    """`wait_closed` returns although the peer is proved and the candidate only waits."""
    dialled, accepted = await bench.candidates()
    dialled.confirm()
    await bench.soon(accepted.proved(), "the proof should arrive")
    dialled.close("changed my mind")
    await bench.soon(accepted.wait_closed(), "the held candidate should see the end")


CHECKS: tuple[Check, ...] = (
    dial_returns_when_the_peer_has_greeted,
    dialling_nowhere_is_a_transport_error,
    an_unreadable_address_is_an_address_error,
    a_node_does_not_talk_to_itself,
    a_cancelled_dial_leaves_nothing,
    many_may_dial_at_once,
    a_listener_tells_addresses_others_may_dial,
    an_address_is_bound_once,
    a_closed_listener_releases_its_address,
    closing_a_listener_ends_candidates_not_links,
    either_side_may_prove_itself_first,
    nobody_is_proved_before_confirming,
    a_wrong_secret_is_never_proved,
    a_cancelled_proved_may_be_asked_again,
    a_closed_candidate_ends_both_sides,
    a_held_candidate_learns_that_its_peer_has_gone,
)
