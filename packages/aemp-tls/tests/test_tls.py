"""TLS links: they conform; whole nodes over them; what a link tells of its peer."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tls_kit import Office

import aemp_core as mp
from aemp_core.errors import AddressError, ConfigError, TransportError
from aemp_core.link import PeerInfo
from aemp_core.testing import Harness, StandIn
from aemp_core.testing.conformance_pytest import ConformanceTests
from aemp_tls.keeper import Keeper
from aemp_tls.tls import TlsStream, TlsTransport

Run = Callable[[Coroutine[Any, Any, Any]], Any]
SECRET = b"the secret of these tests"


def transport(node: StandIn) -> TlsTransport:
    return TlsTransport(Keeper(node))


@asynccontextmanager
async def harness(cert: str, host: str = "127.0.0.1") -> AsyncIterator[Harness]:
    yield Harness(
        transport,
        address=lambda: f"tls://{host}:0",
        nowhere=lambda: "tls://127.9.9.9:9",
        settings={"secret": SECRET, "cert": cert},
    )


class TestTlsConforms(ConformanceTests):
    def make_harness(self, tmp_path: Path) -> AbstractAsyncContextManager[Harness]:
        return harness(Office(tmp_path, "example").cert("*"))


class TestTlsWithEd25519Conforms(ConformanceTests):
    loops = ("asyncio",)

    def make_harness(self, tmp_path: Path) -> AbstractAsyncContextManager[Harness]:
        return harness(Office(tmp_path, "example", kind="ed25519").cert("*"))


# -- whole nodes ---------------------------------------------------------------------------------


def test_messages_calls_and_monitors_between_nodes(run: Run, office: Office) -> None:
    async def main() -> None:
        async with (
            office.node("alice", binds=["tls://127.0.0.1:0"]) as alice,
            office.node("bob", seeds=alice.addresses) as bob,
        ):
            got: list[Any] = []
            port = alice.port(lambda *message: got.append(message))
            for number in range(2_000):
                bob.snd(port, number, ["täxt", b"\x00\xff"])
            bob.snd(port, "long", b"x" * (8 * 2**20))
            await bob.flush(port)
            assert [message[0] for message in got] == [*range(2_000), "long"]
            assert got[-1][1] == b"x" * (8 * 2**20)
            echo = bob.port(mp.replies(lambda *words: words))
            answers = await asyncio.gather(*(alice.cal(echo, n) for n in range(200)))
            assert answers == [(n,) for n in range(200)]
            bob.kil(echo, "enough")
            assert (await alice.killed(echo))[0] in ("enough", "no_such_port")

    run(main())


async def test_a_link_speaks_tls_1_3_and_no_ticket_is_given(office: Office) -> None:
    async with (
        office.node("alice", binds=["tls://127.0.0.1:0"]) as alice,
        office.node("bob", seeds=alice.addresses) as bob,
    ):
        echo = alice.port(mp.replies(lambda: ()))
        await bob.cal(echo, timeout=10)  # a ticket would have come by then
        for node in (alice, bob):
            tls = link(node).channel.get_extra_info("ssl_object")
            assert tls.version() == "TLSv1.3"
            assert not tls.session_reused
            assert tls.session is None or not tls.session.has_ticket


def link(node: mp.Node) -> TlsStream:
    """The only link of a node."""
    (peer,) = node.peers.values()
    assert peer.session is not None
    stream = peer.session.link
    assert isinstance(stream, TlsStream)
    return stream


async def test_ids_of_a_pattern_are_granted_by_one_certificate(office: Office) -> None:
    cert = office.cert("anon/*")
    async with (
        office.node("alice", binds=["tls://127.0.0.1:0"]) as alice,
        mp.Node("anon/", seeds=alice.addresses, cert=cert) as one,
        mp.Node("anon/", seeds=alice.addresses, cert=cert) as other,
    ):
        for node in (one, other):
            await node.up("alice", timeout=10)
        assert len({one.id, other.id, *alice.up_nodes()}) == 2


async def test_what_a_certificate_proves_is_told_to_handlers_and_hooks(office: Office) -> None:
    seen: list[Any] = []
    asked: list[PeerInfo] = []

    def authorise(peer: PeerInfo, request: str, arguments: tuple[Any, ...]) -> str | None:
        asked.append(peer)
        return "no" if request == "devnull" else None

    async with (
        office.node("alice", binds=["tls://127.0.0.1:0"]) as alice,
        office.node("worker/7", "worker/*", seeds=alice.addresses) as worker,
    ):
        alice.authorise_hooks.append(authorise)
        port = alice.port(lambda *_: seen.append((mp.current_sender(), mp.current_identity())))
        worker.snd(port, "from afar")
        await worker.flush(port)
        alice.snd(port, "from here")
        await alice.flush(port)
        assert seen == [("worker/7", "aemp://example/worker/*"), ("alice", "")]
        assert {(peer.id, peer.identity) for peer in asked} == {
            ("worker/7", "aemp://example/worker/*")
        }


async def test_rules_are_about_proven_ids(office: Office) -> None:
    rules = [{"node": "admin/*", "allow": ["eval"]}, {"node": "guest/*", "deny": ["kil"]}]
    async with (
        office.node("alice", binds=["tls://127.0.0.1:0"], rules=rules) as alice,
        office.node("admin/1", "admin/*", seeds=alice.addresses) as admin,
        office.node("guest/1", "guest/*", seeds=alice.addresses) as guest,
    ):
        assert await admin.eval_on("alice", "1 + 1") == 2
        with pytest.raises(mp.EvalFailed):
            await guest.eval_on("alice", "1 + 1")
        port = alice.port(mp.replies(lambda: ()))
        guest.kil(port)
        assert await guest.cal(port, timeout=10) == ()
        admin.kil(port)
        await admin.killed(port)


async def test_the_log_is_read_by_those_whom_a_rule_names(office: Office) -> None:
    rules = [{"node": "ops/*", "allow": ["log"]}]
    async with (
        office.node("alice", binds=["tls://127.0.0.1:0"], rules=rules) as alice,
        office.node("ops/1", "ops/*", seeds=alice.addresses) as ops,
        office.node("guest/1", "guest/*", seeds=alice.addresses) as guest,
    ):
        for node, answer in ((ops, "begun"), (guest, "refused")):
            told: asyncio.Future[str] = node.loop.create_future()
            port = node.port(lambda word, _, told=told: told.set_result(word))
            node.snd("alice", "log", 30, port)
            assert await asyncio.wait_for(told, 10) == answer


# -- with a secret in addition -------------------------------------------------------------------


async def test_a_secret_may_be_required_in_addition(office: Office) -> None:
    async with (
        office.node("alice", binds=["tls://127.0.0.1:0"], secret=SECRET) as alice,
        office.node("bob", seeds=alice.addresses, secret=SECRET) as bob,
        office.node("eve", secret=b"another secret, as long") as eve,
        office.node("dave") as dave,
    ):
        await bob.up("alice", timeout=10)
        for node in (eve, dave):
            candidate = None
            with pytest.raises(TransportError):
                candidate = await node.transport("tls://").dial(alice.addresses[0])
                candidate.confirm()  # type: ignore[attr-defined]
                await candidate.proved()
            assert node.up_nodes() == []
        assert alice.up_nodes() == ["bob"]


# -- without a certificate -----------------------------------------------------------------------


async def test_without_a_certificate_nothing_is_bound_or_dialled() -> None:
    with pytest.raises(ConfigError, match=r"set 'cert'.*aemp ca issue alice"):
        await mp.Node("alice", binds=["tls://127.0.0.1:0"]).start()
    with pytest.raises(ConfigError, match=r"set 'cert'.*aemp ca issue bob"):
        await mp.Node("bob", seeds=["tls://127.0.0.1:1"]).start()
    async with mp.Node("bob") as bob:
        with pytest.raises(TransportError, match="set 'cert'"):
            await bob.transport("tls://").dial("tls://127.0.0.1:1")


async def test_a_node_with_a_certificate_refuses_plain_links_unless_told(office: Office) -> None:
    with pytest.raises(ConfigError, match="require_tls"):
        await office.node("alice", binds=["tls://127.0.0.1:0", "tcp://127.0.0.1:0"]).start()
    both = ["tls://127.0.0.1:0", "tcp://127.0.0.1:0"]
    async with office.node("carol", binds=both, secret=SECRET, require_tls=False) as carol:
        async with mp.Node("dave", seeds=carol.addresses[1:], secret=SECRET) as dave:
            await dave.up("carol", timeout=10)
            await carol.up("dave", timeout=10)
            assert carol.peers["dave"].session.info.identity == ""  # type: ignore[union-attr]


def test_an_address_of_tls_is_checked_as_one_of_tcp(run: Run, office: Office) -> None:
    async def main() -> None:
        async with office.node("alice") as alice:
            for address in ("tls://", "tls://host", "tls://host:0", "tcp://host:1"):
                with pytest.raises(AddressError):
                    alice.transport("tls://").check(address)
            alice.transport("tls://").check("tls://host:1")

    run(main())


async def test_nothing_is_left_of_nodes_that_close(office: Office) -> None:
    before = asyncio.all_tasks()
    async with (
        office.node("alice", binds=["tls://127.0.0.1:0"]) as alice,
        office.node("bob", seeds=alice.addresses) as bob,
    ):
        await bob.up("alice", timeout=10)
        keepers = [node.transport("tls://").keeper for node in (alice, bob)]  # type: ignore[attr-defined]
    assert asyncio.all_tasks() == before
    for _ in range(100):  # the peer's last packets
        if not any(keeper._streams for keeper in keepers):
            break
        await asyncio.sleep(0.05)
    assert not any(keeper._streams for keeper in keepers)


def test_openssl_here_speaks_tls_1_3() -> None:
    assert ssl.HAS_TLSv1_3
