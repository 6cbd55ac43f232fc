"""Order: what one node sends to one port arrives in the order sent."""

from __future__ import annotations

import asyncio

import pytest
from core_kit import Network, Probe, acquaint, nodes, settle

import aemp_core as mp
from aemp_core.testing.clock import virtual_clock

COUNT = 2_000  # several slices of the run queue


@virtual_clock
async def test_order_local():
    async with nodes("a") as (a,):
        probe = Probe(a)
        for number in range(COUNT):
            a.snd(probe.port, number)
        await settle()
        assert probe.firsts == list(range(COUNT))


@virtual_clock
async def test_order_over_a_link():
    async with nodes("a", "b") as (a, b):
        probe = Probe(b)
        for number in range(COUNT):
            a.snd(probe.port, number)
            if number % 97 == 0:
                await asyncio.sleep(0)
        await settle()
        assert probe.firsts == list(range(COUNT))


@virtual_clock
async def test_order_across_dialling_and_coming_up():
    """Messages queued while dialling come before those sent once the link is up."""
    async with nodes("a", "b", connected=False) as (a, b):
        probe = Probe(b)
        acquaint(a, b)
        a.mon_nodes(lambda node_id, is_up, reason: a.snd(probe.port, "up"))
        for number in range(300):
            a.snd(probe.port, number)
            await asyncio.sleep(0)
        await settle()
        assert a.node_is_up("b")
        numbers = [first for first in probe.firsts if first != "up"]
        assert numbers == list(range(300))
        assert probe.firsts.count("up") == 1
        # Whatever was sent before the event was told is ahead of what its callback sent.
        assert probe.firsts[0] == 0


@virtual_clock
async def test_order_of_each_sender_among_several():
    async with nodes("a", "b", "c") as (a, b, c):
        probe = Probe(c)
        for number in range(500):
            a.snd(probe.port, "a", number)
            b.snd(probe.port, "b", number)
            c.snd(probe.port, "c", number)
            await asyncio.sleep(0)
        await settle()
        for sender in "abc":
            numbers = [number for who, number in probe.got if who == sender]
            assert numbers == list(range(500))


@virtual_clock
async def test_order_between_tags_default_handler_and_mailbox():
    """All handlers of a port share one order."""
    async with nodes("a") as (a,):
        seen = []
        port = a.port(lambda *message: seen.append(message))
        a.rcv(port, tag=lambda number: seen.append(("tag", number)))
        for number in range(600):
            a.snd(port, "tag" if number % 3 else "other", number)
        await settle()
        assert [message[1] for message in seen] == list(range(600))


@virtual_clock
async def test_order_kept_by_async_handlers():
    """Later messages wait until an awaitable result is done, however long each takes."""
    async with nodes("a") as (a,):
        seen = []

        async def handler(number):
            seen.append(("begin", number))
            await asyncio.sleep(0.5 if number % 2 else 0.1)
            seen.append(("end", number))

        port = a.port(handler)
        for number in range(20):
            a.snd(port, number)
        await settle(30)
        assert seen == [(word, n) for n in range(20) for word in ("begin", "end")]


@pytest.mark.parametrize("ports", [1, 2])
@virtual_clock
async def test_order_kept_by_async_handlers_of_what_came_in_together(ports):
    """One in the middle holds up what is behind it in the same chunk, and nothing of others."""
    async with nodes("a", "b") as (a, b):
        seen = [[] for _ in range(ports)]

        def handler_for(log):
            async def slow(number):
                await asyncio.sleep(1)
                log.append(number)

            return lambda number: slow(number) if number % 10 == 5 else log.append(number)

        to = [b.port(handler_for(log)) for log in seen]
        for number in range(40):
            for port in to:
                a.snd(port, number)
        await settle(0.5)
        assert seen == [list(range(5))] * ports
        await settle(10)
        assert seen == [list(range(40))] * ports


@virtual_clock
async def test_order_when_only_some_messages_are_handled_asynchronously():
    async with nodes("a") as (a,):
        seen = []

        async def slow(number):
            await asyncio.sleep(1)
            seen.append(number)

        port = a.port()
        a.rcv(port, slow=slow, fast=seen.append)
        for number in range(30):
            a.snd(port, "slow" if number % 10 == 0 else "fast", number)
        await settle(10)
        assert seen == list(range(30))


@virtual_clock
async def test_order_of_messages_in_an_async_port():
    async with nodes("a", "b") as (a, b):
        seen = []

        async def reader():
            async for message in mp.messages():
                seen.append(message[0])
                if message[0] % 7 == 0:
                    await asyncio.sleep(0.01)

        port = b.port_async(reader)
        for number in range(500):
            a.snd(port, number)
        await settle(10)
        assert seen == list(range(500))


