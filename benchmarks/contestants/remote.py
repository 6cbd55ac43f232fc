"""AEMP between two processes, over TCP with a shared secret: all limits and heartbeats are on.

`Run.more` may say otherwise: ``bind``, an address to listen at, and the settings of both nodes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any

import aemp_core as mp

from ..process import Figures, Run, ended, partner, ready
from .pace import in_flight, one_way, round_trips, summary

SECRET = "a secret of the benchmarks"
PLAIN = {"bind": "tcp://127.0.0.1:0", "settings": {"secret": SECRET}}


async def listener(run: Run) -> None:
    """The partner of all: counts what it is sent, gives back pings, answers calls."""
    bind, settings = run.more["bind"], run.more["settings"]
    async with mp.Node("listener", binds=[bind], **settings) as node:
        handled = 0
        port = node.port()
        client = ""

        def tag(*elements: object) -> None:
            nonlocal handled
            handled += 1
            if handled == run.count:
                node.snd(client, "done")

        def begin(sender: str) -> None:
            nonlocal client, handled
            client, handled = sender, 0

        def ping(*elements: object) -> None:
            node.snd(client, "pong", *elements)

        answer = mp.replies(lambda *elements: elements)
        node.rcv(port, tag=tag, begin=begin, ping=ping, call=answer)
        ready(f"{node.addresses[0]} {port}")
        await ended()


@asynccontextmanager
async def _joined(run: Run) -> AsyncIterator[tuple[mp.Node, str, str, asyncio.Event]]:
    """A node joined with a partner; the port there, our port, and what "done" sets."""
    more = {**PLAIN, **run.more}
    async with partner("remote:listener", run, **more) as line:
        address, there = line.split()
        async with mp.Node("client", seeds=[address], **more["settings"]) as node:
            await node.up("listener")
            here = node.port()
            done = asyncio.Event()
            node.rcv(here, done=done.set)
            node.snd(there, "begin", here)
            yield node, there, here, done


async def bursts(run: Run) -> Figures:
    """One-way, so many per loop turn, as fast as the other side takes them."""
    async with _joined(run) as (node, there, _, done):
        began = perf_counter()
        await one_way(run, node.snd, (there, *run.message), lambda: node.flush("listener"))
        await done.wait()
        return {"rate": run.count / (perf_counter() - began)}


async def ping_pong(run: Run) -> Figures:
    """One message there and back, again and again."""
    async with _joined(run) as (node, there, here, _):
        _, *rest = run.message
        snd = node.snd
        times = await round_trips(
            run.count,
            lambda: snd(there, "ping", *rest),
            lambda pong: node.rcv(here, pong=pong),
        )
        return summary(times)


async def calls(run: Run) -> Figures:
    """Calls with answers, 100 of them under way at any time."""
    async with _joined(run) as (node, there, _, _):
        _, *rest = run.message

        async def call() -> tuple[Any, ...]:
            return await node.cal(there, "call", *rest)

        return {"rate": await in_flight(run.count, call)}


async def blobs(run: Run) -> Figures:
    """Binary messages of 1 MiB."""
    blob = bytes(1024 * 1024)
    async with _joined(run) as (node, there, _, done):
        began = perf_counter()
        for _ in range(run.count):
            node.snd(there, "tag", blob)
            await asyncio.sleep(0)
            await node.flush("listener")
        await done.wait()
        return {"bytes": run.count * len(blob) / (perf_counter() - began)}
