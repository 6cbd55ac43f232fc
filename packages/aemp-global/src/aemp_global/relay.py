"""The relay transport: ``relay://NODEID`` reaches a node that nobody can dial, through a global.

A link over it is like any other: the two ends greet each other, prove themselves to each other and
frame their messages; the global in between passes opaque bytes, and may refuse to, but cannot read
itself into the link. A stream ends when the link of either end to that global does; then the nodes
look for another way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, Protocol

from aemp_core.conversation import Origin, StreamNode, connections
from aemp_core.errors import AddressError, TransportError
from aemp_core.ids import is_node_id
from aemp_core.link import Accept
from aemp_core.lobby import Door
from aemp_core.secret import user_secret
from aemp_core.stream import Stream

from .relay_stream import RelayStream

__all__ = ["Carrier", "RelayListener", "RelayTransport"]

SCHEME = "relay://"
#: Streams one relaying node may bring us, or be asked for, at a time.
STREAM_LIMIT = 1_000


class Carrier(Protocol):
    """The way of relay streams from and to one node."""

    def carry(self, via: str, word: str, stream: str, argument: Any) -> bool:
        """Send a relaying node a word about a stream; False if there is no link to it."""

    def way_to(self, node_id: str) -> Awaitable[str]:
        """The ID of a linked node that can relay to another; `TransportError` if there is none."""

    def new_stream(self) -> str:
        """A name no stream had before."""


class RelayListener:
    """This node as others find it through relaying nodes."""

    def __init__(self, transport: RelayTransport, name: str, door: Door) -> None:
        self.addresses = [SCHEME + name]
        self.door: Door | None = door
        self._transport = transport
        self._name = name

    async def close(self) -> None:
        """See `Listener`."""
        door, self.door = self.door, None
        if door is not None:
            self._transport.release(self._name)
            await door.close()


class RelayTransport:
    """The scheme ``relay`` of one node.

    Args:
        node: the node.
        carrier: how words get to relaying nodes.
    """

    def __init__(self, node: StreamNode, carrier: Carrier) -> None:
        self._node = node
        self._carrier = carrier
        self._doors: dict[str, Door] = {}
        self._streams: dict[tuple[str, str], RelayStream] = {}

    def check(self, address: str, /) -> None:
        """See `Transport`."""
        _name(address)

    async def listen(self, address: str, accept: Accept, /) -> RelayListener:
        """See `Transport`; a node with aemp-global listens under its own ID without being told."""
        return self.bind(_name(address), accept)

    def bind(self, name: str, accept: Accept) -> RelayListener:
        """Accept streams to `name`."""
        if name in self._doors:
            raise TransportError(f"{SCHEME}{name} is bound already")
        converse = connections(self._node, "accept", self._secret())
        door = self._doors[name] = Door(self._node, accept, _locate, converse)
        return RelayListener(self, name, door)

    def release(self, name: str) -> None:
        """Accept no more streams to `name`."""
        self._doors.pop(name, None)

    async def dial(self, address: str, /) -> Stream:
        """See `Transport`."""
        name = _name(address)
        via = await self._carrier.way_to(name)
        converse = connections(self._node, "dial", self._secret())
        stream = Stream(self._node.loop, _locate, converse)
        origin = Origin(f"{SCHEME}{name} through {via}", source=f"relay {via}")
        self._open(via, self._carrier.new_stream(), stream, origin, name)
        return await stream.greeted()

    def _secret(self) -> bytes:
        return self._node.settings.secret or user_secret()

    def _open(
        self, via: str, name: str, protocol: asyncio.Protocol, origin: Origin, target: str | None
    ) -> None:
        def send(word: str, argument: Any) -> bool:
            return self._carrier.carry(via, word, name, argument)

        def ended() -> None:
            self._streams.pop((via, name), None)

        end = RelayStream(self._node.loop, send, ended, protocol, {"origin": origin})
        self._streams[via, name] = end
        if target is not None and not send("open", target):
            self._streams.pop((via, name), None)
            raise TransportError(f"{origin.address}: there is no link to {via}")
        end.open()

    # -- what relaying nodes say -------------------------------------------------------------

    def heard(self, via: str, word: str, stream: str, argument: Any) -> None:
        """A relaying node says something about a stream; `ValueError` if it makes no sense."""
        if word == "incoming":
            self._incoming(via, stream, argument)
            return
        end = self._streams.get((via, stream))
        if end is None:
            if word not in ("reset", "eof", "credit"):
                self._carrier.carry(via, "reset", stream, "there is no such stream")
            return
        try:
            end.heard(word, argument)
        except ValueError:
            end.abort()
            raise

    def _incoming(self, via: str, stream: str, argument: Any) -> None:
        asker, name = argument
        if not isinstance(asker, str) or not is_node_id(asker):
            raise ValueError(f"{asker!r:.100} is no node ID")
        door = self._doors.get(name)
        many = sum(each[0] == via for each in self._streams) >= STREAM_LIMIT
        if door is None or many or (via, stream) in self._streams:
            why = "too many streams" if many else "nobody listens there"
            self._carrier.carry(via, "reset", stream, why)
            return
        origin = Origin(f"a relay, dialled by {asker} through {via}", source=f"relay {via}")
        self._open(via, stream, door(), origin, None)

    def lost(self, via: str) -> None:
        """The link to a relaying node was lost, or what was sent over it."""
        for (through, _), end in list(self._streams.items()):
            if through == via:
                end.lose(ConnectionResetError(f"the link to {via}, which relays, was lost"))


def _locate(transport: asyncio.Transport) -> Origin:
    origin: Origin = transport.get_extra_info("origin")
    return origin


def _name(address: str) -> str:
    name = address.removeprefix(SCHEME)
    if name == address or not is_node_id(name):
        raise AddressError(f"{address!r} is no relay address: write {SCHEME}NODEID")
    return name
