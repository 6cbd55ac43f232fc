"""Target ``inside``: a peer that knows the secret, and what it may ask of a node.

    head: kind of peer and framing        then the frames it sends once the link is up

One node lives through all inputs; each is a new link to a peer that sends messages to ports, makes
node requests and spawns. In its messages a few words stand for names it could know:

    $0..$4   names of five ports of the node, each of another kind      #0..#4   their port IDs
    $s, $t   a name it may spawn, the one before it      #p   a port of its own      #n   the node

Whatever it sends: nothing surprises the node (an error nobody expected is logged as one); it runs
no code that was not exposed and reaches no third node; what it is told are plain values; and when
the link is lost and what it spawned is ended, the node is as it was.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
from contextlib import suppress
from functools import cache
from typing import Any

import aemp_core as mp
from aemp_core.errors import PortError
from aemp_core.link import Observer, PeerInfo
from aemp_core.testing.clock import VirtualClockLoop
from aemp_core.wire import JsonFraming, MsgpackFraming

from .judge import demand, demand_plain, held
from .script import MAX_DATA, expand_runs

__all__ = ["HEAD", "inside"]

HEAD = 1
PEER = "mallory"
INCARNATION = "0" * 14
FRAME_LIMIT = 65_536
#: Loop turns in which the node must have answered everything.
MANY_TURNS = 500
#: What logs an error only if it met one that nobody expected.
SURPRISES = ("aemp_core.requests", "aemp_core.jobs", "aemp_core.node")

_FRAMINGS = (MsgpackFraming(), JsonFraming())


def inside(data: bytes) -> None:
    """One input."""
    if len(data) >= HEAD:
        scene = _scene()
        scene.loop.run_until_complete(scene.play(data[0], expand_runs(data[HEAD:], MAX_DATA)))
        scene.loop.raise_unhandled()


@mp.exposed(name="fuzz:init")
def _init(*arguments: Any) -> None:
    with suppress(mp.NoCurrentPort):  # called, not spawned
        mp.rcv(mp.current_port(), lambda *message: None)


@mp.exposed(name="fuzz:fail")
def _fail(*arguments: Any) -> None:
    with suppress(mp.NoCurrentPort):  # called, not spawned
        mp.current_port()
        raise ValueError(f"failed with {len(arguments)} arguments")


@mp.exposed(name="fuzz:later")
async def _later(*arguments: Any) -> None:
    with suppress(mp.NoCurrentPort):  # called, not spawned
        async for _ in mp.messages():
            pass


@mp.exposed(name="fuzz:echo")
def _echo(reply: Any = None, *message: Any) -> None:
    if isinstance(reply, str) and reply.startswith(PEER):
        with suppress(PortError):  # the input says what the port ID is
            mp.snd(reply, *message)


class _Link:
    """A link whose other end is the input."""

    def __init__(self, info: PeerInfo, framing: Any) -> None:
        self.peer = info
        self.framing = framing
        self.buffered = 0
        self.sent: list[bytes] = []
        self.ended = False

    def start(self, observer: Observer, /) -> None:
        pass

    def encode(self, packed: bytes, /) -> bytes:
        frame: bytes = self.framing.encode(packed)
        return frame

    def send(self, frame: bytes, /) -> None:
        demand(not self.ended, "a frame after the end: {!r:.200}", frame)
        self.sent.append(frame)

    def measure(self) -> int:
        return 0

    def pause(self) -> None:
        pass

    def resume(self) -> None:
        pass

    def close(self, reason: str = "", /) -> None:
        self.ended = True

    def abort(self, reason: str = "", /) -> None:
        self.ended = True


class _Surprises(logging.Handler):
    """Keeps what is logged as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self.texts.append(f"{record.getMessage():.300}: {error!r:.300}")


