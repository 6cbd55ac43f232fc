"""Mischief: people without the secret who try to get in.

They do what anybody can do who reaches a listener: talk nonsense, claim to be a node, prove
themselves with another secret, or connect two listeners with each other and hope that each takes
the other's proof for theirs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

import aemp_core as mp

from ..errors import TransportError
from .agents import checksum

if TYPE_CHECKING:
    from .network import SimulatedNetwork
    from .world import Process

__all__ = ["Joint", "Stranger"]

#: Seconds they keep trying.
PERSISTENCE = 20.0


class Joint(asyncio.Protocol):
    """One of two connections of a client that hands on what comes in over the other."""

    def __init__(self) -> None:
        self._other: Joint | None = None
        self._transport: asyncio.Transport | None = None
        self._waiting: list[bytes] = []

    @staticmethod
    async def connect(
        network: SimulatedNetwork, one: str, other: str, make: Callable[[], Joint]
    ) -> None:
        """Join the listeners of two names by two of what `make` makes."""
        loop = asyncio.get_running_loop()
        joints = make(), make()
        joints[0]._other, joints[1]._other = joints[1], joints[0]
        try:
            for joint, name in zip(joints, (one, other), strict=True):
                await network.reach(name, Stranger.NAME)
                network.connect(loop, name, joint.protocol(), Stranger.NAME)
        except TransportError:
            for joint in joints:
                joint._hang_up()

    def protocol(self) -> asyncio.Protocol:
        """What the connection is told to."""
        return self

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hand on what came before."""
        self._transport = cast(asyncio.Transport, transport)
        for data in self._waiting:
            self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        """Hand it on."""
        assert self._other is not None
        if self._other._transport is None:
            self._other._waiting.append(data)
        else:
            self._other._transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The other one is of no use any more."""
        if self._other is not None:
            self._other._hang_up()

    def _hang_up(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class Stranger(asyncio.Protocol):
    """Somebody on a machine of their own.

    Args:
        network: what to get in over.
        process: where the stranger sits.
        ports: whom to send to, if anybody listens.
    """

    NAME = "mallory"

    def __init__(self, network: SimulatedNetwork, process: Process, ports: Sequence[str]) -> None:
        self._network = network
        self._process = process
        self._ports = ports
        self._noise = b""

    async def try_to_join(self, name: str, claimed: str, kind: int) -> None:
        """Try to join at the listener `name` for a while: 0 noise, 1 half a greeting, 2 a node."""
        if kind == 2:
            await self._as_node(f"memory://{name}", claimed)
            return
        noise = self._process.entropy(300)
        self._noise = b"aemp;1;" + claimed.encode() + b";hmac_sha3" if kind else noise
        try:
            await self._network.reach(name, self.NAME)
            self._network.connect(asyncio.get_running_loop(), name, self, self.NAME)
        except TransportError:
            pass

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say it."""
        cast(asyncio.Transport, transport).write(self._noise)

    async def _as_node(self, address: str, claimed: str) -> None:
        async with self.make_node(claimed, address) as node:
            for port in self._ports:
                if mp.node_of(port) != claimed:
                    check = checksum(port, self.NAME, 1, "")
                    node.snd(port, "count", self.NAME, 1, "", check)
            await asyncio.sleep(PERSISTENCE)

    def make_node(self, claimed: str, address: str) -> mp.Node:
        """A node that claims an ID, and dials an address."""
        return mp.Node(
            claimed,
            seeds=[address],
            secret=b"not the secret of the simulation",
            entropy=self._process.entropy,
            wall_clock=self._process.wall_clock,
        )
