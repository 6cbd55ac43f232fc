"""The run queue: everything that is to happen in a node's ports, in one order.

Messages, kills, notices of monitors and node events are items of one deque, drained from one
`call_soon`, so no handler ever runs inside the verb that caused it. An item is
``(receiver, message, source, size)``: the receiver's ``deliver(message, source, size)`` is called,
`source` is the session the message came over (None: from this node), `size` the bytes it took
there. A slice ends after 256 items or 5 ms, so that the loop gets to its input and timers.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context
from threading import get_ident
from typing import Any

from .errors import FATAL, NOT_HERE, WrongThread
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
        "_context", "_loop", "_thread", "armed", "items", "on_relief", "received", "strained",
    )  # fmt: skip

    def __init__(self, loop: asyncio.AbstractEventLoop, on_relief: Callable[[], None]) -> None:
        """`on_relief` is called when `received` fell below half after `strained` was set."""
        self.items: deque[tuple[Any, Any, Any, int]] = deque()
        self.armed = False
        self.received = 0
        self.strained = False
        self.on_relief = on_relief
        self._loop = loop
        self._thread = get_ident()
        # Not the context of whoever sends first: nothing of it may leak into other ports.
        self._context = Context()

    def put(self, receiver: Any, message: Any, source: Any = None, size: int = 0) -> None:
        """Queue one item at the tail."""
        self.items.append((receiver, message, source, size))
        if not self.armed:
            self.arm()

    def arm(self) -> None:
        """Have the queue drained in the next loop turn; `WrongThread` outside the loop's thread.

        The caller has queued its item already, so it is taken back on error.
        """
        try:
            self.check_thread()
        except WrongThread:
            self.items.pop()
            raise
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

    def check_thread(self) -> None:
        """Raise `WrongThread` outside the loop's thread."""
        if get_ident() != self._thread:
            raise WrongThread(NOT_HERE)

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
            receiver, message, source, size = take()
            if size:  # frames that came together: a stride of them at most
                self.received -= size
                done += receiver.deliver(message, source, size) or 1
            elif items and items[0][0] is receiver and type(receiver) is Port:
                done += self._run(receiver, message)
            else:
                receiver.deliver(message, source, 0)
                done += 1
            if done >= look:
                if done >= SLICE_ITEMS or clock() > ends:
                    return
                look = done + STRIDE

    def _run(self, port: Port, message: Any) -> int:
        """Handle a message, and up to a stride of those behind it for the same port."""
        items = self.items
        if port.mailbox is not None:  # nothing is won: each is only put there
            port.deliver(message, None, 0)
            return 1
        run = [message]
        while items and items[0][0] is port and not items[0][3] and len(run) < STRIDE:
            run.append(items.popleft()[1])
        rest = iter(run)
        following: Any = next(rest)
        try:
            while following is not None:
                following = port.deliver_run(following, rest, None, 0, 0)
        except BaseException:
            # It leaves the loop. If that is run again, the rest is handled.
            items.extendleft((port, left, None, 0) for left in reversed([*rest]))
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
