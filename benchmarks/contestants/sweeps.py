"""The same work beside more and more of what must not matter."""

from __future__ import annotations

import asyncio
from time import perf_counter

import aemp_core as mp

from ..process import Figures, Run
from . import local
from .pace import BURST

#: Seconds until nodes that have just joined have nothing more to do.
CALM = 3


async def beside_ports(run: Run) -> Figures:
    """Messages to one port, while there are `size` others."""
    async with mp.Node("bench") as node:
        for _ in range(run.size):
            node.port(lambda *elements: None)
        return await local.send_paced(node, run)


async def beside_watches(run: Run) -> Figures:
    """Ports that are watched and killed, while `size` others are watched."""
    assert run.count % BURST == 0
    async with mp.Node("bench") as node:
        for _ in range(run.size):
            node.mon(node.port(), lambda reason: None)
        left, done = run.count, asyncio.Event()

        def tell(reason: tuple[object, ...]) -> None:
            nonlocal left
            left -= 1
            if not left:
                done.set()

        began = perf_counter()
        for _ in range(run.count // BURST):
            for _ in range(BURST):
                port = node.port()
                node.mon(port, tell)
                node.kil(port)
            await asyncio.sleep(0)
        await done.wait()
        return {"rate": run.count / (perf_counter() - began)}


async def beside_peers(run: Run) -> Figures:
    """Messages to a port of one node, while `size` others are linked to this one and idle."""
    async with mp.Node("hub", binds=["memory://hub"]) as hub:
        nodes = [mp.Node(f"peer/{number}", seeds=["memory://hub"]) for number in range(run.size)]
        for node in nodes:
            await node.start()
        for node in nodes:
            await node.up("hub")
        try:
            counter = local.Counter(nodes[0], run.count)
            message = run.message
            await hub.up(nodes[0].id)
            await asyncio.sleep(CALM)
            began = perf_counter()
            for _ in range(run.count // BURST):
                for _ in range(BURST):
                    hub.snd(counter.port, *message)
                await asyncio.sleep(0)
                await hub.flush(nodes[0].id)
            await counter.done.wait()
            return {"rate": run.count / (perf_counter() - began)}
        finally:
            for node in nodes:
                await node.close()


async def after(run: Run) -> Figures:
    """Messages to one port, after `size` others were handled and a tenth as many ports ended."""
    async with mp.Node("bench") as node:
        port = node.port(lambda *elements: None)
        for number in range(run.size):
            node.snd(port, *run.message)
            if number % 10 == 0:
                node.kil(node.port())
                await asyncio.sleep(0)
        return await local.send_paced(node, run)
