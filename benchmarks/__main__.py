"""The command: a table row and a JSON line for each workload."""

from __future__ import annotations

import argparse
import importlib.util
import json
from pathlib import Path

from .measure import HEAD, measure, sweep
from .peers import PEERS, pick, works_of
from .workloads import SWEEPS, WORKLOADS


def main(arguments: list[str] | None = None) -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = [each.name for each in (*WORKLOADS, *SWEEPS)]
    parser.add_argument("name", nargs="*", help=f"what to measure, of: {', '.join(names)}")
    parser.add_argument("--runs", type=int, default=5, help="rounds of each (default 5)")
    parser.add_argument("--scale", type=float, default=1.0, help="do so much of each (default 1)")
    parser.add_argument("--loops", nargs="+", default=["uvloop", "asyncio"])
    parser.add_argument("--sweeps", action="store_true", help="only what must not grow")
    peers = ", ".join(peer.name for peer in PEERS)
    parser.add_argument(
        "--peers", nargs="*", action="extend", metavar="PEER",
        help=f"beside others, too: all that are installed, or some of {peers}",
    )  # fmt: skip
    parser.add_argument(
        "--json", type=Path, default=Path("bench.jsonl"), help="default bench.jsonl"
    )
    words = parser.parse_args(arguments)
    unknown = set(words.name) - set(names)
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}: take some of {', '.join(names)}")
    loops = tuple(words.loops)
    if "uvloop" in loops and importlib.util.find_spec("uvloop") is None:
        print("uvloop is not installed and left out: pip install uvloop")
        loops = tuple(loop for loop in loops if loop != "uvloop") or ("asyncio",)
    try:
        others = [] if words.peers is None else pick(words.peers)
    except ValueError as error:
        parser.error(f"{error} (names of workloads stand before --peers)")
    print(HEAD)
    with words.json.open("w", encoding="utf-8") as file:
        for each in (*WORKLOADS, *SWEEPS):
            chosen = each.name in words.name if words.name else (each in SWEEPS) == words.sweeps
            if not chosen:
                continue
            if each in SWEEPS:
                rows = sweep(each, runs=words.runs, scale=words.scale)
            else:
                rows = measure(
                    each, runs=words.runs, scale=words.scale, loops=loops,
                    others=works_of(others, each.name),
                )  # fmt: skip
            for row in rows:
                print(row, flush=True)
                file.write(json.dumps(row.json()) + "\n")
    print(f"figures: {words.json}")


if __name__ == "__main__":
    main()
