"""The memory transport: ``memory://name`` joins nodes that run on one event loop.

Only the bytes stay in memory: handshake, framing and flow control are those of any other stream,
which is what makes it worth testing with. Names belong to the `MemoryNetwork` of the running
loop. Nodes without a configured secret use one that the network drew for itself.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from .conversation import Origin, StreamNode, connections
from .errors import AddressError, TransportError
from .ids import is_node_id
from .link import Accept
from .lobby import Door
from .pipe import End, pipe
from .stream import Stream

__all__ = [
    "MemoryListener",
    "MemoryNetwork",
    "MemoryTransport",
    "locate_dialler",
    "locate_listener",
    "memory_name",
]

SCHEME = "memory://"


class MemoryNetwork:
    """Who listens under which name, on one loop. A subclass may wire its own kind of pipe.

    Attributes:
        secret: what nodes without a configured secret share on this network.
    """

    def __init__(self) -> None:
        self.secret = os.urandom(32)
        self._names: dict[str, Callable[[], asyncio.Protocol]] = {}

    @staticmethod
    def of(loop: asyncio.AbstractEventLoop) -> MemoryNetwork:
        """The network of `loop`, made on first use."""
        network = _networks.get(loop)
        if network is None:
            network = _networks[loop] = MemoryNetwork()
        return network

    def install(self, loop: asyncio.AbstractEventLoop) -> None:
        """Make this the network of `loop`, for nodes that start afterwards."""
        _networks[loop] = self

    @staticmethod
    def forget(loop: asyncio.AbstractEventLoop) -> None:
        """Have `loop` belong to no network."""
        _networks.pop(loop, None)

    def bind(self, name: str, factory: Callable[[], asyncio.Protocol], owner: str = "") -> None:
        """Give connections to `name` protocols of `factory`; `TransportError` if it is taken.

        Args:
            owner: the ID of the node that listens.
        """
        if name in self._names:
            raise TransportError(
                f"{SCHEME}{name} is bound already on this loop: close that listener first, "
                "or take another name"
            )
        self._names[name] = factory

    def release(self, name: str) -> None:
        """Take `name` back."""
        self._names.pop(name, None)

    async def reach(self, name: str, label: str) -> None:
        """Return when a connection of `label` to `name` could be made: here at once.

        Raises `TransportError` if there is no way there.
        """

    def connect(
        self, loop: asyncio.AbstractEventLoop, name: str, dialler: asyncio.Protocol, label: str
    ) -> None:
        """Connect `dialler` to whoever listens as `name`; `TransportError` if nobody does.

        Args:
            label: what the listener calls the dialling side in its log.
        """
        factory = self._names.get(name)
        if factory is None:
            raise TransportError(
                f"{SCHEME}{name}: nobody listens there; memory names are those of one event loop"
            )
        near, far = self.wire(loop, (dialler, {"peername": name}), (factory(), {"peername": label}))
        # The far end first: what the near one writes at once must find it open.
        loop.call_soon(far.open)
        near.open()

    def wire(
        self,
        loop: asyncio.AbstractEventLoop,
        near: tuple[asyncio.Protocol, Mapping[str, Any]],
        far: tuple[asyncio.Protocol, Mapping[str, Any]],
    ) -> tuple[End, End]:
        """Make the two ends of a new connection."""
        return pipe(loop, near, far)


_networks: WeakKeyDictionary[asyncio.AbstractEventLoop, MemoryNetwork] = WeakKeyDictionary()


class MemoryListener:
    """A bound name."""

    def __init__(self, network: MemoryNetwork, name: str, door: Door) -> None:
        self.addresses: Sequence[str] = (SCHEME + name,)
        self._network = network
        self._name = name
        self._door: Door | None = door

    async def close(self) -> None:
        """See `Listener`."""
        door, self._door = self._door, None
        if door is not None:
            self._network.release(self._name)
            await door.close()


class MemoryTransport:
    """The scheme ``memory`` of one node."""

    private = True

    def __init__(self, node: StreamNode) -> None:
        self._node = node

    def check(self, address: str, /) -> None:
        """See `Transport`."""
        memory_name(address)

    async def listen(self, address: str, accept: Accept, /) -> MemoryListener:
        """See `Transport`."""
        name = memory_name(address)
        network = MemoryNetwork.of(self._node.loop)
        door = Door(
            self._node,
            accept,
            locate_dialler,
            connections(self._node, "accept", self._secret(network)),
        )
        network.bind(name, door, self._node.id)
        return MemoryListener(network, name, door)

    async def dial(self, address: str, /) -> Stream:
        """See `Transport`."""
        name = memory_name(address)
        network = MemoryNetwork.of(self._node.loop)
        await network.reach(name, self._node.id)
        stream = Stream(
            self._node.loop,
            locate_listener,
            connections(self._node, "dial", self._secret(network)),
        )
        network.connect(self._node.loop, name, stream, self._node.id)
        return await stream.greeted()

    def _secret(self, network: MemoryNetwork) -> bytes:
        return self._node.settings.secret or network.secret


def memory_name(address: str) -> str:
    """The name in ``memory://name``; `AddressError` if there is none."""
    name = address.removeprefix(SCHEME)
    if name == address or not is_node_id(name):
        raise AddressError(
            f"{address!r} is no memory address: write {SCHEME}NAME, "
            "where NAME is made of A-Z a-z 0-9 _ . : / -"
        )
    return name


def locate_listener(transport: asyncio.Transport) -> Origin:
    """Where a connection leads for who dialled it, see `Locate`."""
    name = transport.get_extra_info("peername")
    return Origin(SCHEME + name, source=name, loopback=True)


def locate_dialler(transport: asyncio.Transport) -> Origin:
    """Where a connection leads for who listens, see `Locate`."""
    label = transport.get_extra_info("peername")
    return Origin(f"memory, dialled by {label}", source=label, loopback=True)
