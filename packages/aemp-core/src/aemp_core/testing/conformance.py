"""The conformance kit: does a transport keep to `aemp_core.link`, sentence by sentence?

    @asynccontextmanager
    async def harness():
        yield Harness(MyTransport, address=lambda: "my://0", nowhere=lambda: "my://1")

    asyncio.run(check_transport(harness))

`CHECKS` are the single checks; each is named by what it demands and says so in its docstring.
They need nothing but a running event loop. For pytest see `aemp_core.testing.conformance_pytest`.
"""

from __future__ import annotations

import asyncio

from . import checks_links, checks_opening
from .bench import Bench, Check, Harness, HarnessFactory, Violation, demand

__all__ = ["CHECKS", "Check", "Harness", "Violation", "check_transport", "run_check"]

#: Every check, in the order of the life of a connection.
CHECKS: tuple[Check, ...] = (*checks_opening.CHECKS, *checks_links.CHECKS)


async def run_check(check: Check, make_harness: HarnessFactory) -> None:
    """Run one check; raise `Violation` if the transport does not keep to it."""
    before = asyncio.all_tasks()
    async with make_harness() as harness, Bench(harness) as bench:
        await check(bench)
    for _ in range(3):  # tasks that were cancelled need a turn to end
        await asyncio.sleep(0)
    left = asyncio.all_tasks() - before
    demand(not left, f"no task should be left: {sorted(task.get_name() for task in left)}")


async def check_transport(make_harness: HarnessFactory) -> None:
    """Run every check; raise one `Violation` that lists all that the transport breaks."""
    broken = []
    for each in CHECKS:
        try:
            await run_check(each, make_harness)
        except Exception as error:  # whatever a transport may raise: the other checks run, too
            broken.append(f"{name_of(each)}: {type(error).__name__}: {error}")
    demand(not broken, "\n".join(broken))


def name_of(check: Check) -> str:
    """What a check is called."""
    return str(getattr(check, "__name__", check))
