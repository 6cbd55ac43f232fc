"""`python -m fuzz`: run a campaign, replay an input, keep what was reached.

run     fuzz every target; exits with 1 and names the input if one breaks something
replay  run inputs again, without atheris
shrink  make an input smaller that still breaks the same
keep    put what campaigns reached into the kept corpus
seeds   write the inputs to begin with again
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from pathlib import Path

from .finds import describe, failure_of, shrink, target_named
from .targets import TARGETS


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m fuzz", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="fuzz every target")
    much = run.add_mutually_exclusive_group()
    much.add_argument("--runs", type=int, help="inputs of all targets together (default 100,000)")
    much.add_argument("--seconds", type=int, help="seconds for all targets together")
    run.add_argument("--jobs", type=int, default=max(1, (os.cpu_count() or 2) - 1))
    for command in (run, commands.add_parser("keep", help="keep what campaigns reached")):
        command.add_argument("--target", action="append", choices=list(TARGETS))
    for name in ("replay", "shrink"):
        command = commands.add_parser(name, help=f"{name} an input")
        command.add_argument("target")
        command.add_argument("path", type=Path, nargs="+" if name == "replay" else None)
    commands.add_parser("seeds", help="write the inputs to begin with")
    words = parser.parse_args(arguments)
    action = {"run": _run, "keep": _keep, "replay": _replay, "shrink": _shrink, "seeds": _seeds}
    return action[words.command](words)


def _run(words: argparse.Namespace) -> int:
    from .campaign import fuzz

    targets = [TARGETS[name] for name in words.target or TARGETS]
    runs = 0 if words.seconds else words.runs or 100_000
    results = fuzz(targets, runs=runs, seconds=words.seconds or 0, jobs=words.jobs)
    print(f"together {sum(result.inputs for result in results):,} inputs")
    return 1 if any(result.problem for result in results) else 0


def _replay(words: argparse.Namespace) -> int:
    target = target_named(words.target)
    failures = 0
    for path in words.path:
        data = path.read_bytes()
        print(describe(target, data))
        failure = failure_of(target, data)
        if failure is not None:
            failures += 1
            traceback.print_exception(failure)
    print(f"{failures} of {len(words.path)} inputs break something")
    return 1 if failures else 0


def _shrink(words: argparse.Namespace) -> int:
    target = target_named(words.target)
    data = words.path.read_bytes()
    if failure_of(target, data) is None:
        raise SystemExit(f"{words.path} breaks nothing in {target.name}")
    smaller = shrink(target, data)
    words.path.write_bytes(smaller)
    print(describe(target, smaller))
    return 0


def _keep(words: argparse.Namespace) -> int:
    from .campaign import keep

    for name in words.target or TARGETS:
        print(f"{name:8} {keep(TARGETS[name]):>4} inputs kept")
    return 0


def _seeds(words: argparse.Namespace) -> int:
    from .seeds import write_seeds

    print(f"{write_seeds()} inputs written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
