"""The keeper: renewal, revocation, another CA, expiry, a signal, all while nodes run."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
import strangers
from strangers import Speaker
from tls_kit import SECONDS, Office

import aemp_core as mp
from aemp_core.errors import TransportError
from aemp_core.plugins import plugin_manager
from aemp_tls.keeper import LOOK_SECONDS, Keeper
from aemp_tls.trust import Authority

DAY = 86_400.0


class Clock:
    """Seconds since the epoch, and a way to set them forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


def keeper(node: mp.Node) -> Keeper:
    found = node.transport("tls://").keeper  # type: ignore[attr-defined]
    assert isinstance(found, Keeper)
    return found


@asynccontextmanager
async def two_nodes(
    office: Office, **settings: Any
) -> AsyncIterator[tuple[mp.Node, mp.Node, list[Any]]]:
    """Alice and bob with a link, and the node events that alice is told."""
    events: list[Any] = []
    async with (
        office.node("alice", binds=["tls://127.0.0.1:0"]) as alice,
        office.node("bob", seeds=alice.addresses, **settings) as bob,
    ):
        await bob.up("alice", timeout=SECONDS)
        await alice.up("bob", timeout=SECONDS)
        alice.mon_nodes(lambda *event: events.append(event))
        yield alice, bob, events


async def until(condition: Callable[[], object]) -> None:
    """Wait for what has to happen."""
    ends = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < ends
        await asyncio.sleep(0.02)


async def alive(one: mp.Node, other: mp.Node) -> bool:
    """Whether messages pass in both directions over the link there is."""
    echo = one.port(mp.replies(lambda: ("here",)))
    return await other.cal(echo, timeout=SECONDS) == ("here",)


def seen(at: mp.Node, of: str) -> bytes:
    """The certificate by which a link to a node is judged now."""
    session = at.peers[of].session
    assert session is not None
    found: bytes = session.link.channel.peer.fingerprint  # type: ignore[attr-defined]
    return found


def own(node: mp.Node) -> bytes:
    """The certificate that a node has now."""
    return keeper(node).credentials.identity.fingerprint


def cas(node: mp.Node) -> int:
    """How many CAs a node believes."""
    return len(keeper(node).credentials.trust.authorities)


# -- revocation ------------------------------------------------------------------------------------


