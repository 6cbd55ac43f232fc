"""Strangers who begin handshakes and never end them cost little and keep nobody out."""

from __future__ import annotations

import asyncio
import random

import pytest
from faults_kit.actor import PORT
from faults_kit.figures import Figures, Size, spread
from faults_kit.machine import network
from faults_kit.process import processes

pytestmark = pytest.mark.usefixtures("machine")

#: Seconds within which an honest node has joined and been answered.
LIMIT = 2.0
#: What the docs say of unauthenticated connections: so many wait, each no longer than this.
ROOM, SECONDS = 1_000, 10
#: Memory they may cost.
BYTES = 48 * 2**20


@pytest.mark.parametrize("sources", [pytest.param(1, marks=pytest.mark.full_only), 250])
async def test_an_honest_node_joins_through_a_flood(
    sources: int, size: Size, figures: Figures
) -> None:
    """Handshakes from one address or from many; nodes join all the time from another."""
    count, rate = size((1_000, 250), (10_000, 1_000))
    draw = random.Random(5)
    async with network(2) as net, processes() as cast:
        attacker, honest = net.leaves
        # The attacker's own addresses, all of them on the way back through its cable.
        await attacker.run("ip", "route", "add", "local", "10.200.0.0/16", "dev", "lo")
        await net.hub.run("ip", "route", "add", "10.200.0.0/16", "via", attacker.addresses[0])
        hub = await cast.start(
            net.hub, "faults_kit.endurance:Hub", nodeid="m", binds=[f"tcp://0.0.0.0:{PORT}"]
        )
        echo = await hub.ask("echo")
        joiner = await cast.start(
            honest, "faults_kit.strangers:Joiner", seed=f"tcp://{net.cables[1].hub_address}:{PORT}"
        )
        calm = [
            await joiner.ask("join", number=n, hub="m", port=echo, seconds=20) for n in range(4)
        ]
        before = await hub.ask("census")
        hub.forget_peak()
        strangers = await cast.start(
            attacker,
            "faults_kit.strangers:Strangers",
            hub=net.cables[0].hub_address,
            port=PORT,
            addresses=[f"10.200.{n}.1" for n in range(sources)],
        )
        cpu = hub.cpu_seconds()
        flood = asyncio.ensure_future(strangers.report("flooded", 120))
        await strangers.ask("flood", count=count, rate=rate)
        took = []
        files = waiting = 0
        while not flood.done() or not took:
            await asyncio.sleep(draw.uniform(0, 0.2))
            took.append(await joiner.ask("join", number=len(took), hub="m", port=echo, seconds=20))
            now = await hub.ask("crowd")
            files = max(files, now["files"] - before["files"])
            waiting = max(waiting, now["strangers"])
        cpu = hub.cpu_seconds() - cpu
        state = await strangers.ask("state")
        peak = hub.memory()["peak"] - before["rss"]
        # They stay open, and the hub ends them when their time is over.
        await asyncio.sleep(SECONDS + 1)
        after = await hub.ask("census")
    figures(
        sources=sources,
        handshakes=state["begun"],
        handshakes_per_second=round(count / (await flood)["seconds"]),
        ended_by_then=state["ended"],
        hub_cpu_seconds=round(cpu, 1),
        join_seconds=spread([each["seconds"] for each in took]),
        join_seconds_in_peace=spread([each["seconds"] for each in calm]),
        links_lost_while_joining=sum(each["lost"] for each in took),
        most_waiting=waiting,
        most_files=files,
        memory_peak_mib=round(peak / 2**20, 1),
    )
    assert state["begun"] == count and not state["failed"]
    assert max(each["seconds"] for each in took) < LIMIT
    assert waiting <= ROOM
    assert files <= ROOM + 50
    assert peak < BYTES
    assert after["strangers"] == 0
    assert after["files"] == before["files"]
    assert after["peers"] == before["peers"]
