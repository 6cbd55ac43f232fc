"""Roles of the tests of endurance: a hub that goes on and on, and what others do to it."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import aemp_core as mp

from .actor import SECRET, Actor

__all__ = ["Cycler", "Hub", "Porter"]

#: Ports that are made before the loop gets its turn.
BATCH = 500


@mp.exposed
def nothing(*arguments: Any) -> None:
    """A spawned port that does nothing."""


class Hub(Actor):
    """A node that answers, watches whoever asks it to, and counts the notices."""

    async def open(self, nodeid: str, **settings: Any) -> None:
        await super().open(nodeid, **settings)
        self.notices = 0
        self.port = self.node.port()
        self.node.rcv(self.port, mp.replies(self._answer))

    def echo(self) -> str:
        """The port that answers."""
        return self.port

    def count(self) -> int:
        """How many monitors fired."""
        return self.notices

    def _answer(self, *message: Any) -> tuple[Any, ...]:
        if message[0] == "watch me":
            self.node.mon(message[1], self._noticed)
        return message

    def _noticed(self, reason: tuple[Any, ...]) -> None:
        self.notices += 1


class Cycler(Actor):
    """Nodes that connect and disconnect, over and over.

    In turn: a new node that leaves in order; one that goes without a word; and one that stays,
    while its link breaks and is made again.
    """

    async def open(self, nodeid: str, *, seed: str, hub: str, echo: str) -> None:  # type: ignore[override]
        await super().open(nodeid, seeds=[seed])
        self.seed, self.hub, self.echo = seed, hub, echo
        self.cycles = 0
        self.notices = 0

    async def cycle(self, count: int, at_once: int) -> int:
        """So many cycles, several at once; returns how many cycles there were in all."""
        share = count // at_once
        await asyncio.gather(*(self._cycles(number, share) for number in range(at_once)))
        return self.cycles

    def count(self) -> int:
        """How many monitors fired."""
        return self.notices

    async def _cycles(self, number: int, count: int) -> None:
        while count > 0:
            # Every third life has a name that never was before.
            unique = self.cycles % 3 == 0
            name = f"cycler/{number}/{self.cycles if unique else 'again'}"
            node = mp.Node(name, seeds=[self.seed], secret=SECRET, connect_interval=0.5)
            async with node:
                for link in range(1, 4):
                    await node.up(self.hub)
                    await self._use(node)
                    self.cycles += 1
                    count -= 1
                    if count <= 0 or link == 3:
                        break
                    await self._break(node)
                if self.cycles % 2:
                    await self._break(node)

    async def _use(self, node: mp.Node) -> None:
        """Have everything in use that belongs to a link."""
        port = node.port(lambda *message: None)
        node.mon(self.echo, self._noticed)
        node.snd(node.spawn(self.hub, nothing), "to nobody")
        await node.cal(self.echo, "watch me", port)

    async def _break(self, node: mp.Node) -> None:
        """Break the link as a crash of the other side does."""
        session = node.peers[self.hub].session
        assert session is not None
        lost = asyncio.ensure_future(node.killed(self.echo))
        await asyncio.sleep(0)
        session.link._transport.abort()  # type: ignore[attr-defined]
        await lost

    def _noticed(self, reason: tuple[Any, ...]) -> None:
        self.notices += 1


class Porter(Actor):
    """A node that makes ports and kills them."""

    async def open(self, nodeid: str, **settings: Any) -> None:
        await super().open(nodeid, **settings)
        self.made = self.notices = self.handled = 0

    async def local(self, count: int) -> int:
        """So many ports of this node, of every kind; returns the notices of their ends."""
        node = self.node
        kinds = [self._plain, self._watched, self._tagged, self._owner, self._waiting]
        for first in range(0, count, BATCH):
            ports = [kinds[(first + n) % len(kinds)]() for n in range(min(BATCH, count - first))]
            for port in ports:
                node.snd(port, "tag", 1)
            for port in ports:
                node.kil(port)
            while node.queue.items:
                await asyncio.sleep(0)
        return self.notices

    async def remote(self, count: int, hub: str) -> int:
        """So many ports spawned on another node, watched and killed."""
        node = self.node
        for first in range(0, count, BATCH):
            ports = [node.spawn(hub, nothing, n) for n in range(min(BATCH, count - first))]
            ends = [node.loop.create_future() for _ in ports]
            for port, end in zip(ports, ends, strict=True):
                node.mon(port, end.set_result)
                node.kil(port, "enough")
            for end in ends:
                assert await asyncio.wait_for(end, 30) == ("enough",)
        return count

    def _take(self, *message: Any) -> None:
        self.handled += 1

    def _plain(self) -> str:
        return self.node.port(self._take)

    def _watched(self) -> str:
        port = self.node.port(self._take)
        self.node.mon(port, self._noticed)
        return port

    def _tagged(self) -> str:
        port = self.node.port()
        return self.node.rcv(port, tag=self._take)

    def _owner(self) -> str:
        """A port with a timer and a resource."""
        port = self.node.port(self._take)
        self.node.peval(port, partial(self.node.after, 3_600, self._take))
        self.node.mon_guard(port, self._noticed)
        return port

    def _waiting(self) -> str:
        """An async port."""
        return self.node.port_async(self._receive)

    async def _receive(self) -> None:
        async for _ in self.node.messages():
            self.handled += 1

    def _noticed(self, reason: tuple[Any, ...] = ()) -> None:
        self.notices += 1
