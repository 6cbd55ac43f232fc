"""AEMP within one process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import cycle, islice, repeat
from time import perf_counter
from typing import Any

import aemp_core as mp

from ..process import Figures, Run, memory
from .pace import BURST


class Counter:
    """A port whose tagged handler counts, and tells when all are there."""

    def __init__(self, node: mp.Node, count: int) -> None:
        self.done = asyncio.Event()
        self._left = count
        self.port = node.port()
        node.rcv(self.port, tag=self.handle)

    def handle(self, number: int, text: object) -> None:
        self._left -= 1
        if not self._left:
            self.done.set()


@asynccontextmanager
async def _counting(run: Run) -> AsyncIterator[tuple[mp.Node, Counter]]:
    async with mp.Node("bench") as node:
        yield node, Counter(node, run.count)


async def _paced(run: Run, snd: Callable[..., None], port: str) -> None:
    message = run.message
    for _ in range(run.count // BURST):
        for _ in repeat(None, BURST):
            snd(port, *message)
        await asyncio.sleep(0)


async def send_paced(node: mp.Node, run: Run) -> Figures:
    """Messages to a fresh port of `node`, 50 in each turn of the loop."""
    counter = Counter(node, run.count)
    began = perf_counter()
    await _paced(run, node.snd, counter.port)
    await counter.done.wait()
    return {"rate": run.count / (perf_counter() - began)}


async def paced(run: Run) -> Figures:
    """`node.snd`, 50 messages in each turn of the loop."""
    async with mp.Node("bench") as node:
        return await send_paced(node, run)


async def verb_in_port(run: Run) -> Figures:
    """The function `snd`, called in a port, 50 messages in each turn of the loop."""
    async with _counting(run) as (node, counter):
        began = perf_counter()
        node.port_async(_paced, run, mp.snd, counter.port)
        await counter.done.wait()
        return {"rate": run.count / (perf_counter() - began)}


async def verb_outside(run: Run) -> Figures:
    """The function `snd`, called outside any port, 50 messages in each turn of the loop."""
    async with _counting(run) as (_, counter):
        began = perf_counter()
        await _paced(run, mp.snd, counter.port)
        await counter.done.wait()
        return {"rate": run.count / (perf_counter() - began)}


async def burst(run: Run) -> Figures:
    """All messages in one turn of the loop: `size` of them if that is given, again and again."""
    async with _counting(run) as (node, counter):
        snd, port, message = node.snd, counter.port, run.message
        size = min(run.size or run.count, run.count)
        began = perf_counter()
        for _ in range(run.count // size):
            for _ in repeat(None, size):
                snd(port, *message)
            await node.flush(port)
        await counter.done.wait()
        return {"rate": run.count / (perf_counter() - began)}


async def fan_out(run: Run) -> Figures:
    """To one port after the other of `size`, 50 messages in each turn of the loop."""
    async with _counting(run) as (node, counter):
        ports = [node.port() for _ in range(run.size)]
        for port in ports:
            node.rcv(port, tag=counter.handle)
        snd, message = node.snd, run.message
        receivers = cycle(ports)
        began = perf_counter()
        for _ in range(run.count // BURST):
            for port in islice(receivers, BURST):
                snd(port, *message)
            await asyncio.sleep(0)
        await counter.done.wait()
        return {"rate": run.count / (perf_counter() - began)}


async def _async_port(run: Run, receive: Callable[[int], Any]) -> Figures:
    async with mp.Node("bench") as node:
        port = node.port_async(receive, run.count)
        began = perf_counter()
        sender = asyncio.ensure_future(_paced(run, node.snd, port))
        await node.killed(port)
        seconds = perf_counter() - began
        await sender
        return {"rate": run.count / seconds}


async def messages(run: Run) -> Figures:
    """An async port that iterates over `messages()`."""

    async def receive(count: int) -> None:
        async for _ in mp.messages():
            count -= 1
            if not count:
                return

    return await _async_port(run, receive)


async def get(run: Run) -> Figures:
    """An async port that awaits `get` for each message."""

    async def receive(count: int) -> None:
        for _ in range(count):
            await mp.get("tag")

    return await _async_port(run, receive)


async def ports(run: Run) -> Figures:
    """Create ports with one handler, then kill them."""
    async with mp.Node("bench") as node:

        def handler() -> None: ...

        empty = memory()
        began = perf_counter()
        names = [node.port(handler) for _ in range(run.count)]
        made = perf_counter()
        size = memory() - empty
        before = perf_counter()
        for name in names:
            node.kil(name)
        await node.flush(node.port())
        return {
            "create": run.count / (made - began),
            "kill": run.count / (perf_counter() - before),
            "bytes": size / run.count,
        }
