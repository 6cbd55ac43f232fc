"""The command that simulates networks: ``python -m aemp_global.testing.simulate heals``.

It runs seed after seed, on all processors, and ends with the figures of docs/reliability.md. Each
seed that fails is printed; the same seed does the same again. A failure is a status of 1.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

import click

from aemp_core.testing.simulate import many
from aemp_core.testing.simulation import Verdict

from .misfortunes import Outcome, suffer
from .promises import TOPOLOGIES, over_relays, with_topology
from .size import grow

__all__ = ["main"]


@click.group(help="Simulate networks of nodes with aemp-global, and say what came of them.")
def main() -> None:
    """See the help text."""


def _seeded(command: Callable[..., None]) -> Callable[..., None]:
    """The options of a command that runs seeds."""
    for option in (
        click.option(
            "--jobs", default=0, help="Processes at a time.  [default: one per processor]"
        ),
        click.option("--first", default=0, show_default=True, help="The first seed."),
        click.option("--seeds", default=100, show_default=True, help="How many seeds."),
    ):
        command = option(command)
    return command


@main.command(help="Random faults are mended: how long it takes until all nodes agree.")
@_seeded
def heals(seeds: int, first: int, jobs: int) -> None:
    """See the help text."""
    began = time.monotonic()
    outcomes = [each for some in many(_suffer, _range(first, seeds), jobs) for each in some]
    failed = [each for each in outcomes if not each.in_time]
    for heartbeat in sorted({each.heartbeat for each in outcomes}):
        took = sorted(each.seconds for each in outcomes if each.heartbeat == heartbeat)
        shares = ", ".join(f"{_share(took, share):.1f} s ({text})" for share, text in SHARES)
        click.echo(f"heartbeat {heartbeat:g} s: {len(took)} networks, agreed after {shares}")
    faults = sum(each.faults for each in outcomes)
    click.echo(f"{len(outcomes):,} seeds, {faults:,} faults, {_since(began)}, {len(failed)} failed")
    for each in failed:
        click.echo(f"seed {each.seed}: {each.error or f'agreed after {each.seconds:.1f} s'}")
    sys.exit(bool(failed))


SHARES = ((0.5, "half"), (0.95, "95 %"), (0.99, "99 %"), (1.0, "all"))


def _share(sorted_ones: list[float], share: float) -> float:
    return sorted_ones[max(0, round(share * len(sorted_ones)) - 1)]


@main.command(help="Promises of aemp-core, judged in networks of each topology.")
@_seeded
def promises(seeds: int, first: int, jobs: int) -> None:
    """See the help text."""
    failed = [
        _judge(topology, partial(_judged, topology), _range(first, seeds), jobs)
        for topology in TOPOLOGIES
    ]
    sys.exit(any(failed))


@main.command(help="The same, where all links but those to two globals run through relays.")
@_seeded
def relays(seeds: int, first: int, jobs: int) -> None:
    """See the help text."""
    sys.exit(_judge("relays", partial(_judged, ""), _range(first, seeds), jobs))


@main.command(help="Many nodes join three globals: how long it takes, and what it costs each.")
@click.argument("counts", nargs=-1, type=click.IntRange(min=10))
def size(counts: tuple[int, ...]) -> None:
    """See the help text."""
    for count in counts or (100, 1_000):
        began = time.monotonic()
        found = grow(count)
        click.echo(
            f"{count:,} nodes: joined after {found.seconds:.2f} s, with at most {found.links} link "
            f"and {found.joined:,} bytes each; one more, that finds a group of ten and calls one "
            f"of them: {found.late_links} links, {found.late:,} bytes; {_since(began)}"
        )


def _range(first: int, seeds: int) -> list[int]:
    return [*range(first, first + seeds)]


def _since(began: float) -> str:
    return f"{time.monotonic() - began:.0f} s of ours"


def _suffer(seeds: list[int]) -> list[Outcome]:
    logging.disable(logging.CRITICAL)  # losses are what these runs are made of
    return [suffer(seed) for seed in seeds]


def _judge(
    what: str, run: Callable[[list[int]], tuple[Counter[str], list[str]]], seeds: list[int],
    jobs: int,
) -> bool:  # fmt: skip
    """Run seeds, print what was found; whether a promise was broken."""
    began = time.monotonic()
    total: Counter[str] = Counter()
    failed: list[str] = []
    for counts, texts in many(run, seeds, jobs):
        total.update(counts)
        failed += texts
    figures = ", ".join(f"{count:,} {name}" for name, count in total.items())
    click.echo(f"{what}: {figures}, {_since(began)}, {len(failed)} failed")
    for text in failed:
        click.echo(text)
    return bool(failed)


def _judged(topology: str, seeds: list[int]) -> tuple[Counter[str], list[str]]:
    logging.disable(logging.CRITICAL)
    total: Counter[str] = Counter()
    failed = []
    for seed in seeds:
        verdict: Verdict = with_topology(seed, topology) if topology else over_relays(seed)
        events = verdict.figures()
        total.update(
            seeds=1, lives=events["start"], faults=events["fault"], messages=events["sent"],
            arrived=events["arrived"], monitors=events["watch"], calls=events["cal"],
        )  # fmt: skip
        if not verdict.holds:
            failed.append(f"seed {seed}: {verdict.error or verdict.violations[0]}")
    return total, failed


if __name__ == "__main__":
    main()
