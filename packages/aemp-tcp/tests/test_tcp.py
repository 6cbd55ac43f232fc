"""TCP links: they conform; what is bound, dialled and told; strangers on real sockets."""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import aemp_core as mp
from aemp_core.conversation import Origin, connections
from aemp_core.errors import AddressError, ConfigError, TransportError
from aemp_core.link import Candidate
from aemp_core.lobby import LOCAL_LIMIT, Lobby
from aemp_core.testing import Harness, StandIn, Witness
from aemp_core.testing.conformance_pytest import ConformanceTests
from aemp_core.wire import MAX_LINE, pack
from aemp_tcp import sockets
from aemp_tcp.tcp import TcpListener, TcpTransport

Run = Callable[[Coroutine[Any, Any, Any]], Any]
SECRET = b"the secret of these tests"


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


@asynccontextmanager
async def tcp(host: str) -> AsyncIterator[Harness]:
    yield Harness(
        TcpTransport,
        address=lambda: f"tcp://{host}:0",
        # A loopback address nobody uses: refused at once.
        nowhere=lambda: "tcp://127.9.9.9:9",
    )


class TestTcpConforms(ConformanceTests):
    def make_harness(self, tmp_path: Path) -> AbstractAsyncContextManager[Harness]:
        return tcp("127.0.0.1")


@needs_ipv6
class TestTcpOverIPv6Conforms(ConformanceTests):
    loops = ("asyncio",)

    def make_harness(self, tmp_path: Path) -> AbstractAsyncContextManager[Harness]:
        return tcp("[::1]")


def ignore(candidate: Candidate) -> None:
    """What a listener does that takes no interest."""


def transport(name: str, **settings: Any) -> TcpTransport:
    return TcpTransport(StandIn(name, **{"secret": SECRET, **settings}))


@asynccontextmanager
async def listening(
    address: str = "tcp://127.0.0.1:0", accept: Callable[[Candidate], Any] = ignore, **settings: Any
) -> AsyncIterator[TcpListener]:
    listener = await transport("listening", **settings).listen(address, accept)
    try:
        yield listener
    finally:
        await listener.close()


# -- binding and advertising -------------------------------------------------------------------


def test_the_real_port_is_advertised(run: Run) -> None:
    async def main() -> None:
        async with listening("tcp://127.0.0.1:0") as listener:
            (address,) = listener.addresses
            assert address.startswith("tcp://127.0.0.1:") and not address.endswith(":0")

    run(main())


def test_a_host_name_is_bound_by_all_its_addresses_with_one_port(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resolve(*args: Any, **kwargs: Any) -> Any:
        port = args[2] if len(args) > 2 else args[1]
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.2", port)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.2", port)),
        ]

    async def main() -> None:
        node = StandIn("listening", secret=SECRET)
        node.loop = Resolving(node.loop, resolve)  # type: ignore[assignment]
        listener = await TcpTransport(node).listen("tcp://twice.example:0", ignore)
        ports = {address.rpartition(":")[2] for address in listener.addresses}
        hosts = [address.rpartition(":")[0] for address in listener.addresses]
        assert hosts == ["tcp://127.0.0.1", "tcp://127.0.0.2"] and len(ports) == 1
        await listener.close()

    run(main())


class Resolving:
    """A loop with a name resolver of the test's."""

    def __init__(self, loop: asyncio.AbstractEventLoop, resolve: Any) -> None:
        self._loop = loop
        self.getaddrinfo = resolve

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)


@needs_ipv6
@pytest.mark.parametrize("address", ["tcp://*:0", "tcp://:0"])
def test_a_wildcard_listens_on_all_families_with_one_port(run: Run, address: str) -> None:
    async def main() -> None:
        came: asyncio.Queue[Candidate] = asyncio.Queue()
        async with listening(address, came.put_nowait) as listener:
            ports = {each.rpartition(":")[2] for each in listener.addresses}
            assert len(ports) == 1
            (port,) = ports
            assert not any("0.0.0.0" in each or "[::]" in each for each in listener.addresses)
            dialler = transport("dialling")
            for each in (f"tcp://127.0.0.1:{port}", f"tcp://[::1]:{port}", *listener.addresses):
                candidate = await dialler.dial(each)
                await came.get()
                candidate.close()

    run(main())


