"""Roles of the tests of strangers: who begins handshakes and never ends them, and who joins.

Four kinds of strangers: *mute* ones connect and say nothing, *dripping* ones send a good greeting
byte by byte, *stuck* ones greet and never prove themselves, *lying* ones go through with it and
have another secret. Those that greet claim to be the node that is about to join, or anybody.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import time
from typing import Any

import aemp_core as mp
from aemp_core import wire

from .actor import SECRET, Actor

__all__ = ["Joiner", "Strangers"]

KINDS = ("mute", "dripping", "stuck", "lying")
#: Seconds between two bytes of a dripping stranger, drawn anew each time.
DRIP = (0.05, 1.0)
#: Linux's IP_FREEBIND and IP_BIND_ADDRESS_NO_PORT: take any address, and a port per destination.
FREEBIND, NO_PORT = 15, 24
#: Nodes that join are called so, in turn.
NAMES = ("a-honest", "z-honest")


class Stranger(asyncio.Protocol):
    """One connection of an attacker."""

    def __init__(self, flood: Strangers, kind: str) -> None:
        self._flood = flood
        self._kind = kind
        self._drip: asyncio.TimerHandle | None = None
        node_id = flood.draw.choice((*NAMES, f"nobody/{flood.draw.randrange(10**9)}"))
        role, msgpack = wire.HmacSha3Role(), wire.MsgpackFraming()
        self._connection = wire.Connection(
            "dial",
            wire.Greeting(node_id, (role.name,), (msgpack.name,), {"incarnation": "0" * 14}),
            os.urandom(66),
            secret=b"not the secret at all",
            auth_offer=[role],
            auth_accept=[role],
            framings=[msgpack],
            frame_limit=2**20,
            loopback=False,
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._flood.here.add(self)
        if self._kind == "dripping":
            self._rest = self._connection.outgoing()
            self._next()
        elif self._kind != "mute":
            transport.write(self._connection.outgoing())  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        if self._kind == "lying":
            try:
                events = self._connection.receive(data)
            except Exception:  # the proof of the other side is not that of our secret
                return
            if events:
                self._transport.write(self._connection.prove())

    def connection_lost(self, exc: Exception | None) -> None:
        self._flood.here.discard(self)
        self._flood.ended += 1
        if self._drip is not None:
            self._drip.cancel()

    def abort(self) -> None:
        """Go away."""
        self._transport.abort()

    def _next(self) -> None:
        if not self._transport.is_closing() and self._rest:
            self._transport.write(self._rest[:1])
            self._rest = self._rest[1:]
            seconds = self._flood.draw.uniform(*DRIP)
            self._drip = asyncio.get_running_loop().call_later(seconds, self._next)


class Strangers(Actor):
    """An attacker, with as many addresses as it likes."""

    async def open(self, hub: str, port: int, addresses: list[str]) -> None:  # type: ignore[override]
        self.draw = random.Random(7)
        self.target = (hub, port)
        self.addresses = addresses
        self.here: set[Stranger] = set()
        self.begun = self.ended = self.failed = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Go away."""
        self.calm()

    def flood(self, count: int, rate: float) -> None:
        """Begin `count` handshakes, `rate` each second, and leave them open."""
        self._run(self._flood(count, rate))

    def calm(self) -> None:
        """End them all."""
        for task in self._tasks:
            task.cancel()
        for stranger in list(self.here):
            stranger.abort()

    def state(self) -> dict[str, int]:
        """What became of them."""
        return {
            "begun": self.begun,
            "ended": self.ended,
            "failed": self.failed,
            "open": len(self.here),
        }

    def _run(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _flood(self, count: int, rate: float) -> None:
        began = time.monotonic()
        for number in range(count):
            ahead = number / rate - (time.monotonic() - began)
            if ahead > 0:
                await asyncio.sleep(ahead)
            self._run(self._begin(KINDS[number % len(KINDS)]))
        self.tell("flooded", seconds=time.monotonic() - began)

    async def _begin(self, kind: str) -> None:
        loop = asyncio.get_running_loop()
        self.begun += 1
        one = socket.socket()
        one.setblocking(False)
        one.setsockopt(socket.IPPROTO_IP, FREEBIND, 1)
        one.setsockopt(socket.IPPROTO_IP, NO_PORT, 1)
        one.bind((self.draw.choice(self.addresses), 0))
        try:
            await loop.sock_connect(one, self.target)
            await loop.create_connection(lambda: Stranger(self, kind), sock=one)
        except OSError:
            self.failed += 1
            one.close()
        except asyncio.CancelledError:
            one.close()
            raise


class Joiner(Actor):
    """Nodes that join, one after the other."""

    async def open(self, seed: str) -> None:  # type: ignore[override]
        self.seed = seed

    async def close(self) -> None:
        """Nothing is open."""

    async def join(self, number: int, hub: str, port: str, seconds: float) -> dict[str, float]:
        """Join as a fresh node and have `port` answer.

        Returns:
            The seconds from start to answer, and the links that were lost before: a listener
            that puts out strangers at random may hit a link it does not know to be one yet.
        """
        lost = 0
        began = time.monotonic()
        async with mp.Node(NAMES[number % 2], seeds=[self.seed], secret=SECRET) as node:
            while True:
                try:
                    await node.cal(port, number, timeout=seconds)
                except mp.PortKilled:
                    lost += 1
                else:
                    return {"seconds": time.monotonic() - began, "lost": lost}
