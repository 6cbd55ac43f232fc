"""Nothing before trust: no byte from an unauthenticated peer reaches a port, a registry or an
importer."""

from __future__ import annotations

import asyncio
import logging
import sys

import pytest
from core_kit import SECRET, Network, Probe, RawClient, SkilledClient, nodes, settle

import aemp_core as mp
from aemp_core.testing.clock import virtual_clock

WRONG = b"another secret, just as long"
#: A module of the standard library that nothing here imports.
UNUSED = "this"
#: The node here is called "a", and the greater ID chooses.
EITHER_CHOOSES = pytest.mark.parametrize(
    "node_id", ["z", "0"], ids=["the intruder chooses", "we choose"]
)


def messages_for(probe):
    """What an intruder would say: a message, a spawn, a call, a kill, an eval, a relay."""
    name = probe.port.partition("#")[2]
    return [
        (name, "intruder"),
        ("", "AnyEvent::MP::_spawn", "0" * 14 + ".1", f"{UNUSED}:main"),
        ("", "AnyEvent::MP::_spawn", "0" * 14 + ".2", "trust:exposed", "spawned"),
        ("", "trust:exposed", "called"),
        ("", "eval", f"import {UNUSED}"),
        ("", "snd", probe.port, "relayed"),
        ("", "kil", name, "killed"),
    ]


_called = []


@mp.exposed(name="trust:exposed")
def exposed_function(*arguments):
    _called.append(arguments)


def untouched(node, probe):
    """Whether nothing of an intruder had any effect."""
    return (
        probe.got == []
        and node.ports.get(probe.port) is not None
        and _called == []
        and UNUSED not in sys.modules
        and node.up_nodes() == []
        and node.known_nodes() == ["a"]
    )


@pytest.fixture(autouse=True)
def clean():
    _called.clear()
    sys.modules.pop(UNUSED, None)


@virtual_clock
async def test_nothing_before_trust_the_client_here_could_do_harm():
    """With the right secret the same bytes have their effects: the other tests prove something."""
    network = Network.here()
    async with nodes("a") as (a,):
        probe = Probe(a)
        client = SkilledClient("friend").join(network, "a")
        await settle()
        client.write(client.connection.prove())
        await settle()
        assert client.proved
        assert a.up_nodes() == ["friend"]
        client.write(client.frames(*messages_for(probe)))
        await settle()
        assert probe.got == [("intruder",)] or ("intruder",) in probe.got
        assert ("called",) in _called and ("spawned",) in _called
        assert a.ports.get(probe.port) is None
        assert UNUSED not in sys.modules, "not even a friend makes us import"
        client.transport.abort()


class Intruder(SkilledClient):
    """It has its proof ready when it was greeted, and minds nothing that comes after."""

    proof = b""

    def data_received(self, data):
        if self.proof:
            self.data += data
        else:
            super().data_received(data)
            self.proof = self.connection.prove()


@EITHER_CHOOSES
@pytest.mark.parametrize("when", ["with", "after", "before"])
@virtual_clock
async def test_nothing_before_trust_from_a_client_with_the_wrong_secret(when, node_id):
    network = Network.here()
    async with nodes("a") as (a,):
        probe = Probe(a)
        events = []
        a.mon_nodes(lambda *event: events.append(event))
        client = Intruder(node_id, WRONG).join(network, "a")
        await settle()
        frames = client.frames(*messages_for(probe))
        proof = client.proof
        if when == "with":
            client.write(proof + frames)
        elif when == "after":
            client.write(proof)
            await settle()
            client.write(frames)
        else:
            client.write(frames + proof)
        await settle()
        assert client.ended
        assert untouched(a, probe)
        assert events == []
        # What we said to it is our greeting, our nonce, and nothing that depends on its messages.
        assert len(client.lines) <= 3


@EITHER_CHOOSES
@virtual_clock
async def test_nothing_before_trust_from_a_client_that_never_proves_itself(node_id):
    """It may greet; its messages wait for nobody, and it is put out after ten seconds."""
    network = Network.here()
    async with nodes("a") as (a,):
        probe = Probe(a)
        client = SkilledClient(node_id).join(network, "a")
        await settle()
        assert untouched(a, probe), "greeting alone puts nobody into a registry"
        await settle(9)
        assert not client.ended
        await settle(2)
        assert client.ended
        assert untouched(a, probe)


@pytest.mark.parametrize(
    "bytes_sent",
    [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"aemp;2;x;hmac_sha3_512_role;msgpack\n",
        b"aemp;1;x;hmac_sha3_512_role;msgpack\n",
        b"aemp;1;x;hmac_sha3_512_role;msgpack\nshort\n",
        b"aemp;1;a;hmac_sha3_512_role;msgpack;incarnation=%s\n%s\n" % (b"0" * 14, b"A" * 88),
        b"aemp;1;a b;hmac_sha3_512_role;msgpack\n%s\n" % (b"A" * 88),
        b"aemp;1;x;other;msgpack\n%s\n" % (b"A" * 88),
        b"aemp;1;x;hmac_sha3_512_role;other\n%s\n" % (b"A" * 88),
        b"aemp;1;x;hmac_sha3_512_role;msgpack\n%s\ncleartext;%s;msgpack\n"
        % (b"A" * 88, SECRET.hex().encode()),
        b"aemp;1;x;hmac_sha3_512_role;msgpack\n%s\nhmac_sha3_512_role;;msgpack\n" % (b"A" * 88),
        b"x" * 100_000,
        b"aemp;1;" + b"x" * 5_000,
        b"\n\n\n\n",
        b"\x00" * 500,
    ],
    ids=lambda value: repr(value[:24]),
)
@virtual_clock
async def test_nothing_before_trust_from_bytes_that_are_no_handshake(bytes_sent):
    network = Network.here()
    async with nodes("a") as (a,):
        probe = Probe(a)
        client = RawClient.dial(network, "a")
        client.write(bytes_sent)
        client.write(SkilledClient("x").frames(*messages_for(probe)))
        await settle(11)
        assert client.ended
        assert untouched(a, probe)
        assert len(client.lines) <= 3
        honest = SkilledClient("honest").join(network, "a")
        await settle()
        honest.write(honest.connection.prove())
        await settle()
        assert honest.proved, "everything else goes on"
        honest.transport.abort()