def test_a_machine_without_ipv6_binds_what_it_has() -> None:
    endpoints = [
        sockets.Endpoint(socket.AF_INET6, ("2001:db8::dead", 0, 0, 0)),
        sockets.Endpoint(socket.AF_INET, ("127.0.0.1", 0)),
    ]
    bound = sockets.bind("tcp://host:0", endpoints)
    assert [one.family for one in bound] == [socket.AF_INET]
    bound[0].close()
    with pytest.raises(TransportError, match="tcp://host:0: this machine has no such address"):
        sockets.bind("tcp://host:0", endpoints[:1])


def test_a_port_taken_in_one_family_is_chosen_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoints = [
        sockets.Endpoint(socket.AF_INET, ("127.0.0.1", 0)),
        sockets.Endpoint(socket.AF_INET, ("127.0.0.2", 0)),
    ]
    bind_one = sockets._bind_one
    failures = iter([OSError(errno.EADDRINUSE, "in use")] * 3)

    def unlucky(endpoint: sockets.Endpoint, port: int) -> socket.socket:
        if endpoint.host == "127.0.0.2":
            for failure in failures:
                raise failure
        return bind_one(endpoint, port)

    monkeypatch.setattr(sockets, "_bind_one", unlucky)
    bound = sockets.bind("tcp://host:0", endpoints)
    assert len({one.getsockname()[1] for one in bound}) == 1 and len(bound) == 2
    for one in bound:
        one.close()


def test_a_port_in_use_is_named_with_the_remedy(run: Run) -> None:
    async def main() -> None:
        async with listening() as listener:
            (address,) = listener.addresses
            port = address.rpartition(":")[2]
            with pytest.raises(TransportError, match=f"{address}: port {port} is in use.*another"):
                await transport("other").listen(address, ignore)

    run(main())


def test_an_unknown_name_is_told(run: Run) -> None:
    async def main() -> None:
        for verb in ("dial", "listen"):
            with pytest.raises(TransportError, match=r"'no\.such\.host\.invalid' cannot be res"):
                arguments = (ignore,) if verb == "listen" else ()
                await getattr(transport("node"), verb)(
                    "tcp://no.such.host.invalid:4040", *arguments
                )

    run(main())


def test_every_address_of_a_name_is_tried(run: Run) -> None:
    async def main() -> None:
        async with listening() as listener:
            port = int(listener.addresses[0].rpartition(":")[2])

            async def resolve(*args: Any, **kwargs: Any) -> Any:
                return [
                    (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))
                    for host in ("127.0.0.3", "127.0.0.1")
                ]

            node = StandIn("dialling", secret=SECRET)
            node.loop = Resolving(node.loop, resolve)  # type: ignore[assignment]
            candidate = await TcpTransport(node).dial(f"tcp://twice.example:{port}")
            assert candidate.peer.id == "listening"
            candidate.close()
            await candidate.wait_closed()
            await listener.close()
            with pytest.raises(TransportError, match=r"127\.0\.0\.3: .*127\.0\.0\.1: "):
                await TcpTransport(node).dial(f"tcp://twice.example:{port}")

    run(main())


def test_an_address_that_does_not_answer_is_given_up(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "CONNECT_SECONDS", 0.05)

    async def main() -> None:
        # A listener whose queue is full answers no more: the system drops what comes.
        with socket.socket() as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            crowd = []
            for _ in range(4):
                one = socket.socket()
                one.setblocking(False)
                one.connect_ex(full.getsockname())
                crowd.append(one)
            with pytest.raises(TransportError, match="no answer within"):
                await transport("dialling").dial(f"tcp://127.0.0.1:{full.getsockname()[1]}")
            for one in crowd:
                one.close()

    run(main())


