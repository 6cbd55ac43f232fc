"""Nodes that die: their monitors fire at once, and once."""

from __future__ import annotations

import asyncio
import signal

import pytest
from faults_kit.actor import PORT
from faults_kit.figures import Figures, Size, quantile, spread
from faults_kit.machine import network
from faults_kit.process import Process, processes

pytestmark = pytest.mark.usefixtures("machine")

#: Processes that start at a time.
BATCH = 4
#: Seconds within which 99 of 100 kills are to be noticed.
LIMIT = 0.5


async def test_a_killed_process_is_noticed_at_once(size: Size, figures: Figures) -> None:
    """SIGKILL, on idle links and on links with traffic both ways, half-read on both sides."""
    rounds = size(12, 200)
    took: dict[str, list[float]] = {"idle": [], "busy": []}
    async with network(leaves=1) as net, processes() as cast:
        hub = f"tcp://{net.hub.addresses[0]}:{PORT}"
        watcher = await cast.start(net.hub, "faults_kit.watching:Watcher", nodeid="m", binds=[hub])
        sink = await watcher.ask("target")

        async def born(number: int) -> tuple[str, str, Process]:
            # Half of them have the smaller ID, half the greater.
            victim = await cast.start(
                net.leaves[0],
                "faults_kit.watching:Watched",
                nodeid=f"{'az'[number // 2 % 2]}{number}",
                seeds=[hub],
            )
            await victim.ask("up", node="m")
            port = await victim.ask("target")
            await watcher.ask("watch", port=port)
            kind = ("idle", "busy")[number % 2]
            if kind == "busy":
                await victim.ask("chatter", port=sink)
                await watcher.ask("chatter", port=port)
            return kind, port, victim

        for first in range(0, rounds, BATCH):
            batch = range(first, min(first + BATCH, rounds))
            for kind, port, victim in await asyncio.gather(*map(born, batch)):
                await asyncio.sleep(0.05)  # the traffic begins
                killed = victim.signal(signal.SIGKILL)
                fired = await watcher.report("fired")
                assert fired["port"] == port
                assert fired["reason"][0] == "transport_error"
                took[kind].append(fired["at"] - killed)
        await watcher.ask("census")  # whatever it reported before the answer is here
        assert watcher.reports("fired") == []
        await watcher.stop()
    everything = took["idle"] + took["busy"]
    figures(seconds=spread(everything), **{kind: spread(each) for kind, each in took.items()})
    assert len(everything) == rounds
    assert quantile(everything, 0.99) < LIMIT
