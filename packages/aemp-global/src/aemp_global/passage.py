"""Passage: how nodes that cannot dial each other are brought together.

First the other node is asked, through the homes of both, to dial back. If that does not help, a
relay stream through the home of the other node becomes the link. This module carries the words of
relay streams, as node requests ``relay``, between the streams that end here, the switchboard, and
the neighbours.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aemp_core.errors import TransportError
from aemp_core.ids import is_node_id

from .directory import check_record, record_of, usable
from .neighbour import Neighbour
from .relay import RelayListener, RelayTransport
from .switchboard import Switchboard

if TYPE_CHECKING:
    from aemp_core.requests import Request

    from .service import Service

__all__ = ["REQUEST", "Passage"]

REQUEST = "relay"
#: Seconds to get to the node that relays.
WAY_SECONDS = 10.0
#: Seconds for which a node that was asked to dial back tries to.
DIAL_BACK_SECONDS = 10.0
#: Characters of the name of a stream.
NAME_LENGTH = 64


class Passage:
    """The relay streams of one node, and who is to dial back; a `Carrier`."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._node = service.node
        self.transport = RelayTransport(self._node, self)
        self.switchboard = Switchboard(self.carry, self._may, self.new_stream)
        self._listener: RelayListener | None = None
        self._waiting: dict[asyncio.Future[bool], str] = {}

    # -- Carrier -----------------------------------------------------------------------------

    def carry(self, via: str, word: str, stream: str, argument: Any) -> bool:
        """See `Carrier`."""
        node = self._node
        if node.closed or not node.node_is_up(via):
            return False
        node.call_in(None, node.snd, via, REQUEST, word, stream, argument)
        return True

    def new_stream(self) -> str:
        """See `Carrier`."""
        return f"{self._node.incarnation}.{self._node.next_serial()}"

    async def way_to(self, node_id: str) -> str:
        """See `Carrier`: the home of the node, linked and ready."""
        if not self._service.started:
            raise TransportError(f"relay://{node_id}: this node has not begun")
        via = self._service.seeking.home_of(node_id)
        if via == node_id:
            via = self._service.exchange.home  # a global that cannot be dialled; ours is linked
        if via is None or via == self._node.id:
            raise TransportError(f"relay://{node_id}: no global is known that has a link to it")
        neighbour = self._service.exchange.neighbours.get(via)
        if (neighbour is None or not neighbour.greeted) and not await self._reached(via):
            raise TransportError(f"relay://{node_id}: no link to {via} could be made")
        return via

    async def _reached(self, via: str) -> bool:
        """Have a link to a node that relays; whether it said hello before long."""
        waiter: asyncio.Future[bool] = self._node.loop.create_future()

        def lost(reason: object) -> None:
            if not waiter.done():
                waiter.set_result(False)

        self._waiting[waiter] = via
        guard = self._node.watch(via, lost)
        try:
            # Not `up` or `wait_for`: who gives up dialling must not be told of a loss instead.
            await asyncio.wait({waiter}, timeout=WAY_SECONDS)
        finally:
            guard.cancel()
            del self._waiting[waiter]
        return waiter.done() and waiter.result()

    def greeted(self, node_id: str) -> None:
        """A neighbour has said hello: streams may begin."""
        for waiter, via in self._waiting.items():
            if via == node_id and not waiter.done():
                waiter.set_result(True)

    def _may(self, asker: str, target: str) -> str:
        exchange = self._service.exchange
        if not exchange.is_global:
            return "this node is not global"
        if target in (asker, self._node.id) or target not in exchange.neighbours:
            return f"{target} is not linked here"
        return ""

    # -- words -------------------------------------------------------------------------------

    def request(
        self, request: Request, word: Any = None, stream: Any = None, argument: Any = None
    ) -> None:
        """The node request: a neighbour says something about a stream."""
        session = request.session
        if session is None:
            raise PermissionError("it is for other nodes")
        if not session.up or self._node.closed or not self._service.started:
            return
        neighbour = self._service.exchange.neighbours.get(session.id)
        if neighbour is None or neighbour.session is not session:
            return  # said on a link of the past
        if not isinstance(stream, str) or not 0 < len(stream) <= NAME_LENGTH:
            raise ValueError(f"{stream!r:.100} names no stream")
        if word == "open":
            self.switchboard.open(session.id, stream, argument)
        elif (session.id, stream) in self.switchboard:
            self.switchboard.heard(session.id, word, stream, argument)
        else:
            if word == "incoming" and not self._node.closing:
                self._listen()
            self.transport.heard(session.id, word, stream, argument)

    def _listen(self) -> None:
        # A relay proves no more than a secret: not enough where certificates are asked for.
        if self._listener is None and not self._node.settings.only_private:
            self._listener = self.transport.bind(self._node.id, self._node.rendezvous.accept)

    def lost(self, node_id: str) -> None:
        """The link to a neighbour was lost, or what was sent over it."""
        self.transport.lost(node_id)
        self.switchboard.lost(node_id, f"the link to {node_id} was lost")

    def close(self) -> None:
        """The node closes."""
        if self._listener is not None:
            self._node.own_task(None, self._listener.close())

    # -- dialling back -----------------------------------------------------------------------

    def ask_back(self, node_id: str) -> bool:
        """Ask a node to dial this one; False if it could not."""
        if not self._node.addresses:
            return False
        self._pass_on(node_id, self._node.id, record_of(self._node), None)
        return True

    def asked_back(self, neighbour: Neighbour, node_id: Any, asker: Any, record: Any) -> None:
        """A neighbour says that `asker` wants `node_id` to dial it."""
        for each in (node_id, asker):
            if not isinstance(each, str) or not is_node_id(each):
                raise ValueError(f"{each!r:.100} is no node ID")
        check_record(record)
        if not neighbour.is_global and asker != neighbour.id:
            raise ValueError(f"it asks for {asker}, and is no global node")
        if node_id == self._node.id:
            self._dial_back(asker, record)
        elif self._service.exchange.is_global:
            self._pass_on(node_id, asker, record, neighbour)

    def _pass_on(self, node_id: str, asker: str, record: Any, source: Neighbour | None) -> None:
        exchange = self._service.exchange
        if exchange.is_global:
            held = exchange.held.get(node_id)
            home = None if held is None else held.home
            if home != self._node.id and source is not None and source.is_global:
                return  # its home, and nobody else, is asked by globals
            target = exchange.neighbours.get(node_id if home == self._node.id else home or "")
        else:
            target = exchange.neighbours.get(exchange.home or "")
        if target is not None:
            target.say("back", node_id, asker, record)
            self._service.wake(target)

    def _dial_back(self, asker: str, record: Any) -> None:
        node = self._node
        addresses = usable(node, record)
        if node.closing or node.node_is_up(asker) or not addresses or asker == node.id:
            return
        node.learn(asker, *addresses)
        guard = node.watch(asker, lambda reason: None)

        def enough() -> None:
            guard.cancel()
            node.forget(asker, *addresses)

        self._service.later(DIAL_BACK_SECONDS, enough)
