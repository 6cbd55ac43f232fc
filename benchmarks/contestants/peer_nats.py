"""nats-py: two processes and a nats-server of their own between them."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import repeat
from pathlib import Path
from time import perf_counter
from typing import Any

import msgpack
import nats

from ..peers import program
from ..process import Absent, Figures, Run, ended, partner, ready
from .pace import BURST, in_flight, summary

BLOB = bytes(1024 * 1024)
#: Blobs under way at a time. A server drops a receiver for which over 64 MiB wait.
ROOM = 16
#: Seconds the server has to start.
PATIENCE = 30
pack = msgpack.Packer().pack
unpack = msgpack.unpackb


@contextmanager
def _everywhere(run: Run) -> Iterator[None]:
    """What is started meanwhile may use both processors, if the run does."""
    if run.processors == 1 or not run.allowed:
        yield
        return
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, run.allowed)
    try:
        yield
    finally:
        os.sched_setaffinity(0, ours)


@asynccontextmanager
async def _server(run: Run) -> AsyncIterator[str]:
    """The address of a server that ends with this."""
    path = program("nats-server")
    if path is None:
        raise Absent("apt-get install nats-server")
    with tempfile.TemporaryDirectory(prefix="aemp-bench-") as directory:
        with _everywhere(run):
            process = await asyncio.create_subprocess_exec(
                path, "-a", "127.0.0.1", "-p", "-1", "--ports_file_dir", directory,
                stdin=DEVNULL, stderr=DEVNULL,
            )  # fmt: skip
        try:
            file = Path(directory) / f"nats-server_{process.pid}.ports"
            yield await asyncio.wait_for(_address(file), PATIENCE)
        finally:
            process.terminate()
            await process.wait()


async def _address(file: Path) -> str:
    """What the server writes into the file, once it is there."""
    while True:
        addresses = _addresses(file)
        if addresses:
            return addresses[0]
        await asyncio.sleep(0.02)


def _addresses(file: Path) -> list[str]:
    try:
        addresses: list[str] = json.loads(file.read_text())["nats"]
    except (FileNotFoundError, ValueError):  # not there, or only a part of it
        return []
    return addresses


async def listener(run: Run) -> None:
    """The partner of all: counts what it is sent, gives back pings, answers calls."""
    client = await nats.connect(run.more["server"])
    handled = 0

    async def tag(message: Any) -> None:
        nonlocal handled
        unpack(message.data)
        handled += 1
        if handled == run.count:
            await client.publish("done")

    async def ping(message: Any) -> None:
        await client.publish("pong", pack(unpack(message.data)))

    async def call(message: Any) -> None:
        await message.respond(pack(unpack(message.data)))

    async def blob(message: Any) -> None:
        nonlocal handled
        handled += len(message.data) == len(BLOB)
        await message.respond(str(handled).encode())

    for handler in (tag, ping, call, blob):
        await client.subscribe(handler.__name__, cb=handler)
    await client.flush()
    ready("subscribed")
    await ended()
    await client.close()


@asynccontextmanager
async def _joined(run: Run) -> AsyncIterator[Any]:
    """A client of a server, of which the partner is one, too."""
    async with _server(run) as server, partner("peer_nats:listener", run, server=server):
        client = await nats.connect(server)
        yield client
        await client.close()


async def bursts(run: Run) -> Figures:
    """One-way, so many per loop turn, as fast as the server takes them."""
    async with _joined(run) as client:
        done = asyncio.Event()

        async def finished(message: Any) -> None:
            done.set()

        await client.subscribe("done", cb=finished)
        await client.flush()
        _, *rest = run.message
        burst = run.size or BURST
        began = perf_counter()
        for _ in range(run.count // burst):
            for _ in repeat(None, burst):
                await client.publish("tag", pack(rest))
            await asyncio.sleep(0)
        await done.wait()
        return {"rate": run.count / (perf_counter() - began)}


async def ping_pong(run: Run) -> Figures:
    """One message there and back, again and again, after a tenth as many unmeasured."""
    async with _joined(run) as client:
        _, *rest = run.message
        warming = run.count // 10
        times: list[float] = []
        began = 0.0
        done = asyncio.Event()

        async def pong(message: Any) -> None:
            nonlocal began
            unpack(message.data)
            times.append(perf_counter() - began)
            if len(times) == run.count + warming:
                done.set()
                return
            began = perf_counter()
            await client.publish("ping", pack(rest))

        await client.subscribe("pong", cb=pong)
        await client.flush()
        began = perf_counter()
        await client.publish("ping", pack(rest))
        await done.wait()
        return summary(times[warming:])


async def calls(run: Run) -> Figures:
    """Requests, 100 of them under way at any time."""
    async with _joined(run) as client:
        _, *rest = run.message

        async def call() -> None:
            unpack((await client.request("call", pack(rest), timeout=PATIENCE)).data)

        return {"rate": await in_flight(run.count, call)}


async def blobs(run: Run) -> Figures:
    """Payloads of 1 MiB, few at a time: what a receiver has not read, the server drops."""
    async with _joined(run) as client:
        room = asyncio.Semaphore(ROOM)
        handled = 0

        async def send() -> None:
            nonlocal handled
            async with room:
                answer = await client.request("blob", BLOB, timeout=PATIENCE)
            handled = max(handled, int(answer.data))

        rate = await in_flight(run.count, send)
        assert handled == run.count
        return {"bytes": rate * len(BLOB)}
