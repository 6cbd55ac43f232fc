"""Monitors: the three forms, guards, and whose code callbacks are."""

from __future__ import annotations

import asyncio
import gc
import logging
from itertools import pairwise

import pytest
from core_kit import Log, Network, Probe, nodes, settle

import aemp_core as mp
from aemp_core.testing.clock import virtual_clock


@virtual_clock
async def test_a_callback_gets_the_reason_as_one_tuple():
    async with nodes("a", "b") as (a, b):
        for port, reason in ((a.port(), ("x", 1, [2])), (b.port(), ("x", 1, [2])), (b.port(), ())):
            got = []
            a.mon(port, lambda *arguments, got=got: got.append(arguments))
            await settle()
            a.kil(port, *reason)
            await settle()
            assert got == [(reason,)]


@virtual_clock
async def test_kill_form_an_abnormal_end_kills_the_other_a_normal_one_does_not():
    async with nodes("a", "b") as (a, b):
        for watched_on in (a, b):
            for other_on in (a, b):
                for reason in ((), ("boom", 2)):
                    watched, other = watched_on.port(), other_on.port()
                    a.mon(watched, other)
                    ended = []
                    other_on.mon(other, ended.append)
                    await settle()
                    watched_on.kil(watched, *reason)
                    await settle()
                    assert ended == ([reason] if reason else [])


@virtual_clock
async def test_message_form_sends_the_message_and_the_reason():
    async with nodes("a", "b") as (a, b):
        for watched_on in (a, b):
            for other_on in (a, b):
                for reason in ((), ("boom", 2)):
                    watched, other = watched_on.port(), Probe(other_on)
                    a.mon(watched, other.port, "ended", "who")
                    await settle()
                    watched_on.kil(watched, *reason)
                    await settle()
                    assert other.got == [("ended", "who", *reason)]


@virtual_clock
async def test_without_target_the_current_port_dies_with_it():
    async with nodes("a", "b") as (a, b):
        for watched in (a.port(), b.port()):
            me = a.port()
            a.peval(me, a.mon, watched)
            ended = []
            a.mon(me, ended.append)
            await settle()
            a.kil(watched, "x")
            await settle()
            assert ended == [("x",)]


@virtual_clock
async def test_callbacks_run_in_the_port_that_registered_them():
    async with nodes("a", "b") as (a, b):
        seen = []

        def callback(reason):
            try:
                seen.append(mp.current_port())
            except mp.NoCurrentPort:
                seen.append(None)

        for watched in (a.port(), b.port()):
            seen.clear()
            me, gone = a.port(), a.port()
            a.peval(me, a.mon, watched, callback)
            a.peval(gone, a.mon, watched, callback)
            a.mon(watched, callback)
            a.kil(gone)
            await settle()
            a.kil(watched)
            await settle()
            assert seen == [me, None, None]


@virtual_clock
async def test_the_exception_of_a_callback_ends_the_port_that_registered_it():
    async with nodes("a") as (a,):
        watched, me = a.port(), a.port()
        a.peval(me, a.mon, watched, lambda reason: 1 / 0)
        ended = []
        a.mon(me, ended.append)
        a.kil(watched)
        await settle()
        assert ended == [("die", "ZeroDivisionError: division by zero")]


@virtual_clock
async def test_the_exception_of_a_callback_outside_any_port_is_logged(caplog):
    async with nodes("a") as (a,):
        watched = a.port()
        a.mon(watched, lambda reason: 1 / 0)
        after = []
        a.mon(watched, after.append)
        a.kil(watched)
        with caplog.at_level(logging.ERROR):
            await settle()
        assert "ZeroDivisionError" in caplog.text
        assert after == [()]


@virtual_clock
async def test_an_async_callback_runs_as_a_task_of_its_port():
    async with nodes("a") as (a,):
        log = Log()

        async def callback(reason):
            await asyncio.sleep(1)
            log(reason, mp.current_port())

        watched, me = a.port(), a.port()
        a.peval(me, a.mon, watched, callback)
        a.kil(watched, "x")
        await settle(2)
        assert log.events == [(("x",), me)]


@virtual_clock
async def test_watches_whose_target_died_are_dropped():
    """Neither the watched port nor its node keeps what can tell nobody any more."""
    async with nodes("a", "b") as (a, b):
        for watched_on in (a, b):
            watched = watched_on.port()
            for _ in range(50):
                other = a.port()
                a.mon(watched, other)
                a.mon(watched, other, "message")
                a.kil(other)
            await settle()
            assert not watched_on.ports[watched].watches


@virtual_clock
async def test_monitors_that_fired_are_forgotten_by_the_port_they_tell():
    async with nodes("a", "b") as (a, b):
        for watched_on in (a, b):
            other = Probe(a)
            for _ in range(50):
                watched = watched_on.port()
                a.mon(watched, other.port)
                a.mon(watched, other.port, "message")
                await settle()
                a.kil(watched)
            await settle()
            assert len(other.got) == 50
            assert not a.ports[other.port].dependents


@virtual_clock
async def test_a_dropped_guard_keeps_watching():
    async with nodes("a") as (a,):
        watched = a.port()
        seen = []
        a.mon(watched, seen.append)
        gc.collect()
        a.kil(watched, "x")
        await settle()
        assert seen == [("x",)]


