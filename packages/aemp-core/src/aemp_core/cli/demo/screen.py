"""Screens: how the demo shows what happens, live on a terminal and as plain lines elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections import deque
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

from ..text import printable

if TYPE_CHECKING:
    from .driver import Worker
    from .tally import Tally

__all__ = ["LiveScreen", "PlainScreen", "Screen", "open_screen"]

SHOWN_EVENTS = 10
STEPS = 10


class Screen(logging.Handler):
    """Where events and progress go; log records of the process go there too."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._started = time.monotonic()

    def __enter__(self) -> Screen:
        logging.getLogger().addHandler(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        logging.getLogger().removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Show a log record as an event."""
        self.say(record.getMessage())

    def say(self, text: str) -> None:
        """Tell of an event."""
        self._say(f"{time.monotonic() - self._started:7.3f} s  {printable(text)}")

    def _say(self, line: str) -> None:
        raise NotImplementedError

    def progress(self, tally: Tally, workers: list[Worker]) -> None:
        """Show how far the work is; called a few times a second."""
        raise NotImplementedError


class PlainScreen(Screen):
    """One line per event, and one per tenth of the work."""

    def __init__(self, output: IO[str]) -> None:
        super().__init__()
        self._output = output
        self._step = 0

    def _say(self, line: str) -> None:
        print(line, file=self._output, flush=True)

    def progress(self, tally: Tally, workers: list[Worker]) -> None:
        """A line whenever another tenth is done."""
        step = tally.done * STEPS // tally.total if tally.total else STEPS
        if step > self._step:
            self._step = step
            self.say(f"{tally.done:,} of {tally.total:,} files, {tally.words:,} words")


class LiveScreen(Screen):
    """A picture that is redrawn in place: the latest events, the workers, a bar."""

    def __init__(self) -> None:
        super().__init__()
        from rich.live import Live

        self._events: deque[str] = deque(maxlen=SHOWN_EVENTS)
        self._live = Live(auto_refresh=False)
        self._picture: Any = ""

    def __enter__(self) -> Screen:
        self._live.start()
        return super().__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, traceback)
        self._live.stop()

    def _say(self, line: str) -> None:
        self._events.append(line)
        self._draw()

    def progress(self, tally: Tally, workers: list[Worker]) -> None:
        """Redraw."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        table = Table.grid(padding=(0, 2))
        for worker in workers:
            style = "green" if worker.alive else "red"
            table.add_row(
                worker.node_id,
                f"pid {worker.process.pid}",
                f"[{style}]{worker.state}[/]",
                f"{worker.files:,} files",
                f"{len(worker.busy)} in hand",
            )
        line = Table.grid(padding=(0, 2))
        bar = ProgressBar(total=max(1, tally.total), completed=tally.done, width=40)
        line.add_row(bar, f"{tally.done:,} of {tally.total:,} files, {tally.words:,} words")
        whole = Table.grid()
        whole.add_row(table)
        whole.add_row(line)
        self._picture = whole
        self._draw()

    def _draw(self) -> None:
        from rich.console import Group
        from rich.text import Text

        events = [
            Text(line, style="dim", no_wrap=True, overflow="ellipsis") for line in self._events
        ]
        self._live.update(Group(*events, self._picture), refresh=True)


def open_screen(as_json: bool) -> Screen:
    """The screen that fits: results on the standard output must stay alone there for JSON."""
    if as_json:
        return PlainScreen(sys.stderr)
    return LiveScreen() if sys.stdout.isatty() else PlainScreen(sys.stdout)
