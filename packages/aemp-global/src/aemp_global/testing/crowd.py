"""A crowd: the nodes of a simulated network, each in a process of its own.

Their processes and the network between them are those of `aemp_core.testing`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from aemp_core.node import Node
from aemp_core.testing import Process, SimulatedNetwork, World

from ..groups import of

__all__ = ["GLOBALS", "Crowd", "agree", "members", "within"]

#: The globals of a crowd, unless it is told of others.
GLOBALS = ("g1", "g2", "g3")


async def within(seconds: float, condition: Callable[[], Any], what: str = "") -> float:
    """Wait until `condition` is true, so many seconds of virtual time at most; how long it took."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while not condition():
        if loop.time() - began > seconds:
            raise AssertionError(f"not within {seconds:g} s{what and f': {what}'}")
        await asyncio.sleep(0.02)
    return loop.time() - began


def members(node: Node, group: str = "all") -> list[str]:
    """The ports in a group, as a node has them, in an order of their own."""
    return sorted(of(node).grp_get(group))


def agree(nodes: Iterable[Node], expected: Iterable[str], group: str = "all") -> bool:
    """Whether all nodes see exactly these ports in a group."""
    ports = sorted(expected)
    return all(members(node, group) == ports for node in nodes)


class Crowd:
    """Nodes in processes of their own, each with a port in the group "all".

    Args:
        world: where they live.
        globals: names of the nodes that every node has as seeds.
        grouped: whether they have such a port, and follow that group.
        settings: of every node.
    """

    def __init__(
        self, world: World, globals: Iterable[str] = GLOBALS, *, grouped: bool = True,
        **settings: Any,
    ) -> None:  # fmt: skip
        self.world = world
        self.grouped = grouped
        self.globals = tuple(globals)
        self.settings = {"heartbeat": 4, "monitor_timeout": 11, **settings}
        self.nodes: dict[str, Node] = {}
        self.ports: dict[str, str] = {}
        self.processes: dict[str, Process] = {}

    @property
    def network(self) -> SimulatedNetwork:
        return self.world.network

    async def start(self, *names: str, clock: float = 0.0, **settings: Any) -> None:
        """Start nodes; `clock`: how wrong their wall clocks are. Earlier lives are dead by now."""
        await asyncio.gather(*(self._start(name, clock, settings) for name in names))

    async def _start(self, name: str, clock: float, settings: dict[str, Any]) -> None:
        process = self.world.process(name)
        process.jump(clock)
        seeds = [f"memory://{each}" for each in self.globals if each != name]
        given = {
            "binds": [f"memory://{name}"],
            "seeds": seeds,
            "role": "global" if name in self.globals else "auto",
            **self.settings,
            **settings,
        }
        node = Node(name, entropy=process.entropy, wall_clock=process.wall_clock, **given)

        async def begin() -> None:
            await node.start()
            self.nodes[name] = node
            if self.grouped:
                port = self.ports[name] = node.port(lambda *message: None)
                of(node).grp_reg("all", port)
                of(node).grp_get("all")

        self.processes[name] = process
        await process.call(begin)

    def kill(self, *names: str) -> None:
        """Kill processes."""
        for name in names:
            self.processes[name].kill()
            del self.nodes[name]
            self.ports.pop(name, None)

    def power_off(self, *names: str) -> None:
        """Take machines off the network without a word."""
        for name in names:
            self.processes[name].power_off()
            del self.nodes[name]
            self.ports.pop(name, None)

    async def leave(self, *names: str) -> None:
        """Close nodes in order, so that they are gone, not lost."""
        for name in names:
            self.ports.pop(name, None)
            await self.processes[name].call(self.nodes.pop(name).close)

    async def another_port(self, name: str) -> None:
        """End the port of a node that is in the group, and put another one there."""
        node = self.nodes[name]

        async def change() -> None:
            node.kil(self.ports[name])
            self.ports[name] = node.port(lambda *message: None)
            of(node).grp_reg("all", self.ports[name])

        await self.processes[name].call(change)

    def differences(self) -> list[str]:
        """What keeps globals from being linked pairwise, others from being at home, and all from
        seeing everybody alive and nobody else."""
        found = []
        for name, node in self.nodes.items():
            missing = set(self.globals) - {name, *node.up_nodes()}
            if name in self.globals and missing:
                found.append(f"{name} has no link to {', '.join(sorted(missing))}")
            elif name not in self.globals and not of(node).homing.at_home:
                found.append(f"{name} has no home")
            if not agree([node], self.ports.values()):
                found.append(f"{name} sees {', '.join(members(node))}")
        return found

    def agreed(self) -> bool:
        """Whether everybody alive sees everybody alive and nobody else."""
        return agree(self.nodes.values(), self.ports.values())

    async def close(self) -> None:
        """Close every node in order."""
        await self.leave(*self.nodes)
