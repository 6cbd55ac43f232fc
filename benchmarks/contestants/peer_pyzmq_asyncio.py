"""pyzmq with asyncio: what `peer_pyzmq` does, with sockets that are awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import repeat
from time import perf_counter
from typing import Any

import zmq
import zmq.asyncio

from ..process import Figures, Run, ended, partner, ready
from .pace import BURST, in_flight, summary
from .peer_pyzmq import ADDRESS, BLOB, pack, unpack


@contextmanager
def _socket(kind: int, address: str = "") -> Iterator[zmq.asyncio.Socket]:
    with zmq.asyncio.Context() as context, context.socket(kind) as socket:
        if address:
            socket.connect(address)
        else:
            socket.bind(f"{ADDRESS}:*")
        yield socket


async def listener(run: Run) -> None:
    """The partner of all: does what ``work`` says until it is needed no more."""
    work = {"one_way": _count, "ping_pong": _give_back, "calls": _answer, "blobs": _count_blobs}
    task = asyncio.ensure_future(work[run.more["work"]](run))
    await ended()
    task.cancel()
    await asyncio.wait([task])


async def _count(run: Run) -> None:
    with _socket(zmq.PULL) as socket, _socket(zmq.PUSH) as back:
        ready(f"{socket.last_endpoint.decode()} {back.last_endpoint.decode()}")
        handled = 0
        while handled < run.count:
            tag, *_elements = unpack(await socket.recv())
            handled += tag == "tag"
        await back.send(b"done")


async def _count_blobs(run: Run) -> None:
    with _socket(zmq.PULL) as socket, _socket(zmq.PUSH) as back:
        ready(f"{socket.last_endpoint.decode()} {back.last_endpoint.decode()}")
        handled = 0
        while handled < run.count:
            tag, blob = await socket.recv_multipart()
            handled += tag == b"tag" and len(blob) == len(BLOB)
        await back.send(b"done")


async def _give_back(run: Run) -> None:
    with _socket(zmq.REP) as socket:
        ready(socket.last_endpoint.decode())
        while True:
            _tag, *elements = unpack(await socket.recv())
            await socket.send(pack(("pong", *elements)))


async def _answer(run: Run) -> None:
    with _socket(zmq.ROUTER) as socket:
        ready(socket.last_endpoint.decode())
        while True:
            client, packed = await socket.recv_multipart()
            _tag, serial, *elements = unpack(packed)
            await socket.send_multipart((client, pack(("reply", serial, *elements))))


async def bursts(run: Run) -> Figures:
    """One-way, so many per loop turn, as fast as the other side takes them."""
    async with partner("peer_pyzmq_asyncio:listener", run, work="one_way") as line:
        there, back = line.split()
        with _socket(zmq.PUSH, there) as socket, _socket(zmq.PULL, back) as done:
            message = run.message
            burst = run.size or BURST
            began = perf_counter()
            for _ in range(run.count // burst):
                for _ in repeat(None, burst):
                    await socket.send(pack(message))
                await asyncio.sleep(0)
            await done.recv()
            return {"rate": run.count / (perf_counter() - began)}


async def blobs(run: Run) -> Figures:
    """Messages of two parts, the second a blob that is not copied on its way out."""
    async with partner("peer_pyzmq_asyncio:listener", run, work="blobs") as line:
        there, back = line.split()
        with _socket(zmq.PUSH, there) as socket, _socket(zmq.PULL, back) as done:
            began = perf_counter()
            for _ in range(run.count):
                await socket.send_multipart((b"tag", BLOB), copy=False)
            await done.recv()
            return {"bytes": run.count * len(BLOB) / (perf_counter() - began)}


async def ping_pong(run: Run) -> Figures:
    """One message there and back, again and again, after a tenth as many unmeasured."""
    async with partner("peer_pyzmq_asyncio:listener", run, work="ping_pong") as there:
        with _socket(zmq.REQ, there) as socket:
            _, *rest = run.message
            times = []
            for _ in range(run.count + run.count // 10):
                began = perf_counter()
                await socket.send(pack(("ping", *rest)))
                unpack(await socket.recv())
                times.append(perf_counter() - began)
            return summary(times[run.count // 10 :])


async def calls(run: Run) -> Figures:
    """Calls with answers, 100 of them under way at any time."""
    async with partner("peer_pyzmq_asyncio:listener", run, work="calls") as there:
        with _socket(zmq.DEALER, there) as socket:
            _, *rest = run.message
            waiting: dict[int, asyncio.Future[list[Any]]] = {}
            loop = asyncio.get_running_loop()
            serial = 0

            async def receive() -> None:
                while True:
                    _, number, *elements = unpack(await socket.recv())
                    waiting.pop(number).set_result(elements)

            async def call() -> None:
                nonlocal serial
                serial += 1
                answer = waiting[serial] = loop.create_future()
                await socket.send(pack(("call", serial, *rest)))
                await answer

            receiver = asyncio.ensure_future(receive())
            rate = await in_flight(run.count, call)
            receiver.cancel()
            await asyncio.wait([receiver])
            return {"rate": rate}
