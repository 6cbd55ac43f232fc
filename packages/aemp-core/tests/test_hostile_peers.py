"""What a hostile or odd peer may try, with the right secret or without: it harms nobody else.

Most peers here are made of nothing but bytes (`SkilledClient`), so that they keep to nothing.
"""

from __future__ import annotations

import asyncio
import base64
import os

import pytest
from core_kit import SECRET, Network, RawClient, SkilledClient, nodes, now, settle

import aemp_core as mp
from aemp_core import wire
from aemp_core.testing.clock import virtual_clock

SPAWN = "AnyEvent::MP::_spawn"
FOREVER = 3600
WRONG_SECRET = b"not the secret of these tests"
MIB = 2**20

arrived: dict[str, list[object]] = {"good": [], "evil": []}


@pytest.fixture(autouse=True)
def clean():
    for messages in arrived.values():
        messages.clear()


@mp.exposed(name="hostile:good")
def good():
    mp.rcv(mp.current_port(), lambda *message: arrived["good"].append(message))


@mp.exposed(name="hostile:evil")
def evil():
    mp.rcv(mp.current_port(), lambda *message: arrived["evil"].append(message))


def greeted(network, name, node_id, secret=SECRET, incarnation="0" * 14, **attributes):
    """Bytes that connect and greet, and prove nothing yet."""
    client = SkilledClient(node_id, secret, incarnation=incarnation, **attributes)
    return client.join(network, name)


async def proved(network, name, node_id, **attributes):
    """The same, proved."""
    client = greeted(network, name, node_id, **attributes)
    await settle()
    client.write(client.connection.prove())
    await settle()
    return client


def answer_time(client):
    """What a legacy peer says before its link counts."""
    for message in client.messages:
        if message[1] == "time":
            client.write(client.frames((message[2].partition("#")[2], *message[3:], 123.0)))


def request(client, *message):
    """Have bytes ask something of the node port."""
    client.write(client.frames(("", *message)))


def name_of(port):
    return port.partition("#")[2]


async def full_port(node, messages):
    """An async port that reads nothing, and whose mailbox holds so many messages."""

    async def life():
        await asyncio.sleep(FOREVER)

    port = node.port_async(life)
    await settle()
    for number in range(messages):
        node.snd(port, number)
    await settle()
    return port


# -- in the name of another --------------------------------------------------------------------


@virtual_clock
async def test_a_handmade_echo_does_not_run_code_of_a_peer():
    """A handler that answers whom it is told to asks its own node in that node's name."""
    async with nodes("alice", "bob") as (alice, bob):
        alice.ran = []

        def echo(*message):
            *answer, reply = message
            alice.snd(reply, *answer)

        port = alice.port(echo)
        bob.snd(port, "eval", "node.ran.append('code of bob')", "alice")
        await settle(1)
        assert alice.ran == []


@virtual_clock
async def test_replies_sends_a_node_nothing_in_our_name():
    """The reply port of the asker's choice would be the node port of alice, asked by alice."""
    async with nodes("alice", "bob") as (alice, bob):
        alice.ran = []
        port = alice.port(mp.replies(lambda *words: words))
        bob.snd(port, "eval", "node.ran.append('code of bob')", "alice")
        bob.snd(port, SPAWN, "x", "hostile:evil", "alice")
        await settle(1)
        assert alice.ran == [] and list(alice.ports) == [port]


@virtual_clock
async def test_a_message_made_by_request_names_its_asker():
    """Else `current_sender` would say that alice herself sent what bob had her send."""
    async with nodes("alice", "bob") as (alice, bob):
        senders = []
        port = alice.port(lambda *message: senders.append((message[0], mp.current_sender())))
        bob.snd(port, "direct")
        bob.snd("alice", "snd", port, "snd")
        bob.snd("alice", "snd_multiple", [port, "multiple"])
        bob.snd("alice", "fence", "nosuch", port, "fence")
        bob.snd("alice", "time", port, "time")
        bob.snd("alice", "eval", "1", port, "eval")
        await settle(1)
        words = ["direct", "snd", "multiple", "fence", "time", "eval"]
        assert senders == [(word, "bob") for word in words]


