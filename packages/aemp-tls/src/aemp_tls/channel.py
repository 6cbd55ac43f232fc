"""A channel: TLS between a stream of AEMP and the transport that carries its bytes.

Below, the loop sees a protocol; above, the `Stream` sees an asyncio transport. In between is an
`ssl.SSLObject`, OpenSSL without a socket. It is not the TLS of asyncio, because that tells
nobody of a connection before its handshake is over. Here the stream hears of it at once: so the
lobby counts a stranger from the first packet on, one deadline holds for both handshakes, and a
link is closed in order, which asyncio's cannot do while its peer still sends. It also behaves the
same on all versions of asyncio and on uvloop.

    connection_made --ClientHello ... Finished--> SHAKEN: the peer's certificate is examined,
        the greeting goes out ... write_eof --close_notify--> what comes is discarded

*Refusing.* Whoever is refused is told by a TLS alert. For it to arrive, the connection must not
be reset, so it is closed in order: our half is ended, and the peer has `LINGER_SECONDS` for its.

*Being refused.* In TLS 1.3 a client is done with its handshake before the server has looked at
its certificate: the refusal is an alert that comes later, in the place of a greeting.

*Idle talk.* A peer may send records without any data, changes of its keys above all, each of which
costs us work and may want an answer. OpenSSL ends a row of 32 empty records and bounds nothing
else, so a connection on which more than `IDLE_BYTES` came to nothing is ended.

*Ending.* An end without TLS's own goodbye may be somebody's who cut the connection. It is
reported as a broken connection, and what came before it was complete messages or is dropped.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

from aemp_core import refusals
from aemp_core.errors import ConfigError
from aemp_core.stream import Stream

from .identity import Identity

__all__ = ["LINGER_SECONDS", "Channel"]

#: Seconds a refused peer has to read why.
LINGER_SECONDS = 1.0
#: Bytes of a TLS record, at most.
RECORD_BYTES = 16_384
#: Bytes encrypted at a time: OpenSSL's buffer need not grow to the size of what is written.
SLICE_BYTES = 131_072
#: Bytes that a record has beside its data: header, type, and what proves it.
OVERHEAD_BYTES = 22
#: Bytes of records that held no data, and of one that has not come to its end, in the life of a
#: connection. Peers change their keys once in millions of records, if at all: it is 27 bytes.
IDLE_BYTES = 65_536

#: What OpenSSL calls its errors, and what we call them.
TEXTS = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the peer shows no certificate",
    "WRONG_VERSION_NUMBER": "the peer does not speak TLS",
    "HTTP_REQUEST": "the peer does not speak TLS, but HTTP",
    "UNSUPPORTED_PROTOCOL": "the peer does not speak TLS 1.3",
    "TLSV1_ALERT_PROTOCOL_VERSION": "the peer does not speak TLS 1.3",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the peer wants a certificate",
    "TLSV1_ALERT_UNKNOWN_CA": "the peer refuses our certificate: it knows no CA that issued it",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the peer refuses our certificate: it says it expired",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the peer refuses our certificate",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "the peer refuses our certificate",
    "DECRYPTION_FAILED_OR_BAD_RECORD_MAC": "somebody changed what the peer sent",
}


class Channel(asyncio.Protocol, asyncio.Transport):
    """One TLS connection.

    Args:
        loop: the loop of the node.
        context: how to speak TLS.
        role: "dial" if our side opened the connection, "accept" if it took it.
        examine: called with the peer's certificate once TLS is there, before a byte of it
            reaches the stream; `ConfigError` refuses it.

    Attributes:
        stream: what speaks AEMP inside; to be set before the connection is made.
        peer: the peer's certificate; set once TLS is there.
    """

    __slots__ = (
        "_early", "_examine", "_failed", "_failure", "_idle", "_incoming", "_linger", "_loop",
        "_outgoing", "_over", "_raw", "_refusal", "_role", "_shaken", "_tls", "peer", "stream",
    )  # fmt: skip

    stream: Stream
    peer: Identity
    _raw: asyncio.Transport

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        context: ssl.SSLContext,
        role: str,
        examine: Callable[[Identity], None],
    ) -> None:
        asyncio.Transport.__init__(self)
        self._loop = loop
        self._role = role
        self._examine = examine
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=role == "accept")
        self._shaken = False
        self._idle = 0  # bytes that came since then and were no data
        self._failed = False  # nothing can be encrypted any more
        self._over = False  # nothing of the peer counts any more
        self._early: list[bytes] = []  # what the stream wrote before TLS was there
        self._refusal: str | None = None  # why we refused the peer
        self._failure: Exception | None = None  # how the connection broke, if we know better
        self._linger: asyncio.TimerHandle | None = None

    # -- asyncio.Protocol: what the loop tells ---------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The stream is told at once, and counted as a stranger; then TLS begins."""
        self._raw = cast(asyncio.Transport, transport)
        self.stream.connection_made(self)
        if not self._over and self._role == "dial":
            self._shake()

    def data_received(self, data: bytes) -> None:
        """Records of TLS."""
        if self._over:
            return
        self._incoming.write(data)
        if self._shaken:
            self._idle += len(data)
            self._decrypt()
        elif self._shake():
            self._idle = self._incoming.pending
            self._decrypt()

    def eof_received(self) -> bool:
        """No more will come. If TLS did not say so before, the connection was cut."""
        if not self._over:
            where = "the end of the link" if self._shaken else "TLS was there"
            self._break(f"the connection was cut before {where}")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport below is gone."""
        self._over = True
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        if self._refusal is not None:
            self.stream.abort(self._refusal)
        self.stream.connection_lost(self._failure or exc)

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self.stream.pause_writing()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self.stream.resume_writing()

    # -- TLS -------------------------------------------------------------------------------------

    def _shake(self) -> bool:
        """Go on with the TLS handshake; whether it is done."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        except ssl.SSLError as error:
            self._refuse(_text_of(error))
            return False
        der = self._tls.getpeercert(binary_form=True)
        assert der is not None, "OpenSSL demands a certificate"
        try:
            self.peer = Identity.of_der(der)
            self._examine(self.peer)
        except ConfigError as error:
            self._refuse(f"the certificate of the peer {error}")
            return False
        self._shaken = True
        early, self._early = self._early, []
        for data in early:
            self._encrypt(data)
        self._flush()
        return not self._over

    def _decrypt(self) -> None:
        read, incoming = self._tls.read, self._incoming
        chunks = []
        ended = False
        failure: ssl.SSLError | None = None
        try:
            while True:
                chunk = read(RECORD_BYTES)
                if not chunk:
                    ended = True
                    break
                chunks.append(chunk)
                self._idle -= len(chunk) + OVERHEAD_BYTES
                if not incoming.pending and not self._tls.pending():
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            ended = True
        except ssl.SSLError as error:
            failure = error
            # What came before it may be delivered, and answered: in vain.
            self._failed = True
        if self._outgoing.pending:  # the answer to a key update
            self._flush()
        if chunks:
            self.stream.data_received(chunks[0] if len(chunks) == 1 else b"".join(chunks))
        if self._over:
            return
        if failure is not None:
            self._refuse(_text_of(failure))
        elif ended:
            self.stream.eof_received()
        elif self._idle > IDLE_BYTES:
            self._refuse(f"{self._idle} bytes of TLS records came to nothing")

    def _encrypt(self, data: bytes | memoryview) -> None:
        written = self._tls.write(data)
        if written < len(data):  # it may take less than all
            rest = memoryview(data)[written:]
            while rest:
                rest = rest[self._tls.write(rest) :]

    def _flush(self) -> None:
        data = self._outgoing.read()
        if data and not self._raw.is_closing():
            self._raw.write(data)

    def _say_goodbye(self) -> None:
        """Have TLS say that nothing follows; nothing of the peer counts from now on."""
        self._over = True
        if self._shaken:
            try:
                self._tls.unwrap()
            except ssl.SSLError:
                pass  # it would like to hear the peer's goodbye, too
            self._flush()

    # -- ending ----------------------------------------------------------------------------------

    def _refuse(self, text: str) -> None:
        """The peer is not whom we talk to: log it, let it read the alert, and end."""
        refusals.warn(
            self._loop, "tls", "connection with %s refused: %s", self.stream.origin.address, text
        )
        self._over = True
        alert = self._outgoing.pending
        self._flush()
        if alert:
            self._linger = self._loop.call_later(LINGER_SECONDS, self._raw.abort)
        if alert and self._role == "accept" and not self._shaken:
            # The stream, and so the lobby, keep it until it is gone: lingering must not be free.
            self._refusal = text
            if self._raw.can_write_eof():
                with suppress(OSError):  # reset already
                    self._raw.write_eof()
        else:
            self._raw.close()
            self.stream.abort(text)

    def _break(self, text: str) -> None:
        self._over = True
        self._failure = ConnectionAbortedError(text)
        self._raw.abort()

    # -- asyncio.Transport: what the stream does -------------------------------------------------

    def write(self, data: Any) -> None:
        """See `asyncio.WriteTransport`; kept until TLS is there."""
        if not self._shaken:
            self._early.append(data)
        elif data and not self._over and not self._failed:
            if len(data) <= SLICE_BYTES:
                self._encrypt(data)
                self._raw.write(self._outgoing.read())
                return
            rest = memoryview(data)
            while rest and not self._raw.is_closing():
                self._encrypt(rest[:SLICE_BYTES])
                self._raw.write(self._outgoing.read())
                rest = rest[SLICE_BYTES:]

    def can_write_eof(self) -> bool:
        """See `asyncio.WriteTransport`."""
        return self._raw.can_write_eof()

    def write_eof(self) -> None:
        """Say goodbye and end our half; what the peer still sends is discarded."""
        self._say_goodbye()
        if not self._raw.is_closing():
            self._raw.write_eof()

    def close(self) -> None:
        """Say goodbye, have it written, and end."""
        if not self._over:
            self._say_goodbye()
        self._raw.close()

    def abort(self) -> None:
        """End now; but a refusal of ours that is on its way gets there."""
        self._over = True
        if self._linger is None or self._refusal is not None:
            self._raw.abort()

    def is_closing(self) -> bool:
        """See `asyncio.BaseTransport`."""
        return self._raw.is_closing()

    def pause_reading(self) -> None:
        """See `asyncio.ReadTransport`: nothing decrypted is held back here."""
        self._raw.pause_reading()

    def resume_reading(self) -> None:
        """See `asyncio.ReadTransport`."""
        self._raw.resume_reading()

    def get_write_buffer_size(self) -> int:
        """See `asyncio.WriteTransport`; encrypted bytes."""
        return self._raw.get_write_buffer_size() + sum(map(len, self._early))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """See `asyncio.WriteTransport`."""
        self._raw.set_write_buffer_limits(high, low)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What the transport below tells, and ``ssl_object``."""
        return self._tls if name == "ssl_object" else self._raw.get_extra_info(name, default)


def _text_of(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of the peer is refused: {error.verify_message}"
    reason = error.reason or str(error)
    return TEXTS.get(reason, f"TLS failed: {reason.lower().replace('_', ' ')}")
