"""Measuring: the contestants of a workload in turn, and what comes of it.

Machines are noisy, and drift. So contestants run alternately, and what is told of ours is the ratio
to its neighbour in the same round: the median of all rounds, the least and the greatest. That to
each of the others is taken likewise.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from .peers import Work
from .process import Absent, Figures, Run, run_once
from .workloads import Figure, Sweep, Workload

__all__ = ["Row", "measure", "sweep"]


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        name: of the workload.
        text: what was done.
        where: loop and processors, "" if they do not matter.
        unit: of the figures.
        ours: our figures, one for each round.
        beside: those of the neighbour.
        others: those of peers, by name.
        goal: what is to be reached, "" for nothing.
        reached: whether it is.
    """

    name: str
    text: str
    where: str
    unit: str
    ours: list[float]
    beside: list[float]
    others: Mapping[str, list[float]]
    goal: str = ""
    reached: bool | None = None

    @property
    def ratios(self) -> list[float]:
        """Ours to the neighbour's, round by round."""
        return self.ratios_to(self.beside)

    def ratios_to(self, others: list[float]) -> list[float]:
        """Ours to those of another, round by round."""
        return [ours / other for ours, other in zip(self.ours, others, strict=False)]

    def json(self) -> dict[str, Any]:
        """Everything, for machines."""
        return {
            "workload": self.name,
            "text": self.text,
            "where": self.where,
            "unit": self.unit.strip(),
            "ours": _spread(self.ours),
            "beside": _spread(self.beside),
            "ratio": _spread(self.ratios),
            "others": {
                name: {"figure": _spread(figures), "ratio": _spread(self.ratios_to(figures))}
                for name, figures in self.others.items()
            },
            "goal": self.goal,
            "reached": self.reached,
            "python": platform.python_version(),
        }

    def __str__(self) -> str:
        mark = {True: "yes", False: "NO", None: ""}[self.reached]
        lines = [
            f"{self.text:48} {self.where:14} {median(self.ours):>15,.5g}{self.unit:8} "
            f"{_told(self.beside, self.ratios)} {self.goal:>16} {mark:>4}"
        ]
        for name, figures in self.others.items():
            lines.append(f"{'beside ' + name:>86} {_told(figures, self.ratios_to(figures))}")
        return "\n".join(lines)


HEAD = (
    f"{'workload':48} {'where':14} {'ours':>23} {'beside':>13} "
    f"{'ratio':>6} {'least':>6} {'most':>6} {'goal':>16} "
)


def _told(figures: list[float], ratios: list[float]) -> str:
    """The columns of one that ours is compared with."""
    figure = ratio = least = most = ""
    if ratios:
        figure, ratio = f"{median(figures):,.0f}", f"{median(ratios):.2f}"
        least, most = f"{min(ratios):.2f}", f"{max(ratios):.2f}"
    return f"{figure:>13} {ratio:>6} {least:>6} {most:>6}"


def _part(count: int, scale: float) -> int:
    """So much of it, in whole bursts."""
    return max(50, round(count * scale / 50) * 50)


def _spread(figures: list[float]) -> dict[str, float] | None:
    if not figures:
        return None
    return {"median": median(figures), "least": min(figures), "most": max(figures)}


def places(workload: Workload, loops: tuple[str, ...]) -> Iterator[tuple[str, int, str]]:
    """Where a workload is done: loop, processors, and how that is called."""
    if not workload.remote:
        yield loops[0], 1, ""
        return
    for loop in loops:
        for processors in (1, 2):
            yield loop, processors, f"{loop}, {processors} CPU"


def measure(
    workload: Workload,
    *,
    runs: int,
    scale: float = 1.0,
    loops: tuple[str, ...] = ("uvloop", "asyncio"),
    others: Mapping[str, Work] | None = None,
) -> Iterator[Row]:
    """Run the contestants of a workload in turn, everywhere it is to be done.

    Args:
        workload: what to do.
        runs: how many rounds.
        scale: do so much of it, 1 for all.
        loops: event loops for two processes; the first is for one process, too.
        others: what peers do for it, by name; only with the first kind of messages.
    """
    for loop, processors, where in places(workload, loops):
        for kind in workload.kinds:
            run = Run(_part(workload.count, scale), workload.size, kind, loop, processors)
            beside = others if others and kind == workload.kinds[0] else {}
            rounds = list(_rounds(workload, run, runs, beside))
            for figure in workload.figures:
                yield _row(workload, figure, kind, where, rounds)


def _rounds(
    workload: Workload, run: Run, runs: int, others: Mapping[str, Work]
) -> Iterator[dict[str, Figures]]:
    contestants = {"ours": Work(workload.ours)}
    if workload.beside:
        contestants = {"beside": Work(workload.beside), **contestants}
    contestants.update(others)
    for _ in range(runs):
        figures = {}
        for name, work in contestants.items():
            try:
                figures[name] = run_once(
                    work.where, replace(run, count=_part(run.count, work.part))
                )
            except Absent as absent:
                print(f"{name} is left out: {absent}")
        yield figures


def _row(
    workload: Workload, figure: Figure, kind: str, where: str, rounds: list[dict[str, Figures]]
) -> Row:
    def all_of(name: str) -> list[float]:
        return [each[name][figure.name] for each in rounds if figure.name in each.get(name, ())]

    several = len(workload.figures) > 1
    text = workload.text + (f": {figure.name}" if several else "")
    row = Row(
        f"{workload.name}-{figure.name}" if several else workload.name,
        text if kind == "small" else f"{text}, {kind}",
        where,
        figure.unit,
        all_of("ours"),
        all_of("beside"),
        {name: all_of(name) for name in rounds[0] if name not in ("ours", "beside")},
    )
    if kind != "small" or not row.ours:
        return row
    reached = figure.reached(median(row.ours), median(row.ratios) if row.ratios else None)
    return replace(row, goal=figure.goal(), reached=reached)


def sweep(what: Sweep, *, runs: int, scale: float = 1.0) -> Iterator[Row]:
    """Run a contestant with more and more of something, each beside the first, in turn."""
    least = what.sizes[0]
    for size in what.sizes[1:]:
        ours, beside = [], []
        for _ in range(runs):
            beside.append(run_once(what.ours, Run(_part(what.count, scale), least))[what.figure])
            ours.append(run_once(what.ours, Run(_part(what.count, scale), size))[what.figure])
        text = f"{size:,} {what.text}, beside {least:,}"
        yield Row(f"sweep-{what.name}-{size}", text, "", "/s", ours, beside, {})
