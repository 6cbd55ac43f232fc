"""The figures of a run as tables in Markdown: ``python -m benchmarks.tables bench.jsonl``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

#: Units that are told in thousands or millions.
SCALES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
#: Units of which more is better.
RATES = ("/s", "B/s")


def table(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """The lines of the table."""
    yield "| work | where | AEMP | ratio | of all rounds | goal | reached |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for row in rows:
        ratio = row["ratio"]
        shown = f"{ratio['median']:.2f}" if ratio else ""
        spread = f"{ratio['least']:.2f} to {ratio['most']:.2f}" if ratio else ""
        reached = {True: "yes", False: "no", None: ""}[row["reached"]]
        cells = (
            row["text"], row["where"], figure(row["ours"]["median"], row["unit"]), shown, spread,
            row["goal"].replace(" x", ""), reached,
        )  # fmt: skip
        yield f"| {' | '.join(cells)} |"


def beside_others(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The lines of a table of what peers do; bold is what another does better than AEMP."""
    names = list(dict.fromkeys(name for row in rows for name in row["others"]))
    yield f"| work | where | AEMP | {' | '.join(names)} |"
    yield f"| --- | --- | --- |{' --- |' * len(names)}"
    for row in rows:
        text = row["text"].partition(", beside ")[0]
        cells = [text, row["where"], figure(row["ours"]["median"], row["unit"])]
        for name in names:
            other = row["others"].get(name)
            cells.append(_beside(other, row["unit"]) if other else "")
        yield f"| {' | '.join(cells)} |"


def _beside(other: dict[str, dict[str, float]], unit: str) -> str:
    ratio = other["ratio"]
    shown = f"{figure(other['figure']['median'], unit)}: {ratio['median']:.3g}"
    better = ratio["median"] < 1 if unit in RATES else ratio["median"] > 1
    spread = f"({ratio['least']:.3g} to {ratio['most']:.3g})"
    return f"**{shown}** {spread}" if better else f"{shown} {spread}"


def figure(number: float, unit: str) -> str:
    """A figure as people write it."""
    if unit in RATES:
        for scale, prefix in SCALES:
            if number >= scale:
                return f"{number / scale:.3g} {prefix}{unit}"
    return f"{number:,.3g} {unit}" if number < 1_000 else f"{number:,.0f} {unit}"


if __name__ == "__main__":
    figures = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
    print(*table(figures), sep="\n")
    for remote in (False, True):
        rows = [row for row in figures if row["others"] and bool(row["where"]) == remote]
        if rows:
            print("", *beside_others(rows), sep="\n")
