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
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from . import refusals
from .errors import TransportError
from .legacy import Probation
from .link import Candidate, Link, PeerInfo

if TYPE_CHECKING:
    from .node import Node
    from .session import Session

__all__ = ["Rendezvous"]

log = logging.getLogger("aemp_core.rendezvous")

#: Proved connections of one peer considered at a time; the oldest is closed for one more. What
#: is not proved is bounded by the lobby alone: strangers may claim any ID.
CANDIDATE_LIMIT = 32


class Rendezvous:
    """The candidates of one node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        # By the ID the peer claims: nothing is known of a node before one of these is proved.
        # The value: whether it is proved.
        self._candidates: dict[str, dict[Candidate, bool]] = {}
        self._trials: dict[str, asyncio.Future[None]] = {}

    def meet(self, candidate: Candidate) -> asyncio.Task[bool]:
        """Consider a connection whose peer has greeted; the result: whether it became the link."""
        return self._node.own_task(None, self._consider(candidate))

    def accept(self, candidate: Candidate) -> None:
        """`meet`, for listeners."""
        self.meet(candidate)

    def decided(self, node_id: str, why: str) -> None:
        """There is a link to a node: close its other connections."""
        for candidate in list(self._candidates.get(node_id, ())):
            candidate.close(why)

    def close(self) -> None:
        """The node is closing: close every connection that is not a link."""
        for node_id in list(self._candidates):
            self.decided(node_id, "this node is closing")

    async def _consider(self, candidate: Candidate) -> bool:
        info = candidate.peer
        if self._node.closing or info.id == self._node.id:
            candidate.close("this node's own ID")
            return False
        self._candidates.setdefault(info.id, {})[candidate] = False
        try:
            return await self._unless_closed(candidate, self._decide(candidate))
        except TransportError as error:
            # The transport logs what is the peer's fault; the rest is a race that was lost.
            log.debug("connection of %s from %s: %s", info.id, info.origin, error)
            candidate.close()
            return False
        finally:
            self._drop(candidate)

    def _drop(self, candidate: Candidate) -> None:
        among = self._candidates.get(candidate.peer.id, {})
        among.pop(candidate, None)
        if not among:
            self._candidates.pop(candidate.peer.id, None)

    def _note_proved(self, candidate: Candidate) -> None:
        among = self._candidates.get(candidate.peer.id, {})
        proved = [each for each, is_proved in among.items() if is_proved]
        if len(proved) >= CANDIDATE_LIMIT:
            del among[proved[0]]
            proved[0].close("too many connections at once")
        if candidate in among:
            among[candidate] = True

    async def _decide(self, candidate: Candidate) -> bool:
        info = candidate.peer
        chooses = self._chooses(info)
        if chooses and not self._lesser(info):
            # Before anything else: strangers must cause no pings, nor push this one out.
            await candidate.proved()
            self._note_proved(candidate)
        session = self._session(info)
        if session is not None and self._greater(info) and await self._node.pulse.answers(session):
            return self._refuse(candidate, "duplicate node ID")
        if self._lesser(info):
            return self._refuse(candidate, "lesser incarnation")
        if chooses:
            await self._hold(info)
            return await self._settle(candidate, None)
        link = candidate.confirm()
        await candidate.proved()
        return await self._settle(candidate, link)

    async def _hold(self, info: PeerInfo) -> None:
        """Keep our proof back while there is a link to the same life of the node."""
        while True:
            session = self._session(info)
            trial = self._trials.get(info.id)
            if session is not None and not self._greater(info) and not self._lesser(info):
                await self._node.pulse.watch_over(session)
            elif trial is not None:
                await asyncio.wait({trial})
            else:
                return

    async def _settle(self, candidate: Candidate, link: Link | None) -> bool:
        """The peer is proved: make the connection its link, unless it is the past by now."""
        info = candidate.peer
        if self._lesser(info):
            return self._refuse(candidate, "lesser incarnation")
        if link is None:
            link = candidate.confirm()
        if info.incarnation is None:
            link = await self._try(link)
        self._drop(candidate)
        if self._node.closing:
            candidate.close("this node is closing")
            return False
        self._node.peer(info.id).come_up(link)
        return True

    async def _try(self, link: Link) -> Link:
        """Have a legacy peer answer first; one of its connections at a time."""
        node_id = link.peer.id
        trial = self._trials[node_id] = self._node.loop.create_future()
        try:
            probation = Probation(self._node, link)
            await probation.answered()
        finally:
            # Those who wait run after the link came up, which follows without a pause.
            del self._trials[node_id]
            trial.set_result(None)
        return probation

    def _chooses(self, info: PeerInfo) -> bool:
        return info.incarnation is None or self._node.id.encode() > info.id.encode()

    # -- a link exists already ---------------------------------------------------------------

    def _session(self, info: PeerInfo) -> Session | None:
        peer = self._node.peers.get(info.id)
        return None if peer is None else peer.session

    def _lesser(self, info: PeerInfo) -> bool:
        """Whether there is a link to a later life of the node."""
        old, new = self._incarnations(info)
        return old is not None and new is not None and new < old

    def _greater(self, info: PeerInfo) -> bool:
        """Whether there is a link to an earlier life of the node."""
        old, new = self._incarnations(info)
        return old is not None and new is not None and new > old

    def _incarnations(self, info: PeerInfo) -> tuple[str | None, str | None]:
        session = self._session(info)
        return (None if session is None else session.info.incarnation), info.incarnation

    # -- helpers -----------------------------------------------------------------------------

    async def _unless_closed(
        self, candidate: Candidate, deciding: Coroutine[Any, Any, bool]
    ) -> bool:
        """Finish `deciding`, or stop it when the connection ends under it."""
        decision = asyncio.ensure_future(deciding)
        closed = asyncio.ensure_future(candidate.wait_closed())
        try:
            await asyncio.wait({decision, closed}, return_when=asyncio.FIRST_COMPLETED)
            if not decision.done():
                decision.cancel()
                await asyncio.wait({decision})
            return not decision.cancelled() and decision.result()
        finally:
            for future in (decision, closed):
                future.cancel()

    def _refuse(self, candidate: Candidate, text: str) -> bool:
        info = candidate.peer
        refusals.warn(
            self._node.loop, "refused", "connection of %s from %s refused: %s",
            info.id, info.origin, text,
        )  # fmt: skip
        candidate.close(text)
        return False