def test_connections_are_made_for_short_messages_that_last(run: Run) -> None:
    async def main() -> None:
        came: asyncio.Queue[Candidate] = asyncio.Queue()
        async with listening(accept=came.put_nowait) as listener:
            dialled = await transport("dialling").dial(listener.addresses[0])
            for candidate in (dialled, await came.get()):
                connection = candidate._transport.get_extra_info("socket")  # type: ignore[attr-defined]
                for level, option in (
                    (socket.IPPROTO_TCP, socket.TCP_NODELAY),
                    (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                ):
                    assert connection.getsockopt(level, option)
            dialled.close()

    run(main())


# -- safe by default ---------------------------------------------------------------------------


def test_nodes_without_a_secret_share_the_one_of_their_user(run: Run) -> None:
    async def main() -> None:
        came: asyncio.Queue[Candidate] = asyncio.Queue()
        async with listening(accept=came.put_nowait, secret=None) as listener:
            dialled = await transport("dialling", secret=None).dial(listener.addresses[0])
            accepted = await came.get()
            dialled.confirm()
            accepted.confirm()
            await dialled.proved()
            await accepted.proved()
            dialled.abort()

    run(main())


@pytest.mark.parametrize("address", ["tcp://*:0", "tcp://0.0.0.0:0", "tcp://192.0.2.1:0"])
def test_without_a_secret_only_loopback_is_bound(run: Run, address: str) -> None:
    async def main() -> None:
        with pytest.raises(
            TransportError, match=r"no secret is configured.*aemp secret new"
        ) as error:
            await transport("node", secret=None).listen(address, ignore)
        assert address in str(error.value)

    run(main())


def test_without_a_secret_a_name_is_judged_by_its_addresses(run: Run) -> None:
    async def resolve(*args: Any, **kwargs: Any) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 4040))]

    async def main() -> None:
        node = StandIn("node")
        node.loop = Resolving(node.loop, resolve)  # type: ignore[assignment]
        for what in (
            TcpTransport(node).dial("tcp://localhost:4040"),
            TcpTransport(node).listen("tcp://localhost:4040", ignore),
        ):
            with pytest.raises(TransportError, match=r"192\.0\.2\.1.*no secret is configured"):
                await what

    run(main())


