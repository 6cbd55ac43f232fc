"""The log feed: records of a node, sent to those who catch them, as they are made.

    catcher -- log LEVEL PORT ------> node    a node request: records from LEVEL on, to PORT
    port    <-- begun LEVEL --------- node    granted; LEVEL is what the node itself logs from on
    port    <-- refused TEXT -------- node    not granted, and the remedy
    port    <-- records ROWS REPLY -- node    a batch; the next one waits for the answer
    port    <-- records ROWS -------- node    the last one, while the node closes

A row is ``[time, level, logger, text]``: seconds since the epoch, a number of `logging`, two
texts. A feed ends with its port, or with the link to its node.

Records are taken by one `logging.Handler` on the root logger, which is there only while somebody
catches: nobody pays for a feed that nobody wants. It is entered from any thread and blocks none:
it puts a row into the bounded buffer of each feed, and the loop sends what is there. What a feed
leaves out it counts, and says so in a row of its own.

Several nodes may live in one process. A record belongs to the node whose code made it: that of
the running port, or the current node. What no node's code made, in a thread, say, belongs to one
of those that are followed: the one that was followed first.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING

from . import reason as reasons
from .context import node_outside, running_port
from .errors import AmbiguousNodeError, PortKilled, UnsendableError
from .ids import check_port_id
from .monitor import Guard
from .reason import Reason

if TYPE_CHECKING:
    from .node import Node
    from .requests import Request

__all__ = ["MARK", "Feed", "Row", "feed"]

#: The attribute of a record that was made on another node: that node's ID. Such a record is never
#: sent on: two nodes that catch each other's records would send them to and fro for ever.
MARK = "aemp_node"

#: Records a feed takes at once after a rest, and those it takes per second in the long run.
BURST = 1_000
RATE = 100.0
#: Of `BURST`, what is kept for records of level WARNING and above.
RESERVE = 500
#: Records, and bytes of them, that wait for a catcher that is slow.
WAITING_RECORDS = 1_000
WAITING_BYTES = 2**20
#: Bytes of one record's text; a longer one is cut.
TEXT_BYTES = 2**13
#: Bytes of one batch, and seconds between two: what sending itself logs, in a thread or a callback
#: of a transport that we cannot know, makes ten batches a second at most, whatever it is.
BATCH_BYTES = 2**15
PAUSE_SECONDS = 0.1
#: Seconds between two rows that say how many records were left out.
NOTICE_SECONDS = 1.0
#: Feeds of one asking node, and of all.
PEER_FEEDS = 10
TOTAL_FEEDS = 100
#: Characters of a logger's name.
NAME_LENGTH = 200

#: What sends a feed's records, and everything it starts: what that logs is left out. If it were
#: sent, sending it would be logged, and sent.
_telling: ContextVar[bool] = ContextVar("aemp_telling", default=False)
_format = logging.Formatter()

Row = tuple[float, int, str, str]


def feed(request: Request, level: int, port: str) -> None:
    """Send records of this node from `level` on to `port`, as they are made; see `log_feed`."""
    if type(level) is not int or not 0 <= level <= 1_000:
        raise ValueError(f"{level!r:.100} is no level: 0 to 1000, as those of logging, is needed")
    node = request.node
    asker = node.id if request.session is None else request.session.id
    node_id, name = check_port_id(port)
    if node_id != asker or not name:
        raise PermissionError(f"{port!r:.100} is no port of {asker}: records go to the asker alone")
    why = _refusal(request, node, asker, port)
    if why:
        request.snd(port, "refused", why)
        raise PermissionError(why)
    handler.follow(node, port, level)
    request.snd(port, "begun", logging.getLogger().getEffectiveLevel())


def _refusal(request: Request, node: Node, asker: str, port: str) -> str:
    if not request.may("log"):
        return _remedy(node, asker)
    others = [each for each in handler.feeds if each.node is node and each.port != port]
    if sum(each.asker == asker for each in others) >= PEER_FEEDS or len(others) >= TOTAL_FEEDS:
        return f"{node.id} sends its log to as many as it can: end another catcher first"
    return ""


def _remedy(node: Node, asker: str) -> str:
    return (
        f"{asker} may not read the log of {node.id}: that needs the rule 'log', for example "
        f'rules = [{{ node = "{asker}", allow = ["log"] }}], in the configuration of {node.id}'
    )


class FeedHandler(logging.Handler):
    """The one handler of a process: it hands each record to the feeds that want it.

    Attributes:
        feeds: those there are, the oldest first; replaced, never changed, as any thread reads it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.feeds: tuple[Feed, ...] = ()

    def follow(self, node: Node, port: str, level: int) -> None:
        """Begin a feed, or change the level of the one to the same port."""
        for each in self.feeds:
            if each.node is node and each.port == port:
                each.level = level
                return self._changed()
        self.feeds += (Feed(node, port, level),)
        self._changed()

    def drop(self, feed: Feed) -> None:
        """A feed has ended."""
        self.feeds = tuple(each for each in self.feeds if each is not feed)
        self._changed()

    def _changed(self) -> None:
        root = logging.getLogger()
        if not self.feeds:
            root.removeHandler(self)
            return
        last_resort = logging.lastResort
        levels = [each.level for each in self.feeds]
        self.setLevel(min(levels + ([last_resort.level] if last_resort else [])))
        root.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Offer a record to the feeds of its node; called by `logging`, in any thread."""
        self._last_resort(record)
        feeds = self.feeds
        if not feeds or _telling.get() or hasattr(record, MARK):
            return
        # Formatting may log, too: the arguments of a record make their own texts.
        token = _telling.set(True)
        try:
            node = _maker() or feeds[0].node
            row = None
            for each in feeds:
                if each.node is node and record.levelno >= each.level and each.takes(record):
                    row = row or _row(record)
                    each.put(row)
        finally:
            _telling.reset(token)

    def _last_resort(self, record: logging.LogRecord) -> None:
        """`logging` prints warnings of a program that has no handler at all. This is one, but the
        program shall see them all the same."""
        last_resort = logging.lastResort
        if last_resort is None or logging.getLogger().handlers != [self]:
            return
        logger: logging.Logger | None = logging.getLogger(record.name)
        while logger is not None:
            if any(each is not self for each in logger.handlers):
                return
            logger = logger.parent
        if record.levelno >= last_resort.level:
            last_resort.handle(record)


handler = FeedHandler()


class Feed(Guard):
    """The records of one node on their way to one port.

    Args:
        node: whose records they are.
        port: where they go.
        level: the least severe that is sent.
    """

    def __init__(self, node: Node, port: str, level: int) -> None:
        self.node = node
        self.port = port
        self.asker = node.node_of(port)
        self.level = level
        # Records are put in by any thread, also by a signal handler in the midst of this one.
        self._lock = threading.RLock()
        self._waiting: deque[tuple[Row, int]] = deque()
        self._bytes = 0
        self._tokens = float(BURST)
        self._counted = node.loop.time()
        self._left_out: dict[int, int] = {}
        self._notice_at = self._counted
        self._awake = False
        self._wake = asyncio.Event()
        self._ended = False
        self._end = node.watch(port, self._lost)
        # While the node closes no task of it can wait for an answer: the rest goes unasked.
        self._close = node.watch(node.id, self._closing)
        self._task = node.own_task(None, self._tell(), name=f"log feed to {port}")

    def cancel(self) -> None:
        """End it; what waits is dropped."""
        if not self._ended:
            self._ended = True
            self._end.cancel()
            self._close.cancel()
            self._task.cancel()
            handler.drop(self)

    def _lost(self, reason: Reason) -> None:
        if reason[:1] == (reasons.SEND_LIMIT,) and not self._ended:
            # Other messages fill the link. The port is there, and will be told what it missed.
            self._end = self.node.watch(self.port, self._lost)
        else:
            self.cancel()

    # -- in any thread -----------------------------------------------------------------------

    def takes(self, record: logging.LogRecord) -> bool:
        """Whether there is room for a record within rate and buffer; if not, it is counted."""
        severe = record.levelno >= logging.WARNING
        with self._lock:
            now = self.node.loop.time()
            self._tokens = min(BURST, self._tokens + RATE * max(0.0, now - self._counted))
            self._counted = now
            spared = 0 if severe else RESERVE
            if (
                self._tokens >= 1 + spared
                and len(self._waiting) < WAITING_RECORDS - spared
                and self._bytes < WAITING_BYTES
            ):
                self._tokens -= 1
                return True
            self._left_out[record.levelno] = self._left_out.get(record.levelno, 0) + 1
            self._rouse()
            return False

    def put(self, row: Row) -> None:
        """Take a row for the next batch."""
        size = len(row[2]) + len(row[3].encode()) + 32
        with self._lock:
            self._waiting.append((row, size))
            self._bytes += size
            self._rouse()

    def _rouse(self) -> None:
        if not self._awake:
            self._awake = True
            with suppress(RuntimeError):  # the loop is closed: there is nobody to tell any more
                self.node.loop.call_soon_threadsafe(self._wake.set)

    # -- in the loop -------------------------------------------------------------------------

    async def _tell(self) -> None:
        _telling.set(True)
        loop = self.node.loop
        while True:
            await self._roused()
            if not self.node.rules.allow(self.asker, "log"):  # not any more
                self.node.snd(self.port, "refused", _remedy(self.node, self.asker))
                self.cancel()
                return
            rows = self._take()
            if not rows:
                continue
            began = loop.time()
            try:
                await self.node.cal(self.port, "records", rows)
            except UnsendableError:
                self._leave_out(rows)
            except PortKilled as error:
                if error.reason[:1] != (reasons.SEND_LIMIT,):
                    return
                self._leave_out(rows)
                await asyncio.sleep(NOTICE_SECONDS)
            await asyncio.sleep(max(0.0, began + PAUSE_SECONDS - loop.time()))

    async def _roused(self) -> None:
        """Wait for a record, or for the time to tell how many were left out."""
        seconds = None
        if self._left_out:
            seconds = max(0.0, self._notice_at - self.node.loop.time())
        if not self._waiting:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wake.wait(), seconds)

    def _take(self, *, last: bool = False) -> list[Row]:
        """What goes into the next batch; into the last ones, also what was left out."""
        rows: list[Row] = []
        size = 0
        # Before looking at what waits: a row that is put in after that look rouses us again.
        self._wake.clear()
        with self._lock:
            self._awake = False
            while self._waiting and (not rows or size + self._waiting[0][1] <= BATCH_BYTES):
                row, its_size = self._waiting.popleft()
                size += its_size
                rows.append(row)
            self._bytes -= size
            now = self.node.loop.time()
            if self._left_out and (last or now >= self._notice_at):
                self._notice_at = now + NOTICE_SECONDS
                left_out, self._left_out = self._left_out, {}
                rows.append(self._notice(left_out))
        return rows

    def _notice(self, left_out: dict[int, int]) -> Row:
        counts = ", ".join(f"{left_out[level]} {logging.getLevelName(level)}"
                           for level in sorted(left_out, reverse=True))  # fmt: skip
        text = f"{sum(left_out.values())} records were left out here: {counts}"
        return (self.node.wall_clock(), logging.WARNING, __name__, text)

    def _leave_out(self, rows: list[Row]) -> None:
        with self._lock:
            for row in rows:
                self._left_out[row[1]] = self._left_out.get(row[1], 0) + 1

    def _closing(self, reason: Reason) -> None:
        token = _telling.set(True)
        try:
            while rows := self._take(last=True):
                self.node.snd(self.port, "records", rows)
        except UnsendableError:
            pass
        finally:
            _telling.reset(token)
            self.cancel()


def _maker() -> Node | None:
    """The node whose code runs in this thread, if it is plain which."""
    port = running_port()
    if port is not None:
        return port.node  # type: ignore[return-value]
    try:
        return node_outside()
    except (AmbiguousNodeError, RuntimeError):
        return None  # several nodes on this loop; no loop in this thread


def _row(record: logging.LogRecord) -> Row:
    """A record as plain values."""
    try:
        text = _format.format(record)
    except Exception as error:  # a wrong number of arguments, say
        text = f"{record.msg!r:.1000} cannot be formatted: {type(error).__name__}: {error}"
    data = text.encode("utf-8", "backslashreplace")
    if len(data) > TEXT_BYTES:
        more = f" ... ({len(data)} bytes in all)"
        data = data[: TEXT_BYTES - len(more)].decode("utf-8", "ignore").encode() + more.encode()
    name = record.name.encode("utf-8", "backslashreplace").decode()[:NAME_LENGTH]
    return (float(record.created), int(record.levelno), name, data.decode())
