"""Channels: TLS over any bytes, here over pipes in memory, however those cut and deliver them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from tls_kit import Office

from aemp_core.errors import TransportError
from aemp_core.link import Candidate
from aemp_core.lobby import Lobby
from aemp_core.memory import MemoryNetwork, locate_listener
from aemp_core.stream import HANDSHAKE_SECONDS, Stream
from aemp_core.testing import Harness, StandIn, Witness, virtual_clock
from aemp_core.testing.conformance_pytest import ConformanceTests
from aemp_core.wire import pack
from aemp_tls.channel import LINGER_SECONDS
from aemp_tls.keeper import Keeper
from aemp_tls.simulation import TlsInMemory

SECRET = b"the secret of these tests"
numbers = count()


def transport(node: StandIn) -> TlsInMemory:
    return TlsInMemory(Keeper(node))


@asynccontextmanager
async def harness(cert: str) -> AsyncIterator[Harness]:
    yield Harness(
        transport,
        address=lambda: f"memory://node/{next(numbers)}",
        nowhere=lambda: "memory://nowhere",
        settings={"secret": SECRET, "cert": cert},
    )


class TestTlsInMemoryConforms(ConformanceTests):
    loops = ("virtual",)

    def make_harness(self, tmp_path: Path) -> AbstractAsyncContextManager[Harness]:
        return harness(Office(tmp_path, "example").cert("*"))


# -- bytes that come in pieces ---------------------------------------------------------------------


class Cutting(MemoryNetwork):
    """Connections that deliver what they carry in pieces of random sizes, from one byte on."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._random = random.Random(seed)

    def wire(self, loop: Any, near: Any, far: Any) -> Any:
        return super().wire(loop, self._cut(near), self._cut(far))

    def _cut(self, end: Any) -> Any:
        protocol, extra = end
        whole = protocol.data_received

        def data_received(data: bytes) -> None:
            while data:
                size = self._random.choice((1, 2, 5, 17, 300, 5_000, 100_000))
                whole(data[:size])
                data = data[size:]

        return Forwarding(protocol, data_received), extra


class Forwarding(asyncio.Protocol):
    """A protocol whose reading is another function."""

    def __init__(self, protocol: asyncio.Protocol, data_received: Any) -> None:
        self._protocol = protocol
        self.data_received = data_received  # type: ignore[method-assign]
        for name in ("connection_lost", "eof_received", "pause_writing", "resume_writing"):
            setattr(self, name, getattr(protocol, name))

    def connection_made(self, transport: Any) -> None:
        self._protocol.connection_made(transport)


@asynccontextmanager
async def linked(
    office: Office,
) -> AsyncIterator[tuple[Stream, Witness, Stream, Witness]]:
    """Both ends of a link, with witnesses."""
    cert = office.cert("*")
    one, other = [transport(StandIn(name, cert=cert)) for name in ("one", "other")]
    came: asyncio.Queue[Candidate] = asyncio.Queue()
    listener = await one.listen("memory://one", came.put_nowait)
    dialled = await other.dial("memory://one")
    accepted = await came.get()
    links: list[Any] = [dialled.confirm(), accepted.confirm()]
    for candidate in (dialled, accepted):
        await candidate.proved()
    witnesses = Witness(), Witness()
    for link, witness in zip(links, witnesses, strict=True):
        link.start(witness)
    try:
        yield links[0], witnesses[0], links[1], witnesses[1]
    finally:
        for link in links:
            link.abort()
        await listener.close()
    for witness in witnesses:
        witness.verify()


@pytest.mark.parametrize("seed", range(5))
def test_bytes_may_be_cut_anywhere(office: Office, seed: int) -> None:
    @virtual_clock
    async def main() -> None:
        Cutting(seed).install(asyncio.get_running_loop())
        async with linked(office) as (dialled, heard, accepted, seen):
            loads = ["", "x" * 50, "y" * 16_384, "z" * 70_000, "w" * 1_100_000]
            for number, load in enumerate(loads):
                dialled.send(dialled.encode(pack(("p", number, load))))
                accepted.send(accepted.encode(pack(("p", number, load))))
            for witness in (heard, seen):
                await witness.until(lambda w=witness: len(w.messages) == len(loads), "all arrive")
                assert witness.messages == [["p", n, load] for n, load in enumerate(loads)]
            dialled.close("enough")
            for witness in (heard, seen):
                await witness.until_lost()

    main()


