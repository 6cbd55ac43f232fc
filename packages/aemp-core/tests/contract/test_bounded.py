"""Bounded: a slow or absent peer, or a slow async port, costs bounded memory; passing the bound is
told by a reason, never by silent gaps. flush is how a sender keeps pace."""

from __future__ import annotations

import asyncio
import gc
import itertools
import tracemalloc

import pytest
from core_kit import Network, Probe, acquaint, is_prefix, nodes, settle

import aemp_core as mp
from aemp_core.testing.clock import virtual_clock

TEXT = "x" * 1_000
MIB = 2**20


def peak_of(action):
    """The most bytes allocated at once while `action` ran."""
    gc.collect()
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("watched", [True, False])
@virtual_clock
async def test_bounded_memory_for_an_absent_peer(watched):
    """While dialling, 20 times the limit is sent: what is kept stays about the limit."""
    async with nodes("a", send_limit=MIB) as (a,):
        reasons = []

        def flood():
            if watched:
                a.mon("absent#port", reasons.append)
            for _ in range(20_000):
                a.snd("absent#port", TEXT)

        assert peak_of(flood) < 2.5 * MIB
        await settle()
        assert [reason[0] for reason in reasons] == ["send_limit"] * watched
        if watched:
            assert reasons[0][2] == "absent#port"
            assert str(MIB) in reasons[0][1]


@pytest.mark.parametrize("absent", [True, False])
@virtual_clock
async def test_bounded_memory_for_small_messages(absent):
    """However small they are: what is kept of each is not many times its bytes."""
    network = Network.here()
    async with nodes("a", "b", send_limit=4 * MIB) as (a, b):
        port = "absent#port" if absent else b.port()
        await settle()
        network.silence("a", "b")
        reasons = []
        a.mon(port, reasons.append)
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        while not reasons:
            for _ in range(500):
                a.snd(port, "x")
            await asyncio.sleep(0)
            most = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        assert reasons[0][0] == "send_limit"
        assert most < 1.2 * 4 * MIB


@virtual_clock
async def test_bounded_bytes_of_long_values():
    """They are not copied to be sent, and count as all that is sent."""
    network = Network.here()
    async with nodes("a", "b", send_limit=8 * MIB) as (a, b):
        probe = Probe(b)
        blob = b"x" * MIB
        for number in range(3):
            a.snd(probe.port, number, blob, "end")
        await settle()
        assert probe.got == [(number, blob, "end") for number in range(3)]
        with pytest.raises(mp.UnsendableError, match="frame_limit"):
            a.snd(probe.port, b"x" * (16 * MIB))
        network.silence("a", "b")
        reasons = []
        a.mon(probe.port, reasons.append)

        def flood():
            for number in range(100):
                a.snd(probe.port, number, blob, "end")

        assert peak_of(flood) < MIB // 2
        assert 7 * MIB < a.buffered() < 9 * MIB
        await settle()
        assert [reason[0] for reason in reasons] == ["send_limit"]


@virtual_clock
async def test_bounded_memory_for_a_stopped_peer():
    network = Network.here()
    async with nodes("a", "b", send_limit=MIB) as (a, b):
        probe = Probe(b)
        reasons, covered = [], []

        def fired(reason):
            reasons.append(reason)
            covered.append(sent)

        a.mon(probe.port, fired)
        await settle()
        network.silence("a", "b")
        gc.collect()
        tracemalloc.start()
        for number in range(20_000):
            sent = number
            a.snd(probe.port, number, TEXT)
            if number % 1_000 == 0:
                await asyncio.sleep(0)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 3 * MIB
        assert reasons and reasons[0][0] == "send_limit"
        network.heal()
        await settle(1)
        numbers = probe.firsts
        assert is_prefix([number for number in numbers if number < covered[0]], list(range(20_000)))
        assert MIB * 0.9 <= len(numbers) * 1_000 <= MIB * 1.2


