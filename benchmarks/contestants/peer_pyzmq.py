"""pyzmq in plain threads: PUSH and PULL, REQ and REP, DEALER and ROUTER."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

import msgpack
import zmq

from ..process import Figures, Run, partner, ready
from .pace import IN_FLIGHT, summary

ADDRESS = "tcp://127.0.0.1"
BLOB = bytes(1024 * 1024)
pack = msgpack.Packer().pack
unpack = msgpack.unpackb


def listener(run: Run) -> None:
    """The partner of all: does what ``work`` says until it is needed no more."""
    work = {"one_way": _count, "ping_pong": _give_back, "calls": _answer, "blobs": _count_blobs}
    threading.Thread(target=work[run.more["work"]], args=(run,), daemon=True).start()
    sys.stdin.read()


@contextmanager
def _socket(kind: int, address: str = "") -> Iterator[zmq.Socket[bytes]]:
    with zmq.Context() as context, context.socket(kind) as socket:
        if address:
            socket.connect(address)
        else:
            socket.bind(f"{ADDRESS}:*")
        yield socket


def _count(run: Run) -> None:
    with _socket(zmq.PULL) as socket, _socket(zmq.PUSH) as back:
        ready(f"{socket.last_endpoint.decode()} {back.last_endpoint.decode()}")
        handled = 0
        while handled < run.count:
            tag, *_elements = unpack(socket.recv())
            handled += tag == "tag"
        back.send(b"done")


def _count_blobs(run: Run) -> None:
    with _socket(zmq.PULL) as socket, _socket(zmq.PUSH) as back:
        ready(f"{socket.last_endpoint.decode()} {back.last_endpoint.decode()}")
        handled = 0
        while handled < run.count:
            tag, blob = socket.recv_multipart()
            handled += tag == b"tag" and len(blob) == len(BLOB)
        back.send(b"done")


def _give_back(run: Run) -> None:
    with _socket(zmq.REP) as socket:
        ready(socket.last_endpoint.decode())
        while True:
            _tag, *elements = unpack(socket.recv())
            socket.send(pack(("pong", *elements)))


def _answer(run: Run) -> None:
    with _socket(zmq.ROUTER) as socket:
        ready(socket.last_endpoint.decode())
        while True:
            client, packed = socket.recv_multipart()
            _tag, serial, *elements = unpack(packed)
            socket.send_multipart((client, pack(("reply", serial, *elements))))


async def bursts(run: Run) -> Figures:
    """One-way, as fast as the other side takes them; a thread has no turns to pace it by."""
    async with partner("peer_pyzmq:listener", run, work="one_way") as line:
        there, back = line.split()
        with _socket(zmq.PUSH, there) as socket, _socket(zmq.PULL, back) as done:
            message = run.message
            began = perf_counter()
            for _ in range(run.count):
                socket.send(pack(message))
            done.recv()
            return {"rate": run.count / (perf_counter() - began)}


async def blobs(run: Run) -> Figures:
    """Messages of two parts, the second a blob that is not copied on its way out."""
    async with partner("peer_pyzmq:listener", run, work="blobs") as line:
        there, back = line.split()
        with _socket(zmq.PUSH, there) as socket, _socket(zmq.PULL, back) as done:
            began = perf_counter()
            for _ in range(run.count):
                socket.send_multipart((b"tag", BLOB), copy=False)
            done.recv()
            return {"bytes": run.count * len(BLOB) / (perf_counter() - began)}


async def ping_pong(run: Run) -> Figures:
    """One message there and back, again and again, after a tenth as many unmeasured."""
    async with partner("peer_pyzmq:listener", run, work="ping_pong") as there:
        with _socket(zmq.REQ, there) as socket:
            _, *rest = run.message
            times = []
            for _ in range(run.count + run.count // 10):
                began = perf_counter()
                socket.send(pack(("ping", *rest)))
                unpack(socket.recv())
                times.append(perf_counter() - began)
            return summary(times[run.count // 10 :])


async def calls(run: Run) -> Figures:
    """Calls with answers, 100 of them under way at any time."""
    async with partner("peer_pyzmq:listener", run, work="calls") as there:
        with _socket(zmq.DEALER, there) as socket:
            _, *rest = run.message
            waiting = set()
            began = perf_counter()
            for serial in range(run.count + IN_FLIGHT):
                if serial >= IN_FLIGHT:
                    _, number, *_elements = unpack(socket.recv())
                    waiting.remove(number)
                if serial < run.count:
                    waiting.add(serial)
                    socket.send(pack(("call", serial, *rest)))
            assert not waiting
            return {"rate": run.count / (perf_counter() - began)}
