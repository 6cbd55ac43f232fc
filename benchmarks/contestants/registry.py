"""aemp-global: registering, watching, looking up, what a change costs, and relays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from time import perf_counter
from typing import Any

import aemp_core as mp
from aemp_core.stream import Stream

from ..process import Absent, Figures, Run, ended, partner, ready
from .local import Counter
from .pace import one_way
from .remote import SECRET

try:
    import aemp_global as gl
except ImportError:
    raise Absent("pip install aemp-global") from None

GROUP = "bench"
#: Seconds until what joining brought about is over.
CALM = 3


async def register(run: Run) -> Figures:
    """Ports put into a group of a node that is alone."""
    async with mp.Node("bench") as node:
        return {"rate": run.count / _register(node, run.count)}


def _register(node: mp.Node, count: int) -> float:
    """Put so many ports into the group; the seconds it took."""
    groups = gl.of(node)
    ports = [node.port() for _ in range(count)]
    began = perf_counter()
    for port in ports:
        groups.grp_reg(GROUP, port)
    return perf_counter() - began


async def watcher(run: Run) -> None:
    """The partner of `seen`: a global that watches the group, and tells when all are in it."""
    async with mp.Node("watcher", binds=["tcp://127.0.0.1:0"], secret=SECRET) as node:

        def begin(client: str) -> None:
            def changed(ports: list[str], added: list[str], removed: list[str]) -> None:
                if len(ports) == run.count:
                    node.snd(client, "done")

            gl.of(node).grp_mon(GROUP, changed)
            node.snd(client, "ready")

        port = node.port()
        node.rcv(port, begin=begin)
        ready(f"{node.addresses[0]} {port}")
        await ended()


async def seen(run: Run) -> Figures:
    """Ports put into a group, until a node of another process has seen all of them there."""
    async with partner("registry:watcher", run) as line:
        address, there = line.split()
        async with mp.Node("registrar", seeds=[address], secret=SECRET) as node:
            await node.up("watcher")
            await asyncio.sleep(CALM)
            begun, done = asyncio.Event(), asyncio.Event()
            here = node.port()
            node.rcv(here, ready=begun.set, done=done.set)
            node.snd(there, "begin", here)
            await begun.wait()
            began = perf_counter()
            _register(node, run.count)
            await done.wait()
            return {"rate": run.count / (perf_counter() - began)}


async def look_up(run: Run) -> Figures:
    """The members of a group of `size` asked for, and of one of ten beside it."""
    async with mp.Node("bench") as node:
        _register(node, run.size)
        groups = gl.of(node)
        for _ in range(10):
            groups.grp_reg("few", node.port())
        times = {}
        for group, count in ((GROUP, max(1, run.count // 1_000)), ("few", run.count)):
            began = perf_counter()
            for _ in range(count):
                members = groups.grp_get(group)
            times[group] = (perf_counter() - began) / count / len(members)
        return {"many": times[GROUP] * 1e9, "few": times["few"] * 1e9}


async def change(run: Run) -> Figures:
    """What one more port in a group puts on links: three globals, one of them home of the owner."""
    sent = 0
    send = Stream.send

    def counting(self: Stream, frame: bytes, /) -> None:
        nonlocal sent
        sent += len(frame)
        send(self, frame)

    Stream.send = counting  # type: ignore[method-assign]
    async with AsyncExitStack() as stack:
        seeds = [f"memory://global/{number}" for number in range(3)]
        others = [mp.Node(seed[9:], binds=[seed], seeds=seeds) for seed in seeds]
        for node in others:
            await stack.enter_async_context(node)
        owner = await stack.enter_async_context(mp.Node("owner", seeds=seeds))
        await asyncio.sleep(CALM)
        before = sent
        ports = [owner.port() for _ in range(run.count)]
        for port in ports:
            gl.of(owner).grp_reg(GROUP, port)
            await asyncio.sleep(0.002)  # one by one: else they are told together
        await asyncio.gather(*(_all_there(node, run.count) for node in others))
        return {"bytes": (sent - before) / run.count}


async def _all_there(node: mp.Node, count: int) -> None:
    there = asyncio.Event()

    def changed(ports: list[str], added: list[str], removed: list[str]) -> None:
        if len(ports) == count:
            there.set()

    guard = gl.of(node).grp_mon(GROUP, changed)
    await there.wait()
    guard.cancel()


@asynccontextmanager
async def _two(run: Run, **settings: Any) -> AsyncIterator[tuple[mp.Node, mp.Node]]:
    """Two nodes at one hub, all in this process, over TCP."""
    async with AsyncExitStack() as stack:
        listening = ["tcp://127.0.0.1:0"]
        hub = await stack.enter_async_context(mp.Node("hub", binds=listening, secret=SECRET))
        seeds = hub.addresses
        one = mp.Node("one", seeds=seeds, secret=SECRET)
        two = mp.Node("two", seeds=seeds, secret=SECRET, **settings)
        yield (
            await stack.enter_async_context(one),
            await stack.enter_async_context(two),
        )


async def relayed(run: Run) -> Figures:
    """Messages between two nodes without listeners, through a hub."""
    async with _two(run) as (one, two):
        return await _send(run, one, two, "relay")


async def direct(run: Run) -> Figures:
    """The same, where one of them listens."""
    async with _two(run, binds=["tcp://127.0.0.1:0"]) as (one, two):
        return await _send(run, one, two, "tcp")


async def _send(run: Run, one: mp.Node, two: mp.Node, scheme: str) -> Figures:
    await one.up("two", 30)
    session = one.peers["two"].session
    assert session is not None
    assert session.info.origin.startswith(scheme), session.info.origin
    counter = Counter(two, run.count)
    began = perf_counter()
    await one_way(run, one.snd, (counter.port, *run.message), lambda: one.flush("two"))
    await counter.done.wait()
    return {"rate": run.count / (perf_counter() - began)}
