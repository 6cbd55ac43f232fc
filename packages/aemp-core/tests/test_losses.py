"""Losses: whatever is lost, the monitors of the port in question are told, and of no other; and
what was counted is what was there."""

from __future__ import annotations

import asyncio

import pytest
from core_kit import SECRET, Network, Probe, SkilledClient, nodes, settle, timers_left

import aemp_core as mp
from aemp_core.testing.clock import virtual_clock

MIB = 2**20


def nothing(*_):
    pass


async def pair(bob_settings, **settings):
    """Alice, and bob, whom she does not know yet; she reaches him after `meet`."""
    alice = await mp.Node("alice", secret=SECRET, **settings).start()
    bob = mp.Node("bob", secret=SECRET, binds=["memory://bob"], **bob_settings)
    return alice, await bob.start()


async def meet(alice, bob):
    alice.learn("bob", *bob.addresses)
    await alice.up("bob")


async def close(*several):
    for node in several:
        await node.close()


# -- too long for the peer -----------------------------------------------------------------------


@virtual_clock
async def test_a_queued_message_too_long_for_the_peer_is_told_for_its_port():
    """What the peer reads is known when the link is up: the rest of the queue goes on."""
    alice, bob = await pair({"frame_limit": 65_536})
    short, long = Probe(bob), Probe(bob)
    ended = []
    alice.mon(short.port, lambda reason: ended.append(("short", reason)))
    alice.mon(long.port, lambda reason: ended.append(("long", *reason[::2])))
    alice.snd(long.port, 1)
    alice.snd(long.port, b"x" * 100_000)
    alice.snd(long.port, 3)
    alice.snd(short.port, "fits")
    await meet(alice, bob)
    await settle()
    assert long.firsts == [1] and short.firsts == ["fits"]
    assert ended == [("long", "transport_error", long.port)]
    assert alice.node_is_up("bob")
    await close(alice, bob)


@virtual_clock
async def test_behind_a_queued_message_too_long_nothing_passes_before_the_notice():
    """Who hears that the link is up hears so before that: what it sends at once is lost, too."""
    alice, bob = await pair({"frame_limit": 65_536})
    probe, ended = Probe(bob), []
    alice.mon(probe.port, ended.append)
    alice.mon_nodes(lambda node, is_up, *_: is_up and alice.snd(probe.port, "late"))
    for value in (1, b"x" * 100_000):
        alice.snd(probe.port, value)
    await meet(alice, bob)
    await settle()
    assert len(ended) == 1 and probe.firsts == [1]
    alice.snd(probe.port, 2)
    await settle()
    assert probe.firsts == [1, 2]
    await close(alice, bob)


@virtual_clock
async def test_a_monitor_set_behind_a_queued_request_too_long_still_fires():
    """Requests share the node port; a lost one must not take those of monitors with it."""
    alice, bob = await pair({"frame_limit": 65_536})
    port, reasons = bob.port(nothing), []
    alice.learn("bob", *bob.addresses)
    alice.mon("bob", nothing)  # so that the node port is cut, too
    alice.snd_on("bob", port, b"z" * 100_000)
    alice.mon(port, reasons.append)
    await alice.up("bob")
    await settle()
    bob.kil(port, "dead")
    await settle(1)
    assert reasons == [("dead",)]
    await close(alice, bob)


@virtual_clock
async def test_a_queued_spawn_too_long_is_told_to_the_monitor_of_the_new_port():
    """Its port never comes to be, and the reason says why."""
    alice, bob = await pair({"frame_limit": 65_536})
    spawned, reasons = alice.spawn("bob", "x:y", b"z" * 100_000), []
    alice.mon(spawned, reasons.append)
    await meet(alice, bob)
    await settle(1)
    assert [(reason[0], reason[2]) for reason in reasons] == [("transport_error", spawned)]
    await close(alice, bob)


# -- over the send limit ---------------------------------------------------------------------------


def fill(alice, port):
    """Send until the limit towards bob is passed, whose link takes nothing."""
    while alice.peers["bob"].buffered() < 110_000:
        before = alice.peers["bob"].buffered()
        alice.snd(port, b"z" * 10_000)
        if alice.peers["bob"].buffered() == before:
            break


