"""``aemp top``: the network at work, again and again."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import click

from .board import SORT_KEYS, Board
from .columns import shown, width
from .manual import Command
from .options import Visit, as_json, interruption, unless, visiting
from .outcome import DONE, TERMINATED
from .rates import Rates
from .survey import Survey
from .text import to_json

__all__ = ["command"]


@click.command(
    cls=Command,
    examples=[
        ("aemp top --seed tcp://10.0.0.1:4040", "Watch the nodes of the network."),
        ("aemp top --interval 10 --sort memory", "Look every ten seconds, the largest first."),
        ("aemp top -n 1 --json", "One picture for scripts."),
    ],
    see_also=["nodes", "trace"],
)
@visiting
@click.option(
    "-i",
    "--interval",
    type=click.FloatRange(min=0.1),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="From one picture to the next.",
)
@click.option(
    "-n",
    "--count",
    type=click.IntRange(min=1),
    metavar="COUNT",
    help="End after so many pictures; without it, with Ctrl-C or q.",
)
@click.option(
    "--sort",
    type=click.Choice(list(SORT_KEYS)),
    default="rate",
    show_default=True,
    help="Which nodes come first: those with most of it.",
)
@as_json
def command(visit: Visit, interval: float, count: int | None, sort: str, as_json: bool) -> int:
    """Show what the nodes of the network are doing, and go on showing it.

    Every --interval each node that can be found is asked again. On a terminal the picture fills the
    screen; elsewhere one is printed under the other, and with --json there is one JSON object on
    each line. The first one that is printed comes after one --interval, when there are rates.

    \b
    QUEUE      what waits in the node's event loop for its turn
    BUFFERED   bytes that wait for other nodes
    IN/S       messages received from other nodes per second; OUT/S: sent
    LAG        how late the event loop was at most within five seconds
    late       the node has not answered yet; silent: it did not within --timeout
    """
    return asyncio.run(_Watching(visit, interval, count, sort, as_json).run())


class _Watching:
    """One run of the command."""

    def __init__(
        self, visit: Visit, interval: float, count: int | None, sort: str, as_json: bool
    ) -> None:
        self._visit = visit
        self._interval = interval
        self._count = count
        self._sort = sort
        self._as_json = as_json
        self._ended: asyncio.Event

    async def run(self) -> int:
        """Watch until `count`, q or Ctrl-C; the exit code."""
        async with self._visit.node() as node:
            seeds = await self._visit.join(node)
            survey, rates = Survey(self._visit, node), Rates()
            board = Board(survey, rates, self._sort)
            await survey.walk(seeds)
            rates.take(survey)
            self._ended = interruption()
            if sys.stdout.isatty() and not self._as_json:
                with _Screen(board, self._ended) as screen:
                    screen.draw()
                    await self._go_on(survey, rates, screen.draw, 1)
                return screen.code
            await self._go_on(survey, rates, lambda: self._print(board), 0)
            return DONE

    async def _go_on(
        self, survey: Survey, rates: Rates, draw: Callable[[], None], drawn: int
    ) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while not self._ended.is_set() and drawn != self._count:
            due = max(due + self._interval, loop.time())
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._ended.wait(), due - loop.time())
                return
            # Whoever takes longer is late, and holds up nobody.
            if not await unless(self._ended, survey.again(self._interval / 2)):
                return
            rates.take(survey)
            draw()
            drawn += 1

    def _print(self, board: Board) -> None:
        if self._as_json:
            click.echo(to_json(board.as_json()))
        else:
            shown(board.picture(width(), None))
        sys.stdout.flush()


class _Screen:
    """The whole terminal, and the keys that are pressed there."""

    def __init__(self, board: Board, ended: asyncio.Event) -> None:
        from rich.live import Live

        self._board = board
        self._ended = ended
        self._live = Live(screen=True, auto_refresh=False)
        self._keys: Any = None
        self._silence = logging.NullHandler()
        self.code = DONE

    def __enter__(self) -> _Screen:
        self._keys = _keys(self._pressed)
        self._keys.__enter__()
        self._live.start()
        # What is logged would be written across the picture.
        logging.getLogger().addHandler(self._silence)
        loop = asyncio.get_running_loop()
        with suppress(AttributeError, NotImplementedError):  # not on Windows
            loop.add_signal_handler(signal.SIGWINCH, self.draw)
            loop.add_signal_handler(signal.SIGTERM, self._terminated)
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()
        self._keys.__exit__(None, None, None)
        logging.getLogger().removeHandler(self._silence)

    def draw(self) -> None:
        """Show what there is now."""
        room, height = self._live.console.size
        foot = f"sorted by {self._board.sort}: s sorts by another column; q quits"
        self._live.update(self._board.picture(room, height, foot), refresh=True)

    def _terminated(self) -> None:
        """By SIGTERM: as always, but the terminal is left as it was found."""
        self.code = TERMINATED
        self._ended.set()

    def _pressed(self, key: str) -> None:
        if key in ("q", "Q"):
            self._ended.set()
        elif key == "s":
            self._board.next_sort()
            self.draw()


@contextmanager
def _keys(pressed: Callable[[str], None]) -> Iterator[None]:
    """Call back for every key, without waiting for the end of a line."""
    try:
        import termios
        import tty

        before = termios.tcgetattr(sys.stdin)
    except (ImportError, OSError, ValueError):  # no terminal to read from, or not on this system
        yield
        return
    loop = asyncio.get_running_loop()
    descriptor = sys.stdin.fileno()
    tty.setcbreak(descriptor)

    def read() -> None:
        keys = os.read(descriptor, 100).decode("ascii", "replace")
        if not keys:  # the terminal is gone
            loop.remove_reader(descriptor)
        for key in keys:
            pressed(key)

    loop.add_reader(descriptor, read)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
