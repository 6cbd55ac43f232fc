"""Strangers: peers and men in the middle that use none of our TLS code, but that of asyncio.

They can do what our own nodes refuse to: show any certificate or none, greet by any name, pass
bytes from one connection into another. One that does everything right gets a link, which a test
of its own makes sure of: so a refusal is one of what the stranger did wrong.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from aemp_core.wire import NONCE_BYTES, Connection, Greeting, MsgpackFraming, Role
from aemp_tls.identity import Identity
from aemp_tls.proof import CertificateProof

__all__ = [
    "Forger",
    "Speaker",
    "asking",
    "client",
    "dial",
    "leave",
    "listening",
    "outcome",
    "piped",
    "unchanged",
]

#: Seconds that what must happen may take.
SECONDS = 25.0

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

_connected: list[asyncio.StreamWriter] = []


def client(cert: str | Path | None) -> ssl.SSLContext:
    """TLS of somebody who dials, believes everyone, and shows `cert`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if cert is not None:
        context.load_cert_chain(cert)
    return context


def asking(cert: str | Path, trust: str | Path) -> ssl.SSLContext:
    """TLS of somebody who listens, shows `cert`, and wants a certificate of a CA in `trust`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(trust)
    return context


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


async def dial(address: str, context: ssl.SSLContext | None) -> Streams:
    """Connect to a node; `leave` ends what is left of it."""
    streams = await asyncio.open_connection("127.0.0.1", _port(address), ssl=context)
    _connected.append(streams[1])
    return streams


async def leave() -> None:
    """End every connection of a stranger; for the end of a test."""
    while _connected:
        writer = _connected.pop()
        writer.transport.abort()
        with suppress(OSError, ssl.SSLError, asyncio.TimeoutError):
            await asyncio.wait_for(writer.wait_closed(), SECONDS)


async def outcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """All that the other side says until it ends the connection, which it has to."""
    said = b""
    with suppress(OSError, ssl.SSLError):
        while data := await asyncio.wait_for(reader.read(65_536), SECONDS):
            said += data
    writer.close()
    with suppress(OSError, ssl.SSLError, asyncio.TimeoutError):
        await asyncio.wait_for(writer.wait_closed(), SECONDS)
    return said


@asynccontextmanager
async def listening(
    context: ssl.SSLContext | None,
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[object]],
) -> AsyncIterator[str]:
    """Listen, and serve each connection; the address, as nodes dial it."""
    tasks: list[asyncio.Task[object]] = []

    async def serving(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        _connected.append(writer)
        try:
            await serve(reader, writer)
        except (OSError, ssl.SSLError, asyncio.IncompleteReadError, EOFError):
            pass
        finally:
            writer.transport.abort()

    listener = await asyncio.start_server(serving, "127.0.0.1", 0, ssl=context)
    try:
        yield f"tls://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


# -- speaking AEMP ---------------------------------------------------------------------------------


@dataclass
class Speaker:
    """The AEMP protocol over streams of asyncio.

    Attributes:
        streams: reader and writer.
        connection: the protocol machine.
    """

    streams: Streams
    connection: Connection

    @classmethod
    def on(
        cls, streams: Streams, role: Role, name: str, cert: str, *, secret: bytes | None = None
    ) -> Speaker:
        """Speak as node `name` on a TLS connection that was made with `cert`."""
        tls = streams[1].get_extra_info("ssl_object")
        ours = identity_of(cert).fingerprint

        def fingerprints() -> tuple[bytes, bytes]:
            return ours, Identity.of_der(tls.getpeercert(binary_form=True)).fingerprint

        proof = CertificateProof(secret is not None, fingerprints)
        framing = MsgpackFraming()
        greeting = Greeting(
            name,
            (proof.name,),
            (framing.name,),
            {"incarnation": "0VbijziV62Q9aX", "heartbeat": "3600", "frame": "1048576"},
        )
        connection = Connection(
            role,
            greeting,
            os.urandom(NONCE_BYTES),
            secret=secret or b"",
            auth_offer=[proof],
            auth_accept=[proof],
            framings=[framing],
            frame_limit=1_048_576,
        )
        return cls(streams, connection)

    async def greet(self) -> None:
        """Say our greeting and read the peer's; `EOFError` if there is none."""
        self.streams[1].write(self.connection.outgoing())
        await self._until_event()

    async def prove(self) -> None:
        """Prove ourselves, and read the peer's proof; `EOFError` if there is none."""
        self.streams[1].write(self.connection.prove())
        await self._until_event()

    async def _until_event(self) -> None:
        while True:
            data = await asyncio.wait_for(self.streams[0].read(65_536), SECONDS)
            if not data:
                raise EOFError("the other side ended the connection")
            if self.connection.receive(data):
                return


