"""Links to nodes of the reference implementation, which name no incarnation.

Such a node may hold a half-open link of ours and quietly ignore a new connection. So the first
thing sent is a request for the time, and the link counts as up only when that is answered;
`Probation` is the link until then, and passes everything through afterwards. A legacy peer that
refuses redials until it notices the dead link makes us back off and try again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .errors import TransportError
from .link import Link, Observer, PeerInfo
from .reason import Reason, describe
from .wire import pack

if TYPE_CHECKING:
    from .node import Node

__all__ = ["Probation"]

#: Seconds a legacy peer has to answer the first request.
ANSWER_SECONDS = 10.0
#: Bytes it may send before that.
HELD_BYTES = 1_048_576


class Probation:
    """A link that must first answer; `Link` to core and `Observer` of the real link."""

    def __init__(self, node: Node, link: Link) -> None:
        self._link = link
        self._observer: Observer | None = None
        self._held: list[tuple[Sequence[list[Any]], int]] = []
        self._held_bytes = 0
        self._aborted = False
        self._lost: Reason | None = None
        self._loop = node.loop
        self._answer: asyncio.Future[None] = node.loop.create_future()
        self._serial = node.next_serial()
        port = node.pulse.pong_port()
        self._pong = port.partition("#")[2]
        link.start(self)
        link.send(link.encode(pack(("", "time", port, self._serial))))

    async def answered(self) -> None:
        """Return when the peer answered; `TransportError` if it does not."""
        try:
            await asyncio.wait_for(self._answer, ANSWER_SECONDS)
        except asyncio.TimeoutError:
            text = f"{self.peer.id} did not answer: it may hold an older link to this node"
            self._link.abort(text)
            raise TransportError(text) from None

    # -- Observer ----------------------------------------------------------------------------

    def received(self, messages: Sequence[list[Any]], size: int) -> None:
        """Look for the answer; keep everything else for the real observer."""
        if self._observer is not None:
            self._observer.received(messages, size)
            return
        rest = []
        for message in messages:
            if message[0] == self._pong and message[1:2] == [self._serial]:
                if not self._answer.done():
                    self._answer.set_result(None)
            else:
                rest.append(message)
        self._held.append((rest, size))
        self._held_bytes += size
        if self._held_bytes > HELD_BYTES and not self._answer.done():
            self._link.abort("sent much before it answered")
        elif self._answer.done():
            self._link.pause()  # until started: what is held stays small

    def writable(self) -> None:
        """Pass on."""
        if self._observer is not None:
            self._observer.writable()

    def lost(self, reason: Reason) -> None:
        """Pass on, or fail the probation."""
        self._lost = reason
        if self._observer is not None:
            self._observer.lost(reason)
        elif not self._answer.done():
            self._answer.set_exception(TransportError(describe(reason)))

    # -- Link --------------------------------------------------------------------------------

    @property
    def peer(self) -> PeerInfo:
        return self._link.peer

    @property
    def buffered(self) -> int:
        return self._link.buffered

    def start(self, observer: Observer, /) -> None:
        self._loop.call_soon(self._begin, observer)

    def _begin(self, observer: Observer) -> None:
        self._observer = observer
        held, self._held = self._held, []
        if self._lost is None:
            self._link.resume()  # first: what is delivered now may pause it again
        if not self._aborted:
            for messages, size in held:
                observer.received(messages, size)
        if self._lost is not None:
            observer.lost(self._lost)

    def encode(self, packed: bytes, /) -> bytes:
        return self._link.encode(packed)

    def send(self, frame: bytes, /) -> None:
        self._link.send(frame)

    def measure(self) -> int:
        return self._link.measure()

    def pause(self) -> None:
        self._link.pause()

    def resume(self) -> None:
        self._link.resume()

    def close(self, reason: str = "", /) -> None:
        self._link.close(reason)

    def abort(self, reason: str = "", /) -> None:
        self._aborted = True
        self._link.abort(reason)
