"""What tests of simulated worlds share: raw protocols on a cable, nodes with processes."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import aemp_core as mp
from aemp_core.pipe import End
from aemp_core.testing import Process, World

_names = itertools.count()


class Talker(asyncio.Protocol):
    """One end of a connection, and everything it was told, with the world's time."""

    transport: End

    def __init__(self, world: World) -> None:
        self.data = bytearray()
        self.chunks: list[tuple[float, bytes]] = []
        self.events: list[tuple[float, str]] = []
        self.error: Exception | None = None
        self._world = world

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, End)
        self.transport = transport
        self._note("made")

    def data_received(self, data: bytes) -> None:
        self.data += data
        self.chunks.append((self._world.now, data))

    def eof_received(self) -> None:
        self._note("eof")

    def connection_lost(self, exc: Exception | None) -> None:
        self.error = exc
        self._note("reset" if isinstance(exc, ConnectionResetError) else "lost")

    def pause_writing(self) -> None:
        self._note("pause")

    def resume_writing(self) -> None:
        self._note("resume")

    def _note(self, what: str) -> None:
        self.events.append((self._world.now, what))

    @property
    def told(self) -> list[str]:
        return [what for _, what in self.events]

    def when(self, what: str) -> float:
        return next(when for when, each in self.events if each == what)


async def listen(process: Process, name: str, talker: Talker) -> None:
    """Give the next connection to a name to `talker`."""

    async def bind() -> None:
        process.world.network.bind(name, lambda: talker, "listener")

    await process.call(bind)


async def dial(process: Process, name: str, talker: Talker) -> None:
    """Connect `talker` with who listens there."""

    async def connect() -> None:
        await process.world.network.reach(name, "dialler")
        process.world.network.connect(process.loop, name, talker, "dialler")

    await process.call(connect)


async def joined(one: Process, other: Process, **path: Any) -> tuple[Talker, Talker]:
    """A connection between two processes: the dialling end and the listening one."""
    world, name = one.world, f"talk/{next(_names)}"
    for between in ((one, other), (other, one)) if path else ():
        world.network.shape(*between, **path)
    near, far = Talker(world), Talker(world)
    await listen(other, name, far)
    await dial(one, name, near)
    await asyncio.sleep(1e-6)
    return near, far


async def start(process: Process, node_id: str, **settings: Any) -> mp.Node:
    """A node in a process of its own, whose seeds are all nodes before it."""
    return await process.call(lambda: process.world.network.node(node_id, **settings))


async def pair(world: World, **settings: Any) -> tuple[Process, Process, mp.Node, mp.Node]:
    """Two processes, ``a`` and ``b``, and a node in each; they are linked."""
    a, b = world.process("a"), world.process("b")
    alice, bob = await start(a, "a", **settings), await start(b, "b", **settings)
    await b.call(bob.up, "a")
    await a.call(alice.up, "b")
    return a, b, alice, bob
