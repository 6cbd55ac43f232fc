"""``aemp log``: the log records of all nodes, as they happen."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import queue
import sys
import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import click

from ..ids import is_node_id
from .manual import Command
from .options import Visit, as_json, interruption, unless, visiting
from .text import printable, to_json
from .words import LEVEL

if TYPE_CHECKING:
    from ..services.log import LogEntry

__all__ = ["command"]

#: Styles of levels on a terminal, the most severe first.
STYLES = (
    (logging.CRITICAL, "bold white on red"),
    (logging.ERROR, "bold red"),
    (logging.WARNING, "yellow"),
    (logging.INFO, "green"),
    (0, "dim"),
)


@click.command(
    cls=Command,
    examples=[
        (
            "aemp log --seed tcp://10.0.0.1:4040 --level WARNING",
            "Show what any node warns of.",
        ),
        ("aemp log --json worker/1 'cache/*'", "Follow some nodes, for scripts."),
    ],
    exit_codes={0: "ended by Ctrl-C or --for", 1: "nobody reads the output any more"},
    see_also=["top", "mon"],
)
@visiting
@as_json
@click.option(
    "--level",
    default="INFO",
    show_default=True,
    metavar="LEVEL",
    type=LEVEL,
    help="The least severe to show: DEBUG, INFO, WARNING, ERROR, CRITICAL, or a number.",
)
@click.option(
    "--for",
    "seconds",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="End after so long; without it, on Ctrl-C.",
)
@click.argument("nodes", nargs=-1, metavar="[NODE ...]")
def command(
    visit: Visit, as_json: bool, level: str, seconds: float | None, nodes: tuple[str, ...]
) -> None:
    """Show the log records of all nodes, or of each NODE, as they happen.

    A NODE may be a pattern, as "worker/*". Nodes that join later are shown, too. A node sends no
    more than it logs itself: its log_level decides. It must allow this by the rule "log", which is
    the default where it has no certificate.

    Records go to the standard output, time, node, level, logger and text; which nodes are caught,
    refuse or are lost, to the standard error output.
    """
    from ..services.log import level_of

    number = level_of(level)
    for name in nodes:
        if not is_node_id("".join(char for char in name if char not in "*?[]!") or "x"):
            raise click.BadParameter(f"{name!r} is no node ID and no pattern of node IDs")
    asyncio.run(_show(visit, as_json, number, seconds, nodes))


async def _show(
    visit: Visit, as_json: bool, level: int, seconds: float | None, nodes: Sequence[str]
) -> None:
    from ..services.log import LogCatcher

    screen = Screen()
    form = _json_line if as_json else _line_for_people()

    async def show(entries: list[LogEntry]) -> None:
        await screen.write("".join(map(form, entries)))

    def told(node_id: str, text: str) -> None:
        click.echo(printable(f"{node_id}: {text}"), err=True)

    async with visit.node() as node:
        await visit.join(node)
        interrupted = interruption()
        catcher = LogCatcher(node, show, level=level, nodes=nodes, told=told)
        try:
            await asyncio.wait_for(unless(interrupted, screen.closed()), seconds)
        except asyncio.TimeoutError:
            pass
        finally:
            catcher.cancel()


def _json_line(entry: LogEntry) -> str:
    time = datetime.fromtimestamp(entry.time, timezone.utc).isoformat(timespec="microseconds")
    return (
        to_json(
            {
                "time": time,
                "node": entry.node,
                "level": logging.getLevelName(entry.level),
                "logger": entry.logger,
                "text": entry.text,
            }
        )
        + "\n"
    )


def _line_for_people() -> Callable[[LogEntry], str]:
    """What makes lines of entries: with colours, on a terminal."""
    if not sys.stdout.isatty():
        return lambda entry: "  ".join(_words(entry)) + "\n"
    from rich.console import Console
    from rich.text import Text

    console = Console()

    def line(entry: LogEntry) -> str:
        time, node, level, logger, text = _words(entry)
        style = next(style for least, style in STYLES if entry.level >= least)
        words = Text.assemble(
            (time, "dim"), "  ", (node, "cyan"), "  ", (level, style), "  ", (logger, "dim"),
            "  ", text,
        )  # fmt: skip
        with console.capture() as captured:
            console.print(words, soft_wrap=True)
        return captured.get()

    return line


def _words(entry: LogEntry) -> tuple[str, str, str, str, str]:
    time = datetime.fromtimestamp(entry.time).strftime("%H:%M:%S.%f")[:-3]
    level = logging.getLevelName(entry.level)
    return time, printable(entry.node), f"{level:<7}", printable(entry.logger), entry.lines


class Screen:
    """The standard output, written in a thread of its own.

    Whoever reads it may stop reading for as long as they like: the loop does not, or our node would
    be given up for dead. The thread is not waited for at the end, as nothing could make it end.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._texts: queue.Queue[tuple[str, asyncio.Future[None]]] = queue.Queue()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        sys.stdout.flush()
        self._file = sys.stdout.fileno()
        self._encoding = sys.stdout.encoding
        threading.Thread(target=self._write, name="aemp log output", daemon=True).start()

    async def write(self, text: str) -> None:
        """Write text, and return when it was taken, or is not wanted any more."""
        if text:
            written: asyncio.Future[None] = self._loop.create_future()
            self._texts.put((text, written))
            await written

    async def closed(self) -> None:
        """Raise `BrokenPipeError`, or what it is, when nobody reads any more."""
        await self._closed

    def _write(self) -> None:
        while True:
            text, written = self._texts.get()
            error: OSError | None = None
            data = text.encode(self._encoding, "backslashreplace")
            try:
                while data:
                    data = data[os.write(self._file, data) :]
            except OSError as failure:
                error = failure
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._done, written, error)

    def _done(self, written: asyncio.Future[None], error: OSError | None) -> None:
        if not written.done():
            written.set_result(None)
        if error is not None and not self._closed.done():
            self._closed.set_exception(error)
