"""A thousand nodes with three globals: joining costs what it asks for, not what there is."""

from __future__ import annotations

import asyncio

import pytest
from global_kit import Crowd, within

import aemp_core as mp
import aemp_global as gl
from aemp_core.testing import World
from aemp_core.testing.cable import Lane
from aemp_global.directory import NODES

G = ("g1", "g2", "g3")


class Meter:
    """Counts the bytes each machine writes and is written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bytes: dict[str, int] = {}
        put = Lane.put

        def counted(lane: Lane, data: bytes) -> None:
            for machine in (lane.source_machine, lane.sink_machine):
                self.bytes[machine] = self.bytes.get(machine, 0) + len(data)
            put(lane, data)

        monkeypatch.setattr(Lane, "put", counted)


async def grown(world: World, count: int) -> tuple[Crowd, float]:
    """Three globals and so many ordinary nodes that started together; seconds until all are in."""
    crowd = Crowd(world, heartbeat=10, monitor_timeout=30, grouped=False)
    crowd.network.default.latency = crowd.network.default.jitter = 0.01
    await crowd.start(*G)
    await within(5, lambda: all(len(crowd.nodes[each].up_nodes()) == 2 for each in G))
    began = world.now
    await crowd.start(*(f"n{number}" for number in range(count)))
    everybody = [gl.of(node) for name, node in crowd.nodes.items() if name not in G]
    await within(60, lambda: all(each.homing.at_home for each in everybody))
    hubs = [gl.of(crowd.nodes[each]) for each in G]
    total = count + len(G)
    await within(60, lambda: all(len(hub.families.values(NODES)) == total for hub in hubs))
    return crowd, world.now - began


async def cost_of_joining(crowd: Crowd, meter: Meter, name: str) -> int:
    """Bytes to and from one more node, which joins, finds a group of ten and calls one of them."""
    for number in range(10):
        node = crowd.nodes[f"n{number}"]
        await crowd.processes[f"n{number}"].call(reg, node)
    await crowd.start(name)
    node = crowd.nodes[name]
    (port, *more) = await crowd.processes[name].call(lambda: gl.of(node).grp_wait("ten"))
    assert len(more) == 9
    await crowd.processes[name].call(lambda: node.up(port.partition("#")[0], 5))
    await asyncio.sleep(1)
    assert len(node.up_nodes()) <= 2
    return meter.bytes[name]


async def reg(node: mp.Node) -> None:
    gl.of(node).grp_reg("ten", node.port())


@pytest.mark.parametrize("count", [100, 1_000])
async def test_many_nodes_join_three_globals(
    aemp_world: World, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """The bounds in bytes are the same for both sizes."""
    meter = Meter(monkeypatch)
    crowd, seconds = await grown(aemp_world, count)
    assert seconds < 60
    ordinary = {name: node for name, node in crowd.nodes.items() if name not in G}
    assert all(len(node.up_nodes()) == 1 for node in ordinary.values())
    shares = [len(crowd.nodes[each].up_nodes()) for each in G]
    assert min(shares) > count / 5  # the homes share the load
    each = sorted(meter.bytes[name] for name in ordinary)
    cost = await cost_of_joining(crowd, meter, "late")
    print(f"{count}: {seconds:.2f} s, {each[-1]} bytes at most, {cost} with a group and a call")
    assert each[-1] < 2_500
    assert cost < 5_000
