"""Deferred: handlers, callbacks and init functions run only from the event loop, never inside
snd, kil, mon or spawn."""

from __future__ import annotations

import asyncio
import inspect

import pytest
from core_kit import Network, nodes, settle

import aemp_core as mp
from aemp_core.testing.clock import virtual_clock

VERBS = (
    "snd kil mon spawn rcv port task after every mon_guard mon_nodes port_async rcv_async "
    "snd_on snd_to_func"
)


def verbs_on_the_stack():
    """Names of our verbs among the functions that called us."""
    frames = inspect.stack()
    found = [
        frame.function
        for frame in frames
        if frame.function in VERBS.split() and "aemp_core" in frame.filename
        and "/tests/" not in frame.filename
    ]  # fmt: skip
    assert any(frame.function == "_run_once" for frame in frames)
    return found


@pytest.fixture
def calls():
    return []


@virtual_clock
async def test_deferred_handlers(calls):
    async with nodes("a") as (a,):

        def handler(*message):
            calls.append((message, verbs_on_the_stack()))
            if message == ("first",):
                a.snd(port, "second")
                assert len(calls) == 1, "snd returned before its handler ran"

        port = a.port(handler)
        a.snd(port, "first")
        assert calls == []
        await settle()
        assert calls == [(("first",), []), (("second",), [])]


@virtual_clock
async def test_deferred_callbacks_of_monitors(calls):
    async with nodes("a", "b") as (a, b):
        ports = [a.port(), b.port()]
        for port in ports:
            a.mon(port, lambda reason: calls.append(verbs_on_the_stack()))
        await settle()
        for port in ports:
            a.kil(port)
        assert calls == []
        await settle()
        assert calls == [[], []]
        for port in [*ports, "a#never", "b#never"]:
            a.mon(port, lambda reason: calls.append(verbs_on_the_stack()))
        assert len(calls) == 2, "a monitor on a dead port does not fire inside mon"
        await settle()
        assert calls == [[]] * 6


@virtual_clock
async def test_deferred_kills(calls):
    """`kil` of another port takes effect later: the port still takes what was sent before."""
    async with nodes("a") as (a,):
        port = a.port(lambda *message: calls.append(message))
        a.snd(port, 1)
        a.kil(port)
        a.snd(port, 2)
        assert calls == []
        await settle()
        assert calls == [(1,)]


@virtual_clock
async def test_deferred_init_functions(calls):
    async with nodes("a", "b") as (a, b):
        _started.clear()
        ports = [a.spawn(node, init) for node in ("a", "b")]
        ports.append(a.spawn("a", async_init))
        ports.append(a.port_async(async_init))
        assert _started == []
        await settle()
        assert sorted(port for port, _ in _started) == sorted(ports)
        assert all(verbs == [] for _, verbs in _started)


_started: list[object] = []


@mp.exposed(name="deferred:init")
def init():
    _started.append((mp.current_port(), verbs_on_the_stack()))


@mp.exposed(name="deferred:async_init")
async def async_init():
    _started.append((mp.current_port(), verbs_on_the_stack()))
    await asyncio.sleep(1)


@virtual_clock
async def test_deferred_timers_tasks_and_node_events(calls):
    network = Network.here()
    async with nodes("a", "b") as (a, b):
        a.after(0, lambda: calls.append(("after", verbs_on_the_stack())))
        guard = a.every(0.0001, lambda: calls.append(("every", verbs_on_the_stack())))
        a.mon_nodes(lambda *_: calls.append(("node", verbs_on_the_stack())))

        async def work():
            calls.append(("task", verbs_on_the_stack()))

        a.task(work())
        assert calls == []
        await settle()
        guard.cancel()
        network.reset("a", "b")
        await settle(5)
        assert {name for name, _ in calls} == {"after", "every", "node", "task"}
        assert all(verbs == [] for _, verbs in calls)


@virtual_clock
async def test_deferred_also_for_a_port_that_a_monitor_kills(calls):
    """Death spreads through the queue, not inside the verb that began it."""
    async with nodes("a") as (a,):
        first, second = a.port(), a.port(lambda *message: calls.append(message))
        a.mon(first, second)
        a.mon(second, lambda reason: calls.append(reason))
        a.kil(first, "x")
        assert calls == []
        a.snd(second, "still here")
        await settle()
        # The kill of `first` is ahead of the message, the death of `second` follows from it.
        assert calls in ([("still here",), ("x",)], [("x",)])


@virtual_clock
async def test_deferred_slices_let_the_loop_breathe():
    """A slice ends after 256 items: input and timers get their turn under a backlog."""
    async with nodes("a") as (a,):
        done = []
        port = a.port(done.append)
        for number in range(10_000):
            a.snd(port, number)
        turns = 0
        while len(done) < 10_000:
            before = len(done)
            await asyncio.sleep(0)
            turns += 1
            assert len(done) - before <= 2 * 256
        assert turns >= 10_000 // (2 * 256)


@virtual_clock
async def test_deferred_death_of_a_port_that_kills_itself(calls):
    """It is dead when its handler returns: until then it takes handlers, and can be watched."""
    async with nodes("a") as (a,):

        def handler():
            a.kil(port, "enough")
            a.rcv(port, never=calls.append)
            a.mon(port, calls.append)
            calls.append("still here")

        port = a.port(handler)
        a.snd(port)
        a.snd(port, "never")
        await settle()
        assert calls == ["still here", ("enough",)]


@virtual_clock
async def test_deferred_death_ends_what_came_in_together(calls):
    """When the handler has returned the port is dead, also for what came in the same chunk."""
    async with nodes("a", "b") as (a, b):

        def handler(number):
            if number == 3:
                b.kil(port, "enough")
            calls.append(number)

        port = b.port(handler)
        other = b.port(calls.append)
        a.mon(port, calls.append)
        for number in range(9):
            a.snd(port, number)
        a.snd(other, "rest")
        await settle()
        assert calls == [0, 1, 2, 3, "rest", ("enough",)]


@virtual_clock
async def test_deferred_work_of_what_comes_in_alone(calls):
    """One message for a port that is known is handled where it is read; what it causes follows."""
    async with nodes("a", "b") as (a, b):
        other = b.port(lambda *message: calls.append((message, verbs_on_the_stack())))

        def handler(number):
            b.snd(other, number)
            if number == 3:
                b.kil(other, "enough")
            assert len(calls) == number

        port = b.port(handler)
        b.mon(other, calls.append)
        for number in range(4):
            a.snd(port, number)
            await settle()
            assert len(calls) == number + 1 + (number == 3)
        assert calls == [((number,), []) for number in range(4)] + [("enough",)]