@pytest.mark.parametrize("how", ["snd", "snd_multiple", "time"])
@virtual_clock
async def test_messages_made_by_request_count_as_received(monkeypatch, how):
    """Else a peer fills a mailbox without end, past the limit of received bytes."""
    monkeypatch.setattr("aemp_core.backlog.ROOM_BYTES", MIB)
    async with nodes("alice", "bob") as (alice, bob):
        port = await full_port(alice, 0)
        reasons = []
        alice.mon(port, reasons.append)
        for _ in range(12):
            blob = b"x" * (MIB // 10)
            arguments = [[port, blob]] if how == "snd_multiple" else [port, blob]
            bob.snd("alice", how, *arguments)
        await settle(1)
        assert [reason[0] for reason in reasons] == ["mailbox_overflow"]


# -- spawn names ---------------------------------------------------------------------------------


@virtual_clock
async def test_a_peer_without_incarnation_cannot_squat_the_names_of_others():
    """Such a peer may choose names: never those another node, or this one, will come to use."""
    network = Network.here()
    async with nodes("alice", "bob") as (alice, bob):
        mallory = await proved(network, "alice", "mallory", incarnation=None)
        answer_time(mallory)
        await settle()
        assert alice.node_is_up("mallory")
        names = [f"{node.incarnation}.{node.next_serial() + 2}" for node in (alice, bob)]
        for name in (*names, "free"):
            request(mallory, SPAWN, name, "hostile:evil")
        await settle()
        assert list(alice.ports)[-1] == "alice#free"  # a name of its own is its to choose
        assert not {f"alice#{name}" for name in names} & set(alice.ports)


@pytest.mark.parametrize("incarnation", [None, "0" * 14], ids=["legacy", "named"])
@virtual_clock
async def test_a_spawn_refused_to_one_peer_does_not_keep_the_name_from_its_owner(incarnation):
    """Names rise one by one: who asks for bob's next ones must not have bob refused them."""
    network = Network.here()
    async with nodes("alice", "bob") as (alice, bob):
        mallory = await proved(network, "alice", "mallory", incarnation=incarnation)
        answer_time(mallory)
        await settle()
        assert alice.node_is_up("mallory")
        following = bob.next_serial() + 1
        for ahead in range(3):
            request(mallory, SPAWN, f"{bob.incarnation}.{following + ahead}", "hostile:evil")
        await settle()
        spawned, ended = bob.spawn("alice", "hostile:good"), []
        bob.mon(spawned, ended.append)
        bob.snd(spawned, "hello")
        await settle()
        assert ended == [] and arrived == {"good": [("hello",)], "evil": []}


# -- fences --------------------------------------------------------------------------------------


@virtual_clock
async def test_a_fence_that_cannot_be_answered_does_not_end_the_port_it_is_for():
    """Its answer is longer than the asker reads: that must not raise where alice receives."""
    network = Network.here()
    async with nodes("alice", heartbeat=FOREVER, mailbox_limit=10) as (alice,):
        got, ended = [], []

        async def life():
            while True:
                await asyncio.sleep(10)
                got.append(await mp.get_cond())

        port = alice.port_async(life)
        alice.mon(port, ended.append)
        for number in range(9):
            alice.snd(port, number)
        mallory = await proved(network, "alice", "mallory", frame="100")
        request(mallory, "fence", name_of(port), "mallory#x", b"z" * 500)
        await settle(1000)
        assert got == [(number,) for number in range(9)] and ended == []


@virtual_clock
async def test_fences_of_a_lost_peer_are_not_answered():
    """Else each would have the lost peer dialled."""
    network = Network.here()
    async with nodes("alice", heartbeat=FOREVER, mailbox_limit=10) as (alice,):
        port = await full_port(alice, 9)
        mallory = await proved(network, "alice", "mallory")
        for number in range(5):
            request(mallory, "fence", name_of(port), "mallory#x", number)
        await settle(1)
        mallory.transport.abort()
        await settle(1)
        alice.kil(port)
        await settle(1)
        assert alice.peers == {}


@virtual_clock
async def test_tags_of_a_fence_are_short():
    """They wait here for as long as the mailbox is full, however many ask."""
    network = Network.here()
    async with nodes("alice", heartbeat=FOREVER, mailbox_limit=10) as (alice,):
        port = await full_port(alice, 9)
        mallory = await proved(network, "alice", "mallory")
        request(mallory, "fence", name_of(port), "mallory#x", b"z" * 2_000)
        request(mallory, "fence", name_of(port), "mallory#x", "short")
        await settle(1)
        alice.kil(port)
        await settle(1)
        assert mallory.messages[-1] == ["x", "short"]
        assert ["x", b"z" * 2_000] not in mallory.messages


@virtual_clock
async def test_more_fences_than_may_wait_are_answered_early_and_the_loop_rests():
    """The oldest is let go for good: it must not ask again and push out the next, for ever."""
    network = Network.here()
    async with nodes("alice", heartbeat=FOREVER, mailbox_limit=10) as (alice,):
        port = await full_port(alice, 9)
        mallory = await proved(network, "alice", "mallory")
        mallory.messages.clear()
        for number in range(1_005):
            request(mallory, "fence", name_of(port), "mallory#x", number)
        await settle(100)  # the clock sees a loop that never rests
        assert mallory.messages == [["x", number] for number in range(5)]


# -- reasons -------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["kil", "kil0"])
@virtual_clock
async def test_a_long_reason_of_a_peer_does_not_break_the_links_of_others(word):
    """It is told on to bob, who reads frames of 64 KiB at most, and would end his link."""
    network = Network.here()
    async with nodes("alice", heartbeat=FOREVER) as (alice,):
        bob = mp.Node("bob", secret=SECRET, seeds=alice.addresses, frame_limit=65_536)
        async with bob:
            await bob.up("alice")
            mallory = await proved(network, "alice", "mallory")
            port = alice.port()
            alice.mon("mallory#p", port)  # kill form: the end there is the end here
            reasons, events = [], []
            bob.mon(port, reasons.append)
            bob.mon_nodes(lambda *event: events.append(event))
            await settle(1)
            request(mallory, word, "p" if word == "kil0" else name_of(port), "why", b"x" * 200_000)
            await settle(5)
            assert reasons == [("why", "the rest of the reason was too long")]
            assert events == []


@virtual_clock
async def test_a_kil_that_comes_with_long_messages_keeps_its_reason():
    """What came in the same chunk says nothing of the length of its reason."""
    async with nodes("alice", "bob") as (alice, bob):
        plain, worded, reasons = alice.port(print), alice.port(print), []
        alice.rcv(plain, lambda *_: None)
        alice.mon(plain, lambda reason: reasons.append(("plain", reason)))
        alice.mon(worded, lambda reason: reasons.append(("worded", reason)))
        bob.snd(plain, b"x" * 60_000)
        bob.kil(plain)
        bob.kil(worded, "why", "detail")
        await settle(1)
        assert reasons == [("plain", ()), ("worded", ("why", "detail"))]


# -- room and reading ------------------------------------------------------------------------------


@virtual_clock
async def test_a_second_connection_does_not_switch_back_pressure_off():
    """While it is held the first is read, so that pings are answered, but not without bound."""
    network = Network.here()
    async with nodes("zed", heartbeat=FOREVER) as (zed,):
        bob = await proved(network, "zed", "bob")
        second = await proved(network, "zed", "bob")
        assert bob.proved and not second.proved  # zed chooses, and holds the second
        queue = zed.queue
        queue.armed = True  # a busy node: nothing is handled
        blob = bob.frames(("nosuch", b"z" * 100_000))
        for _ in range(400):
            bob.write(blob)
            await settle(0.001)
        assert queue.received < 20 * MIB
        queue.armed = False
        queue.arm()
        await settle(1)


@virtual_clock
async def test_what_comes_before_a_probation_ends_is_bounded():
    """Any authenticated peer may leave out its incarnation, answer nothing, and send."""
    network = Network.here()
    async with nodes("alice") as (alice,):
        zed = await proved(network, "alice", "zed", incarnation=None)
        assert zed.proved and not alice.node_is_up("zed")
        blob, written = zed.frames(("x", b"z" * 100_000)), 0
        while not zed.ended and written < 300:
            zed.write(blob)
            written += 1
            await settle(0.001)
        assert zed.ended and written < 30


@virtual_clock
async def test_back_pressure_holds_from_the_first_message_after_a_probation(monkeypatch):
    """What was held is delivered after reading was resumed, and may pause it again."""
    monkeypatch.setattr("aemp_core.run_queue.RECEIVED_LIMIT", 200_000)
    network = Network.here()
    async with nodes("alice", heartbeat=FOREVER) as (alice,):
        zed = await proved(network, "alice", "zed", incarnation=None)
        zed.write(zed.frames(("nosuch", b"z" * 500_000)))
        await settle()
        queue = alice.queue
        queue.armed = True  # a busy node: nothing is handled
        answer_time(zed)
        await settle()
        assert alice.node_is_up("zed")
        for _ in range(50):
            zed.write(zed.frames(("nosuch", b"z" * 100_000)))
            await settle(0.001)
        assert queue.received < 2 * MIB
        queue.armed = False
        queue.arm()
        await settle(1)


# -- connections -------------------------------------------------------------------------------


@virtual_clock
async def test_of_two_connections_of_a_legacy_peer_one_is_confirmed():
    """Both would come up and put each other out; a proof goes out once per link period."""
    network = Network.here()
    async with nodes("alice", heartbeat=FOREVER) as (alice,):
        events = []
        alice.mon_nodes(lambda *event: events.append(event[:2]))
        pair = [await proved(network, "alice", "zed", incarnation=None) for _ in range(2)]
        assert [client.proved for client in pair] == [True, False]
        answer_time(pair[0])
        await settle(1)
        assert events == [("zed", True)] and not pair[0].ended


@virtual_clock
async def test_strangers_do_not_put_out_a_proved_connection():
    """Whoever reaches the port may claim to be bob; who proved to be bob keeps his place."""
    network = Network.here()
    async with nodes("zed", heartbeat=FOREVER) as (zed,):
        await proved(network, "zed", "bob")
        network.silence("bob")  # a black hole: the old link is half-open
        network._silenced.clear()
        again, began = await proved(network, "zed", "bob"), now()
        while not again.proved and not again.ended and now() < began + 30:
            for _ in range(33):
                greeted(network, "zed", "bob", WRONG_SECRET)
            await settle(1)
        assert again.proved and not again.ended
        assert now() - began < 10


def impostor(node_id, incarnation):
    """A listener's protocol that greets as a node it is not, and can prove nothing."""

    class Impostor(RawClient):
        def connection_made(self, transport):
            super().connection_made(transport)
            methods = ("hmac_sha3_512_role",), ("msgpack",)
            greeting = wire.Greeting(node_id, *methods, {"incarnation": incarnation})
            nonce = base64.b64encode(os.urandom(66))
            self.write(greeting.line() + b"\n" + nonce + b"\n")

    return Impostor


@virtual_clock
async def test_an_unproved_greeting_does_not_satisfy_a_seed():
    """Who once answers at carol's address as bob must not keep alice from carol for ever."""
    network = Network.here()
    async with nodes("bob") as (bob,):
        network.bind("carol", impostor("bob", bob.incarnation))
        seeds = ["memory://bob", "memory://carol"]
        async with mp.Node("alice", secret=SECRET, seeds=seeds) as alice:
            await settle(30)
            assert alice.up_nodes() == ["bob"]
            network.release("carol")
            async with mp.Node("carol", secret=SECRET, binds=["memory://carol"]):
                await settle(120)
                assert sorted(alice.up_nodes()) == ["bob", "carol"]


@virtual_clock
async def test_an_unproved_greeting_does_not_take_away_a_learnt_address():
    """Who once answers at carol's address as anybody must not make carol unreachable."""
    network = Network.here()
    network.bind("carol", impostor("bob", "0" * 14))
    async with mp.Node("alice", secret=SECRET, monitor_timeout=20) as alice:
        alice.learn("carol", "memory://carol")
        with pytest.raises(mp.TransportError):
            await alice.up("carol")
        network.release("carol")
        async with mp.Node("carol", secret=SECRET, binds=["memory://carol"]):
            await alice.up("carol")


@virtual_clock
async def test_a_peer_without_incarnation_cannot_take_over_a_port_it_spawned():
    """Its names are its own choice, and each is good for one port."""
    network = Network.here()
    async with nodes("alice", heartbeat=FOREVER) as (alice,):
        zed = await proved(network, "alice", "zed", incarnation=None)
        answer_time(zed)
        await settle()
        request(zed, SPAWN, "worker", "hostile:good")
        await settle()
        request(zed, SPAWN, "worker", "hostile:evil")
        await settle()
        alice.snd("alice#worker", "hello")
        await settle()
        assert arrived == {"good": [("hello",)], "evil": []}


@virtual_clock
async def test_a_peer_without_incarnation_may_use_the_name_of_a_dead_port_again():
    """Nobody's messages go to the dead one, also if the links knew it by its name."""
    network = Network.here()
    async with nodes("alice", "bob", heartbeat=FOREVER) as (alice, bob):
        zed = await proved(network, "alice", "zed", incarnation=None)
        answer_time(zed)
        for number in range(3):
            arrived["good"] = []
            request(zed, SPAWN, "worker", "hostile:good")
            await settle()
            zed.write(zed.frames(("worker", "of zed", number)))
            bob.snd("alice#worker", "of bob", number)
            await settle()
            assert sorted(arrived["good"]) == [("of bob", number), ("of zed", number)]
            alice.kil("alice#worker")
            await settle()
