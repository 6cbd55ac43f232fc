"""Notice: if the port dies or its node is lost the monitor fires: at once on a reset connection,
within the failure-detection time on a silent peer."""

from __future__ import annotations

import asyncio

import pytest
from core_kit import Network, Probe, acquaint, crash, nodes, now, settle

from aemp_core.testing.clock import virtual_clock


@virtual_clock
async def test_notice_of_the_death_of_a_port():
    async with nodes("a", "b") as (a, b):
        for watcher in (a, b):
            port = b.port()
            reasons = []
            watcher.mon(port, reasons.append)
            await settle()
            b.kil(port, "why", 1, None)
            began = now()
            while not reasons:
                await asyncio.sleep(0)
            assert now() == began
            assert reasons == [("why", 1, None)]


@virtual_clock
async def test_notice_of_a_normal_end():
    async with nodes("a", "b") as (a, b):
        for watcher in (a, b):
            port = b.port()
            reasons = []
            watcher.mon(port, reasons.append)
            await settle()
            b.kil(port)
            await settle()
            assert reasons == [()]


@virtual_clock
async def test_notice_of_a_port_that_does_not_exist():
    async with nodes("a", "b") as (a, b):
        dead = b.port()
        b.kil(dead)
        await settle()
        for watcher in (a, b):
            for port in (dead, "b#never"):
                reasons = []
                watcher.mon(port, reasons.append)
                await settle()
                assert reasons == [("no_such_port", "cannot monitor nonexistent port", port)]


@virtual_clock
async def test_notice_at_once_of_a_reset_connection():
    network = Network.here()
    async with nodes("a", "b") as (a, b):
        port = b.port()
        reasons = []
        a.mon(port, reasons.append)
        a.mon("b", reasons.append)
        await settle()
        network.reset("a", "b")
        began = now()
        while len(reasons) < 2:
            await asyncio.sleep(0)
        assert now() == began
        assert [reason[0] for reason in reasons] == ["transport_error"] * 2


@virtual_clock
async def test_notice_at_once_of_a_crash():
    network = Network.here()
    async with nodes("a", "b") as (a, b):
        reasons = []
        a.mon(b.port(), reasons.append)
        await settle()
        began = now()
        await crash(network, b)
        assert [reason[0] for reason in reasons] == ["transport_error"]
        assert now() - began < 0.1


@virtual_clock
async def test_notice_of_a_node_that_closes():
    async with nodes("a", "b") as (a, b):
        reasons, node_reasons = [], []
        a.mon(b.port(), reasons.append)
        a.mon("b", node_reasons.append)
        await settle()
        began = now()
        await b.close()
        await settle()
        assert len(reasons) == len(node_reasons) == 1
        assert reasons[0] in (("closed", "b"), node_reasons[0])
        assert now() - began < 2


@pytest.mark.parametrize("heartbeat", [1, 10, 60])
@virtual_clock
async def test_notice_within_the_detection_time_of_a_silent_peer(heartbeat):
    """Nine ticks of T/8 without a byte: after T, and by T * 10/8 at the latest."""
    network = Network.here()
    async with nodes("a", "b", heartbeat=heartbeat) as (a, b):
        fired = []
        a.mon(b.port(), lambda reason: fired.append((now(), reason)))
        await settle(heartbeat * 3.3)
        assert fired == [], "heartbeats keep an idle link up"
        network.silence("a", "b")
        began = now()
        await settle(heartbeat * 2)
        assert len(fired) == 1
        moment, reason = fired[0]
        assert heartbeat <= moment - began + heartbeat / 4  # the last byte may be T/4 old
        assert heartbeat * 7 / 8 <= moment - began <= heartbeat * 10 / 8
        assert reason[0] == "transport_error"
        assert "silent" in reason[1]


@virtual_clock
async def test_notice_takes_one_heartbeat_in_a_quarter_of_the_detection_time():
    """No longer silence than T/4 on an idle link, and no more beats than that takes."""
    async with nodes("a", "b", heartbeat=8) as (a, b):
        await settle(10)
        peer, heard = a.peers["b"], b.peers["a"].session
        sent, gaps, last = peer.sent, [], None
        for step in range(8_000):
            before = heard.heard
            await settle(0.01)
            if heard.heard != before:
                gaps += [] if last is None else [step - last]
                last = step
        assert max(gaps) <= 200 + 1  # of 10 ms, and the way of the byte
        assert peer.sent - sent <= 80 / 2 + 1


@virtual_clock
async def test_notice_takes_the_silence_each_side_tolerates():
    """The two nodes tolerate different silences; each detects by its own."""
    network = Network.here()
    async with (
        nodes("a", connected=False, heartbeat=2) as (a,),
        nodes("b", connected=False, heartbeat=20) as (b,),
    ):
        acquaint(a, b)
        fired = {}
        a.mon(b.port(), lambda reason: fired.setdefault("a", now()))
        b.mon(a.port(), lambda reason: fired.setdefault("b", now()))
        await settle(100)
        assert fired == {}
        network.silence("a", "b")
        began = now()
        await settle(1)
        # When `a` gives up it resets the connection; keep `b` from hearing of that.
        for wire in network.between("a", "b"):
            wire.ends["b"].lose = lambda error: None
        await settle(40)
        assert 1.75 <= fired["a"] - began <= 2.5
        assert 15 <= fired["b"] - began <= 25


