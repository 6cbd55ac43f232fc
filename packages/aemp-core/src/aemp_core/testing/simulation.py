"""A simulation: one seed, from its plan to the verdict.

    plan (faults) --> Driver, in a World --> History --> judge --> Verdict

`simulate` runs one; `reduce` takes away from the faults of a failing one what does not matter.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from .driver import Driver
from .faults import Fault, Plan
from .history import History
from .judge import Violation, judge
from .shrink import minimise
from .world import World

__all__ = ["Verdict", "reduce", "simulate"]

#: Seconds within which a node must be told of a death, its heartbeat apart: the dial deadline, the
#: silence that the peer tolerates, and what the slowest path takes.
NOTICE = 24.0
HEARTBEATS = 1.25


@dataclass(frozen=True)
class Verdict:
    """What became of a plan.

    Attributes:
        plan: which.
        history: everything that happened.
        violations: what was promised and not held; empty if all was well.
        error: how the run itself failed, "" if it came to its end.
        driver: what ran it.
    """

    plan: Plan
    history: History
    violations: tuple[Violation, ...]
    error: str = ""
    driver: type[Driver] = Driver

    @property
    def holds(self) -> bool:
        """Whether everything promised was held."""
        return not self.violations and not self.error

    def figures(self) -> Counter[str]:
        """How often what happened."""
        return Counter(event[1] for event in self.history.events)

    def __str__(self) -> str:
        lines = [str(self.plan)]
        if self.error:
            lines.append(self.error)
        for violation in self.violations[:5]:
            lines += [str(violation), self.history.text(violation.index, about=violation.about)]
        return "\n".join(lines)


def simulate(plan: Plan | int, driver: type[Driver] = Driver) -> Verdict:
    """Run a plan, or the one drawn from a seed, and judge what happened.

    The same plan gives the same history, event by event.

    Args:
        plan: that, or a seed.
        driver: what starts the nodes and has the faults befall them.
    """
    if isinstance(plan, int):
        plan = driver.draw(plan)
    world = World(plan.seed)
    error = ""
    with _quiet():
        try:
            world.run(driver(world, plan).run())
        except Exception as caught:
            error = f"{type(caught).__name__}: {caught}"
    violations = [] if error else judge(world.history, notice=NOTICE, heartbeats=HEARTBEATS)
    return Verdict(plan, world.history, tuple(violations), error, driver)


def reduce(verdict: Verdict, *, budget: int = 200) -> Verdict:
    """The verdict on the fewest faults found that break the same promise.

    Args:
        verdict: one that does not hold.
        budget: the most runs to spend.
    """

    def outcome(of: Verdict) -> str:
        return of.violations[0].promise if of.violations else of.error.partition(":")[0]

    wanted = outcome(verdict)

    def fails(faults: list[Fault]) -> bool:
        found = simulate(verdict.plan.with_faults(faults), verdict.driver)
        return not found.holds and outcome(found) == wanted

    faults = minimise(verdict.plan.faults, fails, budget=budget)
    return simulate(verdict.plan.with_faults(faults), verdict.driver)


@contextmanager
def _quiet() -> Iterator[None]:
    """Warnings of nodes about strangers and losses are what these runs are made of."""
    before = logging.root.manager.disable
    logging.disable()
    try:
        yield
    finally:
        logging.disable(before)
