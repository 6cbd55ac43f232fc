"""What the tests of aemp-core share: a memory network with faults, nodes on it, ports that listen.

Listeners are called after their node, ``memory://alice``, or ``memory://alice/2`` for a second
address, so that a fault between two nodes finds every connection between them.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aemp_core as mp
from aemp_core import wire as protocol
from aemp_core.errors import TransportError
from aemp_core.memory import MemoryNetwork
from aemp_core.pipe import End, Flow

SECRET = b"a secret of these tests"


#: So that of two lives the one that began later is the later one, also within one millisecond.
_lives = itertools.count()


def wall_clock() -> Callable[[], float]:
    """A wall clock that is a millisecond ahead of the one made before."""
    ahead = next(_lives) / 1_000
    return lambda: time.time() + ahead


async def settle(seconds: float = 0.001) -> None:
    """On a virtual clock: let everything happen that takes no time."""
    await asyncio.sleep(seconds)


def now() -> float:
    return asyncio.get_running_loop().time()


class Probe:
    """A port and everything that arrived there."""

    def __init__(self, node: mp.Node) -> None:
        self.node = node
        self.got: list[tuple[Any, ...]] = []
        self.port = node.port(self._take)

    def _take(self, *message: Any) -> None:
        self.got.append(message)

    @property
    def firsts(self) -> list[Any]:
        return [message[0] for message in self.got]


class Wire:
    """One connection of the network."""

    def __init__(self, dialler: str, listener: str, near: End, far: End) -> None:
        self.nodes = {dialler, listener}
        self.ends = {dialler: near, listener: far}

    def flow_from(self, node_id: str) -> Flow:
        return self.ends[node_id]._outward

    def flow_to(self, node_id: str) -> Flow:
        return self.ends[node_id]._inward

    @property
    def alive(self) -> bool:
        return any(not end._gone for end in self.ends.values())

    def reset(self) -> None:
        for end in self.ends.values():
            if not end._gone:
                end._inward.reset()

    def freeze(self, flow: Flow) -> None:
        flow.arm = _do_nothing  # type: ignore[method-assign]

    def thaw(self) -> None:
        for end in self.ends.values():
            flow = end._outward
            if flow.__dict__.pop("arm", None) is not None:
                flow.arm()


def _do_nothing() -> None:
    pass


class Network(MemoryNetwork):
    """A memory network whose connections can be reset, silenced and refused."""

    def __init__(self) -> None:
        super().__init__()
        self.wires: list[Wire] = []
        self.dials: list[tuple[str, str]] = []
        self._silenced: list[frozenset[str]] = []
        self._cut_off: set[str] = set()

    @classmethod
    def here(cls) -> Network:
        """A network installed on the running loop."""
        network = cls()
        network.install(asyncio.get_running_loop())
        return network

    def connect(self, loop: Any, name: str, dialler: Any, label: str) -> None:
        self.dials.append((label, name))
        if {label, name.partition("/")[0]} & self._cut_off:
            raise TransportError(f"memory://{name}: no way there")
        super().connect(loop, name, dialler, label)

    def wire(self, loop: Any, near: Any, far: Any) -> tuple[End, End]:
        ends = super().wire(loop, near, far)
        listener = near[1]["peername"].partition("/")[0]
        wire = Wire(far[1]["peername"], listener, *ends)
        self.wires.append(wire)
        for pair in self._silenced:
            if pair <= wire.nodes:
                self._freeze(wire)
        return ends

    def _freeze(self, wire: Wire) -> None:
        for end in wire.ends.values():
            wire.freeze(end._outward)

    def between(self, *nodes: str) -> list[Wire]:
        """The living connections of one node, or between two."""
        return [wire for wire in self.wires if set(nodes) <= wire.nodes and wire.alive]

    def reset(self, *nodes: str) -> None:
        """Reset every connection of one node, or between two."""
        for wire in self.between(*nodes):
            wire.reset()

    def silence(self, *nodes: str) -> None:
        """From now on no byte passes on connections of a node, or between two: as a stopped
        process or a black hole looks to its peers."""
        self._silenced.append(frozenset(nodes))
        for wire in self.between(*nodes):
            self._freeze(wire)

    def heal(self) -> None:
        """Let bytes pass again, those held back too, and dials succeed."""
        self._silenced.clear()
        self._cut_off.clear()
        for wire in self.wires:
            wire.thaw()

    def cut_off(self, node_id: str) -> None:
        """Let no new connection of a node come about."""
        self._cut_off.add(node_id)


async def crash(network: Network, node: mp.Node) -> None:
    """End a node as SIGKILL does: nothing more is said, connections are reset."""
    network.cut_off(node.id)
    for wire in network.between(node.id):
        for end in wire.ends.values():
            end._outward.reset()  # also what was written and is on its way
    await settle()
    await node.close()
    network._cut_off.discard(node.id)


@asynccontextmanager
async def nodes(
    *names: str, connected: bool = True, **settings: Any
) -> AsyncIterator[tuple[Any, ...]]:
    """Nodes that listen at ``memory://NAME``; each has those before it as seeds."""
    settings = {"secret": SECRET, **settings}
    opened: list[mp.Node] = []
    try:
        for name in names:
            seeds = [f"memory://{node.id}" for node in opened] if connected else []
            given = {"seeds": seeds, "wall_clock": wall_clock(), **settings}
            node = mp.Node(name, binds=[f"memory://{name}"], **given)
            opened.append(await node.start())
        if connected:
            for node in opened:
                for other in opened:
                    await node.up(other.id)
        yield tuple(opened)
    finally:
        for node in opened:
            await node.close()


