"""Once: a monitor fires at most once, a cancelled one never, and not before messages its port's
node sent earlier over the same pair of nodes."""

from __future__ import annotations

import asyncio

import pytest
from core_kit import Log, Network, nodes, settle

from aemp_core.testing.clock import virtual_clock


@virtual_clock
async def test_once_when_killed_many_times():
    async with nodes("a", "b") as (a, b):
        for watcher in (a, b):
            port = b.port()
            fired = []
            watcher.mon(port, fired.append)
            await settle()
            for number in range(5):
                a.kil(port, "reason", number)
                b.kil(port, "other", number)
            await settle()
            assert len(fired) == 1
            assert fired[0][0] in ("reason", "other") and fired[0][1] == 0


@pytest.mark.parametrize("turns", range(14))
@virtual_clock
async def test_once_when_the_port_dies_and_the_link_is_lost(turns):
    network = Network.here()
    async with nodes("a", "b") as (a, b):
        port = b.port()
        fired = []
        a.mon(port, fired.append)
        await settle()
        b.kil(port, "killed")
        for _ in range(turns):
            await asyncio.sleep(0)
        network.reset("a", "b")
        await settle(30)
        assert len(fired) == 1
        assert fired[0][0] in ("killed", "transport_error")


@virtual_clock
async def test_once_for_each_of_several_monitors():
    async with nodes("a", "b") as (a, b):
        for watcher in (a, b):
            port = b.port()
            fired = []
            for number in range(10):
                watcher.mon(port, lambda reason, fire=fired.append, n=number: fire(n))
            await settle()
            a.kil(port)
            await settle()
            assert sorted(fired) == list(range(10))
            assert fired == sorted(fired)


@virtual_clock
async def test_once_never_if_cancelled():
    network = Network.here()
    async with nodes("a", "b") as (a, b):
        for watcher in (a, b):
            port = b.port()
            fired = []
            guard = watcher.mon(port, fired.append)
            await settle()
            guard.cancel()
            guard.cancel()
            b.kil(port, "x")
            await settle()
            assert fired == []
        port = b.port()
        guard = a.mon(port, fired.append)
        guard.cancel()
        network.reset("a", "b")
        await settle(20)
        assert fired == []


@virtual_clock
async def test_once_never_if_cancelled_while_the_notice_is_queued():
    """`cancel` holds even then: the notice is an item of the run queue, not yet delivered."""
    network = Network.here()
    async with nodes("a", "b") as (a, b):
        fired = []
        # The port dies, its notice is queued behind a message whose handler cancels it.
        port = a.port()
        guards = []
        blocker = a.port(lambda *_: guards.pop().cancel())
        guards.append(a.mon(port, fired.append))
        doomed = a.port()
        a.mon(doomed, lambda reason: a.snd(blocker, "cancel it"))
        a.kil(port, "x")
        a.snd(blocker, "cancel it")
        await settle()
        assert guards == [] and fired == []

        # A monitor on the same port cancels its sibling as it fires.
        port = a.port()
        second = []
        a.mon(port, lambda reason: second.pop().cancel())
        second.append(a.mon(port, fired.append))
        a.kil(port, "x")
        await settle()
        assert second == [] and fired == []

        # The same over a link.
        port = b.port()
        a.mon(port, lambda reason: second.pop().cancel())
        second.append(a.mon(port, fired.append))
        await settle()
        network.reset("a", "b")
        await settle(20)
        assert second == [] and fired == []


@virtual_clock
async def test_once_cancelled_in_message_form_while_queued():
    network = Network.here()
    async with nodes("a", "b") as (a, b):
        told = []
        witness = a.port(lambda *message: told.append(message))
        port = b.port()
        second = []
        a.mon(port, lambda reason: second.pop().cancel())
        second.append(a.mon(port, witness, "gone"))
        await settle()
        b.kil(port, "x")
        await settle()
        # Message form goes to the head of the queue, so it may come before the callback; but
        # never after the cancel.
        assert len(told) <= 1
        if second == [] and told:
            assert told == [("gone", "x")]
        network.reset("a", "b")
        await settle(20)
        assert len(told) <= 1


