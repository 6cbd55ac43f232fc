"""Attacks that must fail, on real sockets: each is a test of its name."""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import strangers
from strangers import Forger, Speaker, Streams
from tls_kit import SECONDS, Office, crafted

import aemp_core as mp
from aemp_core.errors import TransportError
from aemp_core.lobby import Lobby
from aemp_core.stream import HANDSHAKE_SECONDS
from aemp_core.wire import MsgpackFraming, pack
from aemp_tls.channel import IDLE_BYTES
from aemp_tls.names import Grant

DAY = 86_400.0
TLS_1_2 = ssl.TLSVersion.TLSv1_2

#: How an attacker speaks TLS, given the office of the network and a directory.
Makes = Callable[[Office, Path], str | None]


def of_no_certificate(office: Office, directory: Path) -> str | None:
    return None


def of_another_ca(office: Office, directory: Path) -> str:
    return Office(directory / "elsewhere", "example").cert("bob")


def that_expired(office: Office, directory: Path) -> str:
    return office.cert("bob", begins=time.time() - 2 * DAY, days=1)


def not_yet_valid(office: Office, directory: Path) -> str:
    return office.cert("bob", begins=time.time() + DAY, days=1)


def that_was_revoked(office: Office, directory: Path) -> str:
    cert = office.cert("bob")
    office.ca.revoke(["bob"])
    office.publish()
    return cert


def of_another_network(office: Office, directory: Path) -> str:
    return crafted(office, directory, grant=Grant.of("other", "bob"))


def without_a_name(office: Office, directory: Path) -> str:
    return crafted(office, directory, grant=None)


def issued_by_a_node(office: Office, directory: Path) -> str:
    return crafted(office, directory, grant=Grant.of("example", "bob"), issuer=office.cert("eve"))


CERTIFICATES: dict[Makes, str] = {
    of_no_certificate: "the peer shows no certificate",
    of_another_ca: "certificate verify failed|signature failure|unable to get local issuer",
    that_expired: "certificate has expired",
    not_yet_valid: "certificate is not yet valid",
    that_was_revoked: "was revoked",
    of_another_network: "is for the network 'other', not 'example'",
    without_a_name: "subjectAltName holds no URI",
    issued_by_a_node: "Issuer name empty|invalid CA certificate|was issued by",
}


@asynccontextmanager
async def alice_listening(office: Office, **settings: Any) -> AsyncIterator[mp.Node]:
    """A node that must not be entered; and is not, when the test is over."""
    async with office.node("alice", binds=["tls://127.0.0.1:0"], **settings) as alice:
        yield alice


async def refused(alice: mp.Node, streams: Streams) -> bytes:
    """What an attacker gets to hear until alice ends the connection; she has no peer then."""
    said = await strangers.outcome(*streams)
    assert alice.up_nodes() == []
    return said


async def until_logged(caplog: pytest.LogCaptureFixture, text: str) -> None:
    """Wait for a line of the log that matches."""
    for _ in range(int(SECONDS / 0.02)):
        if any(re.search(text, record.getMessage()) for record in caplog.records):
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"no line matches {text!r}: {caplog.text}")


async def test_a_stranger_that_does_everything_right_gets_a_link(office: Office) -> None:
    """Else what follows would prove nothing."""
    async with alice_listening(office) as alice:
        cert = office.cert("bob")
        streams = await strangers.dial(alice.addresses[0], strangers.client(cert))
        speaker = Speaker.on(streams, "dial", "bob", cert)
        await speaker.greet()
        await speaker.prove()
        await asyncio.wait_for(alice.up("bob"), SECONDS)


# -- certificates --------------------------------------------------------------------------------


@pytest.mark.parametrize("makes", CERTIFICATES, ids=lambda makes: makes.__name__)
async def test_a_dialler_with_a_certificate_(
    office: Office, tmp_path: Path, makes: Makes, caplog: pytest.LogCaptureFixture
) -> None:
    """... is ended before it hears a greeting, and the log says why."""
    cert = makes(office, tmp_path)
    async with alice_listening(office) as alice:
        try:
            streams = await strangers.dial(alice.addresses[0], strangers.client(cert))
        except OSError:
            pass  # it came to know at once
        else:
            assert await refused(alice, streams) == b""
        await until_logged(caplog, CERTIFICATES[makes])