@virtual_clock
async def test_order_of_kills_among_messages():
    """`kil` by others travels in order: what was sent before arrives, what came after does not."""
    async with nodes("a", "b") as (a, b):
        for sender in (a, b):
            probe = Probe(b)
            for number in range(300):
                sender.snd(probe.port, number)
            sender.kil(probe.port, "enough")
            sender.snd(probe.port, "late")
            await settle()
            assert probe.firsts == list(range(300))


@virtual_clock
async def test_order_of_what_a_port_sends_to_itself():
    async with nodes("a") as (a,):
        seen = []

        def handler(number):
            seen.append(number)
            if number < 400:
                a.snd(port, number + 2)

        port = a.port(handler)
        a.snd(port, 0)
        a.snd(port, 1)
        await settle()
        assert seen == list(range(402))


@virtual_clock
async def test_order_after_a_spawn():
    """A spawned port is usable at once: init comes first, then the messages in order."""
    async with nodes("a", "b") as (a, b):
        _spawned.clear()
        for target in ("a", "b"):
            port = a.spawn(target, collector, target)
            for number in range(300):
                a.snd(port, number)
        await settle()
        for target in ("a", "b"):
            assert _spawned[target] == ["init", *range(300)]


@virtual_clock
async def test_order_of_one_message_behind_many():
    """What comes in alone, and could be handled at once, waits for what came in before it."""
    async with nodes("a", "b") as (a, b):
        probe = Probe(b)
        for number in range(COUNT):
            a.snd(probe.port, number)
        while not probe.got:
            await asyncio.sleep(0)
        assert len(probe.got) < COUNT
        while len(probe.got) < COUNT:
            number += 1
            a.snd(probe.port, number)
            await asyncio.sleep(0)
        await settle()
        assert number > COUNT
        assert probe.firsts == list(range(number + 1))


@virtual_clock
async def test_order_of_one_message_behind_two_of_a_busy_node():
    """The run queue is busy with other things: nothing that came in later is handled first."""
    async with nodes("a", "b") as (a, b):
        probe, other = Probe(b), b.port(lambda *_: None)
        a.snd(probe.port, 0)
        await settle()
        for _ in range(10_000):
            b.snd(other, "busy")
        for number in range(1, 61, 3):
            a.snd(probe.port, number)
            a.snd(probe.port, number + 1)
            await asyncio.sleep(0)
            a.snd(probe.port, number + 2)
            await asyncio.sleep(0)
        await settle()
        assert probe.firsts == list(range(61))


_spawned: dict[str, list[object]] = {}


@mp.exposed(name="order:collector")
def collector(label):
    seen = _spawned[label] = ["init"]
    mp.rcv(mp.current_port(), seen.append)


@pytest.mark.parametrize("turns", range(12))
@virtual_clock
async def test_order_when_the_link_is_replaced_by_a_new_one(turns):
    """What arrives over two links in turn is in order: the gap is in between."""
    network = Network.here()
    async with nodes("a", "b") as (a, b):
        probe = Probe(b)
        for number in range(200):
            a.snd(probe.port, number)
            if number == 100:
                for _ in range(turns):
                    await asyncio.sleep(0)
                network.reset("a", "b")
            await asyncio.sleep(0)
        await settle(10)
        a.snd(probe.port, "end")
        await settle(10)
        assert probe.firsts[-1] == "end"
        numbers = probe.firsts[:-1]
        assert numbers == sorted(set(numbers))
        assert numbers[0] == 0


@virtual_clock
async def test_order_of_what_comes_while_waiting_messages_are_handled():
    """A message that comes while an async handler works off the backlog is behind all of that."""
    async with nodes("a") as (a,):
        seen = []

        async def slow(number):
            await asyncio.sleep(0.01)
            seen.append(number)

        port = a.port(slow)
        for number in range(5):
            a.snd(port, number)
        await settle(0.015)
        assert seen == [0], "the second is being handled, three wait"
        for number in range(5, 10):
            a.snd(port, number)
        await settle(1)
        assert seen == list(range(10))


@virtual_clock
async def test_order_of_much_that_waited_for_a_link():
    """All of it arrives, and what was sent before nobody knew where to is ahead of the rest."""
    async with nodes("a", "b", connected=False) as (a, b):
        probe = Probe(b)
        for number in range(COUNT):
            a.snd(probe.port, number)
        await settle(5)
        a.learn("b", *b.addresses)
        await a.up("b", 5)
        a.snd(probe.port, COUNT)
        await settle()
        assert probe.firsts == list(range(COUNT + 1))
