"""The log catcher: the records of other nodes, as they happen, whichever nodes come and go.

As a service it puts them into the log of its own node::

    services = ["aemp_core.services.log"]
    services = [["aemp_core.services.log:catch", "WARNING", "worker/*"]]

and ``aemp log`` shows them on a terminal. How records get here is told in `aemp_core.log_feed`. A
batch is answered when it was shown, and until then its node sends no other one: so a terminal that
stands still costs a batch for each node, and the nodes count what they leave out.
"""

from __future__ import annotations

import asyncio
import fnmatch
import logging
from collections.abc import Awaitable, Callable, Iterable
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import refusals
from ..cli.text import printable
from ..errors import NodeClosed, TransportError, UsageError
from ..ids import node_of
from ..log_feed import MARK, TEXT_BYTES
from ..monitor import Guard
from ..presence import Presence
from ..reason import Reason, describe, text_of
from ..verbs import current_node, current_sender

if TYPE_CHECKING:
    from ..node import Node

__all__ = ["LogCatcher", "LogEntry", "catch", "level_of"]

log = logging.getLogger(__name__)

#: Seconds before a node that is in the network, and has no link, is dialled: commands that visit
#: for a moment are left in peace.
LINGER_SECONDS = 0.5
#: Seconds between two attempts to reach one: the longest pause.
LONGEST_PAUSE = 30.0


class LogEntry(NamedTuple):
    """One record of a node.

    Attributes:
        node: the node it was made on, as its link proves.
        time: when, in seconds since the epoch, by the clock there.
        level: how severe, a number of `logging`.
        logger: the name of the logger.
        text: the message, with the traceback, if there was one, in further lines.
    """

    node: str
    time: float
    level: int
    logger: str
    text: str

    @property
    def lines(self) -> str:
        """The text without control characters; its further lines are indented."""
        return "\n    ".join(map(printable, self.text.split("\n")))


class LogCatcher(Guard):
    """Gets the records of other nodes, those that join later too, until it is cancelled.

    Args:
        node: the node that catches; its own records are not caught.
        show: ``await show(entries)``, for each batch of one node. While it waits the nodes wait,
            and count what they leave out.
        level: the least severe that is wanted, a number of `logging`.
        nodes: patterns of the nodes that are wanted; none: all. Those without ``*?[`` are dialled
            even if nobody knows them yet.
        told: ``told(node_id, text)``, called when records of a node begin to come, cannot come, or
            come no more.
    """

    def __init__(
        self,
        node: Node,
        show: Callable[[list[LogEntry]], Awaitable[None]],
        *,
        level: int = logging.INFO,
        nodes: Iterable[str] = (),
        told: Callable[[str, str], object] = lambda node_id, text: None,
    ) -> None:
        self._node = node
        self._show = show
        self._level = level
        self._patterns = tuple(nodes) or ("*",)
        self._told = told
        # The nodes that were asked, and those that are dialled.
        self._asked: dict[str, None] = {}
        self._reaching: dict[str, asyncio.Task[None]] = {}
        self._open()
        # Told of a loss before us: whoever is still present then is worth dialling.
        self._presence = Presence(node, self._present)
        self._links = node.mon_nodes(self._linked)
        for node_id in node.up_nodes():
            self._ask(node_id)
        for name in self._patterns:
            if not any(character in name for character in "*?["):
                self._reach(name)

    def _open(self) -> None:
        """Make the port that records come to."""
        node = self._node
        self._port = node.port(on_error=self._failed)
        node.rcv(self._port, begun=self._begun, refused=self._refused, records=self._records)
        self._end = node.watch(self._port, self._killed)

    def _killed(self, reason: Reason) -> None:
        # Any node of the network may kill a port, and so end every feed.
        if not self._node.closing:
            self._told(
                self._node.id, f"its port was killed, there is a new one: {describe(reason)}"
            )
            self._open()
            asked, self._asked = self._asked, {}
            for node_id in asked:
                self._ask(node_id)

    def _failed(self, error: BaseException, message: Any) -> None:
        """A message that makes no sense, or records that could not be shown."""
        refusals.warn(self._node.loop, "log record", "records: %s", text_of(error))

    def cancel(self) -> None:
        """Catch no more; nodes notice by the end of our port."""
        self._end.cancel()
        self._presence.cancel()
        self._links.cancel()
        for task in self._reaching.values():
            task.cancel()
        if not self._node.closing:
            self._node.kil(self._port)

    # -- which nodes -------------------------------------------------------------------------

    def _wanted(self, node_id: str) -> bool:
        return any(fnmatch.fnmatchcase(node_id, pattern) for pattern in self._patterns)

    def _present(self, node_id: str, is_there: bool) -> None:
        if is_there:
            self._reach(node_id)
        elif node_id not in self._patterns:
            task = self._reaching.pop(node_id, None)
            if task is not None:
                task.cancel()

    def _reach(self, node_id: str) -> None:
        """Have a link made to a node, until there is one, or the node is gone."""
        node = self._node
        if node_id in self._reaching or not self._wanted(node_id) or node.node_is_up(node_id):
            return
        self._reaching[node_id] = node.own_task(
            None, self._dial(node_id), name=f"reach {node_id} for its log"
        )

    async def _dial(self, node_id: str) -> None:
        pause = LINGER_SECONDS
        while True:
            await asyncio.sleep(pause * self._node.random.uniform(0.7, 1.0))
            try:
                await self._node.up(node_id)
                break
            except NodeClosed:
                break
            except TransportError as error:
                if self._node.closing:
                    break
                self._told(node_id, f"no link yet: {error}")
            pause = min(2 * pause, LONGEST_PAUSE)
        self._reaching.pop(node_id, None)

    def _linked(self, node_id: str, is_up: bool, reason: Reason) -> None:
        if is_up:
            self._ask(node_id)
            return
        if self._node.closing:
            return
        if self._asked.pop(node_id, ...) is None:
            self._told(node_id, f"lost: {describe(reason)}")
        if node_id in self._presence or node_id in self._patterns:
            self._reach(node_id)

    def _ask(self, node_id: str) -> None:
        """Ask a node with a link for its records."""
        peer = self._node.peers.get(node_id)
        if peer is None or peer.session is None:
            return  # lost again before this event was told
        if node_id in self._asked or not self._wanted(node_id):
            return
        self._asked[node_id] = None
        if "log" not in peer.session.info.features:
            self._told(node_id, "is of a version that has no log to catch")
        else:
            self._node.snd(node_id, "log", self._level, self._port)

    # -- what they say -----------------------------------------------------------------------

    def _begun(self, level: int) -> None:
        self._told(current_sender(), f"caught; it logs from {logging.getLevelName(level)} on")

    def _refused(self, text: str) -> None:
        self._told(current_sender(), f"refused: {text:.1000}")

    async def _records(self, rows: Any, reply: str | None = None) -> None:
        sender = current_sender()
        if not self._wanted(sender):
            return  # never asked. One that was may be lost by now, and this is the last of it
        entries = []
        for row in rows if isinstance(rows, list) else ():
            try:
                entries.append(_entry(sender, row))
            except (TypeError, ValueError) as error:
                refusals.warn(self._node.loop, "log record", "record of %s: %s", sender, error)
        try:
            await self._show(entries)
        finally:
            # Also if they could not be shown: the node waits for this.
            if isinstance(reply, str) and node_of(reply) == sender and not self._node.closing:
                self._node.snd(reply)


