"""The mailbox of an async port: messages wait here until its coroutine receives them.

`get` takes the oldest message of one tag, `get_cond` the oldest that a predicate accepts,
`messages` all in order of arrival. Messages that a selective receive passed over are kept by
sequence number and by tag, so each is looked at once per kind of receive, however many wait.
The room is bounded: one message too many ends the port with ``mailbox_overflow``.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from . import backlog
from .backlog import Room
from .context import require_port, running_port
from .errors import CallTimeout, UsageError

if TYPE_CHECKING:
    from .ports import Port

__all__ = ["Mailbox", "check_timeout", "mailbox_of"]

Message = tuple[Any, ...]
Predicate = Callable[[Message], object]
_Entry = tuple[Message, Any, int]


class Mailbox:
    """The waiting messages of one async port."""

    __slots__ = ("_fresh", "_passed", "_port", "_serial", "_tags", "_waiters", "room")

    def __init__(self, port: Port) -> None:
        self._port = port
        self._fresh: deque[_Entry] = deque()
        # What a selective receive passed over, oldest first, and the same by tag.
        self._passed: OrderedDict[int, _Entry] = OrderedDict()
        self._tags: dict[str, deque[int]] = {}
        self._serial = 0
        self._waiters: list[asyncio.Future[bool]] = []
        self.room = Room(port.node.loop, port.node.settings.mailbox_limit)

    def put(self, message: Message, source: Any, size: int) -> None:
        """A message arrives."""
        room = self.room  # `Room.add`, without the call
        room.count += 1
        room.size += size
        if room.count > room.limit or room.size > backlog.ROOM_BYTES:
            self._port.die(room.overflow())
            return
        self._fresh.append((message, source, size))
        if self._waiters:
            self._wake(True)

    def put_all(self, messages: list[Message]) -> None:
        """Several messages of this node arrive."""
        room = self.room
        if room.count + len(messages) > room.limit:
            for message in messages:
                if not self._port.state:  # dead with the first that is too many
                    self.put(message, None, 0)
            return
        room.count += len(messages)
        self._fresh.extend([(message, None, 0) for message in messages])
        if self._waiters:
            self._wake(True)

    def drop(self) -> None:
        """The port died: nothing of this will be received."""
        self._fresh.clear()
        self._passed.clear()
        self._tags.clear()
        self.room.relieve()

    # -- receiving ---------------------------------------------------------------------------

    async def get(self, tag: str, timeout: float | None) -> Message:
        """The oldest message tagged `tag`, without the tag."""
        port, fresh = self._port, self._fresh
        if fresh and port.doomed is None and timeout is None and type(tag) is str:
            message = fresh[0][0]
            if message and message[0] == tag and not self._tags:  # as mostly: none was passed over
                _, port.source, size = fresh.popleft()
                room = self.room
                room.count -= 1
                room.size -= size
                if room.waiting:
                    room.relieve_if_low()
                return message[1:]
        return await self._get(tag, timeout)

    async def _get(self, tag: str, timeout: float | None) -> Message:
        check_timeout(timeout)
        if not isinstance(tag, str):
            raise UsageError(f"{tag!r} is no tag: tags are str (get_cond takes a predicate)")
        message = self._take_tag(tag)
        if message is None:
            message = await self._wait(
                lambda: self._take_tag(tag), timeout, f"message tagged {tag!r}"
            )
        return message[1:]

    async def get_cond(self, predicate: Predicate | None, timeout: float | None) -> Message:
        """The oldest message `predicate` accepts; without one, the oldest of all."""
        check_timeout(timeout)
        if predicate is not None and not callable(predicate):
            raise UsageError(f"get_cond({predicate!r}): give a function of a message, or nothing")
        if predicate is None:
            message = self.take()
            if message is None:
                message = await self._wait(self.take, timeout, "message")
            return message
        message = self._take_fitting(predicate)
        if message is None:
            message = await self._wait(
                lambda: self._take_fitting(predicate), timeout, "message that fits the condition"
            )
        return message

    async def messages(self) -> AsyncIterator[Message]:
        """Every message, in order of arrival, for as long as the port lives."""
        port, fresh, room = self._port, self._fresh, self.room
        while True:
            if fresh and not self._passed and port.doomed is None:
                message, port.source, size = fresh.popleft()  # `take`, without the calls
                room.count -= 1
                room.size -= size
                if room.waiting:
                    room.relieve_if_low()
                yield message
            else:
                taken = self.take()
                yield taken if taken is not None else await self._wait(self.take, None, "")

    def take(self) -> Message | None:
        """The oldest message that waits, or None."""
        if self._port.doomed is not None:
            return None
        if self._passed:
            serial, entry = self._passed.popitem(last=False)
            self._forget(serial, entry[0])
            return self._taken(entry)
        return self._taken(self._fresh.popleft()) if self._fresh else None

    def _taken(self, entry: _Entry) -> Message:
        message, self._port.source, size = entry
        room = self.room  # `Room.take`, without the call
        room.count -= 1
        room.size -= size
        if room.waiting:
            room.relieve_if_low()
        return message

    def _take_tag(self, tag: str) -> Message | None:
        if self._port.doomed is not None:
            return None
        if self._tags and tag in self._tags:
            return self._taken(self._passed.pop(self._first(tag, self._tags[tag])))
        return self._take_fresh(lambda message: bool(message) and message[0] == tag)

    def _first(self, tag: str, serials: deque[int]) -> int:
        serial = serials.popleft()
        if not serials:
            del self._tags[tag]
        return serial

    def _take_fitting(self, predicate: Predicate) -> Message | None:
        # What was passed over, too, at each try: another receiver may have done that meanwhile.
        message = self._take_passed(predicate)
        return self._take_fresh(predicate) if message is None else message

    def _take_passed(self, predicate: Predicate) -> Message | None:
        if self._port.doomed is not None:
            return None
        for serial, entry in self._passed.items():
            if predicate(entry[0]):
                del self._passed[serial]
                self._forget(serial, entry[0])
                return self._taken(entry)
        return None

    def _take_fresh(self, predicate: Predicate) -> Message | None:
        fresh = self._fresh
        while fresh and self._port.doomed is None:
            message = fresh[0][0]
            accepted = predicate(message)  # may raise: the message stays
            entry = fresh.popleft()
            if accepted:
                return self._taken(entry)
            self._serial += 1
            self._passed[self._serial] = entry
            if message and isinstance(message[0], str):
                self._tags.setdefault(message[0], deque()).append(self._serial)
        return None

    def _forget(self, serial: int, message: Message) -> None:
        """Take a passed message out of the order of its tag."""
        if message and isinstance(message[0], str):
            serials = self._tags[message[0]]
            if serials[0] == serial:
                serials.popleft()
            else:
                serials.remove(serial)  # taken by a predicate from the middle: rare
            if not serials:
                del self._tags[message[0]]

    async def _wait(
        self, take: Callable[[], Message | None], timeout: float | None, what: str
    ) -> Message:
        """Try `take` at each arrival until it gives a message or `timeout` seconds are over."""
        loop = self._port.node.loop
        ends = None if timeout is None else loop.time() + timeout
        while True:
            waiter = loop.create_future()
            self._waiters.append(waiter)
            alarm = None if ends is None else loop.call_at(ends, _resolve, waiter)
            try:
                arrived = await waiter
            finally:
                if alarm is not None:
                    alarm.cancel()
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
            message = take()
            if message is not None:
                return message
            if not arrived:
                raise CallTimeout(f"{self._port.id} got no {what} within {timeout} s")

    def _wake(self, arrived: bool) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(arrived)


def _resolve(waiter: asyncio.Future[bool]) -> None:
    if not waiter.done():
        waiter.set_result(False)


def check_timeout(timeout: float | None) -> None:
    """Raise `UsageError` unless `timeout` is None or a number of seconds, 0 or more."""
    if timeout is not None and not (isinstance(timeout, (int, float)) and timeout >= 0):
        raise UsageError(f"timeout={timeout!r}: give seconds, 0 or more, or None to wait for ever")


def mailbox_of(verb: str) -> Mailbox:
    """The mailbox of the current port; `UsageError` if it is no async port."""
    port = running_port() or require_port(verb)
    if port.mailbox is None:
        raise UsageError(
            f"{verb} receives in an async port, and {port.id} is none: make it with port_async, "
            "or attach an async function with rcv_async"
        )
    return port.mailbox
