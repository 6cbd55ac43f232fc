"""Agents: what the nodes of a simulated run do, and write into its history.

One `Agent` lives with each life of each node. Its ports take numbered messages; at random times it
sends some to ports anywhere, watches most of what it sends to, watches again when told of a loss,
calls ports, and ends its own. It looks at nothing but what the public API tells.
"""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING, Any

import aemp_core as mp

from ..errors import CallTimeout, NodeClosed, PortKilled
from ..reason import SEND_LIMIT, TRANSPORT_ERROR, Reason

if TYPE_CHECKING:
    from .driver import Driver
    from .world import Process

__all__ = ["Agent", "checksum"]

#: Seconds between what an agent does and what it does next.
PAUSES = (0.001, 0.05, 1.0, 4.0, 12.0)
#: The most an agent sends at a time.
SALVO = 8
LOSSES = (TRANSPORT_ERROR, SEND_LIMIT)


class Agent:
    """The program on one node, for one life of it.

    Args:
        driver: who runs the show, and keeps the list of all ports.
        process: where it runs.
        node: its node, not started yet.
        life: the name of this life in the history.

    Attributes:
        closing: the driver's task that closes it.
    """

    def __init__(self, driver: Driver, process: Process, node: mp.Node, life: str) -> None:
        self.driver = driver
        self.process = process
        self.node = node
        self.life = life
        self.ports: list[str] = []
        self.closing: asyncio.Task[None] | None = None
        self._note = driver.world.history.note
        self._chance = driver.world.random
        self._numbers: dict[str, int] = {}
        self._watched: dict[str, dict[str, mp.Guard]] = {}
        self._work: asyncio.Task[None] | None = None
        self._calls: dict[asyncio.Task[None], None] = {}

    # -- its life ----------------------------------------------------------------------------

    async def begin(self) -> None:
        """Start the node, make ports, and begin to use those of others."""
        await self.node.start()
        self._note("start", self.life, self.node.id, self.node.settings.heartbeat)
        self.node.mon_nodes(self._node_event)
        for _ in range(2):
            self._add_port()
        self._add_mailbox()
        self._work = self.process.start(self._use_others())

    async def close(self) -> None:
        """Close the node in order."""
        self._note("closing", self.life)
        if self._work is not None:
            self._work.cancel()
        await self.node.close()
        if self._calls:
            await asyncio.wait(self._calls)
        self._note("end", self.life, "close")

    def _node_event(self, node_id: str, is_up: bool, reason: Reason) -> None:
        self._note("up" if is_up else "down", self.life, node_id)
        self.driver.look_for_intruders(self)
        if not is_up:
            self._use_neighbours(node_id)

    # -- its ports ---------------------------------------------------------------------------

    def _add_port(self) -> None:
        port = self.node.port()
        answer = mp.replies(lambda number: number)

        def end() -> None:
            """Last words, in the handler in which it dies."""
            if self._chance.random() < 0.7:
                self.send(self.driver.any_port(), 2)
            self.node.kil(port, "over")

        self.node.rcv(port, lambda *message: self._take(port, message), ask=answer, end=end)
        self._publish(port, "handler")

    def _add_mailbox(self) -> None:
        async def serve() -> None:
            async for message in mp.messages():
                if message[0] == "ask":
                    continue  # callers have to help themselves
                if message[0] == "end":
                    return
                self._take(mp.current_port(), message)
                if self._chance.random() < 0.1:
                    await asyncio.sleep(0.01)

        self._publish(self.node.port_async(serve), "mailbox")

    def _publish(self, port: str, kind: str) -> None:
        self.ports.append(port)
        self._note("port", self.life, port, kind)
        # Released in dying, before anything else can happen; notices only follow.
        self.node.mon_guard(port, lambda: self._died(port))
        self.driver.publish(port, answers=kind == "handler")

    def _died(self, port: str) -> None:
        if self.process.alive:  # else it only unwinds
            self._note("died", self.life, port)

    def _take(self, port: str, message: tuple[Any, ...]) -> None:
        try:
            tag, sender, number, load, check = message
            good = tag == "count" and check == checksum(port, sender, number, load)
        except (TypeError, ValueError):
            good = False
        if good:
            self._note("arrived", self.life, port, sender, number)
        else:
            self._note("garbled", self.life, port)

    def end_a_port(self) -> None:
        """End one of its own ports, and make another."""
        if self.ports and not self.node.closing:
            port = self.ports.pop(self._chance.randrange(len(self.ports)))
            if self._chance.random() < 0.3:
                self.node.kil(port, "over")
            else:
                self.node.snd(port, "end")
            self._add_port()

    # -- the ports of others -----------------------------------------------------------------

    async def _use_others(self) -> None:
        while not self.node.closing:
            await asyncio.sleep(self._chance.choice(PAUSES))
            port = self.driver.any_port()
            deed = self._chance.random()
            if deed < 0.5:
                self.send(port, self._chance.randint(1, SALVO))
            elif deed < 0.68:
                self._watch(port)
            elif deed < 0.75:
                self._unwatch(port)
            elif deed < 0.88:
                call = self.process.start(self._call(port))
                self._calls[call] = None
                call.add_done_callback(lambda call: self._calls.pop(call, None))
            else:
                self.end_a_port()

    def send(self, port: str, count: int, load: int = 0) -> None:
        """Send some numbered messages to a port, with so many characters of load."""
        if not self._watched.get(port) and self._chance.random() < 0.8:
            self._watch(port)
        for _ in range(count):
            number = self._numbers[port] = self._numbers.get(port, 0) + 1
            text = "x" * load
            self._note("sent", self.life, port, number)
            check = checksum(port, self.life, number, text)
            try:
                self.node.snd(port, "count", self.life, number, text, check)
            except NodeClosed:
                return

    def rush(self) -> None:
        """Send to some of what it watches elsewhere, so that something is on its way."""
        elsewhere = [
            port
            for port, guards in self._watched.items()
            if guards and mp.node_of(port) != self.node.id
        ]
        for port in self._chance.sample(elsewhere, min(4, len(elsewhere))):
            self.send(port, self._chance.randint(1, SALVO // 2))

    def _watch(self, port: str) -> None:
        if self.node.closing:
            return
        watch = self.driver.name("watch")
        self._note("watch", self.life, watch, port)
        guards = self._watched.setdefault(port, {})

        def fired(reason: Reason) -> None:
            guards.pop(watch, None)
            text = str(reason[1]) if len(reason) > 1 else ""
            self._note("fired", self.life, watch, _word(reason), text)
            if _word(reason) in LOSSES:
                if self._chance.random() < 0.8:
                    self._watch(port)
                self._use_neighbours(mp.node_of(port))

        guards[watch] = self.node.mon(port, fired)

    def _use_neighbours(self, node_id: str) -> None:
        """Do something with watched ports of a lost node whose notices may be on their way yet."""
        for port, guards in list(self._watched.items()):
            if guards and mp.node_of(port) == node_id and self._chance.random() < 0.5:
                if self._chance.random() < 0.3:
                    self._unwatch(port)
                else:
                    self.send(port, 1)

    def _unwatch(self, port: str) -> None:
        guards = self._watched.get(port)
        if guards:
            watch, guard = guards.popitem()
            guard.cancel()
            self._note("unwatch", self.life, watch)

    async def _call(self, port: str) -> None:
        call = self.driver.name("call")
        # Who does not answer would keep a call without a timeout for ever.
        timeout = self._chance.choice((None if self.driver.answers(port) else 20.0, 0.01, 3.0))
        self._note("cal", self.life, call, port, timeout)
        try:
            (number,) = await self.node.cal(port, "ask", 7, timeout=timeout)
            outcome = "reply"
            if number != 7:
                self._note("garbled", self.life, port)
        except PortKilled:
            outcome = "killed"
        except CallTimeout:
            outcome = "timeout"
        except NodeClosed:
            outcome = "cancelled"
        self._note("cal_end", self.life, call, outcome)


def _word(reason: Reason) -> str:
    return str(reason[0]) if reason else ""


def checksum(port: str, sender: str, number: int, load: str) -> int:
    """What a message has to have at its end, so that no other can be taken for it."""
    return zlib.crc32(f"{port} {sender} {number} {load}".encode())