@virtual_clock
async def test_notice_is_not_given_for_a_stall_of_our_own_loop():
    """A stall of any length is one tick."""
    loop = asyncio.get_running_loop()
    async with nodes("a", "b", heartbeat=2) as (a, b):
        fired = []
        a.mon(b.port(), fired.append)
        b.mon(a.port(), fired.append)
        await settle(5)
        for seconds in (1, 2, 3, 10, 1_000):
            loop.stall(seconds)
            await settle(0.7)
        await settle(10)
        assert fired == []


@virtual_clock
async def test_notice_is_given_for_a_silent_peer_in_spite_of_stalls():
    network = Network.here()
    loop = asyncio.get_running_loop()
    async with nodes("a", "b", heartbeat=2) as (a, b):
        fired = []
        a.mon(b.port(), lambda reason: fired.append(now()))
        await settle(5)
        network.silence("a", "b")
        began = now()
        await settle(1)  # so that the tick behind the stall has heard nothing
        loop.stall(100)
        assert fired == []
        await settle(3)
        assert len(fired) == 1
        assert fired[0] - began > 101.6, "the stall counted as one tick only"


@virtual_clock
async def test_notice_of_a_node_that_cannot_be_reached():
    """The dial deadline: monitor_timeout after the first queued item."""
    async with nodes("a", monitor_timeout=15) as (a,):
        fired = []
        began = now()
        a.mon("nowhere#port", lambda reason: fired.append((now() - began, reason)))
        await settle(5)
        a.mon("nowhere", lambda reason: fired.append((now() - began, reason)))
        await settle(60)
        assert len(fired) == 2
        for seconds, reason in fired:
            assert seconds == pytest.approx(15)
            assert reason[0] == "transport_error"
            assert "nowhere" in reason[1]


@virtual_clock
async def test_notice_of_a_peer_that_accepts_and_says_nothing():
    network = Network.here()
    async with nodes("a", "b", connected=False, monitor_timeout=12) as (a, b):
        acquaint(a, b)
        network.silence("a", "b")
        fired = []
        began = now()
        a.mon(b.port(), lambda reason: fired.append((now() - began, reason[0])))
        await settle(60)
        assert fired == [(pytest.approx(12), "transport_error")]


@virtual_clock
async def test_notice_to_node_watchers_when_a_link_comes_up_and_is_lost():
    network = Network.here()
    async with nodes("a", "b") as (a, b):
        events = []
        guard = a.mon_nodes(lambda *event: events.append(event))
        network.reset("a", "b")
        await settle(10)
        assert [(node_id, is_up) for node_id, is_up, _ in events] == [("b", False), ("b", True)]
        assert events[0][2][0] == "transport_error"
        assert events[1][2] == ()
        guard.cancel()
        network.reset("a", "b")
        await settle(10)
        assert len(events) == 2


@virtual_clock
async def test_notice_of_the_own_node_port_when_the_node_closes():
    async with nodes("a") as (a,):
        fired = []
        a.mon("a", fired.append)
        await settle(5)
        assert fired == []
        await a.close()
        assert fired == [("closed", "a")]


@virtual_clock
async def test_notice_after_the_watched_node_came_back_needs_a_new_monitor():
    network = Network.here()
    async with nodes("a", "b") as (a, b):
        fired = []
        a.mon("b", fired.append)
        await settle()
        for _ in range(3):
            network.reset("a", "b")
            await settle(10)
        assert len(fired) == 1
        a.mon("b", fired.append)
        await settle()
        network.reset("a", "b")
        await settle(10)
        assert len(fired) == 2


@pytest.mark.parametrize("phase", [0, 0.1, 0.3, 0.5, 0.7, 0.9])
@virtual_clock
async def test_notice_is_not_given_before_its_time(phase):
    """Between 9/8 and 10/8 of T after the last byte, whenever that came."""
    network = Network.here()
    async with nodes("a", "b", heartbeat=8) as (a, b):
        fired = []
        probe = Probe(a)
        a.mon("b", lambda reason: fired.append(now()))
        await settle(10 + phase)
        b.snd(probe.port, "the last byte")
        await settle()
        assert probe.got
        network.silence("a", "b")
        last = now()
        await settle(20)
        assert len(fired) == 1
        assert 9 - 0.01 <= fired[0] - last <= 10


@virtual_clock
async def test_notice_is_not_given_for_a_link_that_we_do_not_read():
    """Back-pressure of our own is no silence of the peer."""
    async with nodes("a", "b", heartbeat=2) as (a, b):
        fired = []
        a.mon("b", fired.append)
        await settle()
        a.queue.received += 1  # as if that waited in the run queue
        a.hold_back(a.peers["b"].session)
        await settle(60)
        assert fired == []
        a.queue.received -= 1
        a.queue.on_relief()
        probe = Probe(a)
        b.snd(probe.port, "read again")
        await settle()
        assert probe.got and a.node_is_up("b")
