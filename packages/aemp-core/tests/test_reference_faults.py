"""What the reference implementation is known to get wrong, one test each."""

from __future__ import annotations

import asyncio
import logging
import sys

import pytest
from core_kit import (
    SECRET,
    Network,
    Probe,
    SkilledClient,
    acquaint,
    is_prefix,
    nodes,
    now,
    settle,
)

import aemp_core as mp
from aemp_core.testing.clock import virtual_clock


@virtual_clock
async def test_an_error_inside_a_monitor_callback_does_not_stop_delivery(caplog):
    async with nodes("a", "b") as (a, b):
        for watched in (a.port(), b.port()):
            probe = Probe(a)
            order = []
            a.mon(watched, lambda reason, order=order: order.append("first"))
            a.mon(watched, lambda reason: 1 / 0)
            a.mon(watched, lambda reason, order=order: order.append("third"))
            owner = a.port()
            a.peval(owner, a.mon, watched, lambda reason: 1 / 0)
            ended = []
            a.mon(owner, ended.append)
            await settle()
            a.kil(watched, "x")
            for number in range(10):
                a.snd(probe.port, number)
            await settle()
            a.snd(probe.port, 10)
            await settle()
            assert order == ["first", "third"]
            assert probe.firsts == list(range(11))
            # It killed the port that registered it, and nothing else; outside any it is logged.
            assert ended == [("die", "ZeroDivisionError: division by zero")]
        errors = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert any("ZeroDivisionError" in str(record.exc_info) for record in errors)


@virtual_clock
async def test_a_default_handler_set_after_tags_is_as_protected_as_one_set_before():
    async with nodes("a") as (a,):
        before = a.port(lambda *_: 1 / 0)
        a.rcv(before, tag=lambda: None)
        after = a.port()
        a.rcv(after, tag=lambda: None)
        a.rcv(after, lambda *_: 1 / 0)
        probe = Probe(a)
        for port in (before, after):
            reasons = []
            a.mon(port, reasons.append)
            a.snd(port, "tag")
            a.snd(port, "anything")
            a.snd(port, "tag")
            a.snd(probe.port, port)
            await settle()
            assert reasons == [("die", "ZeroDivisionError: division by zero")]
        assert probe.firsts == [before, after]


@virtual_clock
async def test_several_monitors_with_the_same_callback_on_one_port_each_fire():
    async with nodes("a", "b") as (a, b):
        for port in (a.port(), b.port()):
            fired = []
            guards = [a.mon(port, fired.append) for _ in range(5)]
            await settle()
            guards[2].cancel()
            a.kil(port, "x")
            await settle()
            assert fired == [("x",)] * 4


@pytest.mark.parametrize("state", ["up", "dialling"])
@pytest.mark.parametrize(
    "value",
    [object(), {1: 2}, {1, 2}, float("nan"), "\ud800", 2**64, -(2**63) - 1, lambda: 0, 1j],
    ids=lambda value: type(value).__name__,
)
@virtual_clock
async def test_an_unsendable_remote_message_raises_at_its_sender_and_harms_no_other(state, value):
    async with nodes("a", "b", connected=state == "up") as (a, b):
        probe = Probe(b)
        a.snd(probe.port, "before")
        reasons = []
        a.mon(probe.port, reasons.append)
        with pytest.raises(mp.UnsendableError) as caught:
            a.snd(probe.port, "tag", {"inside": [value]})
        assert "message[1]['inside'][0]" in str(caught.value)
        a.snd(probe.port, "after")
        if state == "dialling":
            acquaint(a, b)
        await settle(5)
        assert probe.got == [("before",), ("after",)]
        assert reasons == []


@virtual_clock
async def test_cal_stops_watching_once_answered():
    """No second firing when the port ends later, no watch and no reply port left on either node."""
    async with nodes("a", "b") as (a, b):
        for target in (b, a):
            port = target.port(mp.replies(lambda word: word.upper()))
            await settle()
            before = len(a.ports)
            assert await a.cal(port, "word") == ("WORD",)
            assert await a.cal(port, "word", timeout=10) == ("WORD",)
            await settle()
            assert not target.ports[port].watches
            assert len(a.ports) == before
            target.kil(port, "later")
            await settle()
        assert a.node_is_up("b")


@mp.exposed(name="faults:fails")
def fails():
    raise RuntimeError("no such luck")


@mp.exposed(name="faults:fails_late")
async def fails_late():
    await asyncio.sleep(1)
    raise RuntimeError("too late")


