"""Bad links: packets that are lost are no alarm, and a link that comes and goes breaks no promise.

Every node sends numbered messages under watches, and the checker judges what arrived.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from typing import Any

import pytest
from faults_kit.actor import PORT
from faults_kit.checker import Runs, Watch, violations
from faults_kit.figures import Figures, Size, spread
from faults_kit.machine import Cable, network
from faults_kit.process import Cast, Process, processes

pytestmark = pytest.mark.usefixtures("machine")

TALKER = "faults_kit.talking:Talker"
#: Seconds until every stream flows again after the last fault. A dial that began before may have
#: to run into its limit, 5 s, before the next one is made, after a pause of `connect_interval`.
BOUND = 8.0


async def talkers(cast: Cast, cables: list[Cable], heartbeats: list[float]) -> list[Process]:
    """A talker at the hub and one on each leaf, which know each other's addresses."""
    common = {"connect_interval": 1.0, "monitor_timeout": 20.0, "send_limit": 4 * 2**20}
    everywhere = f"tcp://0.0.0.0:{PORT}"
    hub = await cast.start(
        cables[0].hub, TALKER, nodeid="m", binds=[everywhere], heartbeat=min(heartbeats), **common
    )
    leaves = []
    for number, (cable, heartbeat) in enumerate(zip(cables, heartbeats, strict=True)):
        name = f"{'az'[number % 2]}{number}"
        leaf = await cast.start(
            cable.leaf,
            TALKER,
            nodeid=name,
            binds=[everywhere],
            seeds=[f"tcp://{cable.hub_address}:{PORT}"],
            heartbeat=heartbeat,
            **common,
        )
        await hub.ask("learn", node=name, address=f"tcp://{cable.leaf_address}:{PORT}")
        await leaf.ask("up", node="m")
        await hub.ask("up", node=name)
        leaves.append(leaf)
    return [hub, *leaves]


async def talk(hub: Process, leaf: Process, number: int) -> None:
    """Have two talkers talk to each other."""
    await leaf.ask("talk", port=await hub.ask("target"), name=f"{number} up", seed=number)
    await hub.ask("talk", port=await leaf.ask("target"), name=f"{number} down", seed=-number)


async def judged(everyone: list[Process], figures: dict[str, Any]) -> list[str]:
    """Stop talking, let everything settle, and have the checker judge it."""
    await asyncio.gather(*(each.ask("hush") for each in everyone))
    await asyncio.gather(*(each.ask("settle", within=60) for each in everyone))
    logs = await asyncio.gather(*(each.ask("log") for each in everyone))
    arrived = dict(itertools.chain.from_iterable(log["arrived"].items() for log in logs))
    found, reasons, sent, watches = [], Counter(), 0, 0
    for log in logs:
        for name, stream in log["streams"].items():
            runs = Runs(arrived.get(name, ()))
            seen = [Watch(**each) for each in stream["watches"]]
            found += [f"{name}: {text}" for text in violations(stream["sent"], runs, seen)]
            reasons.update(text.split(" ")[0] for text in stream["reasons"])
            sent += stream["sent"]
            watches += len(seen)
    figures |= {
        "sent": sent,
        "arrived": sum(Runs(runs).count for runs in arrived.values()),
        "watches": watches,
        "fired": dict(reasons),
        "losses": sum(not up for log in logs for _, _, up in log["changes"]),
        "violations": len(found),
    }
    return found


async def test_lost_packets_are_no_alarm(size: Size, figures: Figures) -> None:
    """5 of 100 packets, each way; two links are busy, two only show that they live."""
    seconds = size(10, 300)
    measured: dict[str, Any] = {"seconds": seconds, "percent": 5, "heartbeat": 10.0, "links": 4}
    async with network(4) as net, processes() as cast:
        hub, *leaves = everyone = await talkers(cast, net.cables, [10.0] * 4)
        for cable in net.cables:
            await cable.lose(5)
        for number, leaf in enumerate(leaves[:2], 1):
            await talk(hub, leaf, number)
        await asyncio.sleep(seconds)
        found = await judged(everyone, measured)
        logs = await asyncio.gather(*(each.ask("log") for each in everyone))
        silences = [quiet for log in logs for quiet in log["silence"].values()]
        figures(**measured, longest_silence=spread(silences))
    assert found == []
    assert measured["losses"] == 0, "a false alarm"
    assert measured["fired"] == {}
    assert measured["arrived"] == measured["sent"] > 0


async def test_a_link_that_flaps_breaks_no_promise(size: Size, figures: Figures) -> None:
    """Cables are pulled and put in, go deaf and lossy, for times around those that matter."""
    seconds = size(12, 240)
    seed = random.randrange(10**9)
    measured: dict[str, Any] = {"seconds": seconds, "heartbeat": 1.0, "seed": seed}
    async with network(4) as net, processes() as cast:
        hub, *leaves = everyone = await talkers(cast, net.cables, [1.0] * 4)
        for number, leaf in enumerate(leaves, 1):
            await talk(hub, leaf, number)
        ends = asyncio.get_running_loop().time() + seconds
        counts = await asyncio.gather(
            *(flap(cable, random.Random(seed + n), ends) for n, cable in enumerate(net.cables))
        )
        healed = asyncio.get_running_loop().time()
        moments = await asyncio.gather(
            *(
                listener.ask("through", name=f"{number} {way}", seconds=3 * BOUND)
                for number, leaf in enumerate(leaves, 1)
                for way, listener in (("up", hub), ("down", leaf))
            )
        )
        back = [moment - healed for moment in moments]
        found = await judged(everyone, measured)
        figures(**measured, faults=sum(counts), flowing_again=spread(back))
    assert found == [], f"seed {seed}"
    assert measured["losses"] > 0, "no link was lost: this showed nothing"
    assert max(back) <= BOUND, f"seed {seed}"


async def flap(cable: Cable, draw: random.Random, ends: float) -> int:
    """One fault after the other until `ends`, then none; how many there were."""
    clock = asyncio.get_running_loop().time
    count = 0
    while clock() < ends:
        # Shorter than T, about T, longer than it takes to notice.
        length = draw.choice([0.05, 0.4, 1.0, 1.2, 2.5]) * draw.uniform(0.8, 1.2)
        kind = draw.randrange(6)
        if kind < 3:
            await cable.down()
            await asyncio.sleep(length)
            await cable.up()
        elif kind == 3:
            await cable.lose(draw.choice([10, 30, 60]))
            await asyncio.sleep(length)
            await cable.heal()
        else:
            await cable.black_hole(draw.choice(["both", "to_hub", "to_leaf"]))
            await asyncio.sleep(length)
            await cable.heal()
        count += 1
        await asyncio.sleep(draw.choice([0.05, 0.5, 1.5, 3.0]) * draw.uniform(0.8, 1.2))
    return count