@pytest.mark.parametrize(
    "makes", [each for each in CERTIFICATES if each is not of_no_certificate],
    ids=lambda makes: makes.__name__,
)  # fmt: skip
async def test_a_listener_with_a_certificate_(
    office: Office, tmp_path: Path, makes: Makes, caplog: pytest.LogCaptureFixture
) -> None:
    """... is not told a greeting by who dials it."""
    cert = makes(office, tmp_path)
    assert cert is not None
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await strangers.outcome(reader, writer))

    asking = strangers.asking(cert, office.desk / "network.pem")
    async with office.node("alice") as alice, strangers.listening(asking, serve) as address:
        with pytest.raises(TransportError, match=CERTIFICATES[makes]):
            await alice.transport("tls://").dial(address)
    assert heard in ([], [b""])


async def test_who_was_refused_is_told_so(office: Office, tmp_path: Path) -> None:
    """A TLS 1.3 client believes it is connected before the listener refused it."""
    elsewhere = Office(tmp_path / "elsewhere", "example")
    trusting = (elsewhere.desk / "network.pem").read_bytes() + office.ca.trust.read_bytes()
    cert = elsewhere.cert("bob")
    (elsewhere.desk / "network.pem").write_bytes(trusting)
    async with alice_listening(office) as alice, mp.Node("bob", cert=cert) as bob:
        with pytest.raises(TransportError, match="the peer refuses our certificate"):
            await bob.transport("tls://").dial(alice.addresses[0])
        assert alice.up_nodes() == bob.up_nodes() == []


async def test_who_was_refused_while_it_sends_is_told_so_too(
    office: Office, tmp_path: Path
) -> None:
    """A connection that is closed with unread input is reset, and takes the alert with it."""
    cert = Office(tmp_path / "elsewhere", "example").cert("bob")
    async with alice_listening(office) as alice:
        for _ in range(5):
            streams = await strangers.dial(alice.addresses[0], strangers.client(cert))
            for _ in range(64):
                streams[1].write(b"x" * 65_536)
            with pytest.raises(ssl.SSLError, match=r"ALERT|alert"):
                while await asyncio.wait_for(streams[0].read(65_536), SECONDS):
                    pass
        assert alice.up_nodes() == []


async def test_who_was_revoked_is_told_that_the_connection_ended(office: Office) -> None:
    cert = office.cert("bob")
    async with mp.Node("bob", cert=cert) as bob:
        office.ca.revoke(["bob"])
        async with office.node(
            "alice", binds=["tls://127.0.0.1:0"], cert_trust=str(office.ca.trust)
        ) as alice:
            with pytest.raises(TransportError, match="not revoked our certificate"):
                await bob.transport("tls://").dial(alice.addresses[0])


