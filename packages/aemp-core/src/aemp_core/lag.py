"""Loop lag: how late the event loop is with what is due, measured while somebody asks.

A timer is due every tenth of a second; how late it is called is how long a message may have to
wait for its turn. It runs only for so long after the last question, so it costs nothing where
nobody looks: the first answer is that nothing is known yet.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from .timers import Timer

if TYPE_CHECKING:
    from .node import Node

__all__ = ["Lag"]

BEAT_SECONDS = 0.1
#: The worst of so many seconds is told.
WINDOW_SECONDS = 5.0
#: Measuring ends when nobody has asked for so many seconds.
ASKED_SECONDS = 30.0


class Lag:
    """How late the loop of one node is."""

    def __init__(self, node: Node) -> None:
        self._node = node
        # When each beat came, and how late that was.
        self._beats: deque[tuple[float, float]] = deque()
        self._asked = 0.0
        self._measuring = False
        self._due = 0.0  # when the next beat is, while measuring

    def ask(self) -> float | None:
        """Seconds the loop was late at most within the last five; None if that is not known yet.

        Measuring goes on for half a minute.
        """
        now = self._asked = self._node.loop.time()
        if not self._measuring:
            self._measuring = True
            self._beats.clear()
            self._arm(now)
        if not self._beats:
            return None
        # The loop reads before it looks at its timers: a beat that did not come yet is late, too.
        return max(0.0, now - self._due, *(late for _, late in self._beats))

    def _arm(self, now: float) -> None:
        self._due = now + BEAT_SECONDS
        Timer(self._node, None, BEAT_SECONDS, self._beat, repeat=False)

    def _beat(self) -> None:
        now = self._node.loop.time()
        self._beats.append((now, max(0.0, now - self._due)))
        while self._beats[0][0] < now - WINDOW_SECONDS:
            self._beats.popleft()
        self._measuring = now - self._asked <= ASKED_SECONDS and not self._node.closing
        if self._measuring:
            self._arm(now)