def acquaint(*group: mp.Node) -> None:
    """Tell every node the addresses of the others, without dialling."""
    for node in group:
        for other in group:
            if other is not node:
                node.learn(other.id, *other.addresses)


class Log:
    """Events in the order they happened."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def __call__(self, *event: Any) -> None:
        self.events.append(event[0] if len(event) == 1 else event)

    def named(self, name: str) -> Callable[..., None]:
        return lambda *event: self.events.append((name, *event))


def is_prefix(part: list[Any], whole: list[Any]) -> bool:
    return part == whole[: len(part)]


def timers_left(loop: Any) -> list[asyncio.TimerHandle]:
    """Timers still set on a loop."""
    return [handle for handle in loop._scheduled if not handle.cancelled()]


def tasks_left() -> set[asyncio.Task[Any]]:
    """Tasks of the loop other than the running one."""
    return asyncio.all_tasks() - {asyncio.current_task()}  # type: ignore[arg-type]


class RawClient(asyncio.Protocol):
    """A program that speaks bytes with a listener, and keeps to nothing."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.ended = False
        self.transport: asyncio.Transport

    @classmethod
    def dial(cls, network: MemoryNetwork, name: str, label: str = "stranger") -> RawClient:
        client = cls()
        network.connect(asyncio.get_running_loop(), name, client, label)  # type: ignore[arg-type]
        return client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self.data += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = True

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    @property
    def lines(self) -> list[bytes]:
        return bytes(self.data).split(b"\n")[:-1]


class SkilledClient(RawClient):
    """A client that can do the handshake, step by step."""

    def __init__(
        self,
        node_id: str,
        secret: bytes = SECRET,
        *,
        incarnation: str | None = "0" * 14,
        **attributes: str,
    ) -> None:
        super().__init__()
        if incarnation is not None:
            attributes["incarnation"] = incarnation
        role, msgpack = protocol.HmacSha3Role(), protocol.MsgpackFraming()
        self.connection = protocol.Connection(
            "dial",
            protocol.Greeting(node_id, (role.name,), (msgpack.name,), attributes),
            os.urandom(66),
            secret=secret,
            auth_offer=[role],
            auth_accept=[role],
            framings=[msgpack],
            frame_limit=2**24,
            loopback=True,
        )
        self.proved = False
        self.messages: list[list[Any]] = []

    def join(self, network: MemoryNetwork, name: str) -> SkilledClient:
        """Connect to a listener, and greet."""
        network.connect(
            asyncio.get_running_loop(),
            name,
            self,  # type: ignore[arg-type]
            self.connection._greeting.node_id,
        )
        self.write(self.connection.outgoing())
        return self

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.proved:
            self.messages += self.connection.decode(data)
            return
        for event in self.connection.receive(data):
            if isinstance(event, protocol.Proved):
                self.proved = True
                self.messages += self.connection.decode(b"")

    def frames(self, *messages: tuple[Any, ...]) -> bytes:
        """The bytes of messages, whatever may be sent already."""
        return b"".join(protocol.MsgpackFraming().encode(protocol.pack(each)) for each in messages)
