"""What tests of streams share: a stream on one end of a pipe, and a scripted peer on the other."""

from __future__ import annotations

import asyncio
from typing import Any

from aemp_core.conversation import Origin, connections
from aemp_core.link import Observer
from aemp_core.lobby import Door
from aemp_core.pipe import CAPACITY, End, pipe
from aemp_core.stream import Stream
from aemp_core.testing import StandIn, Witness
from aemp_core.wire import Connection, Role, pack

SECRET = b"the secret of these tests"


class Script(asyncio.Protocol):
    """A peer that does only what the test says, and writes down what it gets."""

    transport: End

    def __init__(self) -> None:
        self.data = bytearray()
        self.ended = ""
        self.keep_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, End)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data

    def eof_received(self) -> bool:
        self.ended = "eof"
        return self.keep_open

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = self.ended or ("reset" if exc else "closed")


class Scene:
    """A stream of node ``stream`` and a script that can speak as node ``script``."""

    def __init__(
        self,
        *,
        role: Role = "accept",
        door: Door | None = None,
        capacity: int = CAPACITY,
        source: str = "somewhere",
        **settings: Any,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.node = StandIn("stream", secret=SECRET, **settings)
        other = StandIn("script", secret=SECRET)
        origin = Origin(f"test://{source}", source)
        self.stream = Stream(
            self.loop, lambda transport: origin, connections(self.node, role, SECRET), door
        )
        self.script = Script()
        end, far = pipe(self.loop, (self.stream, {}), (self.script, {}), capacity=capacity)
        self.end = end
        far.open()
        end.open()
        self.peer: Connection = connections(
            other, "dial" if role == "accept" else "accept", SECRET
        )(far, origin)
        self.witness = Witness()

    def write(self, data: bytes) -> None:
        self.script.transport.write(data)

    async def greet(self) -> None:
        """The script greets, and has read the greeting of the stream."""
        self.write(self.peer.outgoing())
        await self.stream.greeted()
        self.peer.receive(bytes(self.script.data))
        self.script.data.clear()

    async def link(self, observer: Observer | None = None, *, start: bool = True) -> Stream:
        """Make it a link."""
        await self.greet()
        self.write(self.peer.prove())
        await self.stream.proved()
        link = self.stream.confirm()
        if start:
            link.start(observer or self.witness)
            await asyncio.sleep(0.001)
        self.peer.receive(bytes(self.script.data))
        self.script.data.clear()
        return link

    def frame(self, *message: Any) -> bytes:
        return self.peer.encode(pack(message))

    def read(self) -> list[list[Any]]:
        """The messages the script got since the last call."""
        data, self.script.data = bytes(self.script.data), bytearray()
        return self.peer.decode(data)
