"""How long the stateful tests run, and the loop they run on.

In a normal run the examples are the same each time. ``STATEFUL_EXAMPLES=20000`` in the environment
makes a long run of fresh ones, with longer stories; what fails is printed as the steps that lead
there, made as few as possible.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine

from aemp_core.testing.clock import VirtualClockLoop

__all__ = ["LoopMachine", "patience", "story"]

#: 0 in a normal run.
EXAMPLES = int(os.environ.get("STATEFUL_EXAMPLES", "0"))
#: Loop turns after which everything has happened that takes no time.
TURNS = 12


#: Seconds for one machine: a busy machine is no failure, and a long run is meant to be long.
patience = pytest.mark.timeout(0 if EXAMPLES else 600)


def story(examples: int, steps: int) -> settings:
    """Settings for a machine: so many examples of at most so many steps, or the long run."""
    return settings(
        max_examples=EXAMPLES or examples,
        stateful_step_count=3 * steps if EXAMPLES else steps,
        derandomize=not EXAMPLES,
        deadline=None,
        database=None,
        print_blob=bool(EXAMPLES),
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )


class LoopMachine(RuleBasedStateMachine):
    """A machine whose rules act on a virtual clock's loop, which runs when they let it."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualClockLoop()

    def start(self, function: Any, *args: Any) -> Any:
        """Call `function` from inside the running loop. Verbs need no more than that it is there:
        called between two runs of it, nothing happens in their wake before it runs again."""

        async def run() -> Any:
            return function(*args)

        return self.loop.run_until_complete(run())

    def settle(self, seconds: float = 0.0) -> None:
        """Let `seconds` pass, and then everything happen that takes no time."""

        async def run() -> None:
            if seconds:
                await asyncio.sleep(seconds)
            for _ in range(TURNS):
                await asyncio.sleep(0)

        self.loop.run_until_complete(run())

    def teardown(self) -> None:
        """Close the loop; whatever nobody handled is a failure."""
        self.loop.close()
        self.loop.raise_unhandled()