@virtual_clock
async def test_once_not_before_earlier_messages_of_the_ports_node():
    """Messages of the watched port's node, also of other ports there, come before the notice."""
    async with nodes("a", "b") as (a, b):
        log = Log()
        witness = a.port(log.named("message"))
        watched = b.port()
        a.mon(watched, log.named("notice"))
        await settle()
        for number in range(600):
            b.snd(witness, number)
        b.kil(watched, "done")
        await settle()
        b.snd(witness, "later")
        await settle()
        names = [event[0] for event in log.events]
        assert names == ["message"] * 600 + ["notice", "message"]


@virtual_clock
async def test_once_not_before_the_last_words_of_a_dying_port():
    async with nodes("a", "b") as (a, b):
        log = Log()
        witness = a.port(log.named("message"))

        def dying(*_):
            for number in range(300):
                b.snd(witness, number)
            raise RuntimeError("that was it")

        for watcher_node, port in ((a, b.port(dying)), (b, b.port(dying))):
            log.events.clear()
            told = []
            watcher_node.mon(port, log.named("notice") if watcher_node is a else told.append)
            await settle()
            a.snd(port, "go")
            await settle()
            numbers = [event[1] for event in log.events if event[0] == "message"]
            assert numbers == list(range(300))
            if watcher_node is a:
                assert log.events[-1] == ("notice", ("die", "RuntimeError: that was it"))
            else:
                assert told == [("die", "RuntimeError: that was it")]


@virtual_clock
async def test_once_not_before_earlier_messages_when_the_link_is_lost():
    """What came in before the loss was noticed is handled before the notice."""
    network = Network.here()
    async with nodes("a", "b") as (a, b):
        log = Log()
        witness = a.port(log.named("message"))
        watched = b.port()
        a.mon(watched, log.named("notice"))
        await settle()
        for number in range(100):
            b.snd(witness, number)
            await asyncio.sleep(0)
        network.reset("a", "b")
        await settle(20)
        notice = [event[0] for event in log.events].index("notice")
        before = [event[1] for event in log.events[:notice]]
        assert before == list(range(len(before))) and len(before) > 50
        assert [event[0] for event in log.events].count("notice") == 1
        after = [event[1] for event in log.events[notice + 1 :]]
        assert after == sorted(after)


@virtual_clock
async def test_once_when_the_remote_monitor_is_set_again_after_firing():
    """A second monitor on a dead port fires once, too, and the first not again."""
    async with nodes("a", "b") as (a, b):
        port = b.port()
        first, second = [], []
        a.mon(port, first.append)
        await settle()
        b.kil(port, "x")
        await settle()
        a.mon(port, second.append)
        await settle()
        assert first == [("x",)]
        assert [reason[0] for reason in second] == ["no_such_port"]


@virtual_clock
async def test_once_if_cancelled_and_set_again_in_one_moment():
    """`mon0` and `mon1` cross the link together; the new monitor counts."""
    async with nodes("a", "b") as (a, b):
        port = b.port()
        old, new = [], []
        guard = a.mon(port, old.append)
        await settle()
        guard.cancel()
        a.mon(port, new.append)
        await settle()
        b.kil(port, "x")
        await settle()
        assert old == [] and new == [("x",)]


@virtual_clock
async def test_once_for_those_left_when_one_of_several_is_cancelled():
    async with nodes("a", "b") as (a, b):
        for watcher in (a, b):
            port = b.port()
            fired = []
            guards = [
                watcher.mon(port, lambda reason, fire=fired.append, n=number: fire(n))
                for number in range(3)
            ]
            await settle()
            guards[1].cancel()
            await settle()
            b.kil(port, "x")
            await settle()
            assert fired == [0, 2]


@virtual_clock
async def test_once_not_before_messages_that_wait_to_be_handled_when_the_link_is_lost():
    """The notice of the loss queues behind what came in over the link."""
    network = Network.here()
    async with nodes("a", "b") as (a, b):
        log = Log()
        witness = a.port(log.named("message"))
        a.mon(b.port(), lambda reason: log("notice"))
        await settle()
        busy = a.port(lambda *_: None)
        for _ in range(20_000):
            a.snd(busy, "work")
        for number in range(10):
            b.snd(witness, number)
        for _ in range(4):
            await asyncio.sleep(0)
        network.reset("a", "b")
        while a.node_is_up("b"):
            await asyncio.sleep(0)
        assert log.events == [], "what came in waits, and so does the notice"
        await settle()
        assert log.events == [*(("message", number) for number in range(10)), "notice"]
