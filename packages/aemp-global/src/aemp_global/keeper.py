"""The keeper: nodes to which this one keeps a link, dialled again whenever it is lost.

A monitor on a node is what makes core dial it. The keeper sets one, and another one soon after it
fired: core itself pauses between the attempts to reach a node that cannot be reached.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from aemp_core.monitor import Guard
from aemp_core.node import Node
from aemp_core.timers import Timer

__all__ = ["Keeper"]

#: Seconds from the loss of a link until it is dialled again, at most.
PAUSE_SECONDS = 0.25
#: Seconds without a link after which a node is given up; whoever hears of it again begins anew.
FORGET_SECONDS = 3_600.0


class Kept:
    """One node to keep a link to."""

    __slots__ = ("guard", "seen", "timer")

    def __init__(self, now: float) -> None:
        self.guard: Guard | None = None
        self.timer: Guard | None = None
        self.seen = now

    def cancel(self) -> None:
        for guard in (self.guard, self.timer):
            if guard is not None:
                guard.cancel()


class Keeper:
    """The links one node keeps.

    Args:
        node: the node.
        given_up: called with the ID of a node that was not reached for a long time.
    """

    def __init__(self, node: Node, given_up: Callable[[str], None]) -> None:
        self._node = node
        self._given_up = given_up
        self._kept: dict[str, Kept] = {}

    def __contains__(self, node_id: str) -> bool:
        return node_id in self._kept

    def keep(self, node_id: str) -> None:
        """Have a link to a node, from now on."""
        if node_id != self._node.id and node_id not in self._kept and not self._node.closing:
            kept = self._kept[node_id] = Kept(self._node.loop.time())
            self._dial(node_id, kept)

    def drop(self, node_id: str) -> None:
        """It need not be kept any more; a link there is stays."""
        kept = self._kept.pop(node_id, None)
        if kept is not None:
            kept.cancel()

    def close(self) -> None:
        """Keep nothing."""
        for node_id in list(self._kept):
            self.drop(node_id)

    def _dial(self, node_id: str, kept: Kept) -> None:
        kept.timer = None
        kept.guard = self._node.watch(node_id, lambda reason: self._lost(node_id, kept))

    def _lost(self, node_id: str, kept: Kept) -> None:
        if self._kept.get(node_id) is not kept or self._node.closing:
            return
        now = self._node.loop.time()
        if now - kept.seen > FORGET_SECONDS:
            self.drop(node_id)
            self._given_up(node_id)
            return
        pause = PAUSE_SECONDS * self._node.random.uniform(0.5, 1.0)
        again = partial(self._dial, node_id, kept)
        kept.timer = Timer(self._node, None, pause, again, repeat=False)

    def up(self, node_id: str) -> None:
        """A link came up, or was there until now."""
        kept = self._kept.get(node_id)
        if kept is not None:
            kept.seen = self._node.loop.time()