@virtual_clock
async def test_nothing_before_trust_between_nodes_with_different_secrets(caplog):
    caplog.set_level(logging.INFO)
    async with nodes("a") as (a,), nodes("b", connected=False, secret=WRONG) as (b,):
        events = []
        a.mon_nodes(lambda *event: events.append(event))
        b.mon_nodes(lambda *event: events.append(event))
        probe = Probe(a)
        b.learn("a", "memory://a")
        fired = []
        b.mon(probe.port, fired.append)
        b.snd(probe.port, "intruder")
        b.kil(probe.port)
        await settle(5)
        assert a.up_nodes() == b.up_nodes() == []
        await settle(40)
        assert untouched(a, probe)
        assert events == []
        assert [reason[0] for reason in fired] == ["transport_error"]
        refusals = [record.getMessage() for record in caplog.records]
        assert any("b" in line and "secret" in line for line in refusals), refusals


@virtual_clock
async def test_nothing_before_trust_from_an_echo():
    """A client that says back whatever we say gets no link to ourselves."""
    network = Network.here()
    async with nodes("a") as (a,):
        probe = Probe(a)
        client = RawClient.dial(network, "a")
        sent = 0
        for _ in range(50):
            if len(client.data) > sent:
                client.write(bytes(client.data[sent:]))
                sent = len(client.data)
            await asyncio.sleep(0)
        await settle()
        assert client.ended
        assert len(client.lines) == 2, "our proof never went out"
        assert untouched(a, probe)


@pytest.mark.parametrize("ids", [("a", "b"), ("b", "a")])
@virtual_clock
async def test_nothing_before_trust_from_two_listeners_piped_together(ids):
    """Whoever reaches two listeners can join them, but not make them a link: both have the role
    of the accepting side."""
    network = Network.here()
    async with nodes(*ids, connected=False) as (one, two):
        left = RawClient.dial(network, ids[0], ids[1])
        right = RawClient.dial(network, ids[1], ids[0])
        for _ in range(200):
            for source, sink in ((left, right), (right, left)):
                data = bytes(source.data)
                source.data.clear()
                if data and not sink.ended:
                    sink.write(data)
            await asyncio.sleep(0)
        await settle(12)
        assert one.up_nodes() == two.up_nodes() == []
        assert left.ended and right.ended


@virtual_clock
async def test_nothing_before_trust_from_a_replayed_handshake():
    """The bytes of a good handshake are worth nothing a second time."""
    network = Network.here()
    async with nodes("a") as (a,):
        probe = Probe(a)
        friend = SkilledClient("friend").join(network, "a")
        recorded = []
        write = friend.write
        friend.write = lambda data: (recorded.append(data), write(data))
        recorded.append(
            b"%s\n%s\n"
            % (friend.connection._transcript.greeting, friend.connection._transcript.nonce)
        )
        await settle()
        friend.write(friend.connection.prove())
        await settle()
        assert a.up_nodes() == ["friend"]
        friend.transport.abort()
        await settle()
        assert a.up_nodes() == []
        thief = RawClient.dial(network, "a")
        thief.write(b"".join(recorded) + friend.frames(*messages_for(probe)))
        await settle()
        assert thief.ended
        assert untouched(a, probe)


@virtual_clock
async def test_nothing_before_trust_a_flood_costs_bounded_memory():
    """Strangers that connect and say nothing are capped; an honest node still gets in."""
    network = Network.here()
    async with nodes("a") as (a,):
        clients = [RawClient.dial(network, "a", f"stranger{number}") for number in range(1_500)]
        await settle()
        assert sum(not client.ended for client in clients) <= 1_000
        friend = SkilledClient("friend").join(network, "a")
        await settle()
        friend.write(friend.connection.prove())
        await settle()
        assert a.up_nodes() == ["friend"]
        await settle(11)
        assert all(client.ended for client in clients)
        friend.transport.abort()


@virtual_clock
async def test_nothing_before_trust_early_bytes_are_capped():
    """A peer that proved itself but is not our link yet cannot fill memory."""
    network = Network.here()
    async with nodes("b") as (b,):
        probe = Probe(b)
        client = SkilledClient("a").join(network, "b")
        await settle()
        # No proof: an endless "auth line".
        taken = 0
        for _ in range(200):
            if client.ended:
                break
            client.write(b"x" * 1_000)
            taken += 1_000
            await asyncio.sleep(0)
        await settle()
        assert client.ended and taken < 20_000
        assert probe.got == []
