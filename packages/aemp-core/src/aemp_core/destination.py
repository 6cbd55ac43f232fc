"""A destination: what messages to a port ID of this node are delivered to, while it lives.

`Port` has handlers, and code of its own; a call is no more than what waits for its answer (see
`calls`). Both can be watched, and die: in one step, in which no code of a watcher runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from .reason import Reason

if TYPE_CHECKING:
    from .ids import PortID
    from .monitor import Watch
    from .router import Router

__all__ = ["BUSY", "DEAD", "OPEN", "Destination"]

# States. A destination that is busy keeps what comes in for later.
OPEN, BUSY, DEAD = 0, 1, 2


class Destination:
    """What has a port ID. Subclasses set all of the slots."""

    __slots__ = ("dependents", "id", "node", "state", "watches")

    node: Router
    id: PortID
    state: int
    # Tables are made on first use: most ports of a large program never need one.
    watches: dict[Any, None] | None
    dependents: dict[Watch, None] | None

    def deliver(
        self, message: Sequence[Any], source: Any = None, size: int = 0, at: int = 0
    ) -> None:
        """Handle one message of the run queue, or put it where it waits.

        Args:
            message: its elements begin at `at`: in a frame the name of the port is first.
            source: the session it came over; None: from this node.
            size: the bytes it took there.
        """
        raise NotImplementedError

    def deliver_run(
        self, message: Sequence[Any], rest: Iterator[Sequence[Any]], source: Any, size: int, at: int
    ) -> Sequence[Any] | None:
        """`deliver` for a message, and perhaps for those of `rest` behind it that are for this.

        Frames (`at` is 1) are for this as long as they name the same; other messages all are.
        Returns the message to go on with, None if there is none left.
        """
        self.deliver(message, source, size, at)
        return next(rest, None)

    @property
    def alive(self) -> bool:
        """Whether it has not died yet."""
        return self.state != DEAD

    def watch(self, watch: Any) -> None:
        """Have `watch` delivered the reason when this dies."""
        if self.watches is None:
            self.watches = {}
        self.watches[watch] = None

    def unwatch(self, watch: Any) -> None:
        """Drop a watch."""
        if self.watches is not None:
            self.watches.pop(watch, None)

    def add_dependent(self, watch: Watch) -> None:
        """`watch` kills or tells this; it ends when this does."""
        if self.dependents is None:
            self.dependents = {}
        self.dependents[watch] = None

    def drop_dependent(self, watch: Watch) -> None:
        """`watch` fired or was cancelled."""
        if self.dependents is not None:
            self.dependents.pop(watch, None)

    def die(self, reason: Reason) -> None:
        """End it: one step, in which no code of a watcher runs."""
        if self.state == DEAD:
            return
        self.state = DEAD
        node = self.node
        node.ports.pop(self.id, None)
        if self.watches:
            watches, self.watches = self.watches, None
            for watch in watches:
                node.queue.put(watch, reason)
        if self.dependents:
            dependents, self.dependents = self.dependents, None
            for watch in dependents:
                watch.cancel()