@virtual_clock
async def test_cancel_in_every_form():
    async with nodes("a", "b") as (a, b):
        for watched_on in (a, b):
            watched = watched_on.port()
            probe, other = Probe(a), a.port()
            ended, seen = [], []
            a.mon(other, ended.append)
            me = a.port()
            a.mon(me, ended.append)
            guards = [
                a.mon(watched, seen.append),
                a.mon(watched, other),
                a.mon(watched, probe.port, "message"),
                a.peval(me, a.mon, watched),
                a.mon_guard(watched, lambda seen=seen: seen.append("released")),
            ]
            for guard in guards:
                guard.cancel()
                guard.cancel()
            await settle()
            watched_on.kil(watched, "x")
            await settle()
            assert seen == ended == probe.got == []


@virtual_clock
async def test_monitors_of_one_port_fire_in_the_order_they_were_set():
    async with nodes("a", "b") as (a, b):
        for watched in (a.port(), b.port()):
            seen = []
            for number in range(20):
                a.mon(watched, lambda reason, number=number, seen=seen: seen.append(number))
            await settle()
            a.kil(watched)
            await settle()
            assert seen == list(range(20))


@virtual_clock
async def test_mon_guard_releases_last_first_by_cancel_close_or_call():
    async with nodes("a", "b") as (a, b):
        for watched in (a.port(), b.port()):
            log = Log()

            class Closing:
                def __init__(self, log):
                    self.close = lambda: log("closed")

            class Cancelling:
                def __init__(self, log):
                    self.cancel = lambda: log("cancelled")

            a.mon_guard(watched, lambda log=log: log("called"), Closing(log), Cancelling(log))
            a.mon_guard(watched, lambda log=log: log("second guard"))
            await settle()
            a.kil(watched)
            await settle()
            if watched.startswith("a#"):
                assert log.events == ["second guard", "cancelled", "closed", "called"]
            else:
                assert log.events.index("cancelled") < log.events.index("called")
                assert sorted(log.events) == ["called", "cancelled", "closed", "second guard"]


@virtual_clock
async def test_mon_guard_goes_on_after_a_resource_that_raises(caplog):
    async with nodes("a") as (a,):
        port = a.port()
        log = Log()
        a.mon_guard(port, lambda: log("first"), lambda: 1 / 0, lambda: log("third"))
        a.kil(port)
        await settle()
        assert log.events == ["third", "first"]
        assert "ZeroDivisionError" in caplog.text


@virtual_clock
async def test_mon_guard_on_a_dead_port_releases_at_once_from_the_loop():
    async with nodes("a") as (a,):
        port = a.port()
        a.kil(port)
        await settle()
        log = Log()
        a.mon_guard(port, lambda: log("released"))
        assert log.events == []
        await settle()
        assert log.events == ["released"]


@virtual_clock
async def test_mon_guard_with_real_guards_timers_and_tasks():
    async with nodes("a") as (a,):
        fired = []
        port = a.port()
        timer = a.after(5, lambda: fired.append("timer"))
        task = a.task(asyncio.sleep(100))
        a.mon_guard(port, timer, task)
        a.kil(port)
        await settle(10)
        assert fired == [] and task.cancelled()


@virtual_clock
async def test_chains_of_monitors_end_together():
    async with nodes("a", "b") as (a, b):
        chain = [(a if number % 2 else b).port() for number in range(20)]
        for one, two in pairwise(chain):
            (a if one.startswith("a") else b).mon(one, two)
        ended = []
        a.mon(chain[-1], ended.append)
        await settle()
        a.kil(chain[0], "domino")
        await settle()
        assert ended == [("domino",)]


@virtual_clock
async def test_ports_that_monitor_each_other_end_once():
    async with nodes("a", "b") as (a, b):
        one, two = a.port(), b.port()
        a.mon(two, one)
        b.mon(one, two)
        ended = []
        a.mon(one, ended.append)
        b.mon(two, ended.append)
        await settle()
        a.kil(one, "x")
        await settle()
        assert ended == [("x",), ("x",)]


@virtual_clock
async def test_mon_nodes_belongs_to_the_port_that_asked():
    network = Network.here()
    async with nodes("a", "b") as (a, b):
        seen = []
        me = a.port()
        a.peval(me, a.mon_nodes, lambda *event: seen.append((mp.current_port(), event[1])))
        network.reset("a", "b")
        await settle(5)
        assert seen == [(me, False), (me, True)]
        a.kil(me)
        await settle()
        network.reset("a", "b")
        await settle(5)
        assert len(seen) == 2


@virtual_clock
async def test_killed_waits_for_the_end():
    async with nodes("a", "b") as (a, b):
        for port in (a.port(), b.port()):
            waiting = asyncio.ensure_future(a.killed(port))
            await settle()
            assert not waiting.done()
            a.kil(port, "why")
            assert await waiting == ("why",)
            assert (await a.killed(port))[0] == "no_such_port"
        cancelled = asyncio.ensure_future(a.killed(port := a.port()))
        await settle()
        cancelled.cancel()
        await settle()
        assert not a.ports[port].watches


@virtual_clock
async def test_up_waits_for_a_link_and_says_why_there_is_none():
    async with nodes("a", "b", connected=False, monitor_timeout=11) as (a, b):
        with pytest.raises(mp.CallTimeout, match="no link to b within 2"):
            await a.up("b", timeout=2)
        waiting = asyncio.ensure_future(a.up("b"))
        await settle(1)
        assert not waiting.done()
        a.learn("b", "memory://b")
        await waiting
        assert a.node_is_up("b")
        await a.up("a")
        with pytest.raises(mp.TransportError, match="nowhere"):
            await a.up("nowhere")
