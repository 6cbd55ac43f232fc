"""Simulate seeds one after the other, up to the first that finds a promise broken.

    python -m mutants.seeds COUNT [MODULE:DRIVER]

What `python -m aemp_core.testing.simulate` does, without the figures, and without shrinking what it
found: that there is something is all that is asked.
"""

from __future__ import annotations

import sys
from importlib import import_module

from aemp_core.plugins import plugin_manager
from aemp_core.testing.driver import Driver
from aemp_core.testing.simulation import simulate


def main(count: int, driver: str = "") -> int:
    """Exit code 1 if one of the first `count` seeds finds something."""
    module, _, name = driver.partition(":")
    runs: type[Driver] = getattr(import_module(module), name) if driver else Driver
    plugin_manager().set_blocked("global")  # with it, the same seeds are other runs
    for seed in range(count):
        verdict = simulate(seed, runs)
        if not verdict.holds:
            print(f"seed {seed}: {verdict.error or verdict.violations[0]}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), *sys.argv[2:]))