@pytest.mark.parametrize("late", [False, True], ids=["watched at once", "a round trip late"])
@pytest.mark.parametrize("where", ["a", "b"])
@virtual_clock
async def test_a_missing_or_failing_spawn_function_is_told_as_spawn_error(late, where):
    async with nodes("a", "b") as (a, b):
        for function, text in (
            ("faults:missing", "faults:missing"),
            (f"{__name__}:not_exposed", "not exposed"),
            ("faults:fails", "RuntimeError: no such luck"),
        ):
            port = a.spawn(where, function)
            if late:
                await settle(20)
            fired = []
            a.mon(port, fired.append)
            a.mon(port, fired.append)
            await settle()
            assert [reason[0] for reason in fired] == ["spawn_error"] * 2
            assert text in fired[0][1]
            # Any later monitor is told the same, for a minute.
            await settle(30)
            b.mon(port, fired.append)
            await settle()
            assert fired[2] == fired[0]


def not_exposed():
    raise AssertionError("called although nobody exposed it")


@pytest.mark.parametrize(
    "frame",
    [b"\xc1", b"\x81\x01\x02", b"\x90" * 200 + b"\xc1", b"\xc7\x01\x05x", b"\x91\x01",
     b"\xa1x", b"\x91" * 1_000 + b"\xc0", b"\xdf\xff\xff\xff\xff",
     b"\x92\xa1x\xcb\x7f\xf8" + b"\0" * 6],
    ids=["reserved", "map", "empties", "ext", "int first", "str", "deep", "huge", "nan"],
)  # fmt: skip
@virtual_clock
async def test_malformed_frames_end_the_link_with_a_reason(frame, caplog):
    """Good messages before them arrive; the link is not left open and deaf."""
    network = Network.here()
    async with nodes("a") as (a,):
        probe = Probe(a)
        client = SkilledClient("friend").join(network, "a")
        await settle()
        client.write(client.connection.prove())
        await settle()
        fired = []
        a.mon("friend", fired.append)
        name = probe.port.partition("#")[2]
        client.write(client.frames((name, "good")) + frame + client.frames((name, "bad")))
        await settle(200)
        assert [reason[0] for reason in fired] == ["transport_error"]
        assert client.ended
        assert probe.got == [("good",)]
        assert "friend" in caplog.text


def calls_to_drain(node, probe, count):
    """How many Python and C functions are called to deliver `count` queued messages."""
    calls = 0

    def profile(frame, event, argument):
        nonlocal calls
        if event in ("call", "c_call"):
            calls += 1

    for number in range(count):
        node.snd(probe.port, number)
    queue = node.queue
    sys.setprofile(profile)
    try:
        while queue.items:
            queue._drain()
    finally:
        sys.setprofile(None)
    return calls


@virtual_clock
async def test_queue_cost_per_message_does_not_grow_with_the_backlog():
    async with nodes("a") as (a,):
        probe = Probe(a)
        small = calls_to_drain(a, probe, 2_000) / 2_000
        large = calls_to_drain(a, probe, 64_000) / 64_000
        assert large <= small * 1.02
        assert len(probe.got) == 66_000
        # A deque: taking from its head is one step, however long it is.
        assert type(a.queue.items).__name__ == "deque"


@virtual_clock
async def test_selective_receive_looks_at_each_message_once_per_kind():
    """The same for a mailbox: a backlog of other messages is not searched again and again."""
    async with nodes("a") as (a,):
        looked = 0

        def wanted(message):
            nonlocal looked
            looked += 1
            return message[0] == "wanted"

        done = []

        async def reader():
            for _ in range(200):
                done.append(await mp.get_cond(lambda message: message[0] == "filler"))
            for _ in range(200):
                await mp.get("tag")
                done.append("tag")

        port = a.port_async(reader)
        for number in range(2_000):
            a.snd(port, "other", number)
        for number in range(200):
            a.snd(port, "tag", number)
            a.snd(port, "filler", number)
        await settle()
        assert len(done) == 400
        assert looked == 0


@virtual_clock
async def test_sending_to_a_stopped_peer_does_not_grow_memory_without_bound():
    network = Network.here()
    async with nodes("a", "b", send_limit=500_000) as (a, b):
        probe = Probe(b)
        reasons = []

        def watch(reason=None):
            reasons.append(reason)
            if not a.closing:
                a.mon(probe.port, watch)

        watch()
        await settle()
        network.silence("a", "b")
        most = 0
        for number in range(3_000):
            a.snd(probe.port, number, "x" * 1_000)
            if number % 100 == 0:
                await asyncio.sleep(0)
            most = max(most, a.buffered())
        assert 400_000 < most < 600_000
        await settle()
        assert reasons[1][0] == "send_limit"
        # And once it is plain that the peer is stopped, everything is given back.
        await settle(15)
        assert a.buffered() <= 500_000
        assert reasons[-1][0] in ("transport_error", "send_limit")