@virtual_clock
async def test_a_kil_over_the_send_limit_is_told_to_the_monitors_of_its_port():
    """Lost in silence, the port would live on, and get what is sent after its kill."""
    network = Network.here()
    async with nodes("alice", "bob", send_limit=100_000) as (alice, bob):
        probe, other, reasons = Probe(bob), bob.port(nothing), []
        alice.mon(probe.port, reasons.append)
        await settle(1)
        network.silence("alice", "bob")
        fill(alice, other)
        alice.kil(probe.port, "stop")
        network.heal()
        await settle(1)
        assert [(reason[0], reason[2]) for reason in reasons] == [("send_limit", probe.port)]


@virtual_clock
async def test_a_spawn_over_the_send_limit_is_told_to_the_monitor_of_the_new_port():
    """Not as a loss of bob's node port, which others watch."""
    network = Network.here()
    async with nodes("alice", "bob", send_limit=100_000) as (alice, bob):
        other, reasons = bob.port(nothing), []
        alice.mon("bob", lambda reason: reasons.append("of the node"))
        network.silence("alice", "bob")
        fill(alice, other)
        spawned = alice.spawn("bob", "x:y", b"z" * 20_000)
        alice.mon(spawned, lambda reason: reasons.append(reason[0]))
        network.heal()
        await settle(1)
        # Nobody watched when it was lost; the monitor that came later finds no port.
        assert reasons == ["no_such_port"] and alice.node_is_up("bob")


@virtual_clock
async def test_what_grows_as_frames_of_the_peer_stays_within_the_limit():
    """Bytes become up to six times as long in JSON: the link must not break of its own queue."""
    alice, bob = await pair({"framings": ["json"]}, send_limit=1_000_000)
    probe, events, reasons = Probe(bob), [], []
    alice.mon_nodes(lambda *event: events.append(event[:2]))
    alice.mon(probe.port, reasons.append)
    for _ in range(90):
        alice.snd(probe.port, b"\0" * 10_000)
    await meet(alice, bob)
    alice.mon(bob.port(), nothing)
    await settle(10)
    assert events == [("bob", True)]
    assert 10 < len(probe.got) < 90  # a beginning, and then the notice
    assert [(reason[0], reason[2]) for reason in reasons] == [("send_limit", probe.port)]
    await close(alice, bob)


@virtual_clock
async def test_a_link_lost_while_it_comes_up_leaves_nothing_behind(monkeypatch):
    """Sending the queue may lose the link again: up comes before down, and no timer stays."""
    alice, bob = await pair({"framings": ["json"], "frame_limit": 65_536}, send_limit=300_000)
    first, second, events, reasons = bob.port(nothing), bob.port(nothing), [], []
    alice.mon_nodes(lambda *event: events.append(event[:2]))
    alice.mon(first, reasons.append)
    alice.mon(second, reasons.append)
    for _ in range(27):
        alice.snd(second, b"\0" * 10_000)
    alice.snd(first, b"\0" * 11_000)
    peer, lost = alice.peers["bob"], []
    cut = type(peer)._cut_one

    def cut_and_lose(self, name, reason):  # as when twice the limit waits, which is rare
        cut(self, name, reason)
        if not lost:
            lost.append(name)
            self.lose(("transport_error", "lost by what was sent"))

    monkeypatch.setattr(type(peer), "_cut_one", cut_and_lose)
    alice.learn("bob", *bob.addresses)
    await settle(0.05)
    assert lost and events[:2] == [("bob", True), ("bob", False)]
    assert len(reasons) == 2
    monkeypatch.undo()
    await settle(60)
    assert set(alice.pulse._sessions) == {p.session for p in alice.peers.values() if p.session}
    await close(alice, bob)
    await settle(60)
    assert timers_left(alice.loop) == []


