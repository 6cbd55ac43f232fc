"""``aemp ping``: how long a question to a node takes, again and again."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from ..errors import AempError
from ..ids import check_node_id
from .asking import ask
from .columns import milliseconds
from .manual import Command
from .options import Visit, as_json, interruption, unless, visiting
from .outcome import DONE, TIMED_OUT
from .text import printable, to_json

if TYPE_CHECKING:
    from ..node import Node

__all__ = ["command", "statistics_of"]


@click.command(
    cls=Command,
    examples=[
        ("aemp ping --seed tcp://10.0.0.1:4040 worker", "Ask every second, until Ctrl-C."),
        ("aemp ping -c 100 -i 0.01 worker", "Ask a hundred times in a second."),
    ],
    exit_codes={0: "something was answered", 3: "nothing was answered"},
    see_also=["doctor", "top"],
)
@visiting
@click.option(
    "-c",
    "--count",
    type=click.IntRange(min=1),
    metavar="COUNT",
    help="Ask so many times; without it, until Ctrl-C.",
)
@click.option(
    "-i",
    "--interval",
    type=click.FloatRange(min=0.001),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="From one question to the next.",
)
@as_json
@click.argument("node_id", metavar="NODE")
def command(visit: Visit, count: int | None, interval: float, as_json: bool, node_id: str) -> int:
    """Ask NODE the time again and again, and print how long each answer takes.

    The time is that of a message there and one back, through the event loops of both nodes. A
    question that is not answered within --timeout, or whose link is lost, is lost; the next one
    makes a new link. At the end, also by Ctrl-C, come the figures of all that were answered.

    With --json there is one JSON object for each question, and one with the figures at the end.
    """
    return asyncio.run(_Pinging(visit, check_node_id(node_id), as_json).run(count, interval))


class _Pinging:
    """One run of the command."""

    def __init__(self, visit: Visit, node_id: str, as_json: bool) -> None:
        self._visit = visit
        self._id = node_id
        self._as_json = as_json
        self._sent = 0
        self._taken: list[float] = []

    async def run(self, count: int | None, interval: float) -> int:
        """Ping until `count` or Ctrl-C; the exit code."""
        async with self._visit.node() as node:
            await self._visit.reach(node, self._id)
            interrupted = interruption()
            if not self._as_json:
                session = node.peers[self._id].session
                where = "" if session is None else f" ({session.info.origin})"
                click.echo(printable(f"PING {self._id}{where}"))
            begun = node.loop.time()
            while not interrupted.is_set():
                due = begun + self._sent * interval
                if not await unless(interrupted, self._ping(node)) or self._sent == count:
                    break
                # Behind the beat: at once, and from there on.
                begun += max(0.0, node.loop.time() - due - interval)
                pause = begun + self._sent * interval - node.loop.time()
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(interrupted.wait(), max(0.0, pause))
            return self._sum_up(node.loop.time() - begun)

    async def _ping(self, node: Node) -> None:
        self._sent += 1
        number, asked = self._sent, node.loop.time()
        try:
            await ask(node, self._id, self._visit.timeout, "time")
        except AempError as error:
            self._say({"seq": number, "error": str(error)}, f"seq={number} {error}")
            return
        taken = node.loop.time() - asked
        self._taken.append(taken)
        self._say({"seq": number, "ms": _ms(taken)}, f"seq={number} time={milliseconds(taken)}")

    def _say(self, row: dict[str, Any], line: str) -> None:
        click.echo(to_json(row) if self._as_json else printable(line))

    def _sum_up(self, seconds: float) -> int:
        lost = self._sent - len(self._taken)
        figures = statistics_of(self._taken)
        if self._as_json:
            click.echo(
                to_json(
                    {
                        "node": self._id,
                        "sent": self._sent,
                        "answered": len(self._taken),
                        "lost": lost,
                        "seconds": round(seconds, 3),
                        **{f"{word}_ms": _ms(value) for word, value in figures.items()},
                    }
                )
            )
        else:
            part = lost / self._sent if self._sent else 0
            click.echo(f"--- {self._id} ---")
            click.echo(
                f"{self._sent} sent, {len(self._taken)} answered, {part:.1%} lost, {seconds:.1f} s"
            )
            if figures:
                values = " / ".join(milliseconds(value) for value in figures.values())
                click.echo(f"{' / '.join(figures)} = {values}")
        return DONE if self._taken else TIMED_OUT


def _ms(seconds: float) -> float:
    return round(seconds * 1_000, 4)


def statistics_of(seconds: Sequence[float]) -> dict[str, float]:
    """Least, average, median, 99th percentile and greatest of some times; none of no times."""
    if not seconds:
        return {}
    ordered = sorted(seconds)
    return {
        "min": ordered[0],
        "avg": statistics.fmean(ordered),
        "median": statistics.median(ordered),
        # The nearest rank: a time that was really taken.
        "p99": ordered[-(-len(ordered) * 99 // 100) - 1],
        "max": ordered[-1],
    }