@pytest.mark.parametrize("turns", range(6))
@pytest.mark.parametrize("addresses", [1, 3])
@virtual_clock
async def test_two_nodes_that_dial_each_other_at_once_end_with_one_link(addresses, turns):
    """Over several addresses each: one link, one "up" each, no message lost."""
    network = Network.here()
    names = {name: [f"memory://{name}/{number}" for number in range(addresses)] for name in "ab"}
    a = mp.Node("a", binds=names["a"], secret=SECRET)
    b = mp.Node("b", binds=names["b"], secret=SECRET)
    async with a, b:
        events = []
        a.mon_nodes(lambda *event: events.append(("a", *event[:2])))
        b.mon_nodes(lambda *event: events.append(("b", *event[:2])))
        at_a, at_b = Probe(a), Probe(b)
        reasons = []
        a.mon(at_b.port, reasons.append)
        b.mon(at_a.port, reasons.append)
        a.learn("b", *names["b"])
        for _ in range(turns):
            await asyncio.sleep(0)
        b.learn("a", *names["a"])
        for number in range(100):
            a.snd(at_b.port, number)
            b.snd(at_a.port, number)
            await asyncio.sleep(0)
        await settle(15)
        assert len(network.dials) >= 1 + addresses * (turns == 0)
        assert sorted(events) == [("a", "b", True), ("b", "a", True)]
        assert at_a.firsts == at_b.firsts == list(range(100))
        assert reasons == []
        assert len(network.between("a", "b")) == 1


@pytest.mark.parametrize("who", ["the chooser dials again", "the other side dials again"])
@virtual_clock
async def test_a_stale_link_is_replaced_without_a_hole(who):
    """One side lost the link and the other has not noticed. The next connection replaces it; a
    monitor tells of what was lost."""
    network = Network.here()
    chooser, other = ("b", "a")  # the greater ID chooses
    lost_by = chooser if who == "the chooser dials again" else other
    async with nodes("a", "b", heartbeat=60, monitor_timeout=40) as (a, b):
        loser, holder = (a, b) if lost_by == "a" else (b, a)
        probe = Probe(loser)
        reasons = []

        def watch(reason=None):
            if reason is not None:
                reasons.append((count[0], reason))
            if not holder.closing:
                holder.mon(probe.port, watch)

        count = [0]
        watch()
        await settle()
        (wire,) = network.between("a", "b")
        # The loser's end breaks; its reset never gets through to the holder.
        wire.flow_to(holder.id).arm = lambda: None
        wire.ends[loser.id].lose(ConnectionResetError("cable pulled"))
        for _ in range(3):
            await asyncio.sleep(0)
        assert not loser.node_is_up(holder.id) and holder.node_is_up(loser.id)
        loser.learn(holder.id, f"memory://{holder.id}")
        loser.mon(holder.id, lambda reason: None)
        for number in range(200):
            holder.snd(probe.port, number)
            count[0] += 1
            await asyncio.sleep(0.1)
        assert loser.node_is_up(holder.id)
        assert len(reasons) == 1
        fired_at, reason = reasons[0]
        assert reason[0] == "transport_error"
        covered = [number for number in probe.firsts if number < fired_at]
        assert is_prefix(covered, list(range(fired_at)))
        assert [n for n in probe.firsts if n >= fired_at] == list(range(fired_at, 200))
        assert len(network.between("a", "b")) == 1


@virtual_clock
async def test_known_nodes_lists_each_node_once():
    async with nodes("a", "b", "c") as (a, b, c):
        a.mon("nowhere", lambda reason: None)
        a.mon("nowhere#x", lambda reason: None)
        known = a.known_nodes()
        assert sorted(known) == ["a", "b", "c", "nowhere"]
        assert sorted(a.up_nodes()) == ["b", "c"]
        # As a peer hears it.
        probe = Probe(b)
        b.snd("a", "known_nodes", probe.port, "tag")
        b.snd("a", "up_nodes", probe.port, "tag")
        await settle()
        assert probe.got[0][0] == "tag" and sorted(probe.got[0][1:]) == sorted(known)
        assert sorted(probe.got[1][1:]) == ["b", "c"]


@virtual_clock
async def test_silence_of_a_stopped_peer_is_noticed_in_time():
    network = Network.here()
    async with nodes("a", "b") as (a, b):
        fired = []
        a.mon(b.port(), lambda reason: fired.append(now()))
        await settle(30)
        network.silence("b")
        began = now()
        await settle(30)
        assert len(fired) == 1
        assert 8.75 <= fired[0] - began <= 12.5