# -- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("grant", "name"),
    [
        ("mallory", "bob"),
        ("worker/*", "admin/1"),
        ("worker/*", "worker/"),
        ("worker/*", "worker"),
        ("worker/1", "worker/10"),
    ],
)
async def test_another_nodes_name_and_pattern_overreach(
    office: Office, grant: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Who greets by a name that its certificate does not grant gets no proof of ours."""
    cert = office.cert(grant)
    async with alice_listening(office) as alice:
        streams = await strangers.dial(alice.addresses[0], strangers.client(cert))
        speaker = Speaker.on(streams, "dial", name, cert)
        streams[1].write(speaker.connection.outgoing())
        said = await refused(alice, streams)
        assert said.count(b"\n") == 2  # greeting and nonce, no proof
        await until_logged(caplog, f"goes by '{name}', and its certificate is that of")


async def test_a_listener_under_another_nodes_name(office: Office) -> None:
    cert = office.cert("mallory")
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(Speaker.on((reader, writer), "accept", "bob", cert).connection.outgoing())
        heard.append(await strangers.outcome(reader, writer))

    asking = strangers.asking(cert, office.desk / "network.pem")
    async with office.node("alice") as alice, strangers.listening(asking, serve) as address:
        with pytest.raises(TransportError, match="its certificate is that of"):
            await alice.transport("tls://").dial(address)
        while not heard:
            await asyncio.sleep(0.01)
    assert heard[0].count(b"\n") == 2


# -- downgrades ------------------------------------------------------------------------------------


async def test_tls_1_2_as_dialler(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    context = strangers.client(office.cert("bob"))
    context.maximum_version = TLS_1_2
    async with alice_listening(office) as alice:
        with pytest.raises(OSError):
            await strangers.dial(alice.addresses[0], context)
        await until_logged(caplog, r"the peer does not speak TLS 1\.3")
        assert alice.up_nodes() == []


async def test_tls_1_2_as_listener(office: Office) -> None:
    context = strangers.asking(office.cert("bob"), office.desk / "network.pem")
    context.maximum_version = TLS_1_2
    async with (
        office.node("alice") as alice,
        strangers.listening(context, strangers.outcome) as address,
    ):
        # asyncio's listener may drop the alert that would say why.
        why = r"the peer does not speak TLS 1\.3|cut before TLS was there"
        with pytest.raises(TransportError, match=why):
            await alice.transport("tls://").dial(address)


async def test_plain_text_as_dialler(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    async with alice_listening(office) as alice:
        streams = await strangers.dial(alice.addresses[0], None)
        streams[1].write(b"aemp;1;bob;tls_sha3_512_role;msgpack;incarnation=0VbijziV62Q9aX\n")
        said = await refused(alice, streams)
        assert b"aemp" not in said  # an alert of TLS at most
        await until_logged(caplog, "the peer does not speak TLS")


async def test_plain_text_as_listener(office: Office) -> None:
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"aemp;1;bob;tls_sha3_512_role;msgpack;incarnation=0VbijziV62Q9aX\n")
        heard.append(await strangers.outcome(reader, writer))

    async with office.node("alice") as alice, strangers.listening(None, serve) as address:
        with pytest.raises(TransportError, match="the peer does not speak TLS"):
            await alice.transport("tls://").dial(address)
        while not heard:
            await asyncio.sleep(0.01)
    assert b"alice" not in heard[0]


# -- in the middle ---------------------------------------------------------------------------------


@asynccontextmanager
async def man_in_the_middle(
    office: Office,
    cert: str,
    alice: mp.Node,
    there: strangers.Change = strangers.unchanged,
    back: strangers.Change = strangers.unchanged,
) -> AsyncIterator[str]:
    """An address at which somebody ends TLS with `cert`, and passes what is inside to alice."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward = await strangers.dial(alice.addresses[0], strangers.client(cert))
        await strangers.piped((reader, writer), onward, there, back)

    asking = strangers.asking(cert, office.desk / "network.pem")
    async with strangers.listening(asking, serve) as address:
        yield address


async def no_link(node: mp.Node, address: str, *others: mp.Node) -> str:
    """Dial, prove ourselves, and fail; the reason."""
    with pytest.raises(TransportError) as raised:
        candidate = await node.transport("tls://").dial(address)
        candidate.confirm()
        await asyncio.wait_for(candidate.proved(), SECONDS)
    for each in (node, *others):
        assert each.up_nodes() == []
    return str(raised.value)


async def test_a_man_in_the_middle_with_another_nodes_certificate(office: Office) -> None:
    cert = office.cert("mallory")
    async with alice_listening(office) as alice, office.node("bob") as bob:
        async with man_in_the_middle(office, cert, alice) as address:
            await no_link(bob, address, alice)


@pytest.mark.parametrize("secret", [None, b"a secret of these tests"])
async def test_a_greeting_altered_by_a_man_in_the_middle(
    office: Office, secret: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    """He puts in the name of his own certificate both ways: then the tokens are not good."""
    cert = office.cert("mallory")

    def there(data: bytes) -> bytes:
        return data.replace(b"aemp;1;bob;", b"aemp;1;mallory;")

    def back(data: bytes) -> bytes:
        return data.replace(b"aemp;1;alice;", b"aemp;1;mallory;")

    async with (
        alice_listening(office, secret=secret) as alice,
        office.node("bob", secret=secret) as bob,
        man_in_the_middle(office, cert, alice, there, back) as address,
    ):
        await no_link(bob, address, alice)
        await until_logged(caplog, "the token of the peer is wrong")


async def test_a_man_in_the_middle_whose_pattern_grants_both_names(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    """The names are all right then: what stops him is that tokens cover the certificates."""
    cert = office.cert("*")
    async with (
        alice_listening(office) as alice,
        office.node("bob") as bob,
        man_in_the_middle(office, cert, alice) as address,
    ):
        await no_link(bob, address, alice)
        await until_logged(caplog, "the token of the peer is wrong")


async def test_a_handshake_replayed_inside_tls(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    """What bob said to alice once, said to her again in a connection with bob's certificate."""
    cert = office.cert("bob")
    async with alice_listening(office) as alice:
        streams = await strangers.dial(alice.addresses[0], strangers.client(cert))
        speaker = Speaker.on(streams, "dial", "bob", cert)
        said = speaker.connection.outgoing()
        streams[1].write(said)
        await speaker._until_event()
        proof = speaker.connection.prove()
        streams[1].write(proof)
        await asyncio.wait_for(alice.up("bob"), SECONDS)
        streams[1].transport.abort()
        while alice.up_nodes():
            await asyncio.sleep(0.01)
        streams = await strangers.dial(alice.addresses[0], strangers.client(cert))
        streams[1].write(said + proof)
        await refused(alice, streams)
        await until_logged(caplog, "the token of the peer is wrong")


async def test_a_connection_replayed_packet_by_packet(office: Office) -> None:
    recorded: list[bytes] = []

    def there(data: bytes) -> bytes:
        recorded.append(data)
        return data

    async with alice_listening(office) as alice:
        async with office.node("bob") as bob, cable(alice, there) as address:
            bob.learn("alice", address)
            await bob.up("alice", timeout=SECONDS)
        while alice.up_nodes():
            await asyncio.sleep(0.01)
        streams = await strangers.dial(alice.addresses[0], None)
        streams[1].write(b"".join(recorded))
        assert b"aemp;1" not in await refused(alice, streams)


async def test_a_handshake_reflected(office: Office) -> None:
    """Somebody whose pattern grants the name says to alice what she says."""
    cert = office.cert("*")
    async with alice_listening(office) as alice:
        reader, writer = await strangers.dial(alice.addresses[0], strangers.client(cert))
        said = b""
        while data := await asyncio.wait_for(reader.read(65_536), SECONDS):
            said += data
            writer.write(data)
        writer.transport.abort()
        assert alice.up_nodes() == []
        assert said.startswith(b"aemp;1;alice;") and said.count(b"\n") == 2, "no proof of hers"


async def test_a_connection_led_back_to_its_node(office: Office) -> None:
    async with alice_listening(office) as alice, cable(alice) as address:
        with pytest.raises(TransportError, match=r"our own node ID|echoes"):
            await alice.transport("tls://").dial(address)


async def test_parallel_sessions_relayed_between_two_listeners(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    """Both accept, somebody whose pattern grants both names dials both, and passes bytes on."""
    cert = office.cert("*")
    async with (
        alice_listening(office) as alice,
        office.node("bob", binds=["tls://127.0.0.1:0"]) as bob,
    ):
        one, other = [
            await strangers.dial(node.addresses[0], strangers.client(cert)) for node in (alice, bob)
        ]
        await asyncio.wait_for(strangers.piped(one, other), SECONDS)
        assert alice.up_nodes() == bob.up_nodes() == []
        await until_logged(caplog, "the token of the peer is wrong")


# -- on the way ----------------------------------------------------------------------------------


@asynccontextmanager
async def cable(
    node: mp.Node,
    there: strangers.Change = strangers.unchanged,
    back: strangers.Change = strangers.unchanged,
) -> AsyncIterator[str]:
    """An address that leads to a node, past somebody who has no certificate."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward = await strangers.dial(node.addresses[0], None)
        await strangers.piped((reader, writer), onward, there, back)

    async with strangers.listening(None, serve) as address:
        yield address


async def test_truncation(office: Office) -> None:
    """A record cut in two is no message, and the end of the link tells that it was cut."""
    left = 200_000

    def there(data: bytes) -> bytes | None:
        nonlocal left
        if left <= 0:
            return None
        data, left = data[:left], left - len(data)
        return data

    async with alice_listening(office) as alice, office.node("bob") as bob:
        async with cable(alice, there) as address:
            got: list[int] = []
            port = alice.port(lambda number, load: got.append(number))
            lost: asyncio.Queue[Any] = asyncio.Queue()
            alice.mon_nodes(lambda node, up, reason: None if up else lost.put_nowait(reason))
            reasons: asyncio.Queue[Any] = asyncio.Queue()
            bob.mon(port, reasons.put_nowait)
            bob.learn("alice", address)
            await bob.up("alice", timeout=SECONDS)
            for number in range(1_000):
                bob.snd(port, number, "x" * 1_000)
            assert (await asyncio.wait_for(reasons.get(), SECONDS))[0] == "transport_error"
            word, text = await asyncio.wait_for(lost.get(), SECONDS)
            assert word == "transport_error"
            assert "cut before the end of the link" in text or "connection broke" in text
            await alice.flush(port)
            assert got == list(range(len(got)))
            assert 0 < len(got) < 1_000


async def test_bytes_changed_on_the_way(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    armed = False

    def there(data: bytes) -> bytes:
        return data[:10] + bytes([data[10] ^ 1]) + data[11:] if armed else data

    async with alice_listening(office) as alice, office.node("bob") as bob:
        async with cable(alice, there) as address:
            got: list[Any] = []
            port = alice.port(lambda *message: got.append(message))
            bob.learn("alice", address)
            await bob.up("alice", timeout=SECONDS)
            armed = True
            bob.snd(port, "pay", 100)
            await asyncio.wait_for(bob.killed(port), SECONDS)
            assert got == []
            await until_logged(caplog, "somebody changed what the peer sent")


# -- with a good certificate -----------------------------------------------------------------------


async def test_a_duplicate_of_a_live_id(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    """The same certificate, used twice at once: who was there first stays."""
    cert = office.cert("bob")
    async with (
        alice_listening(office) as alice,
        mp.Node("bob", cert=cert, seeds=alice.addresses) as bob,
    ):
        events: list[Any] = []
        await bob.up("alice", timeout=SECONDS)
        await alice.up("bob", timeout=SECONDS)
        alice.mon_nodes(lambda *event: events.append(event))
        async with mp.Node("bob", cert=cert, seeds=alice.addresses) as twin:
            await until_logged(caplog, "duplicate node ID")
            assert twin.up_nodes() == []
            echo = bob.port(mp.replies(lambda: ("the first",)))
            assert await alice.cal(echo, timeout=SECONDS) == ("the first",)
            assert events == []


@mp.exposed
def harmless() -> None:
    """What a node may spawn that is let."""


async def test_unauthorised_spawn_and_eval(office: Office) -> None:
    rules = [{"node": "guest/*", "deny": ["spawn", "call"]}]
    async with (
        alice_listening(office, rules=rules) as alice,
        office.node("guest/1", "guest/*", seeds=alice.addresses) as guest,
        office.node("bob", seeds=alice.addresses) as bob,
    ):
        reason = await asyncio.wait_for(guest.killed(guest.spawn("alice", harmless)), SECONDS)
        assert reason[0] == "spawn_error" and "spawn" in reason[1]
        reason = await asyncio.wait_for(bob.killed(bob.spawn("alice", "os:getcwd")), SECONDS)
        assert reason == ("spawn_error", "'os:getcwd' is not exposed on alice")
        for node in (guest, bob):
            with pytest.raises(mp.EvalFailed):
                await asyncio.wait_for(node.eval_on("alice", "1 + 1"), SECONDS)
        port = bob.spawn("alice", harmless)
        bob.kil(port, "seen enough")
        assert (await asyncio.wait_for(bob.killed(port), SECONDS))[0] in (
            "seen enough", "no_such_port",
        )  # fmt: skip


async def test_handshakes_that_never_finish_are_counted_and_ended(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever connects is a stranger to the lobby from the first packet on."""
    monkeypatch.setattr("aemp_core.lobby.LOCAL_LIMIT", 20)
    async with alice_listening(office) as alice:
        for _ in range(40):
            await strangers.dial(alice.addresses[0], None)
        for _ in range(500):
            if len(Lobby.of(alice)) == 20:
                break
            await asyncio.sleep(0.01)
        assert len(Lobby.of(alice)) == 20
        async with office.node("bob", seeds=alice.addresses) as bob:
            await bob.up("alice", timeout=SECONDS)


@pytest.fixture(autouse=True)
async def clean(caplog: pytest.LogCaptureFixture) -> AsyncIterator[None]:
    """asyncio logs what strangers do to its own TLS; ours is what is looked at."""
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    caplog.set_level(logging.INFO, "aemp_core")
    yield
    await strangers.leave()


# -- floods ----------------------------------------------------------------------------------------

#: What nobody needs for a handshake, and OpenSSL bounds: after the first words, or in their place.
FLOODS = {
    "changes of cipher": (True, b"\x14\x03\x03\x00\x01\x01"),
    "warnings": (True, b"\x15\x03\x03\x00\x02\x01\x5a"),
    "empty records": (False, b"\x16\x03\x01\x00\x00"),
    "a message without end": (False, b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + bytes(16_380)),
}


@pytest.mark.parametrize("flood", FLOODS)
async def test_a_flood_of_a_stranger(
    office: Office, caplog: pytest.LogCaptureFixture, flood: str
) -> None:
    """Who has shown no certificate is ended at once, long before its ten seconds are over."""
    greeted, record = FLOODS[flood]
    hello = ssl.MemoryBIO()
    tls = strangers.client(None).wrap_bio(ssl.MemoryBIO(), hello)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    async with alice_listening(office) as alice:
        began = time.monotonic()
        streams = await strangers.dial(alice.addresses[0], None)
        streams[1].write((hello.read() if greeted else b"") + record * 100)
        assert b"aemp" not in await refused(alice, streams)
        await until_logged(caplog, "refused: TLS failed: ")
        assert time.monotonic() - began < HANDSHAKE_SECONDS


# -- floods of a member ----------------------------------------------------------------------------


async def member(alice: mp.Node, office: Office, directory: Path) -> Forger:
    """A link of bob, whose records are of his own making."""
    cert = office.cert("bob")
    forger = await Forger.dial(alice.addresses[0], cert, directory)
    speaker = Speaker.on((forger.reader, forger), "dial", "bob", cert)  # type: ignore[arg-type]
    await speaker.greet()
    await speaker.prove()
    await asyncio.wait_for(alice.up("bob"), SECONDS)
    return forger


async def lost(alice: mp.Node, forger: Forger, record: Callable[[], bytes]) -> tuple[int, str]:
    """Send records until the link is lost: how many bytes it took, and the reason.

    What the other side answers is not read.
    """
    events: list[Any] = []
    alice.mon_nodes(lambda *event: events.append(event))
    forger.raw.pause_reading()
    sent = 0
    while not events:
        assert sent < 2**20, "alice takes it all"
        some = b"".join(record() for _ in range(50))
        forger.raw.write(some)
        sent += len(some)
        await asyncio.sleep(0.001)
    await strangers.leave()
    return sent, events[0][2][1]


@pytest.mark.parametrize("answered", [False, True], ids=["", "answered"])
async def test_a_flood_of_key_updates(office: Office, tmp_path: Path, answered: bool) -> None:
    """Each is work, and OpenSSL bounds neither that nor the answers to who does not read them."""
    async with alice_listening(office) as alice:
        forger = await member(alice, office, tmp_path)
        sent, reason = await lost(alice, forger, lambda: forger.key_update(answered=answered))
        assert "TLS records came to nothing" in reason
        assert sent < 4 * IDLE_BYTES


async def test_key_updates_that_somebody_needs(office: Office, tmp_path: Path) -> None:
    """A peer may change its keys; data counts for it, not against it, however small its records."""
    got: list[int] = []
    async with alice_listening(office) as alice:
        forger = await member(alice, office, tmp_path)
        port = alice.port(got.append)
        encode, name = MsgpackFraming().encode, port.partition("#")[2]
        for number in range(2_000):
            data = encode(pack((name, number)))
            if number % 20 == 0:
                forger.raw.write(forger.key_update(answered=True))
            for place in range(0, len(data), 3):
                forger.write(data[place : place + 3])
            if number % 100 == 0:
                await asyncio.sleep(0)
        for _ in range(int(SECONDS / 0.02)):
            if len(got) == 2_000:
                break
            await asyncio.sleep(0.02)
        assert got == list(range(2_000))
        assert alice.up_nodes() == ["bob"]
        await strangers.leave()


@pytest.mark.parametrize("kind", [22, 23], ids=["handshake", "data"])
async def test_a_flood_of_empty_records(office: Office, tmp_path: Path, kind: int) -> None:
    """OpenSSL ends it by itself."""
    async with alice_listening(office) as alice:
        forger = await member(alice, office, tmp_path)
        sent, reason = await lost(alice, forger, lambda: forger.record(kind, b""))
        assert "TLS failed: " in reason
        assert sent < IDLE_BYTES
