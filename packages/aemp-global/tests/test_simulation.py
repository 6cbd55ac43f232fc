"""Every promise of aemp-core is held with aemp-global at work in every node, under every fault.

The simulator, its faults and its judge are those of aemp-core: see docs/reliability.md.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

import aemp_core as mp
from aemp_core.plugins import plugin_manager
from aemp_core.testing import World
from aemp_core.testing.agents import Agent
from aemp_core.testing.driver import SECRET, Driver
from aemp_core.testing.faults import Plan, draw
from aemp_core.testing.judge import judge
from aemp_core.testing.simulation import HEARTBEATS, NOTICE, simulate

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


# -- links that run through a global -----------------------------------------------------------


class Deaf(Driver):
    """A driver of nodes of which only two, the globals, listen: all others need them to talk."""

    async def _start(self, machine: str, node_id: str = "") -> Agent:
        process = self.world.process(machine)
        node_id = node_id or machine
        is_global = machine in hubs(self.plan)
        node = mp.Node(
            node_id,
            binds=[f"memory://{machine}/0"] if is_global else [],
            seeds=[f"memory://{hub}/0" for hub in self.plan.seeds[node_id]],
            role="global" if is_global else "ordinary",
            secret=SECRET,
            entropy=process.entropy,
            wall_clock=process.wall_clock,
            **self.plan.settings[node_id],
        )
        agent = Agent(self, process, node, f"{node_id}@{next(self._lives)}")
        await process.call(agent.begin)
        if node_id == machine:
            self.agents[machine] = agent
        return agent


def hubs(plan: Plan) -> tuple[str, ...]:
    return plan.machines[:2]


def deaf(seed: int) -> tuple[Plan, list[object], World]:
    """Run the plan of a seed with more nodes, most of them deaf; what the judge objects to."""
    drawn = draw(seed)
    machines = (*drawn.machines, *("ivan", "judy", "kim")[: max(0, 5 - len(drawn.machines))])
    settings = {
        machine: {**drawn.settings[drawn.machines[0]], "send_limit": 2**22} for machine in machines
    }
    # The judge knows which links flipped bits may alter, but not what runs through those links.
    faults = tuple(fault for fault in drawn.faults if fault.verb != "corrupt")
    plan = replace(drawn, machines=machines, settings=settings, addresses=1, faults=faults)
    # Globals have each other as seeds, and everybody has both.
    seeds = {each: tuple(hub for hub in hubs(plan) if hub != each) for each in machines}
    plan = replace(plan, seeds=seeds)
    world = World(seed)
    driver = Deaf(world, replace(plan, seeds=seeds))
    driver._judge_links = lambda: None  # type: ignore[method-assign]  # only some are to be linked
    world.run(driver.run())
    return plan, list(judge(world.history, notice=NOTICE, heartbeats=HEARTBEATS)), world


@pytest.mark.parametrize("seed", range(12))
def test_every_promise_is_held_over_relays(seed: int) -> None:
    plan, violations, world = deaf(seed)
    assert not violations, f"{plan}\n{violations[0]}"
