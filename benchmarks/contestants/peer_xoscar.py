"""xoscar: actors of one process, and of two, each with a pool of its own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any

import xoscar as xo

from ..process import Figures, Run, ended, memory, partner, ready
from .pace import in_flight, summary

BLOB = bytes(1024 * 1024)


class Counter(xo.Actor):
    """Counts what it is told, and answers when all is there."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.left = count
        self.finished = asyncio.Event()

    def tag(self, *elements: object) -> None:
        self.left -= 1
        if not self.left:
            self.finished.set()

    @xo.no_lock
    async def done(self) -> None:
        await self.finished.wait()

    def echo(self, *elements: object) -> tuple[object, ...]:
        return elements


@asynccontextmanager
async def _pool() -> AsyncIterator[Any]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with await xo.create_actor_pool(f"127.0.0.1:{port}", n_process=0) as pool:
        yield pool


async def listener(run: Run) -> None:
    """The partner of all: a pool with a counter."""
    async with _pool() as pool:
        await xo.create_actor(Counter, run.count, address=pool.external_address, uid="counter")
        ready(pool.external_address)
        await ended()


@asynccontextmanager
async def _joined(run: Run) -> AsyncIterator[Any]:
    """A pool here, and the counter of the partner."""
    async with partner("peer_xoscar:listener", run) as address, _pool():
        yield await xo.actor_ref(address=address, uid="counter")


async def _one_way(run: Run, counter: Any, message: tuple[Any, ...]) -> float:
    """`tell` in a loop, each awaited: that is faster than several at a time. Messages a second."""
    began = perf_counter()
    for _ in range(run.count):
        await counter.tag.tell(*message)
    await counter.done()
    return run.count / (perf_counter() - began)


async def paced(run: Run) -> Figures:
    """One-way to an actor of the same process."""
    async with _pool() as pool:
        counter = await xo.create_actor(Counter, run.count, address=pool.external_address)
        return {"rate": await _one_way(run, counter, run.message[1:])}


async def bursts(run: Run) -> Figures:
    """One-way to an actor of another process."""
    async with _joined(run) as counter:
        return {"rate": await _one_way(run, counter, run.message[1:])}


async def blobs(run: Run) -> Figures:
    """Binary messages of 1 MiB."""
    async with _joined(run) as counter:
        return {"bytes": await _one_way(run, counter, (BLOB,)) * len(BLOB)}


async def ping_pong(run: Run) -> Figures:
    """One call after the other, after a tenth as many unmeasured."""
    async with _joined(run) as counter:
        _, *rest = run.message
        times = []
        for _ in range(run.count + run.count // 10):
            began = perf_counter()
            await counter.echo(*rest)
            times.append(perf_counter() - began)
        return summary(times[run.count // 10 :])


async def calls(run: Run) -> Figures:
    """Calls with answers, 100 of them under way at any time."""
    async with _joined(run) as counter:
        _, *rest = run.message
        return {"rate": await in_flight(run.count, lambda: counter.echo(*rest))}


async def actors(run: Run) -> Figures:
    """Create actors, then destroy them all."""
    async with _pool() as pool:
        address = pool.external_address
        empty = memory()
        began = perf_counter()
        some = [await xo.create_actor(Counter, 0, address=address) for _ in range(run.count)]
        made = perf_counter()
        size = memory() - empty
        before = perf_counter()
        for actor in some:
            await xo.destroy_actor(actor)
        return {
            "create": run.count / (made - began),
            "kill": run.count / (perf_counter() - before),
            "bytes": size / run.count,
        }
