"""The size of a network, and what it costs one node to join: what it asks for, not what there is.

Three globals and many ordinary nodes that start together; then one more joins, finds a group of ten
and calls one of its members.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from aemp_core.node import Node
from aemp_core.testing import World

from ..directory import NODES
from ..groups import of
from .crowd import GLOBALS, Crowd, within

__all__ = ["Size", "grow"]

#: Seconds in which all must have joined.
JOINED = 60.0


@dataclass(frozen=True)
class Size:
    """What a network of one size cost.

    Attributes:
        count: of ordinary nodes.
        seconds: until all had a home, and all globals knew all nodes.
        links: of an ordinary node, at most.
        fewest: links of the global that has the fewest.
        joined: bytes to and from one ordinary node that joined, at most.
        peers: nodes that the last one talked to, beside its home,
        late_links: its links,
        late: and the bytes to and from it.
    """

    count: int
    seconds: float
    links: int
    fewest: int
    joined: int
    peers: int
    late_links: int
    late: int


def grow(count: int, seed: int = 0) -> Size:
    """Start a network with so many ordinary nodes, and have one more join it."""
    world = World(seed)
    return world.run(_grow(world, count))


async def _grow(world: World, count: int) -> Size:
    crowd = Crowd(world, heartbeat=10, monitor_timeout=30, grouped=False)
    crowd.network.default.latency = crowd.network.default.jitter = 0.01
    await crowd.start(*GLOBALS)
    await within(5, lambda: all(len(crowd.nodes[each].up_nodes()) == 2 for each in GLOBALS))
    began = world.now
    names = [f"n{number}" for number in range(count)]
    await crowd.start(*names)
    everybody = [of(crowd.nodes[name]) for name in names]
    await within(JOINED, lambda: all(each.homing.at_home for each in everybody))
    hubs = [of(crowd.nodes[each]) for each in GLOBALS]
    total = count + len(GLOBALS)
    await within(JOINED, lambda: all(len(hub.families.values(NODES)) == total for hub in hubs))
    seconds = world.now - began
    links = max(len(crowd.nodes[name].up_nodes()) for name in names)
    fewest = min(len(hub.node.up_nodes()) for hub in hubs)
    joined = max(crowd.network.traffic[name] for name in names)
    late = await _join(crowd, "late", names[:10])
    size = Size(
        count,
        seconds,
        links,
        fewest,
        joined,
        1,
        len(late.up_nodes()),
        crowd.network.traffic["late"],
    )
    await crowd.close()
    return size


async def _join(crowd: Crowd, name: str, members: list[str]) -> Node:
    """One more node, which finds a group and calls one of its members."""
    for member in members:
        await crowd.processes[member].call(_register, crowd.nodes[member])
    await crowd.start(name)
    node, process = crowd.nodes[name], crowd.processes[name]
    ports = await process.call(lambda: of(node).grp_wait("some"))
    if len(ports) != len(members):
        raise AssertionError(f"{name} found {len(ports)} ports of {len(members)}")
    await process.call(lambda: node.cal(ports[0], "hello", timeout=5))
    await asyncio.sleep(1)
    return node


async def _register(node: Node) -> None:
    port = node.port(lambda tag, reply: node.snd(reply, tag))
    of(node).grp_reg("some", port)
