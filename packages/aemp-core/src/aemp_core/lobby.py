"""The lobby: where accepted connections wait until they have proved themselves.

Anyone may connect, so what strangers can cost is capped: so many connections in total, so many
of one source. When there is no room a random one of the older half is put out: a flood then
pushes out mostly itself, and an honest node that comes again gets through.

A `Door` is one listener's way in: it counts its connections in the lobby of its node, and ends
those that are not links yet when the listener closes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from weakref import WeakKeyDictionary

from . import refusals
from .conversation import Converse, Locate, StreamNode
from .link import Accept
from .stream import Stream

__all__ = ["LOCAL_LIMIT", "LOCAL_SOURCE", "SOURCE_LIMIT", "TOTAL_LIMIT", "Door", "Lobby"]

#: Unauthenticated connections of all listeners of a node together.
TOTAL_LIMIT = 1_000
#: Of one source.
SOURCE_LIMIT = 64
#: This machine is one source, whatever its loopback address, and may well run many nodes.
LOCAL_SOURCE = "this machine"
LOCAL_LIMIT = 500
#: Loop turns from the acceptance of a connection, which the loop does by itself, to its end if
#: its protocol ends it at once.
ACCEPTING_TURNS = 5


class Lobby:
    """The unauthenticated connections of one node."""

    def __init__(self) -> None:
        self._streams: dict[Stream, None] = {}
        self._sources: dict[str, dict[Stream, None]] = {}

    @staticmethod
    def of(node: StreamNode) -> Lobby:
        """The one lobby of `node`, which all its listeners share."""
        lobby = _lobbies.get(node)
        if lobby is None:
            lobby = _lobbies[node] = Lobby()
        return lobby

    def __len__(self) -> int:
        return len(self._streams)

    def enter(self, stream: Stream, entropy: Callable[[int], bytes]) -> None:
        """Let a connection in; if there is no room, at the cost of one drawn with `entropy`."""
        source = stream.origin.source
        limit = LOCAL_LIMIT if source == LOCAL_SOURCE else SOURCE_LIMIT
        if len(self._sources.get(source, ())) >= limit:
            self._evict(self._sources[source], entropy, f"{limit} more of the same source wait")
        elif len(self._streams) >= TOTAL_LIMIT:
            self._evict(self._streams, entropy, f"{TOTAL_LIMIT} wait")
        self._streams[stream] = None
        self._sources.setdefault(source, {})[stream] = None

    def leave(self, stream: Stream) -> None:
        """A connection has proved itself, or ended. Idempotent."""
        if stream in self._streams:
            del self._streams[stream]
            source = stream.origin.source
            del self._sources[source][stream]
            if not self._sources[source]:
                del self._sources[source]

    def _evict(self, among: dict[Stream, None], entropy: Callable[[int], bytes], why: str) -> None:
        chance = int.from_bytes(entropy(8), "big")
        # One of the older half: an honest handshake is over before it gets there.
        victim = list(among)[chance % max(1, len(among) // 2)]
        refusals.warn(
            victim.loop,
            "lobby",
            "unauthenticated connection from %s ended to make room: %s",
            victim.origin.address,
            why,
        )
        victim.abort("too many unauthenticated connections")


#: Keyed by node; a lobby must not hold on to its node, or neither would ever go.
_lobbies: WeakKeyDictionary[StreamNode, Lobby] = WeakKeyDictionary()


class Door:
    """One listener's way in: a factory of protocols for accepted connections.

    Args:
        node: whose lobby counts them.
        accept: called with each connection whose peer has greeted.
        locate: see `Stream`.
        converse: see `Stream`.
    """

    def __init__(
        self, node: StreamNode, accept: Accept, locate: Locate, converse: Converse
    ) -> None:
        self._loop = node.loop
        self._entropy = node.entropy
        self._lobby = Lobby.of(node)
        self._accept = accept
        self._locate = locate
        self._converse = converse
        self._streams: dict[Stream, None] = {}
        self._open = True

    def __call__(self) -> Stream:
        return Stream(self._loop, self._locate, self._converse, self)

    def enter(self, stream: Stream) -> None:
        """A connection was made."""
        if not self._open:
            # Taken by the operating system before the listener closed, noticed after.
            stream.abort("the listener is closed")
            return
        self._streams[stream] = None
        self._lobby.enter(stream, self._entropy)

    def greeted(self, stream: Stream) -> None:
        """Its peer has greeted: it is a candidate."""
        self._accept(stream)

    def proved(self, stream: Stream) -> None:
        """Its peer is authenticated."""
        self._lobby.leave(stream)

    def leave(self, stream: Stream) -> None:
        """It is a link, or ended."""
        self._streams.pop(stream, None)
        self._lobby.leave(stream)

    async def close(self) -> None:
        """Let nobody in any more, and end what is not a link yet; the listener is closed already.

        Returns when those connections are gone.
        """
        self._open = False
        streams = list(self._streams)
        for stream in streams:
            stream.abort("the listener was closed")
        for _ in range(ACCEPTING_TURNS):
            await asyncio.sleep(0)
        for stream in streams:
            await stream.wait_closed()
