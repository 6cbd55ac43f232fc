"""Roles of the tests of notices: a watcher, and the watched."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from functools import partial
from typing import Any

from .actor import Actor, heard_at, notice_bytes

__all__ = ["Watched", "Watcher"]

#: How late timers are is looked at so often, and remembered for so many times.
LAG_SECONDS = 0.02
LAG_COUNT = 150


class Watched(Actor):
    """A node with one port, which counts what it gets."""

    async def open(self, **settings: Any) -> None:
        notice_bytes()
        await super().open(**settings)
        self.got = 0
        self.port = self.node.port(self._take)
        # An alarm of the watched: it lost the watcher.
        self.node.mon_nodes(lambda node, up, reason: up or self.tell("alarm", node=node))

    def target(self) -> str:
        """The port to be watched."""
        return self.port

    def chatter(self, port: str, seconds: float = 0.002) -> None:
        """Send to `port` for ever."""
        self.node.every(seconds, port, "chatter", b"x" * 200)

    def dawdle(self, seconds: float) -> None:
        """From now on take so long for each message."""
        self.pause = seconds

    pause = 0.0

    def _take(self, *message: Any) -> None:
        self.got += 1
        if self.pause:
            time.sleep(self.pause)


class Watcher(Actor):
    """A node that reports whenever a monitor of it fires.

    A report tells how long the other node was silent, and by how much timers were late lately:
    nine of them run one after the other before silence counts.
    """

    async def open(self, **settings: Any) -> None:
        notice_bytes()
        await super().open(**settings)
        self.sink = self.node.port(lambda *message: None)
        self.lags: deque[float] = deque(maxlen=LAG_COUNT)
        self.node.task(self._look_at_the_clock())

    def target(self) -> str:
        """A port for others to send to."""
        return self.sink

    def watch(self, port: str) -> None:
        """Watch a port, and report when the monitor fires."""
        self.node.mon(port, partial(self._fired, port))

    def chatter(self, port: str, seconds: float = 0.002) -> None:
        """Send to `port` until it is lost."""
        beat = self.node.every(seconds, port, "chatter", b"x" * 200)
        self.node.mon(port, lambda reason: beat.cancel())

    def stall(self, seconds: float) -> None:
        """Hold the loop up, as code that does not give way."""
        time.sleep(seconds)

    def _fired(self, port: str, reason: tuple[Any, ...]) -> None:
        node = self.node.node_of(port)
        heard = heard_at.get(node)
        silence = None if heard is None else time.monotonic() - heard
        lag = max(self.lags, default=0.0)
        self.tell("fired", port=port, node=node, reason=list(reason), silence=silence, lag=lag)

    async def _look_at_the_clock(self) -> None:
        clock = self.node.loop.time
        while True:
            due = clock() + LAG_SECONDS
            await asyncio.sleep(LAG_SECONDS)
            self.lags.append(max(0.0, clock() - due))