@virtual_clock
async def test_bounded_total_over_all_peers():
    """Many absent peers together cost no more than a few times the limit of one."""
    async with nodes("a", send_limit=MIB) as (a,):
        fired = []

        def flood():
            for peer in range(64):
                a.mon(f"absent{peer}#port", fired.append)
                for _ in range(500):
                    a.snd(f"absent{peer}#port", TEXT)

        # 32 MB are sent. The total is eight times the limit of one peer.
        assert peak_of(flood) < 12 * MIB
        await settle()
        assert fired and {reason[0] for reason in fired} == {"send_limit"}


@virtual_clock
async def test_bounded_monitor_traffic_passes_until_twice_the_limit():
    """Monitors set while data is over its limit still work; without end they lose the link."""
    network = Network.here()
    async with nodes("a", "b", send_limit=200_000) as (a, b):
        data = b.port(lambda *_: None)
        control = b.port()
        await settle()
        network.silence("a", "b")
        for _ in range(300):
            a.snd(data, TEXT)
        reasons = []
        a.mon(control, reasons.append)
        await settle()
        assert a.node_is_up("b")
        network.heal()
        await settle()
        b.kil(control, "seen")
        await settle()
        assert reasons == [("seen",)]

        network.silence("a", "b")
        lost = []
        a.mon("b", lost.append)
        ports = [f"b#{'n' * 60}.{number}" for number in range(20_000)]
        for port in ports:
            a.mon(port, lambda reason: None)
            if not a.node_is_up("b"):
                break
        else:
            pytest.fail("monitor traffic grows without bound")
        await settle()
        assert lost and lost[0][0] == "transport_error"


@virtual_clock
async def test_bounded_mailbox_of_an_async_port():
    async with nodes("a", "b", mailbox_limit=100) as (a, b):

        async def sleeper():
            await asyncio.sleep(3_600)

        for sender, more in itertools.product((a, b), (1, 2)):
            port = b.port_async(sleeper)
            reasons = []
            b.mon(port, reasons.append)
            await settle()
            for number in range(100):
                sender.snd(port, number)
            await settle()
            assert reasons == []
            for _ in range(more):  # alone, and in a row
                sender.snd(port, "one too many")
            await settle()
            assert [reason[0] for reason in reasons] == ["mailbox_overflow"]


@virtual_clock
async def test_bounded_backlog_of_an_async_handler():
    async with nodes("a", mailbox_limit=100) as (a,):

        async def slow(*_):
            await asyncio.sleep(3_600)

        port = a.port(slow)
        reasons = []
        a.mon(port, reasons.append)
        for number in range(101):
            a.snd(port, number)
        await settle()
        assert reasons == []
        a.snd(port, "one too many")
        await settle()
        assert [reason[0] for reason in reasons] == ["mailbox_overflow"]


@virtual_clock
async def test_bounded_bytes_of_a_mailbox_filled_over_a_link():
    """64 MiB received, however few the messages."""
    async with nodes("a", "b", send_limit=200 * MIB) as (a, b):

        async def sleeper():
            await asyncio.sleep(3_600)

        port = b.port_async(sleeper)
        reasons = []
        a.mon(port, reasons.append)
        await settle()
        block = b"x" * (4 * MIB)
        for _ in range(15):
            a.snd(port, block)
        await settle()
        assert reasons == []
        for _ in range(2):
            a.snd(port, block)
        await settle()
        assert [reason[0] for reason in reasons] == ["mailbox_overflow"]