async def test_a_link_of_a_revoked_node_is_ended_with_the_reason(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aemp_tls.keeper.LOOK_SECONDS", LOOK_SECONDS)
    monkeypatch.setattr("aemp_tls.keeper.GRACE_SECONDS", 2 * SECONDS)  # not for who was revoked
    async with two_nodes(office) as (alice, bob, events):
        reasons: list[Any] = []
        alice.mon(bob.port(), reasons.append)
        office.ca.revoke(["bob"])
        office.publish()
        await until(lambda: reasons)
        assert LOOK_SECONDS <= 2
        (reason,) = reasons
        assert reason[0] == "transport_error"
        assert "the certificate of aemp://example/bob was revoked" in reason[1]
        assert events == [("bob", False, reason)]
        # Bob dials again and again, in vain.
        await until(lambda: not bob.up_nodes())
        with pytest.raises((TransportError, mp.CallTimeout)):
            await bob.up("alice", timeout=1)
        assert len(events) == 1


async def test_a_list_that_is_broken_changes_nothing_and_is_logged(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    async with two_nodes(office) as (alice, bob, events):
        whole = (office.desk / "network.pem").read_bytes()
        (office.desk / "network.pem").write_bytes(whole[200:])
        await until(lambda: "goes on with its former credentials" in caplog.text)
        assert "network.pem" in caplog.text
        assert await alive(alice, bob)
        assert events == []


async def test_a_revocation_counts_also_if_the_own_certificate_is_broken(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    async with two_nodes(office) as (_alice, _bob, events):
        (office.desk / "alice.pem").write_bytes(b"half a certificate")
        office.ca.revoke(["bob"])
        office.publish()
        await until(lambda: events)
        assert "was revoked" in events[0][2][1]
        assert "alice.pem: there is no certificate in it" in caplog.text


@pytest.mark.parametrize("gone", [False, True], ids=["revoked", "its CA gone"])
async def test_a_revocation_reaches_a_connection_that_is_no_link_yet(
    office: Office, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, gone: bool
) -> None:
    monkeypatch.setattr("aemp_tls.keeper.GRACE_SECONDS", 2 * SECONDS)
    cert = office.cert("bob")
    async with office.node("alice", binds=["tls://127.0.0.1:0"]) as alice:
        streams = await strangers.dial(alice.addresses[0], strangers.client(cert))
        await Speaker.on(streams, "dial", "bob", cert).greet()
        if gone:
            office.ca.rotate()
            office.cert("alice")
            office.ca.retire(force=True)
        else:
            office.ca.revoke(["bob"])
        office.publish()
        await strangers.outcome(*streams)
        assert alice.up_nodes() == []
        # Not because the handshake took too long.
        assert "ended: the certificate of aemp://example/bob was " in caplog.text
    await strangers.leave()


async def test_a_look_at_links_checks_no_signature(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once a second for each of a thousand links would take a processor."""
    asked: list[Any] = []
    async with two_nodes(office) as (alice, _bob, events):
        issued = Authority.issued
        monkeypatch.setattr(
            Authority, "issued", lambda self, each: asked.append(each) or issued(self, each)
        )
        for _ in range(3):
            keeper(alice).look()
        assert asked == []
        # Another trust file: everything is new.
        office.ca.rotate()
        office.publish()
        await until(lambda: cas(alice) == 2)
        assert asked
        assert events == []


# -- renewal ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["p256", "ed25519"])
async def test_a_new_certificate_is_taken_up_and_told_over_the_link(
    tmp_path: Path, kind: Literal["p256", "ed25519"]
) -> None:
    office = Office(tmp_path, "example", kind=kind)
    async with two_nodes(office) as (alice, bob, events):
        before = seen(alice, "bob")
        office.cert("bob")
        await until(lambda: seen(alice, "bob") != before)
        assert seen(alice, "bob") == own(bob)
        # The former one may be revoked now, and nothing happens.
        old, new = office.ca.ledger[-2:]
        assert old.name == new.name == "bob"
        office.ca.revoke([old.serial])
        office.publish()
        await until(lambda: keeper(alice).credentials.trust.authorities[0].revoked)
        assert await alive(alice, bob)
        assert events == []


async def test_another_ca_takes_over_without_a_lost_link(office: Office) -> None:
    async with two_nodes(office) as (alice, bob, events):
        office.ca.rotate()
        office.publish()
        await until(lambda: cas(alice) == cas(bob) == 2)
        for name in ("alice", "bob"):
            office.cert(name)
        former = seen(bob, "alice"), seen(alice, "bob")
        await until(lambda: former[0] != seen(bob, "alice") and former[1] != seen(alice, "bob"))
        assert office.ca.retire() == [1]
        office.publish()
        await until(lambda: cas(alice) == cas(bob) == 1)
        assert await alive(alice, bob)
        assert events == []
        async with office.node("carol", seeds=alice.addresses) as carol:
            await carol.up("alice", timeout=SECONDS)


async def test_a_certificate_may_come_before_its_ca(office: Office, tmp_path: Path) -> None:
    """Bob's is of a CA of which alice hears later, and at once that it is the only one."""
    apart = tmp_path / "apart.pem"
    apart.write_bytes(office.ca.trust.read_bytes())
    async with two_nodes(office, cert_trust=str(apart)) as (alice, bob, events):
        former, alices = own(bob), own(alice)
        office.ca.rotate()
        apart.write_bytes(office.ca.trust.read_bytes())
        await until(lambda: cas(bob) == 2)
        office.cert("bob")
        await until(lambda: own(bob) != former)
        assert await alive(alice, bob)
        assert seen(alice, "bob") == former
        office.ca.retire(force=True)
        office.cert("alice")
        office.publish()
        await until(lambda: own(alice) != alices)
        assert await alive(alice, bob)
        assert seen(alice, "bob") == own(bob)
        assert events == []


async def test_a_ca_may_go_while_a_peer_takes_up_its_new_certificate(
    office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alice sees first that the old CA is gone, bob a little later that he has a certificate."""
    monkeypatch.setattr("aemp_tls.keeper.GRACE_SECONDS", 2 * SECONDS)
    apart = tmp_path / "apart.pem"
    apart.write_bytes(office.ca.trust.read_bytes())
    async with two_nodes(office, cert_trust=str(apart)) as (alice, bob, events):
        office.ca.rotate()
        apart.write_bytes(office.ca.trust.read_bytes())
        await until(lambda: cas(bob) == 2)
        former = own(alice), seen(alice, "bob")
        office.cert("alice")
        office.ca.retire(force=True)
        office.publish()
        await until(lambda: own(alice) != former[0])
        await asyncio.sleep(0.2)  # some looks at what is not good any more
        assert seen(alice, "bob") == former[1]
        office.cert("bob")
        await until(lambda: seen(alice, "bob") != former[1])
        assert await alive(alice, bob)
        assert events == []


async def test_who_has_no_certificate_of_the_new_ca_is_dropped_with_the_old_one(
    office: Office, tmp_path: Path
) -> None:
    apart = tmp_path / "apart.pem"
    apart.write_bytes(office.ca.trust.read_bytes())
    async with two_nodes(office, cert_trust=str(apart)) as (_alice, _bob, events):
        office.ca.rotate()
        office.cert("alice")
        office.ca.retire(force=True)
        office.publish()
        await until(lambda: events)
        assert events[0][:2] == ("bob", False)
        assert "was issued by 'AEMP CA 1 of example' (issuer)" in events[0][2][1]


async def test_a_certificate_that_is_announced_is_believed_only_if_it_is_good(
    office: Office, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Signed by another key, for another name, of another CA, and no certificate at all."""
    elsewhere = Office(tmp_path / "elsewhere", "example")
    async with two_nodes(office) as (alice, bob, events):
        before = seen(alice, "bob")
        for cert in (office.cert("bob", "b.pem"), office.cert("eve"), elsewhere.cert("bob")):
            der = strangers.identity_of(cert).der
            bob.snd("alice", "tls_certificate", der, b"no signature")
        for arguments in ((b"", b""), ("text", 17), ()):
            bob.snd("alice", "tls_certificate", *arguments)
        assert await alive(alice, bob)
        assert seen(alice, "bob") == before
        assert events == []
        assert caplog.text.count("wrong signature") == 3


async def test_a_certificate_that_is_announced_must_grant_the_id_of_the_node(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    """Rightly signed, but for another node."""
    async with two_nodes(office) as (alice, bob, events):
        before = seen(alice, "bob")
        kept = keeper(bob)
        kept._credentials = kept.credentials.load(
            mp.Settings.of(nodeid="eve", cert=office.cert("eve")), "eve", time.time()
        )
        session = bob.peers["alice"].session
        assert session is not None
        kept._announce(session.link)  # type: ignore[arg-type]
        assert await alive(alice, bob)
        assert seen(alice, "bob") == before
        assert events == []
        assert "it is that of aemp://example/eve" in caplog.text


async def test_a_certificate_cannot_be_announced_over_another_kind_of_link(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    secret = b"a secret of these tests"
    der = strangers.identity_of(office.cert("carol")).der
    async with (
        office.node("alice", binds=["memory://alice"], secret=secret) as alice,
        mp.Node("carol", seeds=["memory://alice"], secret=secret) as carol,
    ):
        await carol.up("alice", timeout=SECONDS)
        carol.snd("alice", "tls_certificate", der, b"")
        assert await alive(alice, carol)
        assert "announced over links that have one" in caplog.text


# -- expiry ----------------------------------------------------------------------------------------


async def test_a_link_ends_with_the_certificate_it_was_made_with(office: Office) -> None:
    clock = Clock()
    bobs, alices = office.cert("bob", days=1), office.cert("alice")
    events: list[Any] = []
    node = mp.Node("alice", cert=alices, binds=["tls://127.0.0.1:0"], wall_clock=clock)
    async with node as alice, mp.Node("bob", cert=bobs, seeds=alice.addresses) as bob:
        await bob.up("alice", timeout=SECONDS)
        await alice.up("bob", timeout=SECONDS)
        alice.mon_nodes(lambda *event: events.append(event))
        clock.ahead = 2 * DAY
        await until(lambda: events)
        assert events[0][:2] == ("bob", False)
        assert "the certificate of aemp://example/bob expired on" in events[0][2][1]


async def test_the_end_of_a_certificate_is_warned_of_once_a_day(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    cert = office.cert("alice", days=90)

    def warnings() -> int:
        return caplog.text.count(f"run 'aemp ca renew {cert}'")

    async with mp.Node("alice", cert=cert, wall_clock=clock) as alice:
        look = keeper(alice).look
        look()
        assert warnings() == 0
        clock.ahead = 70 * DAY
        look()
        look()
        assert warnings() == 1
        clock.ahead = 71.5 * DAY
        look()
        assert warnings() == 2
        office.cert("alice", days=900)
        clock.ahead = 0
        look()
        assert warnings() == 2


async def test_a_certificate_that_ends_soon_is_warned_of_at_start(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    cert = office.cert("alice", begins=time.time() - 89 * DAY, days=90)
    async with mp.Node("alice", cert=cert):
        assert f"run 'aemp ca renew {cert}'" in caplog.text


async def test_the_end_of_a_ca_is_warned_of_whatever_the_certificate_of_the_node(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A certificate never outlives its CA: the last renewals help for a short time only."""
    clock = Clock()
    office = Office(tmp_path, "example", days=100)
    cert = office.cert("alice", days=1)
    async with mp.Node("alice", cert=cert, wall_clock=clock) as alice:
        assert "a CA certificate in it ends on" not in caplog.text
        clock.ahead = 80 * DAY
        keeper(alice).look()
        assert f"{office.desk / 'network.pem'}: a CA certificate in it ends on" in caplog.text
        assert "run 'aemp ca rotate'" in caplog.text


async def test_what_could_not_be_used_is_looked_at_again(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    """A certificate that is not valid yet is taken up when it is."""
    clock = Clock()
    async with office.node("alice", wall_clock=clock) as alice:
        former = own(alice)
        office.cert("alice", begins=time.time() + 30)
        keeper(alice).look()
        assert own(alice) == former
        assert "is not valid before" in caplog.text
        clock.ahead = 61
        keeper(alice).look()
        assert own(alice) != former


# -- the signal ------------------------------------------------------------------------------------


async def test_a_signal_has_all_nodes_look_at_once(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aemp_tls.keeper.LOOK_SECONDS", 3_600.0)
    async with office.node("alice") as alice:
        async with office.node("bob") as bob:
            former = own(alice), own(bob)
            for name in ("alice", "bob"):
                office.cert(name)
            # Else it would end this process.
            assert signal.getsignal(signal.SIGHUP) is not signal.SIG_DFL
            os.kill(os.getpid(), signal.SIGHUP)
            await until(lambda: former[0] != own(alice) and former[1] != own(bob))
        assert signal.getsignal(signal.SIGHUP) is not signal.SIG_DFL
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL


async def test_a_node_that_is_told_to_reload_looks_at_once(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `aemp run` does it, which handles the signal itself."""
    monkeypatch.setattr("aemp_tls.keeper.LOOK_SECONDS", 3_600.0)
    async with office.node("alice") as alice, mp.Node("bob") as bob:
        former = own(alice)
        office.cert("alice")
        for node in (alice, bob):  # bob has no certificate, and nothing to look at
            plugin_manager().hook.aemp_reload(node=node)
        await until(lambda: former != own(alice))


async def test_a_program_that_handles_the_signal_keeps_it(office: Office) -> None:
    heard: list[int] = []
    former = signal.signal(signal.SIGHUP, lambda number, frame: heard.append(number))
    try:
        async with office.node("alice"):
            os.kill(os.getpid(), signal.SIGHUP)
            await until(lambda: heard)
    finally:
        signal.signal(signal.SIGHUP, former)


@pytest.fixture(autouse=True)
def brisk(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes look often, and what they log can be seen."""
    monkeypatch.setattr("aemp_tls.keeper.LOOK_SECONDS", 0.05)
    monkeypatch.setattr("aemp_tls.keeper.GRACE_SECONDS", 0.1)
    caplog.set_level(logging.INFO, "aemp_tls")
    caplog.set_level(logging.WARNING, "aemp_core")