def test_what_came_before_an_altered_record_may_be_answered(office: Office) -> None:
    """OpenSSL encrypts nothing any more then, and says so by an exception."""

    @virtual_clock
    async def main() -> None:
        async with linked(office) as (dialled, heard, accepted, seen):
            one, other = dialled.channel, accepted.channel  # type: ignore[attr-defined]
            await asyncio.sleep(0.1)  # both have begun to read
            for load in ("asked", "altered"):
                one._encrypt(dialled.encode(pack(("p", load))))
            records = bytearray(one._outgoing.read())
            records[-1] ^= 1
            received = accepted.data_received

            def answering(data: bytes) -> None:
                received(data)
                other.write(accepted.encode(pack(("p", "answer"))))

            accepted.data_received = answering  # type: ignore[method-assign]
            other.data_received(bytes(records))
            for witness in (heard, seen):
                await witness.until_lost()
            assert seen.messages == [["p", "asked"]]
            assert "somebody changed what the peer sent" in str(seen.reason)

    main()


def test_a_handshake_that_does_not_go_on_ends_in_time(office: Office) -> None:
    """One deadline holds for both handshakes, from the first packet on."""

    class Silent(asyncio.Protocol):
        def __init__(self) -> None:
            self.ended = asyncio.Event()

        def connection_lost(self, exc: Exception | None) -> None:
            self.ended.set()

    @virtual_clock
    async def main() -> None:
        loop = asyncio.get_running_loop()
        node = transport(StandIn("one", cert=office.cert("one")))
        listener = await node.listen("memory://one", lambda candidate: None)
        silent = Silent()
        MemoryNetwork.of(loop).connect(loop, "one", silent, "silent")
        began = loop.time()
        await silent.ended.wait()
        assert loop.time() - began == pytest.approx(HANDSHAKE_SECONDS, abs=0.5)
        await listener.close()

    main()


class Stubborn(Forwarding):
    """A protocol that never gets to end its connection."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__(protocol, protocol.data_received)
        self.eof_received = lambda: True  # type: ignore[method-assign]

    def connection_made(self, transport: Any) -> None:
        self._protocol.connection_made(Lasting(transport))  # type: ignore[arg-type]


class Lasting:
    """A transport that cannot be closed from this side."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def __getattr__(self, name: str) -> Any:
        if name in ("close", "abort", "write_eof"):
            return lambda: None
        return getattr(self._transport, name)


def test_who_is_refused_has_time_to_read_why(office: Office, tmp_path: Path) -> None:
    """A reset would take the alert back; and who does not go by itself is not kept for long."""
    foreign = Office(tmp_path / "elsewhere", "example")
    trusting = tmp_path / "trusting.pem"
    trusting.write_bytes(foreign.ca.trust.read_bytes() + office.ca.trust.read_bytes())
    cert = foreign.cert("other")

    @virtual_clock
    async def main() -> None:
        loop = asyncio.get_running_loop()
        one = StandIn("one", cert=office.cert("one"))
        listener = await transport(one).listen("memory://one", lambda candidate: None)
        other = transport(StandIn("other", cert=cert, cert_trust=str(trusting)))
        with pytest.raises(TransportError, match="the peer refuses our certificate"):
            await other.dial("memory://one")
        await asyncio.sleep(0.1)
        assert len(Lobby.of(one)) == 0

        stubborn: Any = Stubborn(other.channel("dial", locate_listener))
        MemoryNetwork.of(loop).connect(loop, "one", stubborn, "other")
        await asyncio.sleep(LINGER_SECONDS / 2)
        assert len(Lobby.of(one)) == 1
        await asyncio.sleep(LINGER_SECONDS)
        assert len(Lobby.of(one)) == 0
        await listener.close()

    main()
