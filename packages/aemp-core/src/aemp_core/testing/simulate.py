"""The command that simulates: ``python -m aemp_core.testing.simulate --seeds 1000``.

Runs seed after seed, on all processors, and ends with the figures. A seed that fails is printed
with its faults shrunk to the few that matter, and with the command that replays just these.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TypeVar

import click

from .driver import Driver
from .faults import Plan
from .simulation import Verdict, reduce, simulate

__all__ = ["main", "many"]

T = TypeVar("T")

#: Seeds given to a worker at a time.
PORTION = 10
#: Portions before workers are replaced: each simulated process that was killed leaves a little
#: memory behind.
PORTIONS = 100
#: Seeds after which the figures are told, on the way.
TOLD = PORTION * PORTIONS
#: Failing seeds that are shrunk; it takes many runs each.
SHRUNK = 5


def _driver(context: click.Context, parameter: click.Parameter, name: str) -> type[Driver]:
    module, _, attribute = name.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise click.BadParameter(f"{error}: write MODULE:CLASS of something installed") from None
    if not (isinstance(found, type) and issubclass(found, Driver)):
        raise click.BadParameter(f"{name} is no subclass of {Driver.__module__}:Driver")
    return found


@click.command(help="Simulate networks under random faults, and judge whether promises were held.")
@click.option("--seeds", default=100, show_default=True, help="How many seeds.")
@click.option("--first", default=0, show_default=True, help="The first seed.")
@click.option("--fresh", default=0, help="So many random seeds more.")
@click.option("--seed", type=int, help="This seed alone, with everything that happened.")
@click.option("--only", help="With --seed: these faults of its schedule only, as 0,3,7.")
@click.option("--digest", is_flag=True, help="With --seed: print the digest of its history only.")
@click.option("--jobs", default=0, help="Processes at a time.  [default: one per processor]")
@click.option("--shrink", default=200, show_default=True, help="Runs to spend on one that fails.")
@click.option(
    "--driver",
    default=f"{Driver.__module__}:{Driver.__qualname__}",
    show_default=True,
    callback=_driver,
    help="What runs the nodes.",
)
@click.option("--figures", type=click.Path(path_type=Path), help="Write the figures here as JSON.")
def main(
    seeds: int, first: int, fresh: int, seed: int | None, only: str | None, digest: bool,
    jobs: int, shrink: int, driver: type[Driver], figures: Path | None,
) -> None:  # fmt: skip
    """See the help text."""
    if seed is not None:
        sys.exit(_one(seed, only, digest, driver))
    chosen = [*range(first, first + seeds), *(random.SystemRandom().sample(range(2**40), fresh))]
    began = time.monotonic()
    total: Counter[str] = Counter()
    failed = []
    for counts, failures in many(partial(run, driver=driver), chosen, jobs):
        told = total["seeds"] // TOLD
        total.update(counts)
        for each, text in failures:
            click.echo(f"seed {each}: {text}")
            failed.append(each)
        if total["seeds"] // TOLD > told and total["seeds"] < len(chosen):
            click.echo(f"so far: {_text(total)}")
    failed.sort()
    total["seconds"] = round(time.monotonic() - began)
    total["violations"] = len(failed)
    click.echo(_text(total))
    if figures is not None:
        figures.write_text(json.dumps({**total, "failed": failed}) + "\n")
    for each in failed[:SHRUNK]:
        _explain(simulate(each, driver), shrink)
    if len(failed) > SHRUNK:
        click.echo(f"and {', '.join(map(str, failed[SHRUNK:]))} fail, too")
    sys.exit(bool(failed))


def _one(seed: int, only: str | None, digest: bool, driver: type[Driver]) -> int:
    plan = driver.draw(seed)
    if only is not None:
        plan = plan.with_faults([plan.faults[int(place)] for place in only.split(",") if place])
    verdict = simulate(plan, driver)
    if digest:
        click.echo(verdict.history.digest())
    else:
        click.echo(str(verdict))
        click.echo(f"digest {verdict.history.digest()}")
        click.echo("every promise was held" if verdict.holds else "NOT HELD")
    return not verdict.holds


def many(run: Callable[[list[int]], T], seeds: list[int], jobs: int = 0) -> Iterator[T]:
    """What `run` returns for each portion of the seeds, in the order in which they get done.

    Args:
        run: a function of a module, since other processes call it.
        seeds: which.
        jobs: processes at a time; 0: one per processor.
    """
    portions = [seeds[place : place + PORTION] for place in range(0, len(seeds), PORTION)]
    for first in range(0, len(portions), PORTIONS):
        with ProcessPoolExecutor(jobs or os.cpu_count() or 1) as pool:
            some = [pool.submit(run, portion) for portion in portions[first : first + PORTIONS]]
            for done in as_completed(some):
                yield done.result()


def _text(total: Counter[str]) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in total.items())


def run(
    seeds: Iterable[int], driver: type[Driver] = Driver
) -> tuple[Counter[str], list[tuple[int, str]]]:
    """Simulate some seeds: figures, and of each that fails the first line of why."""
    total: Counter[str] = Counter()
    failures = []
    for seed in seeds:
        verdict = simulate(seed, driver)
        figures = verdict.figures()
        total.update(
            seeds=1,
            nodes=figures["start"],
            faults=figures["fault"],
            messages=figures["sent"],
            arrived=figures["arrived"],
            monitors=figures["watch"],
            fired=figures["fired"],
            calls=figures["cal"],
        )
        if not verdict.holds:
            failures.append((seed, verdict.error or str(verdict.violations[0])))
    return total, failures


def _explain(verdict: Verdict, runs: int) -> None:
    reduced = reduce(verdict, budget=runs)
    kept = ",".join(str(place) for place in _places(verdict.plan, reduced.plan))
    command = f"python -m aemp_core.testing.simulate --seed {verdict.plan.seed} --only {kept!r}"
    if verdict.driver is not Driver:
        command += f" --driver {verdict.driver.__module__}:{verdict.driver.__qualname__}"
    click.echo(f"\nSeed {verdict.plan.seed}, with the faults that matter:\n{reduced}")
    click.echo(f"Replay it: {command}")


def _places(plan: Plan, part: Plan) -> list[int]:
    """Which faults of a plan a part of it has."""
    places: list[int] = []
    for fault in part.faults:
        places.append(plan.faults.index(fault, places[-1] + 1 if places else 0))
    return places


if __name__ == "__main__":
    main()
