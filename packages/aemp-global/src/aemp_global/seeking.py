"""Seeking: addresses of nodes that something waits for, asked of the home until they are known.

The home answers at once with what it knows, and again when that changes, until the seeker says
that it seeks no more. After a move to another home everything that is sought is asked for again.
What was learnt goes when the link does, so that an address which is out of date is not dialled for
ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aemp_core.ids import is_node_id

from .directory import NODES, usable
from .neighbour import Neighbour

if TYPE_CHECKING:
    from .service import Service

__all__ = ["Seeking"]

#: Nodes one neighbour may seek at a time.
SEEK_LIMIT = 10_000
#: Seconds beyond the dial deadline until it is noticed that nothing waits for a node any more.
SPARE_SECONDS = 1.0


class Seeking:
    """What one node seeks, and what others seek of it."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._node = service.node
        self._sought: dict[str, Any] = {}
        self._learnt: dict[str, list[str]] = {}

    # -- for this node -----------------------------------------------------------------------

    def seek(self, node_id: str) -> None:
        """Something waits for a node: find out where it is."""
        if node_id in self._sought or node_id == self._node.id:
            return
        seconds = self._node.settings.monitor_timeout + SPARE_SECONDS
        self._sought[node_id] = self._service.later(seconds, lambda: self._look_back(node_id))
        self._ask("where", node_id)

    def _ask(self, verb: str, node_id: str) -> None:
        if not self._service.exchange.is_global:
            self._service._ask_home(verb, node_id)

    def _look_back(self, node_id: str) -> None:
        self.found(node_id)
        peer = self._node.peers.get(node_id)
        if peer is not None and peer.dialling:
            self.seek(node_id)

    def found(self, node_id: str) -> None:
        """There is a link to it, or nothing waits for it any more."""
        timer = self._sought.pop(node_id, None)
        if timer is not None:
            timer.cancel()
            self._ask("nowhere", node_id)

    def lost(self, node_id: str) -> None:
        """The link was lost: where the node is now has to be asked."""
        self._node.forget(node_id, *self._learnt.pop(node_id, ()))

    def renew(self) -> None:
        """There is another home: ask it for everything that is sought."""
        for node_id in self._sought:
            self._ask("where", node_id)

    def told(self, node_id: Any, record: Any) -> None:
        """The record of a node, or that it has none."""
        if node_id not in self._sought:
            return
        addresses = usable(self._node, record)
        old = [each for each in self._learnt.get(node_id, ()) if each not in addresses]
        self._node.forget(node_id, *old)
        self._learnt[node_id] = addresses
        self._node.learn(node_id, *addresses)

    # -- for others --------------------------------------------------------------------------

    def asked(self, neighbour: Neighbour, node_id: Any) -> None:
        """A neighbour seeks a node."""
        if not isinstance(node_id, str) or not is_node_id(node_id):
            raise ValueError(f"{node_id!r:.100} is no node ID")
        if not self._service.exchange.is_global:
            return
        if len(neighbour.seeks) >= SEEK_LIMIT:
            raise ValueError(f"it seeks {SEEK_LIMIT} nodes already")
        neighbour.seeks[node_id] = None
        self._answer(neighbour, node_id)

    def _answer(self, neighbour: Neighbour, node_id: str) -> None:
        record = self._service.families.values(NODES).get(node_id)
        neighbour.control.append(("at", node_id, record))
        self._service.wake(neighbour)

    def changed(self, node_id: str) -> None:
        """The record of a node changed."""
        exchange = self._service.exchange
        for neighbour in exchange.neighbours.values():
            if node_id in neighbour.seeks:
                self._answer(neighbour, node_id)
        if exchange.is_global and node_id in self._sought:
            self.told(node_id, self._service.families.values(NODES).get(node_id))
