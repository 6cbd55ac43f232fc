"""Every promise of aemp-core is held with aemp-global at work in every node, under every fault."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aemp_core.plugins import plugin_manager
from aemp_core.testing.faults import draw
from aemp_core.testing.simulation import simulate

#: Small queues on which what the exchange says was dropped and said again for ever.
FULL_QUEUES = (191, 226)


@pytest.mark.parametrize("topology", ["hub", "mesh"])
@pytest.mark.parametrize("seed", [*range(8), *FULL_QUEUES])
def test_every_promise_is_held(seed: int, topology: str) -> None:
    assert plugin_manager().has_plugin("global")
    plan = draw(seed)
    settings = {name: {**given, "topology": topology} for name, given in plan.settings.items()}
    verdict = simulate(replace(plan, settings=settings))
    assert verdict.holds, str(verdict)