def test_without_a_secret_a_peer_from_elsewhere_is_refused_unheard(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with listening(secret=None) as listener:
            # As if the connection came from another machine all the same.
            monkeypatch.setattr("aemp_tcp.tcp.is_loopback", lambda host: False)
            assert await told(listener, b"") == b""
        assert "is another machine, and no secret is configured" in caplog.text

    run(main())


def test_an_unsafe_user_secret_is_an_error_that_names_the_file(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AEMP_CONFIG", str(tmp_path / "config.toml"))
    (tmp_path / "secret").write_text("0" * 64)
    (tmp_path / "secret").chmod(0o644)

    async def main() -> None:
        with pytest.raises(ConfigError, match="chmod 600"):
            await transport("node", secret=None).listen("tcp://127.0.0.1:0", ignore)
        with pytest.raises(TransportError, match="chmod 600"):
            await transport("node", secret=None).dial("tcp://127.0.0.1:1")

    run(main())


def test_cleartext_is_accepted_only_if_configured_and_on_loopback(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main(accepted: bool) -> None:
        came: asyncio.Queue[Candidate] = asyncio.Queue()
        both = ("hmac_sha3_512_role", "cleartext")
        async with listening(accept=came.put_nowait, auth_accept=both) as listener:
            reader, writer = await connect(listener)
            writer.write(b"aemp;1;tiny;hmac_sha3_512_role;json\n" + b"A" * 88 + b"\n")
            candidate = await came.get()
            writer.write(b"cleartext;" + SECRET.hex().encode() + b";json\n")
            if accepted:
                await candidate.proved()
            else:
                with pytest.raises(TransportError, match="on loopback only"):
                    await candidate.proved()
            writer.close()
            await candidate.wait_closed()
            assert (await reader.read()).count(b"\n") == 2

    run(main(True))
    monkeypatch.setattr("aemp_tcp.tcp.is_loopback", lambda host: False)
    run(main(False))


# -- strangers ---------------------------------------------------------------------------------


async def connect(listener: TcpListener) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = listener.addresses[0].removeprefix("tcp://").rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def told(listener: TcpListener, *said: bytes) -> bytes:
    """Everything a client is told that says `said` and waits for the end."""
    reader, writer = await connect(listener)
    answer = b""
    try:
        for each in said:
            writer.write(each)
            await writer.drain()
        while data := await reader.read(65_536):
            answer += data
    except ConnectionError:
        pass
    writer.close()
    try:
        await writer.wait_closed()
    except ConnectionError:
        pass
    return answer


GREETING = b"aemp;1;stranger;hmac_sha3_512_role;msgpack\n"
NONCE = b"A" * 88 + b"\n"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ([b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"], "no AEMP greeting"),
        ([b"\x16\x03\x01\x00\xff\x01\x00\x00\xfb\x03\x03\n"], "greeting"),
        ([b"x" * 65_536] * 40, f"longer than {MAX_LINE} bytes"),
        ([b"aemp;2;stranger;x;y\n"], "protocol version '2'"),
        ([b"aemp;1;listening;hmac_sha3_512_role;msgpack\n"], "our own node ID"),
        ([GREETING + b"c2hvcnQ=\n"], "at least 32"),
        ([GREETING + NONCE + b"hmac_sha3_512_role;" + b"0" * 128 + b";msgpack\n"], "is wrong"),
        ([GREETING + NONCE + b"cleartext;" + SECRET.hex().encode() + b";msgpack\n"], "we accept"),
        ([GREETING + NONCE + b"\xff\n"], "no auth line"),
    ],
)
def test_a_stranger_learns_only_that_it_was_refused(
    run: Run, said: list[bytes], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with listening() as listener:
            answer = await told(listener, *said)
            # Greeting and nonce, as anybody is told; the proof, had it come, would be a third line.
            assert answer.count(b"\n") in (0, 2)
            # Everything else goes on.
            candidate = await transport("honest").dial(listener.addresses[0])
            candidate.close()

    run(main())
    assert "tcp://127.0.0.1:" in caplog.text and why in caplog.text


def test_a_wrong_secret_is_told_on_both_sides(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        came: asyncio.Queue[Candidate] = asyncio.Queue()
        async with listening(accept=came.put_nowait) as listener:
            dialler = transport("dialling", secret=b"some other secret")
            dialled = await dialler.dial(listener.addresses[0])
            accepted = await came.get()
            dialled.confirm()
            with pytest.raises(TransportError, match="it has another secret"):
                await accepted.proved()
            with pytest.raises(TransportError, match="do both nodes have the same secret"):
                await dialled.proved()

    run(main())
    assert "someone who claims to be dialling (tcp://127.0.0.1:" in caplog.text


def test_an_echo_server_is_not_a_node(run: Run) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4_096):
            writer.write(data)
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(TransportError, match="echoes our own greeting"):
            await transport("dialling").dial(f"tcp://127.0.0.1:{port}")
        server.close()
        await asyncio.sleep(0.01)

    run(main())


def test_two_listeners_piped_together_prove_nothing_to_each_other(run: Run) -> None:
    """Reflection: a man in the middle of two listeners must not be able to speak as either."""

    async def main() -> None:
        came: asyncio.Queue[Candidate] = asyncio.Queue()
        one = await transport("one").listen("tcp://127.0.0.1:0", came.put_nowait)
        other = await transport("other").listen("tcp://127.0.0.1:0", came.put_nowait)
        ends = [await connect(one), await connect(other)]

        async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while data := await reader.read(4_096):
                    writer.write(data)
            except ConnectionError:
                pass
            writer.close()

        pumps = [
            asyncio.ensure_future(pump(ends[0][0], ends[1][1])),
            asyncio.ensure_future(pump(ends[1][0], ends[0][1])),
        ]
        candidates = [await came.get(), await came.get()]
        for candidate in candidates:
            candidate.confirm()
        for candidate in candidates:
            with pytest.raises(TransportError):
                await candidate.proved()
            await candidate.wait_closed()
        await asyncio.wait(pumps)
        await one.close()
        await other.close()

    run(main())


def test_a_flood_of_silent_connections_is_bounded_and_the_honest_get_in(run: Run) -> None:
    async def main() -> None:
        node = StandIn("listening", secret=SECRET)
        came: asyncio.Queue[Candidate] = asyncio.Queue()
        listener = await TcpTransport(node).listen("tcp://127.0.0.1:0", came.put_nowait)
        crowd = [await connect(listener) for _ in range(LOCAL_LIMIT + 50)]
        assert len(Lobby.of(node)) <= LOCAL_LIMIT
        candidate = await transport("honest").dial(listener.addresses[0])
        accepted = await came.get()
        candidate.confirm()
        await accepted.proved()
        assert len(Lobby.of(node)) <= LOCAL_LIMIT
        await listener.close()
        assert len(Lobby.of(node)) == 0
        for reader, writer in crowd:
            try:
                assert (await reader.read()).count(b"\n") in (0, 2)
            except ConnectionError:
                pass
            writer.close()

    run(main())


def test_a_peer_that_goes_on_sending_garbage_is_cut_after_the_good_messages(run: Run) -> None:
    async def main() -> None:
        came: asyncio.Queue[Candidate] = asyncio.Queue()
        async with listening(accept=came.put_nowait, frame_limit=65_536) as listener:
            dialled = await transport("dialling").dial(listener.addresses[0])
            accepted = await came.get()
            link, far = dialled.confirm(), accepted.confirm()
            await dialled.proved()
            await accepted.proved()
            witness, other = Witness(), Witness()
            link.start(witness)
            far.start(other)
            link.send(pack(("port", 1)))
            link.send(b"\xdd\xff\xff\xff\xff" + b"\x00" * 10_000_000)
            reason = await other.until_lost()
            assert other.messages == [["port", 1]]
            assert "msgpack" in reason[1] or "frame" in reason[1]
            await witness.until_lost()
            await dialled.wait_closed()

    run(main())


def test_addresses_of_other_schemes_are_refused(run: Run) -> None:
    async def main() -> None:
        with pytest.raises(AddressError, match="tcp://host:port"):
            await transport("node").dial("memory://name")

    run(main())


# -- nodes that want no such links ---------------------------------------------------------------


async def test_a_node_that_requires_tls_neither_binds_nor_dials_tcp(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tcp://127.0.0.1:0: .*require_tls"):
        await mp.Node("alice", binds=["tcp://127.0.0.1:0"], require_tls=True).start()
    with pytest.raises(ConfigError, match=r"tcp://127.0.0.1:9: .*require_tls"):
        await mp.Node("alice", seeds=["tcp://127.0.0.1:9"], require_tls=True).start()
    tmp_path.chmod(0o700)
    async with (
        mp.Node("alice", binds=[f"unix://{tmp_path}/a"], secret=SECRET, require_tls=True) as alice,
        mp.Node("bob", seeds=alice.addresses, secret=SECRET, require_tls=True) as bob,
    ):
        await bob.up("alice", timeout=10)
        with pytest.raises(ConfigError, match="require_tls"):
            bob.learn("carol", "tcp://127.0.0.1:9")


def test_a_link_that_was_reset_a_moment_ago_can_be_closed(run: Run) -> None:
    """Reset and close in one turn of the loop: the system has no other end any more."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        came: asyncio.Queue[Candidate] = asyncio.Queue()
        async with listening(accept=came.put_nowait) as listener:
            port = int(listener.addresses[0].rpartition(":")[2])
            peer = StandIn("dialling", secret=SECRET)
            origin = Origin(listener.addresses[0], "here", loopback=True)
            speaking = connections(peer, "dial", SECRET)(None, origin)  # type: ignore[arg-type]
            with socket.create_connection(("127.0.0.1", port)) as plain:
                plain.setblocking(False)
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                await loop.sock_sendall(plain, speaking.outgoing())
                while not speaking.receive(await loop.sock_recv(plain, 4_096)):
                    pass
                await loop.sock_sendall(plain, speaking.prove())
                candidate = await came.get()
                await candidate.proved()
                link = candidate.confirm()
                witness = Witness()
                link.start(witness)
                plain.close()
                link.close("enough")
            await witness.until_lost()

    run(main())
