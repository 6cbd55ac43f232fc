"""Columns: tables as people read them, in as many columns as there is room for.

On a terminal a table is as wide as that at most: columns that matter least are left out, and of
the first one, the name of the thing, the end is cut. Elsewhere nothing is left out or cut, so that
what is piped into another program is whole.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.table import Table

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
    """

    head: str
    right: bool = False
    rank: int = 0


def width() -> int | None:
    """The characters in a line of the terminal; None if the output is no terminal."""
    import shutil

    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def lay_out(
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    room: int | None,
    styles: Sequence[str] = (),
) -> Table:
    """A table of at most `room` characters; `styles` are those of the rows, for terminals."""
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    widths = [
        max(cell_len(column.head), *(cell_len(row[place]) for row in rows), 0)
        for place, column in enumerate(columns)
    ]
    kept = list(range(len(columns)))

    def needed(name: int) -> int:
        return name + sum(widths[place] + GAP for place in kept if place)

    if room is not None:
        while needed(min(widths[0], NAME_WIDTH)) > room:
            last = max(kept, key=lambda place: (columns[place].rank, place))
            if not columns[last].rank:
                break
            kept.remove(last)
        widths[0] = max(1, min(widths[0], room - needed(0)))
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, collapse_padding=True)
    for place in kept:
        column = columns[place]
        table.add_column(
            Text(column.head),
            justify="right" if column.right else "left",
            no_wrap=True,
            overflow="ellipsis",
            width=widths[place],
        )
    for place, row in enumerate(rows):
        style = styles[place] if place < len(styles) else ""
        table.add_row(*(Text(row[each]) for each in kept), style=style)
    return table


def shown(thing: Any) -> None:
    """Print something that rich can print."""
    from rich.console import Console

    room = width()
    if room is not None:
        Console(width=room).print(thing, highlight=False)
        return
    console = Console(width=10_000, no_color=True, highlight=False)
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
