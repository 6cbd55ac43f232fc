"""Seeking: the way to nodes that something waits for, asked of the home until there is a link.

The home answers at once with what it knows, and again when that changes, until the seeker says
that it seeks no more. After a move to another home everything that is sought is asked for again.
What was learnt goes when the link does, so that an address which is out of date is not dialled for
ever.

    addresses we may dial --DIRECT_SECONDS--> ask it to dial back --BACK_SECONDS--> relay
    none of them -----------------------------^

Of a node of this machine the unix sockets are dialled alone at first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aemp_core import refusals
from aemp_core.ids import is_node_id

from .directory import NODES, check_record, near, usable
from .neighbour import Neighbour

if TYPE_CHECKING:
    from .service import Service

__all__ = ["Seeking"]

#: Nodes one neighbour may seek at a time.
SEEK_LIMIT = 10_000
#: Seconds beyond the dial deadline until it is noticed that nothing waits for a node any more.
SPARE_SECONDS = 1.0
#: Seconds for dialling alone, and then for the other to dial back, before a relay is tried.
DIRECT_SECONDS = 2.0
BACK_SECONDS = 1.0


class Sought:
    """One node that is sought."""

    __slots__ = ("addresses", "home", "look_back", "step")

    def __init__(self, look_back: Any) -> None:
        self.look_back = look_back
        self.step: Any = None
        self.home: str | None = None
        self.addresses: list[str] = []

    def cancel(self) -> None:
        for timer in (self.look_back, self.step):
            if timer is not None:
                timer.cancel()


class Seeking:
    """What one node seeks, and what others seek of it."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._node = service.node
        self._sought: dict[str, Sought] = {}
        self._learnt: dict[str, list[str]] = {}

    # -- for this node -----------------------------------------------------------------------

    def seek(self, node_id: str) -> None:
        """Something waits for a node: find out where it is."""
        if node_id in self._sought or node_id == self._node.id:
            return
        seconds = self._node.settings.monitor_timeout + SPARE_SECONDS
        later = self._service.later(seconds, lambda: self._look_back(node_id))
        self._sought[node_id] = Sought(later)
        if self._service.exchange.is_global:
            self.told(node_id, *self._where(node_id))
        else:
            self._service.ask_home("where", node_id)

    def _look_back(self, node_id: str) -> None:
        self.found(node_id)
        peer = self._node.peers.get(node_id)
        if peer is not None and peer.dialling:
            self.seek(node_id)

    def found(self, node_id: str) -> None:
        """There is a link to it, or nothing waits for it any more."""
        sought = self._sought.pop(node_id, None)
        if sought is not None:
            sought.cancel()
            if not self._service.exchange.is_global:
                self._service.ask_home("nowhere", node_id)

    def lost(self, node_id: str) -> None:
        """The link was lost: where the node is now has to be asked."""
        self._node.forget(node_id, *self._learnt.pop(node_id, ()))

    def renew(self) -> None:
        """There is another home: ask it for everything that is sought."""
        for node_id in self._sought:
            self._service.ask_home("where", node_id)

    def told(self, node_id: Any, record: Any, home: Any) -> None:
        """The record of a node and its home, or that there is none."""
        sought = self._sought.get(node_id)
        if sought is None:
            return
        sought.home = home if isinstance(home, str) and is_node_id(home) else None
        usable_ones = usable(self._node, record)
        if record is not None and not usable_ones:
            self._refuse(node_id, record)
        relayed = [each for each in self._learnt.get(node_id, ()) if each == f"relay://{node_id}"]
        sought.addresses = usable_ones
        first = [] if sought.home is None else near(usable_ones)
        self._learn(node_id, [*(first or usable_ones), *relayed])
        if sought.home is not None and sought.step is None:
            seconds = DIRECT_SECONDS if self._learnt[node_id] else 0.0
            sought.step = self._service.later(seconds, lambda: self._ask_back(node_id, sought))

    def _refuse(self, node_id: str, record: Any) -> None:
        try:
            addresses = check_record(record)[2]
        except ValueError as error:
            addresses = [str(error)]
        if addresses:
            refusals.warn(
                self._node.loop, "address", "no address of %s is ours to dial: %s",
                node_id, ", ".join(addresses),
            )  # fmt: skip

    def _learn(self, node_id: str, addresses: list[str]) -> None:
        old = [each for each in self._learnt.get(node_id, ()) if each not in addresses]
        self._node.forget(node_id, *old)
        self._learnt[node_id] = addresses
        self._node.learn(node_id, *addresses)

    def _ask_back(self, node_id: str, sought: Sought) -> None:
        others = [each for each in self._learnt.get(node_id, ()) if each not in sought.addresses]
        self._learn(node_id, [*sought.addresses, *others])
        asked = self._service.passage.ask_back(node_id)
        seconds = BACK_SECONDS if asked else 0.0
        sought.step = self._service.later(seconds, lambda: self._relay(node_id))

    def _relay(self, node_id: str) -> None:
        if self._node.settings.only_private:
            return  # see `Passage._listen`
        self._learn(node_id, [*self._learnt.get(node_id, ()), f"relay://{node_id}"])

    def home_of(self, node_id: str) -> str | None:
        """The home of a node, as far as it is known here."""
        exchange = self._service.exchange
        if exchange.is_global:
            held = exchange.held.get(node_id)
            return None if held is None else held.home
        sought = self._sought.get(node_id)
        return None if sought is None else sought.home

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

    def _where(self, node_id: str) -> tuple[Any, str | None]:
        """Record and home of a node."""
        held = self._service.exchange.held.get(node_id)
        record = self._service.families.values(NODES).get(node_id)
        return record, None if held is None or record is None else held.home

    def _answer(self, neighbour: Neighbour, node_id: str) -> None:
        neighbour.say("at", node_id, *self._where(node_id))
        self._service.wake(neighbour)

    def changed(self, node_id: str) -> None:
        """The record of a node changed."""
        exchange = self._service.exchange
        for neighbour in exchange.neighbours.values():
            if node_id in neighbour.seeks:
                self._answer(neighbour, node_id)
        if exchange.is_global and node_id in self._sought:
            self.told(node_id, *self._where(node_id))
