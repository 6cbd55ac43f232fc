"""Rendezvous: of several connections between two nodes, which one becomes the link.

Two nodes may dial each other at once, over several addresses. Exactly one connection wins:

- The node with the greater ID (as bytes) *chooses*; towards a peer that names no incarnation (the
  reference implementation) this node always does. The other side proves itself on every
  connection at once. The chooser proves itself on one connection only per link period, the first
  on which the peer's token was good: that is the link, for the chooser when it wrote its proof,
  for the other side when it has verified it.

A connection for an ID that already has a link:

- *of the same incarnation*: the other side proves itself as always; the chooser holds its own
  proof until the old link is lost, and pings it meanwhile. The chooser's proof always replaces
  the other side's link, because the chooser has lost it.
- *of a lesser incarnation*: closed at once; it is the past.
- *of a greater incarnation*: the node was restarted, or runs twice. Both sides hold and ping the
  old link; if it answers, the new one is a duplicate and is closed. Else it goes on as if new.

These rules were model-checked against noticing deaths apart, hanging dials, restarts and late
pings: change them only with a trace in hand that breaks them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from . import refusals
from .errors import TransportError
from .legacy import Probation
from .link import Candidate, Link, PeerInfo

if TYPE_CHECKING:
    from .node import Node
    from .peer import Peer

__all__ = ["Rendezvous"]

log = logging.getLogger("aemp_core.rendezvous")

#: Connections of one peer considered at a time; the oldest is closed for one more.
CANDIDATE_LIMIT = 32


class Rendezvous:
    """The candidates of one node."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def meet(self, candidate: Candidate) -> asyncio.Task[None]:
        """Consider a connection whose peer has greeted, whoever dialled; ends when decided."""
        return self._node.own_task(None, self._consider(candidate))

    def accept(self, candidate: Candidate) -> None:
        """`meet`, for listeners."""
        self.meet(candidate)

    async def _consider(self, candidate: Candidate) -> None:
        info = candidate.peer
        node = self._node
        if node.closing or info.id == node.id:
            candidate.close("this node's own ID")
            return
        peer = node.peer(info.id)
        while len(peer.candidates) >= CANDIDATE_LIMIT:
            oldest = next(iter(peer.candidates))
            del peer.candidates[oldest]
            oldest.close("too many connections at once")
        peer.candidates[candidate] = None
        try:
            await self._unless_closed(candidate, self._decide(peer, candidate))
        except TransportError as error:
            # The transport logs what is the peer's fault; the rest is a race that was lost.
            log.debug("connection of %s from %s: %s", info.id, info.origin, error)
            candidate.close()
        finally:
            peer.candidates.pop(candidate, None)
            node.forget_idle(peer)

    async def _decide(self, peer: Peer, candidate: Candidate) -> None:
        info = candidate.peer
        if not await self._may_go_on(peer, info):
            self._refuse(candidate, self._objection(peer, info))
            return
        if self._chooses(info):
            await candidate.proved()
            while peer.session is not None and not self._greater(peer, info):
                if self._lesser(peer, info):
                    self._refuse(candidate, "lesser incarnation")
                    return
                await self._node.pulse.watch_over(peer.session)
            link: Link = candidate.confirm()
        else:
            link = candidate.confirm()
            await candidate.proved()
            if self._lesser(peer, info):
                self._refuse(candidate, "lesser incarnation")
                return
        peer.candidates.pop(candidate, None)
        if info.incarnation is None:
            probation = Probation(self._node, link)
            await probation.answered()
            link = probation
        if self._node.closing:
            candidate.close("this node is closing")
            return
        peer.come_up(link)

    def _chooses(self, info: PeerInfo) -> bool:
        return info.incarnation is None or self._node.id.encode() > info.id.encode()

    # -- a link exists already ---------------------------------------------------------------

    async def _may_go_on(self, peer: Peer, info: PeerInfo) -> bool:
        if self._lesser(peer, info):
            return False
        if self._greater(peer, info):
            session = peer.session
            assert session is not None
            return not await self._node.pulse.answers(session)
        return True

    def _objection(self, peer: Peer, info: PeerInfo) -> str:
        return "lesser incarnation" if self._lesser(peer, info) else "duplicate node ID"

    def _lesser(self, peer: Peer, info: PeerInfo) -> bool:
        old, new = self._incarnations(peer, info)
        return old is not None and new is not None and new < old

    def _greater(self, peer: Peer, info: PeerInfo) -> bool:
        old, new = self._incarnations(peer, info)
        return old is not None and new is not None and new > old

    def _incarnations(self, peer: Peer, info: PeerInfo) -> tuple[str | None, str | None]:
        session = peer.session
        return (None if session is None else session.info.incarnation), info.incarnation

    # -- helpers -----------------------------------------------------------------------------

    async def _unless_closed(self, candidate: Candidate, deciding: Awaitable[Any]) -> None:
        """Finish `deciding`, or stop it when the connection ends under it."""
        decision = asyncio.ensure_future(deciding)
        closed = asyncio.ensure_future(candidate.wait_closed())
        try:
            await asyncio.wait({decision, closed}, return_when=asyncio.FIRST_COMPLETED)
            if not decision.done():
                decision.cancel()
            await asyncio.wait({decision})
            if not decision.cancelled():
                decision.result()
        finally:
            for future in (decision, closed):
                future.cancel()

    def _refuse(self, candidate: Candidate, text: str) -> None:
        info = candidate.peer
        refusals.warn(
            self._node.loop, "refused", "connection of %s from %s refused: %s",
            info.id, info.origin, text,
        )  # fmt: skip
        candidate.close(text)
