"""Monitors: one-shot watches on ports, and the guards that take them back.

A watch sits in the table of what it watches: a `Port` of this node or, for a port elsewhere, a
`Target` of its `Peer`. When the watched port ends the watch becomes an item of the run queue, and
fires when it is delivered; a `cancel` in between still holds. Three forms: call a function, kill
another port, send another port a message.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from .reason import Reason

if TYPE_CHECKING:
    from .ports import Port
    from .router import Router

__all__ = ["Guard", "Watch", "Watched"]


class Guard:
    """What `mon`, `after`, `every` and their kin return: it takes back what they began.

    Dropping a guard changes nothing; only `cancel` does.
    """

    __slots__ = ()

    def cancel(self) -> None:
        """Take it back: it will not fire any more, even if its notice is queued. Idempotent."""
        raise NotImplementedError


class Watched(Protocol):
    """What holds a table of watches."""

    def unwatch(self, watch: Any, /) -> None:
        """Drop a watch that fired or was cancelled."""


class Watch(Guard):
    """One monitor."""

    __slots__ = ("_callback", "_message", "_node", "_other", "_owner", "_table", "active")

    def __init__(
        self,
        node: Router,
        owner: Port | None,
        callback: Callable[[Reason], object] | None,
        other: str,
        message: tuple[Any, ...],
    ) -> None:
        self.active = True
        self._node = node
        self._owner = owner
        self._callback = callback
        self._other = other
        self._message = message
        self._table: Watched | None = None
        local = node.ports.get(other)
        if local is not None:
            local.add_dependent(self)

    def attach(self, table: Watched) -> None:
        """Note in whose table the watch is."""
        self._table = table

    def cancel(self) -> None:
        if self.active:
            self._end()

    def _end(self) -> None:
        self.active = False
        table, self._table = self._table, None
        if table is not None:
            table.unwatch(self)
        if self._callback is None:
            local = self._node.ports.get(self._other)
            if local is not None:
                local.drop_dependent(self)

    def deliver(self, reason: Reason) -> None:
        """Fire, unless cancelled meanwhile."""
        if not self.active:
            return
        self._end()
        if self._callback is not None:
            self._node.call_in(self._owner, self._callback, reason)
        elif self._message:
            self._tell(self._message + reason)
        elif reason:
            self._kill(reason)

    def _tell(self, message: tuple[Any, ...]) -> None:
        local = self._node.ports.get(self._other)
        if local is not None:
            # Delivered, not sent: nothing may arrive between the end of the hole and its notice.
            local.deliver(message, None, 0)
        else:
            self._node.forward(self._other, message)

    def _kill(self, reason: Reason) -> None:
        local = self._node.ports.get(self._other)
        if local is not None:
            local.die(reason)
        else:
            self._node.forward_kil(self._other, reason)
