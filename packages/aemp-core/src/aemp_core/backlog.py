"""The backlog of a port: messages that wait while an async handler of it runs.

One long-lived task per such port awaits the handler's awaitable, then handles what came in
meanwhile, in order, and hands the port back to the short way. The room is bounded: what is over
it ends the port with ``mailbox_overflow``.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any

from . import reason as reasons
from .errors import FATAL, NoHandler
from .reason import Reason

if TYPE_CHECKING:
    from .ports import Port

__all__ = ["Backlog", "Room", "discard", "is_awaitable"]

#: Bytes received over links that may wait for one port; local messages take none.
ROOM_BYTES = 64 * 1024 * 1024
_NEVER_AWAITED = frozenset({type(None), bool, int, float, str, bytes, list, tuple, dict})
#: Callbacks that wait for room in one port.
WAITING_LIMIT = 1_000
#: Messages handled before the loop gets its turn.
STRIDE = 64


class Room:
    """How much waits for one port, and who wants to know when half of it is free."""

    __slots__ = ("_loop", "count", "limit", "size", "waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop, limit: int) -> None:
        self._loop = loop
        self.limit = limit
        self.waiting: deque[tuple[Callable[[], None], Callable[[], None]]] = deque()
        self.count = 0
        self.size = 0

    def add(self, size: int) -> Reason | None:
        """One more message; the reason to end the port for if that is one too many."""
        self.count += 1
        self.size += size
        if self.count > self.limit or self.size > ROOM_BYTES:
            return self.overflow()
        return None

    def overflow(self) -> Reason:
        """Why a port ends for which too much waits."""
        return (
            reasons.MAILBOX_OVERFLOW,
            f"{self.count} messages with {self.size} bytes received wait; the limits are "
            f"{self.limit} and {ROOM_BYTES}",
        )

    def take(self, size: int) -> None:
        """One message less."""
        self.count -= 1
        self.size -= size
        if self.waiting:
            self.relieve_if_low()

    def relieve_if_low(self) -> None:
        """Tell those who wait, if half of the room is free."""
        if self.low:
            self.relieve()

    @property
    def low(self) -> bool:
        """Whether half of the room, or more, is free."""
        return self.count * 2 <= self.limit and self.size * 2 <= ROOM_BYTES

    def when_low(self, again: Callable[[], None], give_up: Callable[[], None]) -> None:
        """Call `again` when the room is low, or will never be needed again; never at once.

        Of too many who wait the oldest's `give_up` is called: peers may ask for this.
        """
        self.waiting.append((again, give_up))
        if len(self.waiting) > WAITING_LIMIT:
            _, oldest = self.waiting.popleft()
            self._loop.call_soon(oldest, context=Context())
        elif self.low:
            self.relieve()

    def relieve(self) -> None:
        """Tell those who wait, outside of whatever code made the room."""
        waiting, self.waiting = self.waiting, deque()
        for again, _ in waiting:
            self._loop.call_soon(again, context=Context())


class Backlog:
    """The waiting messages of one port, and the task that works them off."""

    __slots__ = ("_awaitable", "_items", "_message", "_port", "_task", "_wake", "room")

    def __init__(self, port: Port) -> None:
        self._port = port
        self._items: deque[tuple[tuple[Any, ...], Any, int]] = deque()
        self._awaitable: Any = None
        self._message: tuple[Any, ...] = ()
        self._task: asyncio.Task[None] | None = None
        self._wake: asyncio.Future[None] | None = None
        self.room = Room(port.node.loop, port.node.settings.mailbox_limit)

    def hold(self, awaitable: Any, message: tuple[Any, ...]) -> None:
        """Finish `awaitable`, which handles `message`, before anything else of the port."""
        self._awaitable = awaitable
        self._message = message
        if self._task is None:
            self._task = self._port.node.own_task(self._port, self._run(), in_context=True)
        elif self._wake is not None:
            self._wake.set_result(None)
            self._wake = None

    def put(self, message: tuple[Any, ...], source: Any, size: int) -> None:
        """A message that has to wait."""
        overflow = self.room.add(size)
        if overflow is not None:
            self._port.die(overflow)
        else:
            self._items.append((message, source, size))

    def drop(self) -> None:
        """The port died: nothing of this will be handled."""
        self._items.clear()
        self.room.relieve()
        awaitable, self._awaitable = self._awaitable, None
        discard(awaitable)

    async def _run(self) -> None:
        port = self._port
        loop = port.node.loop
        while port.alive:
            awaitable, self._awaitable = self._awaitable, None
            await self._finish(awaitable, self._message)
            handled = 0
            while self._items and port.alive:
                message, source, size = self._items.popleft()
                self.room.take(size)
                await self._handle(message, source, size)
                handled += 1
                if handled % STRIDE == 0:
                    await asyncio.sleep(0)
            port.open_again()
            if port.alive:
                self._wake = loop.create_future()
                await self._wake

    async def _handle(self, message: tuple[Any, ...], source: Any, size: int) -> None:
        """As `Port.deliver`, but we are in the port's context already."""
        port = self._port
        handler: Any = None
        if port.tagged:
            try:
                handler = port.tagged.get(message[0])
            except Exception:
                pass  # no element, or one that is no tag: a local one may raise anything
        if handler is not None:
            arguments = message[1:]
        elif port.mailbox is not None:
            port.mailbox.put(message, source, size)
            return
        else:
            handler, arguments = port.default, message
        port.source = source
        if handler is None:
            port.failed(NoHandler.of(message), message)
            return
        port.running = True
        result = None
        try:
            result = handler(*arguments)
        except FATAL:
            raise
        except BaseException as error:
            port.running = False
            port.failed(error, message)
        finally:
            port.running = False
        if is_awaitable(result):
            await self._finish(result, message)
        elif port.doomed is not None:
            port.die(port.doomed)

    async def _finish(self, awaitable: Any, message: tuple[Any, ...]) -> None:
        port = self._port
        try:
            await awaitable
        except FATAL:
            raise
        except asyncio.CancelledError as error:
            if not port.alive:
                raise  # the port died and took this task with it
            port.failed(error, message)
        except BaseException as error:
            port.failed(error, message)
        if port.doomed is not None:
            port.die(port.doomed)


def is_awaitable(value: Any) -> bool:
    """As `inspect.isawaitable`, but quick to say so of what handlers usually return."""
    return type(value) not in _NEVER_AWAITED and inspect.isawaitable(value)


def discard(awaitable: Any) -> None:
    """Close a coroutine that never began, so that Python does not warn of it."""
    if inspect.iscoroutine(awaitable) and inspect.getcoroutinestate(awaitable) == "CORO_CREATED":
        awaitable.close()
