"""Endurance: what comes and goes leaves nothing behind, however often.

Memory, files, tasks and tables are looked at again and again. What was grown once, a table's
room or a buffer, is no leak; so the first looks do not count, and the others are judged by how
much the line through them rises.
"""

from __future__ import annotations

from typing import Any

import pytest
from faults_kit.actor import PORT
from faults_kit.figures import Figures, Size, growth
from faults_kit.machine import Host, network
from faults_kit.process import Cast, Process, processes

pytestmark = pytest.mark.usefixtures("machine")

#: Times everything is looked at, and how many of them come before it counts.
LOOKS, WARM = 25, 7
#: How much each may rise from the first look that counts to the last.
ALLOWED = {"files": 1, "tasks": 1, "peers": 0, "ports": 0, "strangers": 0}
#: Bytes and objects: what the allocator and the interpreter do by themselves.
RSS, OBJECTS = 2 * 2**20, 500


class Looks:
    """What one process held, look after look."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.points: list[dict[str, int]] = []

    async def look(self) -> None:
        self.points.append(await self._process.ask("census"))

    def rise(self, key: str) -> float:
        return growth([(n, each[key]) for n, each in enumerate(self.points)][WARM:])

    def figures(self) -> dict[str, Any]:
        first, last = self.points[WARM], self.points[-1]
        return {
            "looks": len(self.points) - WARM,
            "rss_mib": [round(each["rss"] / 2**20, 1) for each in self.points[:: LOOKS // 5]],
            "rss_rise_kib": round(self.rise("rss") / 1024),
            "objects_rise": round(self.rise("objects")),
            **{key: [first[key], last[key]] for key in ALLOWED},
        }

    def leaks(self) -> list[str]:
        """What rose too much."""
        allowed = {**ALLOWED, "rss": RSS, "objects": OBJECTS}
        return [
            f"{key} rose by {self.rise(key):g}, {most} are allowed"
            for key, most in allowed.items()
            if self.rise(key) > most
        ]


async def hub_at(cast: Cast, host: Host) -> tuple[Process, str]:
    hub = await cast.start(
        host, "faults_kit.endurance:Hub", nodeid="m", binds=[f"tcp://0.0.0.0:{PORT}"]
    )
    return hub, await hub.ask("echo")


async def test_links_that_come_and_go_leave_nothing(size: Size, figures: Figures) -> None:
    """Nodes connect, talk, watch, spawn and disconnect: in order, without a word, and again."""
    cycles, at_once = size((750, 10), (100_000, 50))
    async with network(1) as net, processes() as cast:
        # The ports of ended connections are to be used again before their minute is over.
        await net.leaves[0].sysctl(ip_local_port_range="1024 65535", tcp_tw_reuse="1")
        hub, echo = await hub_at(cast, net.hub)
        seed = f"tcp://{net.hub.addresses[0]}:{PORT}"
        cycler = await cast.start(
            net.leaves[0],
            "faults_kit.endurance:Cycler",
            nodeid="cycler",
            seed=seed,
            hub="m",
            echo=echo,
        )
        looks = {"hub": Looks(hub), "other side": Looks(cycler)}
        done = 0
        for _ in range(LOOKS):
            done = await cycler.ask("cycle", count=cycles // LOOKS, at_once=at_once, within=300)
            for each in looks.values():
                await each.look()
        fired = await hub.ask("count"), await cycler.ask("count")
        await cycler.stop()
        await hub.stop()
    figures(cycles=done, fired=fired, **{name: each.figures() for name, each in looks.items()})
    assert done >= cycles
    assert fired == (done, done), "each cycle has one monitor on either side"
    assert [each.leaks() for each in looks.values()] == [[], []]


async def test_ports_that_come_and_go_leave_nothing(size: Size, figures: Figures) -> None:
    """Ports of every kind are made, used and killed, at home and on another node."""
    local, remote = size((25_000, 5_000), (4_500_000, 500_000))
    async with network(1) as net, processes() as cast:
        hub, _ = await hub_at(cast, net.hub)
        seed = f"tcp://{net.hub.addresses[0]}:{PORT}"
        porter = await cast.start(
            net.leaves[0], "faults_kit.endurance:Porter", nodeid="porter", seeds=[seed]
        )
        await porter.ask("up", node="m")
        looks = {"porter": Looks(porter), "hub": Looks(hub)}
        for _ in range(LOOKS):
            await porter.ask("local", count=local // LOOKS, within=600)
            await porter.ask("remote", count=remote // LOOKS, hub="m", within=600)
            for each in looks.values():
                await each.look()
        await porter.stop()
        await hub.stop()
    figures(ports=local, spawned=remote, **{name: each.figures() for name, each in looks.items()})
    assert [each.leaks() for each in looks.values()] == [[], []]
