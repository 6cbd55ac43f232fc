"""Rendezvous: of several connections between two nodes one becomes the link, the others end."""

from __future__ import annotations

import asyncio

import pytest
from core_kit import SECRET, Network, SkilledClient, nodes, settle

import aemp_core as mp
from aemp_core.testing.clock import virtual_clock

FOREVER = 3_600
OLD, NEW = "0" * 14, "1" * 14


async def join(network, name, node_id, incarnation=OLD):
    """Bytes that connect, greet and prove themselves as `node_id`."""
    client = SkilledClient(node_id, incarnation=incarnation).join(network, name)
    await settle()
    client.write(client.connection.prove())
    await settle()
    return client


def pings(client):
    """The requests for the time that `client` got, and forgets."""
    found = [message for message in client.messages if message[1:2] == ["time"]]
    client.messages.clear()
    return found


def answer(client, ping):
    client.write(client.frames((ping[2].partition("#")[2], *ping[3:], 123.0)))


@virtual_clock
async def test_when_one_connection_is_the_link_the_others_end():
    """At once, on both sides, and not when their handshakes run out of time."""
    network = Network.here()
    async with mp.Node("a", binds=[f"memory://a/{n}" for n in range(4)], secret=SECRET) as a:
        async with mp.Node("b", binds=[f"memory://b/{n}" for n in range(4)], secret=SECRET) as b:
            for node, other in ((a, b), (b, a)):
                node.learn(other.id, *other.addresses)
                node.mon(other.id, lambda reason: None)
            await asyncio.gather(a.up("b", 5), b.up("a", 5))
            await settle(0.5)
            assert len(network.wires) > 1
            assert len(network.between("a", "b")) == 1


@virtual_clock
async def test_a_connection_that_ends_while_it_is_held_is_forgotten():
    """The link is not pinged for it any more."""
    network = Network.here()
    async with nodes("zed", heartbeat=FOREVER) as (zed,):
        bob = await join(network, "zed", "bob")
        held = await join(network, "zed", "bob")
        (ping,) = pings(bob)
        held.transport.close()
        await settle()
        answer(bob, ping)
        await settle(60)
        assert pings(bob) == []
        assert zed.node_is_up("bob") and not bob.ended


@pytest.mark.parametrize("held_back", [False, True])
@virtual_clock
async def test_a_node_that_answers_keeps_its_link_though_that_is_held_back(held_back):
    """Its answer is read in spite of back-pressure; the newcomer is a duplicate."""
    network = Network.here()
    async with nodes("zed", heartbeat=FOREVER) as (zed,):
        bob = await join(network, "zed", "bob")
        if held_back:
            zed.queue.received += 1  # as if that waited in the run queue
            zed.hold_back(zed.peers["bob"].session)
        twin = await join(network, "zed", "bob", NEW)
        (ping,) = pings(bob)
        answer(bob, ping)
        await settle(5)
        assert twin.ended and not bob.ended
        zed.queue.received -= held_back


@virtual_clock
async def test_nobody_answers_a_ping_for_another_node():
    """The port and the serial of a ping are no secret: what counts is the link it came over."""
    network = Network.here()
    async with nodes("zed", heartbeat=FOREVER) as (zed,):
        carol = await join(network, "zed", "carol")
        bob = await join(network, "zed", "bob")
        again = await join(network, "zed", "bob", NEW)
        (ping,) = pings(bob)
        answer(carol, ping)
        await settle(5)
        assert bob.ended and not again.ended
        assert again.proved and zed.node_is_up("bob")
