"""What links cost over which nothing is sent: heartbeats, and memory."""

from __future__ import annotations

import asyncio
import resource
from time import perf_counter, process_time

import aemp_core as mp

from ..process import Figures, Run, ended, memory, partner, ready
from .remote import SECRET

#: Nodes that join at a time.
TOGETHER = 50


async def links(run: Run) -> Figures:
    """A node with `count` links to nodes of another process, for `size` seconds."""
    _more_files()
    async with mp.Node("hub", binds=["tcp://127.0.0.1:0"], secret=SECRET) as node:
        empty = memory()
        async with partner("idle:nodes", run, seed=node.addresses[0]) as line:
            assert line == "joined"
            for number in range(run.count):
                await node.up(f"idle/{number}")
            await asyncio.sleep(1)  # what joining left to do
            size = memory() - empty
            began, busy = perf_counter(), process_time()
            await asyncio.sleep(run.size)
            seconds = perf_counter() - began
            busy = process_time() - busy
            assert len(node.up_nodes()) == run.count
        return {"cpu": busy / seconds * 100, "bytes": size / run.count}


async def nodes(run: Run) -> None:
    """The partner: nodes that join the seed and do nothing."""
    _more_files()
    all_nodes = [
        mp.Node(f"idle/{number}", seeds=[run.more["seed"]], secret=SECRET)
        for number in range(run.count)
    ]
    for place in range(0, len(all_nodes), TOGETHER):
        some = all_nodes[place : place + TOGETHER]
        await asyncio.gather(*(node.start() for node in some))
        await asyncio.gather(*(node.up("hub") for node in some))
    ready("joined")
    await ended()
    for node in all_nodes:
        await node.close()


def _more_files() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
