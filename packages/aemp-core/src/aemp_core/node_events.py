"""Node events: links that come up and are lost, told in order with messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .monitor import Guard
from .ports import Port
from .reason import Reason

if TYPE_CHECKING:
    from .router import Router

__all__ = ["NodeCallback", "NodeWatch"]

NodeCallback = Callable[[str, bool, Reason], object]


class NodeWatch(Guard):
    """One `mon_nodes`."""

    __slots__ = ("_callback", "_node", "_owner", "active")

    def __init__(self, node: Router, owner: Port | None, callback: NodeCallback) -> None:
        self.active = True
        self._node = node
        self._owner = owner
        self._callback = callback
        node.node_watches[self] = None
        if owner is not None:
            owner.add_job(self)

    def cancel(self) -> None:
        self.active = False
        self._node.node_watches.pop(self, None)
        if self._owner is not None:
            self._owner.drop_job(self)

    def deliver(self, event: tuple[str, bool, Reason]) -> None:
        """Tell of one event: an item of the run queue."""
        if self.active:
            self._node.call_in(self._owner, self._callback, *event)
