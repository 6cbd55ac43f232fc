"""The promises of aemp-core, judged where aemp-global is at work in every node, under every fault.

The simulator, its faults and its judge are those of `aemp_core.testing`. Two ways to run a seed:
with each topology, as its plan says; and over relays, where only two globals listen, so that all
other nodes need them to talk.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from aemp_core.plugins import plugin_manager
from aemp_core.testing.driver import Driver
from aemp_core.testing.faults import Plan, draw
from aemp_core.testing.simulation import Verdict, simulate

__all__ = ["TOPOLOGIES", "over_relays", "with_topology"]

TOPOLOGIES = ("hub", "mesh")


def with_topology(seed: int, topology: str) -> Verdict:
    """Run the plan of a seed with all nodes of a topology."""
    assert plugin_manager().has_plugin("global")
    plan = draw(seed)
    settings = {name: {**given, "topology": topology} for name, given in plan.settings.items()}
    return simulate(replace(plan, settings=settings))


def over_relays(seed: int) -> Verdict:
    """Run the plan of a seed with more nodes, all of which but two are deaf."""
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
    return simulate(replace(plan, seeds=seeds), Deaf)


def hubs(plan: Plan) -> tuple[str, ...]:
    """The machines of the globals."""
    return plan.machines[:2]


class Deaf(Driver):
    """A driver of nodes of which only two, the globals, listen."""

    def places(self, machine: str, node_id: str) -> dict[str, Any]:
        """See `Driver`; and who is global."""
        is_global = machine in hubs(self.plan)
        return {
            "binds": [f"memory://{machine}/0"] if is_global else [],
            "seeds": [f"memory://{hub}/0" for hub in self.plan.seeds[node_id]],
            "role": "global" if is_global else "ordinary",
        }

    def _judge_links(self) -> None:
        """Only some of these nodes are to be linked."""