# -- flush -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("messages", [1, 15])
@virtual_clock
async def test_flush_that_begins_while_dialling_ends_when_the_link_takes_all(messages):
    """The queue went to the link at once: no `writable` will ever come of it."""
    alice, bob = await pair({}, send_limit=20_000)
    port = bob.port(nothing)
    for _ in range(messages):
        alice.snd(port, "x" * (15_000 // messages))
    flushing = asyncio.ensure_future(alice.flush("bob"))
    await settle(1)
    assert not flushing.done()
    await meet(alice, bob)
    await asyncio.wait_for(flushing, 1)
    await close(alice, bob)


# -- what was received -----------------------------------------------------------------------------


async def joined(network, name):
    client = SkilledClient("bob").join(network, name)
    await settle()
    client.write(client.connection.prove())
    await settle()
    return client


async def drip(client, *messages, size=5_000):
    """Send in chunks, as a socket hands over a long message."""
    data = client.frames(*messages)
    for start in range(0, len(data), size):
        client.write(data[start : start + size])
        await settle(0.001)


@virtual_clock
async def test_a_long_message_that_comes_in_small_chunks_counts_in_full(monkeypatch):
    """Else the limit of a mailbox sees the last chunk of each, and long messages never fill it."""
    monkeypatch.setattr("aemp_core.backlog.ROOM_BYTES", MIB)
    network = Network.here()
    async with nodes("alice", heartbeat=3600) as (alice,):

        async def life():
            await asyncio.sleep(3600)

        port, reasons = alice.port_async(life), []
        alice.mon(port, reasons.append)
        client = await joined(network, "alice")
        name = port.partition("#")[2]
        for number in range(5):
            await drip(client, (name, b"x" * 200_000))
            room = alice.ports[port].mailbox.room
            assert room.count == number + 1
            assert (number + 1) * 200_000 <= room.size <= (number + 1) * 201_000
        await drip(client, (name, b"x" * 200_000))
        await settle()
        assert [reason[0] for reason in reasons] == ["mailbox_overflow"]


@virtual_clock
async def test_the_bytes_of_the_run_queue_are_counted_in_and_out_alike():
    """Chunks that end anywhere in messages: what was added is what is taken off."""
    network = Network.here()
    async with nodes("alice", heartbeat=3600) as (alice,):
        client, probe = await joined(network, "alice"), Probe(alice)
        name = probe.port.partition("#")[2]
        sizes = [1, 90_000, 3, 20_000, 20_000, 1, 1, 300_000, 7]
        for chunk in (1_000, 3_333, 65_536):
            await drip(client, *((name, b"x" * size) for size in sizes), size=chunk)
        await settle()
        assert [len(message[0]) for message in probe.got] == sizes * 3
        assert alice.queue.received == 0


# -- receiving ------------------------------------------------------------------------------------


@virtual_clock
async def test_what_waits_behind_requests_is_counted_in_and_out_alike():
    """A request may put something ahead of what came in behind it: that goes back to the queue."""
    network = Network.here()
    async with nodes("alice", heartbeat=3600) as (alice,):
        client, probe = await joined(network, "alice"), Probe(alice)
        name = probe.port.partition("#")[2]
        chunk = [(name, number) if number % 3 else ("", "devnull") for number in range(200)]
        client.write(client.frames(*chunk))
        await settle()
        assert probe.firsts == [number for number in range(200) if number % 3]
        assert alice.queue.received == 0


@virtual_clock
async def test_a_receiver_finds_what_another_passed_over_while_it_waited():
    """Two receivers in one port: the first one woken looks at the message and leaves it."""
    async with nodes("alice") as (alice,):
        got = []

        async def by_tag():
            got.append(await mp.get("a", timeout=20))

        async def by_condition():
            got.append(await mp.get_cond(lambda message: message[0] == "b", timeout=30))

        async def life():
            mp.task(by_tag())
            mp.task(by_condition())
            await asyncio.sleep(100)

        port = alice.port_async(life)
        await settle()
        alice.snd(port, "b", 1)
        await settle()
        alice.snd(port, "a", 2)
        await settle()
        assert got == [("b", 1), (2,)]


# -- refused ---------------------------------------------------------------------------------------


@virtual_clock
async def test_a_monitor_that_a_hook_refuses_fires():
    """Refused in silence it would be deaf for ever."""
    async with nodes("alice", "bob") as (alice, bob):
        bob.authorise_hooks = [lambda peer, name, _: "not here" if name == "mon1" else None]
        port, reasons = bob.port(nothing), []
        alice.mon(port, reasons.append)
        await settle(1)
        assert reasons == [("no_such_port", "not here", port)]


@virtual_clock
async def test_errors_of_hooks_and_of_requests_reach_the_log_with_who_asked(caplog):
    """None leaves the run queue; a hook that fails refuses; an async request is awaited."""
    async with nodes("alice", "bob") as (alice, bob):
        finished = []

        def failing(request, *arguments):
            raise RuntimeError("the request broke")

        async def later(request, *arguments):
            await asyncio.sleep(1)
            finished.append(arguments)

        alice.node_port.requests.update(failing=failing, later=later)
        bob.snd("alice", "failing")
        bob.snd("alice", "later", 1)
        await settle(2)
        assert finished == [(1,)]
        assert "the request broke" in caplog.text and "'failing' by bob at memory" in caplog.text

        def hook(*_):
            raise RuntimeError("the hook broke")

        alice.authorise_hooks = [hook]
        probe = Probe(bob)
        bob.snd("alice", "time", probe.port)
        await settle(1)
        assert probe.got == [] and "the hook broke" in caplog.text


# -- at the caller ---------------------------------------------------------------------------------


@virtual_clock
async def test_an_address_that_can_never_be_dialled_raises_at_once():
    """Else it is a line in the log of a task, and the seed is dead for ever."""
    address = "memory://bad name"
    with pytest.raises(mp.AddressError, match="memory://"):
        await mp.Node("alice", secret=SECRET, seeds=[address]).start()
    async with nodes("alice") as (alice,):
        with pytest.raises(mp.AddressError, match="memory://"):
            alice.learn("bob", address)


@pytest.mark.parametrize("service", ["no.such.module", ["core_kit:nothing"], ["no.such:main"]])
@virtual_clock
async def test_a_service_that_cannot_be_loaded_is_a_config_error(service):
    """It names the key and the value, as every wrong setting does."""
    with pytest.raises(mp.ConfigError, match=r"services.*(no\.such|core_kit:nothing)"):
        await mp.Node("alice", secret=SECRET, services=[service]).start()


@virtual_clock
async def test_a_reason_too_long_to_be_told_everywhere_raises_and_kills_nobody():
    """A watcher may read frames of 64 KiB at most, and its link must not break of our reason."""
    async with nodes("alice", "bob") as (alice, bob):
        port, other = alice.port(), bob.port()
        for victim in (port, other):
            with pytest.raises(mp.UnsendableError, match="shorter"):
                alice.kil(victim, "why", "x" * 20_000)
        with pytest.raises(mp.UnsendableError, match="shorter"):
            alice.mon(port, other, "x" * 40_000)
        await settle()
        assert port in alice.ports and other in bob.ports


@virtual_clock
async def test_no_keyword_of_peval_is_lost():
    """Every word is free for the function that is called, also ours for parameters."""
    async with nodes("alice") as (alice,):
        words = {"self": 1, "function": 2, "port": 3, "args": 4}
        assert alice.peval(alice.port(), lambda **given: given, **words) == words


@virtual_clock
async def test_threadsafe_verbs_of_a_node_that_was_not_started_say_so():
    """There is no loop yet that could take the call."""
    node = mp.Node("alice", secret=SECRET)
    for verb in (node.snd_threadsafe, node.cal_threadsafe):
        with pytest.raises(mp.NodeClosed, match="not started"):
            verb("bob#x", 1)


@virtual_clock
async def test_heartbeats_are_not_counted_as_the_beginning_of_a_message():
    """A link that idles for long must not charge its first message for all its heartbeats."""
    network = Network.here()
    async with nodes("a", "b", heartbeat=1) as (a, b):
        assert network.between("a", "b")
        await asyncio.sleep(600)
        assert a.peers["b"].session.begun == b.peers["a"].session.begun == 0


# -- redials -------------------------------------------------------------------------------------


@virtual_clock
async def test_a_redial_is_jittered_also_when_a_monitor_sets_itself_again():
    """Many nodes may have lost that node in the same moment, and watch it again in the callback."""
    network = Network.here()
    alice, bob = await pair({})
    await meet(alice, bob)
    loop = asyncio.get_running_loop()
    lost, dialled = [], []

    def fired(reason):
        lost.append(loop.time())
        alice.mon("bob", fired)

    alice.mon("bob", fired)
    connect = network.connect
    network.connect = lambda *args: (dialled.append(loop.time()), connect(*args))
    for _ in range(6):
        network.reset("alice", "bob")
        await asyncio.sleep(5)
    pauses = [dial - loss for loss, dial in zip(lost, dialled, strict=True)]
    assert len(pauses) == 6
    assert max(pauses) > 0.05
    assert max(pauses) <= 0.25
    await close(alice, bob)


@virtual_clock
async def test_who_waits_for_a_node_is_told_of_its_next_link_if_this_one_is_lost_at_that_moment():
    """The wait may begin a turn of the loop later, when the peer of the lost link is forgotten.

    Up to Python 3.11, where `wait_for` makes a task of it; later ones find the link still there.
    """
    async with nodes("alice", "bob") as (_, bob):
        waiting = asyncio.ensure_future(bob.up("alice", timeout=30))
        await asyncio.sleep(0)
        bob.peers["alice"].lose(("transport_error", "now"))
        await waiting  # and does not run out of time