def _entry(node_id: str, row: Any) -> LogEntry:
    time, level, logger, text = row
    if not (
        isinstance(time, (int, float))
        and isfinite(time)
        and type(level) is int
        and 0 <= level <= 1_000
        and isinstance(logger, str)
        and isinstance(text, str)
    ):
        raise ValueError(f"{row!r:.100} is no row of a log")
    # No year after 9999 has a date.
    return LogEntry(node_id, min(max(float(time), 0.0), 2.5e11), level, logger, text[:TEXT_BYTES])


# -- as a service ----------------------------------------------------------------------------------


def level_of(name: str) -> int:
    """The number of a level, given by its name or as a number; raises `UsageError`."""
    number = int(name) if name.isdecimal() else getattr(logging, name.upper(), None)
    if type(number) is not int or not 0 <= number <= 1_000:
        raise UsageError(
            f"{name!r} is no level: use one of DEBUG, INFO, WARNING, ERROR, CRITICAL, or a number"
        )
    return number


def catch(level: str = "INFO", *nodes: str) -> LogCatcher:
    """Put the records of other nodes into the log of this process.

    They come from the logger ``aemp_core.services.log``, each with its own time and level, as
    ``NODE LOGGER: text``; the attributes `aemp_node` and `aemp_logger` of the record have the two
    names. They are never sent on to other catchers.

    Args:
        level: the least severe that is wanted, by name.
        nodes: patterns of the nodes that are wanted; none: all.
    """

    def told(node_id: str, text: str) -> None:
        log.log(logging.INFO if text.startswith("caught") else logging.WARNING,
                "log of %s: %s", node_id, text)  # fmt: skip

    return LogCatcher(current_node(), _into_log, level=level_of(level), nodes=nodes, told=told)


async def _into_log(entries: list[LogEntry]) -> None:
    for entry in entries:
        if log.isEnabledFor(entry.level):
            record = log.makeRecord(
                log.name, entry.level, "", 0, "%s %s: %s",
                (entry.node, printable(entry.logger), entry.lines), None,
                extra={MARK: entry.node, "aemp_logger": entry.logger},
            )  # fmt: skip
            record.created = entry.time
            record.msecs = entry.time % 1 * 1_000
            log.handle(record)


__aemp_service__ = catch