class _Scene:
    """The node, its ports, and what happened."""

    def __init__(self) -> None:
        self.loop = VirtualClockLoop()
        self.node: Any = None
        self.ports: list[str] = []
        self.counter = 0
        self.fired = 0
        self.surprises = _Surprises()
        for name in SURPRISES:
            logging.getLogger(name).addHandler(self.surprises)

    def open(self) -> None:
        """Open the node; once."""
        self.node = mp.Node(
            "us",
            entropy=lambda count: bytes(range(count)),
            wall_clock=lambda: 1.7e9,
            frame_limit=FRAME_LIMIT,
            spawn_limit=20,
            mailbox_limit=50,
        ).open()
        atexit.register(self.close)

    def close(self) -> None:
        """End the node and its loop."""
        self.loop.run_until_complete(self.node.close())
        self.loop.close()

    async def play(self, head: int, stream: bytes) -> None:
        """One life of the link."""
        if self.node is None:
            self.open()
        node = self.node
        self._furnish()
        self.surprises.texts.clear()
        self.fired = 0
        framing = _FRAMINGS[head & 1]
        link = _Link(
            PeerInfo(
                PEER,
                incarnation=None if head & 2 else INCARNATION,
                heartbeat=None if head & 4 else 10.0,
                frame_limit=FRAME_LIMIT if head & 8 else None,
            ),
            framing,
        )
        peer = node.peer(PEER)
        peer.come_up(link)
        node.mon(f"{PEER}#x", self._fire)
        node.snd(f"{PEER}#x", "hello")
        session = peer.session
        decoder = framing.decoder(FRAME_LIMIT)
        half = len(stream) // 2 if head & 16 else len(stream)
        left = False  # it said that it leaves
        for piece in (stream[:half], stream[half:]):
            messages = [self._named(message) for message in decoder.decode(piece)]
            demand_plain(messages)
            left = left or any(message[:3] == ["", "kil0", ""] for message in messages)
            demand(held(decoder) <= 2 * FRAME_LIMIT, "{} bytes are held", held(decoder))
            session.received(messages, len(piece))
            await self._settle()
        demand(peer.session is session or left, "the link is lost")
        peer.lose(("transport_error", "the input is over"))
        await self._settle()
        self._judge(link, framing)
        await asyncio.sleep(0.01)  # time passes between inputs, too

    def _furnish(self) -> None:
        """The five ports: those that died are made anew."""
        node = self.node
        kinds = (
            lambda: node.port(lambda *message: None),
            lambda: node.port(_fail, on_error=lambda error, message: None),
            lambda: node.port_async(_later),
            lambda: node.port(),
            lambda: node.rcv(node.port(), x=lambda *message: None, go=_init),
        )
        if not self.ports:
            self.ports = [""] * len(kinds)
        for number, make in enumerate(kinds):
            if self.ports[number] not in node.ports:
                self.ports[number] = make()

    def _named(self, message: list[Any]) -> list[Any]:
        """The message, with names in the place of the words that stand for them."""
        return [
            [self._name(each) for each in value] if type(value) is list else self._name(value)
            for value in message
        ]

    def _name(self, value: Any) -> Any:
        if type(value) is not str or len(value) != 2 or value[0] not in "$#":
            return value
        kind, which = value
        if which.isdecimal() and which.isascii() and int(which) < len(self.ports):
            port = self.ports[int(which)]
            return port if kind == "#" else port.partition("#")[2]
        if value == "$s":
            self.counter += 1
        if value in ("$s", "$t"):
            return f"{INCARNATION}.{self.counter}"
        return {"#p": f"{PEER}#p", "#n": "us"}.get(value, value)

    def _fire(self, reason: Any) -> None:
        self.fired += 1

    async def _settle(self) -> None:
        for _ in range(MANY_TURNS):
            await asyncio.sleep(0)
            if not self.node.queue.armed:
                break
        await asyncio.sleep(0)
        demand(not self.node.queue.armed, "the node does not come to rest")

    def _judge(self, link: _Link, framing: Any) -> None:
        node = self.node
        demand(not self.surprises.texts, "an error nobody expected: {}", self.surprises.texts)
        demand(self.fired == 1, "the monitor of a port of the peer fired {} times", self.fired)
        demand(not node.peers, "other nodes are reached: {}", list(node.peers))
        demand(link.ended, "the link is not ended")
        said = framing.decoder(2 * FRAME_LIMIT)
        demand_plain(said.decode(b"".join(link.sent)))
        demand(said.error is None, "the peer is told what it cannot read: {}", said.error)
        for port in [*node.ports.values()]:
            demand(not port.watches, "watches of {} are left", port.id)
            if port.id not in self.ports:
                port.die(())
        demand(not node.queue.items, "items are left: {!r:.300}", list(node.queue.items))
        demand(not node.spawner._live, "spawned ports are left: {}", node.spawner._live)
        demand(len(node._tasks) < 100, "{} tasks are left", len(node._tasks))


@cache
def _scene() -> _Scene:
    """One scene for all inputs: making a node takes longer than most inputs do."""
    return _Scene()