def identity_of(cert: str) -> Identity:
    """What the certificate in a file says."""
    der = ssl.PEM_cert_to_DER_cert(_certificate(Path(cert).read_text()))
    return Identity.of_der(der)


def _certificate(text: str) -> str:
    begin = text.index("-----BEGIN CERTIFICATE-----")
    end = text.index("-----END CERTIFICATE-----") + len("-----END CERTIFICATE-----")
    return text[begin:end] + "\n"


# -- records of one's own -------------------------------------------------------------------------


class Forger:
    """Somebody who dials, and then writes records of TLS 1.3 that OpenSSL would not write.

    Attributes:
        reader: what comes back, decrypted.
    """

    def __init__(self, streams: Streams, secret: bytes) -> None:
        self.reader, self._writer = streams
        self.raw = self._writer.transport._ssl_protocol._transport  # type: ignore[attr-defined]
        self._use(secret)

    @classmethod
    async def dial(cls, address: str, cert: str, directory: Path) -> Forger:
        """Connect to a node, and have OpenSSL tell the key in a file there."""
        context = client(cert)
        context.keylog_filename = str(directory / "keys")
        streams = await dial(address, context)
        assert streams[1].get_extra_info("cipher")[0] == "TLS_AES_256_GCM_SHA384"
        lines = map(str.split, (directory / "keys").read_text().splitlines())
        (secret,) = [words[2] for words in lines if words[0] == "CLIENT_TRAFFIC_SECRET_0"]
        return cls(streams, bytes.fromhex(secret))

    def write(self, data: bytes) -> None:
        """Send data."""
        self.raw.write(self.record(23, data))

    def record(self, kind: int, data: bytes) -> bytes:
        """A record, see RFC 8446, section 5.2."""
        inner = data + bytes([kind])
        head = b"\x17\x03\x03" + (len(inner) + 16).to_bytes(2, "big")
        nonce = (self._iv ^ self._sequence).to_bytes(12, "big")
        self._sequence += 1
        return head + self._key.encrypt(nonce, inner, head)

    def key_update(self, *, answered: bool) -> bytes:
        """A record by which the key changes, and the other side's too if that is asked for."""
        record = self.record(22, bytes([24, 0, 0, 1, answered]))
        self._use(self._expand(b"traffic upd", 48))
        return record

    def _use(self, secret: bytes) -> None:
        self._secret = secret
        self._key = AESGCM(self._expand(b"key", 32))
        self._iv = int.from_bytes(self._expand(b"iv", 12), "big")
        self._sequence = 0

    def _expand(self, label: bytes, length: int) -> bytes:
        label = b"tls13 " + label
        info = length.to_bytes(2, "big") + bytes([len(label)]) + label + b"\x00"
        return HKDFExpand(hashes.SHA384(), length, info).derive(self._secret)

    def get_extra_info(self, name: str) -> object:
        """As a `StreamWriter`, so that a `Speaker` can speak with it."""
        return self._writer.get_extra_info(name)


# -- in the middle ---------------------------------------------------------------------------------

#: What a man in the middle makes of bytes; None cuts the connection.
Change = Callable[[bytes], bytes | None]


def unchanged(data: bytes) -> bytes:
    """Pass everything on."""
    return data


async def piped(
    one: Streams, other: Streams, there: Change = unchanged, back: Change = unchanged
) -> None:
    """Pass bytes between two connections until one ends, then end both."""
    tasks = [
        asyncio.ensure_future(_pass(one[0], other[1], there)),
        asyncio.ensure_future(_pass(other[0], one[1], back)),
    ]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for streams in (one, other):
            streams[1].transport.abort()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, change: Change) -> None:
    with suppress(OSError, ssl.SSLError):
        while data := await reader.read(65_536):
            changed = change(data)
            if changed is None:
                return
            writer.write(changed)
            await writer.drain()
