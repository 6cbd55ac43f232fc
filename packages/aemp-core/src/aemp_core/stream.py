"""A stream: the candidate and link that any ordered byte stream makes, whoever carries the bytes.

`Stream` is an `asyncio.Protocol` around a `wire.Connection`. TCP and unix sockets use it, and so
does the memory transport: what they add is how a byte stream comes about (`conversation`). How
bytes become messages is told in `inflow`, how frames are written in `outflow`.

    connection_made --greeting, nonce--> GREETED --proved and confirmed--> OPEN --start--> LIVE
           \\____________________________/  \\__ 10 s after connection_made at the latest __/

*Reading.* What arrives before `start` is kept, up to `KEPT_BYTES`; reading goes on meanwhile,
so that a candidate that is held for a while still learns that its peer has gone.

*Ending.* `_end` is the one place where a stream ends for core, whatever came first of a close, an
abort, a reset and a fault of the peer, and so `lost` is told once and last. A closed link writes
out what is queued, says so by an end of file, and reads on until the peer's: closing a socket
with unread input would reset it, and take with it what the peer has not read yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from . import refusals
from .conversation import Converse, Locate, Origin
from .errors import (
    AempError,
    LocalProtocolError,
    OwnAddress,
    PeerRefused,
    RemoteProtocolError,
    TransportError,
)
from .inflow import Inflow
from .link import Observer, PeerInfo
from .reason import TRANSPORT_ERROR
from .wire import Connection, Greeted

if TYPE_CHECKING:
    from .lobby import Door

__all__ = ["CLOSE_SECONDS", "HANDSHAKE_SECONDS", "LINGER_SECONDS", "Stream"]

#: Seconds from the first byte until both sides have proved themselves.
HANDSHAKE_SECONDS = 10.0
#: Seconds a closed link may take to write out what is queued.
CLOSE_SECONDS = 5.0
#: Seconds it then waits for the peer to close its side too.
LINGER_SECONDS = 1.0


class Stream(Inflow):
    """One connection, from its first byte to its last: `Candidate` and `Link` in turn.

    Args:
        loop: the loop of the node.
        locate: tells where a fresh transport leads to, and prepares it; raises `TransportError`
            to refuse the connection unheard.
        converse: makes the protocol machine for it, see `connections`.
        door: for an accepted connection, the listener's side of it.

    Attributes:
        origin: where the other end is; set once the connection is made.
        HINT: why a peer may have ended the connection before it was a link.
    """

    HINT = "do both nodes have the same secret?"

    __slots__ = (
        "_closing", "_confirmed", "_connection", "_converse", "_door", "_failure", "_gone",
        "_greeting", "_locate", "_proof", "_proved", "_text", "_timer", "encode",
        "origin",
    )  # fmt: skip

    origin: Origin
    #: See `Link`; there once our proof has named the framing.
    encode: Callable[[bytes], bytes]
    _connection: Connection

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        locate: Locate,
        converse: Converse,
        door: Door | None = None,
    ) -> None:
        super().__init__(loop)
        self._locate = locate
        self._converse = converse
        self._door = door
        self._timer: asyncio.TimerHandle | None = None
        # What became of the greeting, of the proof, of the connection: an error or None.
        self._greeting: asyncio.Future[TransportError | None] = loop.create_future()
        self._proof: asyncio.Future[TransportError | None] = loop.create_future()
        self._gone: asyncio.Future[None] = loop.create_future()
        self._proved = self._confirmed = False
        self._closing: str | None = None
        self._failure: TransportError | None = None
        self._text = ""

    # -- asyncio.Protocol: the connection ------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        self._transport = cast(asyncio.Transport, transport)
        self._timer = self.loop.call_later(HANDSHAKE_SECONDS, self._too_slow)
        try:
            self.origin = self._locate(self._transport)
            self._connection = self._converse(self._transport, self.origin)
        except AempError as error:
            self._end(str(error))
            refusals.warn(self.loop, "connection", "connection refused: %s", error)
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(high=0)
        if self._door is not None:
            self._door.enter(self)
        if self._failure is None:
            self._transport.write(self._connection.outgoing())

    def eof_received(self) -> None:
        """The peer sends no more: in this protocol that ends the connection."""
        self._deliver_kept()
        if self._closing is None and self._failure is None:
            self._end_by_peer("the peer closed the connection")
            self._drop()

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone."""
        try:
            self._deliver_kept()
        finally:
            if self._closing is not None:
                self._end(self._closing)
            elif exc is None:
                self._end_by_peer("the connection was closed")
            else:
                self._end_by_peer(f"the connection broke: {exc}")
            if not self._gone.done():
                self._gone.set_result(None)

    # -- the handshake -------------------------------------------------------------------------

    async def greeted(self) -> Stream:
        """Return when the peer has greeted; raise `TransportError` if it does not.

        Ends the connection if cancelled.
        """
        try:
            failure = await asyncio.shield(self._greeting)
        except asyncio.CancelledError:
            self.abort("dialling was given up")
            raise
        if failure is not None:
            raise failure
        return self

    @property
    def peer(self) -> PeerInfo:
        """See `Candidate` and `Link`."""
        peer = self._connection.peer
        if peer is None:
            raise LocalProtocolError(f"{self.origin.address} has not greeted yet")
        return peer

    async def proved(self) -> None:
        """See `Candidate`."""
        failure = await asyncio.shield(self._proof)
        if failure is not None:
            raise failure

    def confirm(self) -> Stream:
        """See `Candidate`. The link may be started and used once the peer is proved, too."""
        if self._failure is None and self._transport.is_closing():
            self._end_by_peer("the connection broke")
        if self._failure is not None:
            raise self._failure
        self._transport.write(self._connection.prove())
        self.encode = self._connection.encode
        self._confirmed = True
        self._settle()
        return self

    def _receive(self, data: bytes) -> None:
        """Take bytes that are not for the observer, or not yet."""
        if self._failure is not None or self._closing is not None:
            return
        if self._proved:
            self._keep(data)
            return
        try:
            events = self._connection.receive(data)
        except OwnAddress as error:
            self._end(str(error), OwnAddress)
            self._drop()  # in order: our other end shall read our greeting and know it, too
            return
        except RemoteProtocolError as error:
            self._blame(str(error))
            return
        for event in events:
            # The listener may have closed us when it was told of the one before.
            if self._failure is not None:
                return
            if isinstance(event, Greeted):
                self._greeting.set_result(None)
                if self._door is not None:
                    self._door.greeted(self)
            else:
                self._proved = True
                self._kept_size = len(data)
                self._proof.set_result(None)
                if self._door is not None:
                    self._door.proved(self)
                self._settle()

    def _settle(self) -> None:
        if self._proved and self._confirmed:
            self._open = True
            self._cancel_timer()
            if self._door is not None:
                self._door.leave(self)

    def _too_slow(self) -> None:
        if self._proved:
            self._end(f"not needed within {HANDSHAKE_SECONDS:g} s")
            self._drop()
        else:
            self._blame(f"no complete handshake within {HANDSHAKE_SECONDS:g} s")

    # -- Link: reading -------------------------------------------------------------------------

    def start(self, observer: Observer, /) -> None:
        """See `Link`. Raises `LocalProtocolError` before both sides have proved themselves."""
        if not (self._proved and self._confirmed):
            raise LocalProtocolError(f"{self.origin.address}: no link yet, nothing may be read")
        self._observer = observer
        self.loop.call_soon(self._begin)

    def _begin(self) -> None:
        """Deliver what came in before `start`, and how it ended if it has."""
        if self._observer is None or self._begun:
            return
        if self._failure is None:
            if self._paused or self._closing is not None:
                return  # `resume` comes here again; a closed link only ends
            self._live = True
        self._begun = True
        self._received = self._observer.received
        assert self._connection.decoder is not None
        self._decoder = self._connection.decoder
        early_size = self._kept_size
        early = self._take_kept()
        if not self._paused:
            try:
                messages = self._connection.decode(early)
                if messages or early:
                    self._received(messages, early_size)
            except Exception:
                self._break()
                raise
            if self._connection.error is not None:
                self._blame(str(self._connection.error))
        if self._failure is not None:
            self._tell_lost()
        elif not self._paused:
            self._read(True)

    # -- Link: writing -------------------------------------------------------------------------

    def send(self, frame: bytes, /) -> None:
        """See `Link`. Raises `LocalProtocolError` before both sides have proved themselves."""
        if not self._open:
            if self._failure is None and self._closing is None:
                raise LocalProtocolError(f"{self.origin.address}: no link yet, nothing may be sent")
            return
        if not self._waiting:
            self._wait()
        self.waiting.append(frame)

    def send_now(self, frame: bytes, /) -> None:
        """See `Link`."""
        if self._waiting or not self._open:
            self.send(frame)
        else:
            self.waiting.append(frame)
            self._flush()

    def send_parts(self, parts: Sequence[bytes], /) -> None:
        """See `Link`."""
        if self._open:
            if not self._waiting:
                self._wait()
            self.waiting += parts

    def _written(self) -> None:
        if self._closing is not None:
            self._say_goodbye()
        elif self._observer is not None:
            self._observer.writable()

    # -- ending --------------------------------------------------------------------------------

    def close(self, reason: str = "", /) -> None:
        """See `Candidate` and `Link`; a link has `CLOSE_SECONDS` to write out what is queued."""
        if self._failure is not None or self._closing is not None:
            return
        if not self._open:
            self._end(reason or "closed by this node")
            self._drop()
            return
        self._closing = reason or "closed by this node"
        self._live = self._open = False
        self._drop_kept()
        self._read(True)  # a peer that closes, too, must get rid of what it has queued
        self._timer = self.loop.call_later(CLOSE_SECONDS, self._transport.abort)
        self._flush()
        self._say_goodbye()

    def _say_goodbye(self) -> None:
        """All is written: close our half, and wait a little for the peer's."""
        if self.waiting or self._choked or self._transport.is_closing():
            return
        self._cancel_timer()
        self._timer = self.loop.call_later(LINGER_SECONDS, self._transport.abort)
        self._read(True)
        if self._transport.can_write_eof():
            # Reset by the peer in this turn of the loop: `connection_lost` is on its way.
            with suppress(OSError):
                self._transport.write_eof()
        else:
            self._transport.close()

    def abort(self, reason: str = "", /) -> None:
        """See `Link`; ends a candidate, too."""
        self._drop_kept()
        self._end(self._closing or reason or "closed by this node")
        self._tell_lost()
        self._transport.abort()

    async def wait_closed(self) -> None:
        """See `Candidate`; holds for a link, too."""
        await asyncio.shield(self._gone)

    def _blame(self, text: str) -> None:
        """The peer broke the protocol: log it, end the connection, tell the peer nothing."""
        if self._failure is None and self._closing is None:
            refusals.warn(
                self.loop, "protocol", "connection with %s ended: %s", self._describe(), text
            )
            self._end(text)
            self._transport.abort()

    def _describe(self) -> str:
        peer = self._connection.peer
        if peer is None:
            return self.origin.address
        name = peer.id if self._proved else f"someone who claims to be {peer.id}"
        return f"{name} ({self.origin.address})"

    def _end_by_peer(self, text: str) -> None:
        if self._open or self._failure is not None:
            self._end(text)
        else:
            self._end(
                f"{text} before it was a link; {self.HINT} The log of the peer says why",
                PeerRefused,
            )

    def _end(self, text: str, kind: type[TransportError] = TransportError) -> None:
        """The connection is over for everyone who waits for it; the first reason counts."""
        if self._failure is not None:
            return
        address = self.origin.address if hasattr(self, "origin") else ""
        self._failure = kind(f"{address}: {text}" if address else text)
        self._text = text
        self._live = self._open = False
        self._drop_frames()
        self._cancel_timer()
        for future in (self._greeting, self._proof):
            if not future.done():
                future.set_result(self._failure)
        if self._door is not None:
            self._door.leave(self)
        if self._begun or self._closing is not None:
            self._tell_lost()
        elif self._observer is not None:
            self.loop.call_soon(self._begin)

    def _tell_lost(self) -> None:
        observer, self._observer = self._observer, None
        if observer is not None:
            observer.lost((TRANSPORT_ERROR, self._text))

    def _drop(self) -> None:
        """Close the socket: in order if nothing waits to be written, else without waiting."""
        if self._transport.get_write_buffer_size():
            self._transport.abort()
        else:
            self._transport.close()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
