"""Columns: tables as people read them, in as many columns as there is room for.

On a terminal a table is as wide as that at most: columns that matter least are left out, and some
are cut, as the first one is, the name of the thing. Elsewhere nothing is left out or cut, so that
what is piped into another program is whole.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["Column", "age", "count", "lay_out", "milliseconds", "shown", "size", "width"]

GAP = 2
#: The name of the thing is not cut below this to keep another column.
NAME_WIDTH = 20


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        head: what is above it.
        right: whether it is aligned to the right, as numbers are.
        rank: those of the greatest rank are left out first, 0 never.
        least: it may be cut to so many characters; 0: never, but for the first column.
    """

    head: str
    right: bool = False
    rank: int = 0
    least: int = 0


def width() -> int | None:
    """The characters in a line of the terminal; None if the output is no terminal."""
    import shutil

    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def lay_out(
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    room: int | None,
    styles: Sequence[str] = (),
) -> Text:
    """A table of at most `room` characters; `styles` are those of the rows, for terminals."""
    from rich.cells import cell_len
    from rich.text import Text

    widths = [
        max(cell_len(column.head), *(cell_len(row[place]) for row in rows), 0)
        for place, column in enumerate(columns)
    ]
    kept = list(range(len(columns)))
    if room is not None:
        least = [
            min(width, column.least or (width if place else NAME_WIDTH))
            for place, (width, column) in enumerate(zip(widths, columns, strict=True))
        ]
        while (spare := room - sum(least[place] + GAP for place in kept) + GAP) < 0:
            last = max(kept, key=lambda place: (columns[place].rank, place))
            if not columns[last].rank:
                break
            kept.remove(last)
        # What there is more goes to what may be cut, the first column first.
        for place in kept:
            more = min(widths[place] - least[place], max(0, spare))
            widths[place] = least[place] + more
            spare -= more
        widths[0] = max(1, widths[0] + min(0, spare))
    text = Text(no_wrap=True, overflow="crop")

    def add(row: Sequence[str], style: str) -> None:
        for place in kept:
            cell = Text(row[place], style)
            cell.truncate(widths[place], overflow="ellipsis")
            blank = widths[place] - cell.cell_len
            if columns[place].right:
                cell.pad_left(blank)
            elif place != kept[-1]:
                cell.pad_right(blank)
            text.append_text(cell)
            text.append("\n" if place == kept[-1] else " " * GAP)

    add([column.head for column in columns], "bold")
    for place, row in enumerate(rows):
        add(row, styles[place] if place < len(styles) else "")
    text.right_crop(1)
    return text


def shown(thing: Any) -> None:
    """Print something that rich can print."""
    from rich.console import Console

    room = width()
    if room is not None:
        Console(width=room).print(thing, highlight=False)
        return
    console = Console(width=10_000_000, no_color=True, highlight=False)
    with console.capture() as captured:
        console.print(thing)
    for line in captured.get().splitlines():
        click.echo(line.rstrip())


# -- numbers that people read ------------------------------------------------------------------


def age(seconds: float | None) -> str:
    """A time that has passed, in its two greatest units."""
    if seconds is None:
        return "-"
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d{hour:02}h"
    if hours:
        return f"{hours}h{minute:02}m"
    return f"{minutes}m{second:02}s" if minutes else f"{second}s"


def count(number: float | None) -> str:
    """How many."""
    return "-" if number is None else f"{number:,.0f}"


def size(count: float | None) -> str:
    """Bytes, in the unit that leaves one to four digits."""
    if count is None:
        return "-"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1_024:
            return f"{count:.0f} {unit}"
        count /= 1_024
    return f"{count:.1f} TiB"


def milliseconds(seconds: float | None) -> str:
    """A short time; three digits that count."""
    if seconds is None:
        return "-"
    if seconds >= 10:
        return f"{seconds:.1f} s"
    value = seconds * 1_000
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:.{digits}f} ms"
