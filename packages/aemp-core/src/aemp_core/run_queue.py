"""The run queue: everything that is to happen in a node's ports, in one order.

Messages, kills, notices of monitors and node events are items of one deque, drained from one
`call_soon`, so no handler ever runs inside the verb that caused it. An item takes two places, the
receiver and the message, and becomes ``receiver.deliver(message)``: a tuple of the two would be one
more object for the garbage collector to look at, again and again, while a million of them wait. A
slice ends after 256 items or 5 ms, so that the loop gets to its input and timers.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Any

from .errors import FATAL
from .ports import Port

__all__ = ["RunQueue"]

SLICE_ITEMS = 256
SLICE_SECONDS = 0.005
#: Items between two looks at the clock.
STRIDE = 32
#: Reading from links pauses while more bytes than this wait here, and resumes below half.
RECEIVED_LIMIT = 8 * 1024 * 1024


class RunQueue:
    """One deque per node and the callback that drains it."""

    __slots__ = (
        "_context", "_loop", "armed", "items", "on_relief", "received", "strained",
    )  # fmt: skip

    def __init__(self, loop: asyncio.AbstractEventLoop, on_relief: Callable[[], None]) -> None:
        """`on_relief` is called when `received` fell below half after `strained` was set."""
        self.items: deque[Any] = deque()
        self.armed = False
        self.received = 0
        self.strained = False
        self.on_relief = on_relief
        self._loop = loop
        # Not the context of whoever sends first: nothing of it may leak into other ports.
        self._context = Context()

    def put(self, receiver: Any, message: Any) -> None:
        """Queue one item at the tail."""
        self.items.append(receiver)
        self.items.append(message)
        if not self.armed:
            self.arm()

    def put_first(self, receiver: Any, message: Any) -> None:
        """Queue one item at the head, from within another: the queue is armed."""
        self.items.appendleft(message)
        self.items.appendleft(receiver)

    def arm(self) -> None:
        """Have the queue drained in the next loop turn."""
        self._loop.call_soon(self._drain, context=self._context)
        self.armed = True

    def work_on(self, port: Any, frame: list[Any], source: Any, size: int) -> None:
        """`work` for one frame that was not queued, and whose port is known."""
        self.armed = True
        try:
            port.deliver(frame, source, size, 1)
        except FATAL as error:
            self._loop.call_soon(_leave, error, context=self._context)
        finally:
            if self.items or self.strained:
                self._rearm()
            else:
                self.armed = False

    def work(self) -> None:
        """Handle what was just queued at once, without waiting for another turn of the loop.

        For callbacks of the loop alone, and only if the queue was not armed: nothing else waits.
        """
        self.armed = True
        try:
            self._context.run(self._slice)
        except FATAL as error:
            # The transport that called may swallow it; the loop lets it out, before it goes on.
            self._loop.call_soon(_leave, error, context=self._context)
        finally:
            self._rearm()

    def _drain(self) -> None:
        try:
            self._slice()
        finally:
            # Also when SystemExit or KeyboardInterrupt leaves the loop: it may be run again.
            self._rearm()

    def _slice(self) -> None:
        items = self.items
        take = items.popleft
        clock = self._loop.time
        ends = clock() + SLICE_SECONDS
        done, look = 0, STRIDE
        while items:
            receiver = take()
            message = take()
            if items and items[0] is receiver and type(receiver) is Port:
                done += self._run(receiver, message)
            else:
                # Of frames that came together, a stride at most, it says how many they were.
                done += receiver.deliver(message) or 1
            if done >= look:
                if done >= SLICE_ITEMS or clock() > ends:
                    return
                look = done + STRIDE

    def _run(self, port: Port, message: Any) -> int:
        """Handle a message, and up to a stride of those behind it for the same port."""
        if port.mailbox is not None and (port.tagged or port.state):
            port.deliver(message)
            return 1
        items = self.items
        take = items.popleft
        run = [message]
        while items and items[0] is port and len(run) < STRIDE:
            take()
            run.append(take())
        if port.mailbox is not None:
            port.mailbox.put_all(run)
            return len(run)
        rest = iter(run)
        following: Any = next(rest)
        try:
            while following is not None:
                following = port.deliver_run(following, rest, None, 0, 0)
        except BaseException:
            # It leaves the loop. If that is run again, the rest is handled.
            for left in reversed([*rest]):
                self.put_first(port, left)
            raise
        return len(run)

    def _rearm(self) -> None:
        if self.items:
            self._loop.call_soon(self._drain, context=self._context)
        else:
            self.armed = False
        if self.strained and self.received < RECEIVED_LIMIT // 2:
            self.strained = False
            self.on_relief()


def _leave(error: BaseException) -> None:
    raise error
