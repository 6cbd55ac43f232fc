"""The figures of a run as a table in Markdown: ``python -m benchmarks.tables bench.jsonl``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

#: Units that are told in thousands or millions.
SCALES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


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


def figure(number: float, unit: str) -> str:
    """A figure as people write it."""
    if unit in ("/s", "B/s"):
        for scale, prefix in SCALES:
            if number >= scale:
                return f"{number / scale:.3g} {prefix}{unit}"
    return f"{number:,.3g} {unit}" if number < 1_000 else f"{number:,.0f} {unit}"


if __name__ == "__main__":
    print("\n".join(table(map(json.loads, Path(sys.argv[1]).read_text().splitlines()))))