@virtual_clock
async def test_bounded_bytes_of_a_backlog_filled_over_a_link(monkeypatch):
    """Also what waits for an async handler counts in bytes."""
    monkeypatch.setattr("aemp_core.backlog.ROOM_BYTES", MIB)
    async with nodes("a", "b") as (a, b):

        async def slow(*_):
            await asyncio.sleep(3_600)

        port = b.port(slow)
        reasons = []
        a.mon(port, reasons.append)
        block = b"x" * (MIB // 4)
        for _ in range(4):  # the first is being handled
            a.snd(port, block)
        await settle()
        assert reasons == []
        for _ in range(2):
            a.snd(port, block)
        await settle()
        assert [reason[0] for reason in reasons] == ["mailbox_overflow"]


@pytest.mark.parametrize("times", [1, 3])
@virtual_clock
async def test_bounded_ports_that_a_link_knows(monkeypatch, times):
    """What makes sending to a port quick is kept for some ports, however many there are."""
    monkeypatch.setattr("aemp_core.way.WAYS", 10)
    monkeypatch.setattr("aemp_core.session.KNOWN_PORTS", 10)
    async with nodes("a", "b") as (a, b):
        probes = [Probe(b) for _ in range(100)]
        for probe in probes:
            for number in range(times):
                a.snd(probe.port, number)
        await settle()
        assert all(probe.firsts == list(range(times)) for probe in probes)
        assert len(a.far) <= 10
        assert len(a.peers["b"].session.ways._seen) <= 10
        assert len(b.peers["a"].session.ports) <= 10


@virtual_clock
async def test_bounded_reading_pauses_while_the_run_queue_is_full():
    """More than 8 MiB received and not handled: the sender meets back-pressure, nothing is lost."""
    async with nodes("a", "b", send_limit=64 * MIB) as (a, b):
        seen = []

        def handler(number, block):
            seen.append(number)

        port = b.port(handler)
        await settle()
        # Work of `b`'s own, many slices of it, is ahead of what it receives.
        busy = b.port(lambda *_: None)
        for _ in range(60_000):
            b.snd(busy, "work")
        block = b"x" * 100_000
        most = 0
        for number in range(400):
            a.snd(port, number, block)
        while b.queue.items:
            await asyncio.sleep(0)
            most = max(most, b.queue.received)
        await settle(1)
        assert seen == list(range(400))
        assert 7 * MIB < most < 10 * MIB


@virtual_clock
async def test_bounded_flush_keeps_pace_with_a_slow_link():
    """A sender that flushes never meets the limit, and everything arrives."""
    async with nodes("a", "b", send_limit=MIB) as (a, b):
        probe = Probe(b)
        reasons = []
        a.mon(probe.port, reasons.append)
        for number in range(10_000):
            a.snd(probe.port, number, TEXT)
            if number % 100 == 99:
                await a.flush("b")
        await settle()
        assert probe.firsts == list(range(10_000))
        assert reasons == []


@virtual_clock
async def test_bounded_flush_waits_until_half_is_gone():
    network = Network.here()
    async with nodes("a", "b", send_limit=MIB) as (a, b):
        probe = Probe(b)
        network.silence("a", "b")
        for number in range(800):
            a.snd(probe.port, number, TEXT)
        flushing = asyncio.ensure_future(a.flush("b"))
        await settle(1)
        assert not flushing.done()
        network.heal()
        await settle()
        assert flushing.done() and flushing.result() is None
        assert len(probe.got) == 800


@virtual_clock
async def test_bounded_flush_of_a_port_waits_for_its_mailbox():
    """`flush(port)` returns when the mailbox is below half; senders elsewhere keep pace, too."""
    async with nodes("a", "b", mailbox_limit=200) as (a, b):
        seen = []

        async def reader():
            async for message in mp.messages():
                seen.append(message[0])
                await asyncio.sleep(0.01)

        for sender in (a, b):
            seen.clear()
            port = b.port_async(reader)
            reasons = []
            b.mon(port, reasons.append)
            for number in range(1_000):
                sender.snd(port, number)
                if number % 50 == 49:
                    await sender.flush(port)
            await settle(20)
            assert seen == list(range(1_000))
            assert reasons == []


@virtual_clock
async def test_bounded_flush_of_a_port_is_no_earlier_than_half():
    async with nodes("a", "b", mailbox_limit=100) as (a, b):
        go = asyncio.Event()

        async def reader():
            await go.wait()
            async for _ in mp.messages():
                await asyncio.sleep(1)

        port = b.port_async(reader)
        for number in range(90):
            a.snd(port, number)
        flushing = asyncio.ensure_future(a.flush(port))
        await settle(5)
        assert not flushing.done()
        go.set()
        await settle(30)
        assert not flushing.done(), "more than half still waits"
        await settle(15)
        assert flushing.done()


@virtual_clock
async def test_bounded_flush_returns_on_loss():
    network = Network.here()
    async with nodes("a", "b", send_limit=MIB) as (a, b):

        async def reader():
            await asyncio.sleep(3_600)

        port = b.port_async(reader)
        await settle()
        network.silence("a", "b")
        for _ in range(800):
            a.snd(port, TEXT)
        flushes = [asyncio.ensure_future(a.flush(target)) for target in ("b", port)]
        await settle()
        assert not any(flush.done() for flush in flushes)
        network.cut_off("b")
        network.reset("a", "b")
        await settle(60)
        assert all(flush.done() and flush.result() is None for flush in flushes)


@virtual_clock
async def test_bounded_flush_returns_when_the_port_is_gone():
    async with nodes("a", "b", mailbox_limit=10) as (a, b):

        async def reader():
            await asyncio.sleep(3_600)

        port = b.port_async(reader)
        for _ in range(9):
            a.snd(port, "x")
        flushing = asyncio.ensure_future(a.flush(port))
        await settle()
        assert not flushing.done()
        b.kil(port)
        await settle()
        assert flushing.done() and flushing.result() is None
        await asyncio.wait_for(a.flush(port), 1)
        await asyncio.wait_for(b.flush(port), 1)


@virtual_clock
async def test_bounded_frames():
    """A message over the peer's frame_limit raises at its sender; a long one below passes."""
    async with (
        nodes("a", connected=False) as (a,),
        nodes("b", connected=False, frame_limit=100_000) as (b,),
    ):
        acquaint(a, b)
        await a.up("b")
        probe = Probe(b)
        with pytest.raises(mp.UnsendableError, match="frame_limit"):
            a.snd(probe.port, b"x" * 100_001)
        a.snd(probe.port, b"x" * 90_000)
        await settle()
        assert [len(message[0]) for message in probe.got] == [90_000]
        assert a.node_is_up("b")


@virtual_clock
async def test_bounded_spawns_of_one_node():
    async with nodes("a", "b", spawn_limit=10) as (a, b):
        ports = [a.spawn("b", idle) for _ in range(12)]
        reasons = {}
        for port in ports:
            a.mon(port, lambda reason, port=port: reasons.setdefault(port, reason))
        await settle()
        assert set(reasons) == set(ports[10:])
        for reason in reasons.values():
            assert reason[0] == "spawn_error" and "10" in reason[1]
        b.kil(ports[0])
        await settle()
        port = a.spawn("b", idle)
        refused = []
        a.mon(port, refused.append)
        await settle()
        assert refused == []


@virtual_clock
async def test_bounded_room_is_given_back_by_what_was_handled():
    """A port that keeps up lives on, however many messages it handles, and however."""
    async with nodes("a", mailbox_limit=100) as (a,):
        done = []

        async def slow(number):
            await asyncio.sleep(0.001)
            done.append(number)

        async def reader():
            async for (number,) in mp.messages():
                await slow(number)

        async def getter():
            while True:
                (number,) = await mp.get("tag")
                await slow(number)

        async def chooser():
            while True:
                _, number = await mp.get_cond(lambda message: message[0] == "tag")
                await slow(number)

        readers = ((reader, ()), (getter, ("tag",)), (chooser, ("tag",)))
        ports = [(a.port(slow), ()), *((a.port_async(each), tag) for each, tag in readers)]
        for port, tag in ports:
            done.clear()
            await settle()
            for _ in range(5):
                for number in range(60):
                    a.snd(port, *tag, number)
                await settle(1)
            assert done == [*range(60)] * 5


@mp.exposed(name="bounded:idle")
def idle():
    mp.rcv(mp.current_port(), lambda *_: None)
