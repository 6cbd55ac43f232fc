"""Dialling: seeds for ever, peers while something waits for them, and no longer."""

from __future__ import annotations

import asyncio

import pytest
from core_kit import SECRET, Network, RawClient, nodes, settle, wall_clock

import aemp_core as mp
from aemp_core.plugins import plugin_manager
from aemp_core.testing import SimulatedNetwork
from aemp_core.testing.clock import virtual_clock


@virtual_clock
async def test_an_address_that_refused_is_dialled_again():
    """No failed connection ends dialling, only a link or the deadline."""
    async with nodes("a", connected=False) as (a,):
        a.learn("b", "memory://b")
        lost = []
        a.mon("b#port", lost.append)
        await settle(8)
        async with nodes("b", connected=False) as (b,):
            await a.up("b", 10)
            await settle()
            assert [reason[0] for reason in lost] == ["no_such_port"]


@virtual_clock
async def test_seeds_are_hurried_when_something_waits():
    """One of them may be the peer: it is not left to the end of a long pause."""
    async with nodes(
        "a", connected=False, seeds=["memory://b"], connect_interval=3_000, heartbeat=3_600
    ) as (a,):
        await settle(30_000)  # nobody there: the pauses are at their longest
        async with nodes("b", connected=False, heartbeat=3_600):
            await a.up("b", 1)


@virtual_clock
async def test_dials_under_way_end_when_the_link_is_up():
    """A connection that hangs at another address is not kept until its time is over."""
    network = Network.here()
    hanging = RawClient()
    network.bind("b/hanging", lambda: hanging)
    async with nodes("a", "b", connected=False) as (a, b):
        a.learn("b", "memory://b/hanging")
        a.mon("b", lambda reason: None)
        await settle()
        assert hanging.lines and not hanging.ended
        a.learn("b", "memory://b")
        await a.up("b", 5)
        await settle()
        assert hanging.ended


@virtual_clock
async def test_a_seed_whose_node_was_restarted_is_let_in_again():
    """The link is to a life that ended unseen; who listens there now greets as another life."""
    network = Network.here()
    seeds = ["memory://b"]
    async with nodes("a", connected=False, seeds=seeds, heartbeat=3_600) as (a,):
        await settle(30)
        async with nodes("b", connected=False, seeds=["memory://a"], heartbeat=3_600) as (b,):
            await b.up("a", 1)  # dialled from there: the seed finds a link that is not its own
            await settle(30)
            network.silence("a", "b")
            network.release("b")
            network._silenced.clear()
            later = {"wall_clock": wall_clock(), "heartbeat": 3_600}
            again = mp.Node("b", binds=["memory://b"], secret=SECRET, **later)
            async with again:
                await settle(90)
                assert again.node_is_up("a") and a.node_is_up("b")
                network.reset("b")
                network.cut_off("b")
                await b.close()


@virtual_clock
async def test_a_peer_that_was_given_up_is_known_no_more():
    async with nodes("a", monitor_timeout=20) as (a,):
        lost = []
        a.mon("absent#port", lost.append)
        await settle(19)
        assert "absent" in a.known_nodes() and not lost
        await settle(2)
        assert [reason[0] for reason in lost] == ["transport_error"]
        assert "absent" not in a.known_nodes()


@virtual_clock
async def test_other_seeds_are_dialled_instead_and_links_stay():
    network = Network.here()
    async with (
        nodes("a", connected=False, seeds=["memory://b", "memory://c"]) as (a,),
        nodes("b", "c", "d", connected=False),
    ):
        await settle(3)
        assert set(a.up_nodes()) == {"b", "c"}
        with pytest.raises(mp.AddressError, match="carrier"):
            a.dialler.reseed(["memory://d", "carrier://pigeon"])
        await settle(3)
        assert set(a.up_nodes()) == {"b", "c"}
        a.dialler.reseed(["memory://c", "memory://d"])
        await settle(3)
        assert set(a.up_nodes()) == {"b", "c", "d"}
        network.reset("a", "b")
        network.reset("a", "c")
        await settle(60)
        assert set(a.up_nodes()) == {"c", "d"}


@virtual_clock
async def test_a_seed_that_rests_is_not_dialled_until_it_is_wanted_again():
    network = Network.here()
    async with nodes("a", connected=False, seeds=["memory://b"]) as (a,):
        await settle(3)
        assert a.dialler.seed_ids() == {}
        a.rest_seeds("memory://b")
        async with nodes("b", connected=False) as (b,):
            await settle(60)
            assert not a.up_nodes()
            a.rest_seeds()
            await settle(1)
            assert a.up_nodes() == ["b"]
            assert a.dialler.seed_ids() == {"b": "memory://b"}
            a.rest_seeds("memory://b")
            await settle(1)
            assert a.up_nodes() == ["b"]  # a link that there is stays
            network.reset("a", "b")
            await settle(60)
            assert not a.up_nodes()
            assert a.dialler.seed_ids() == {}


@virtual_clock
async def test_addresses_are_taken_back():
    async with nodes("a", "b", connected=False) as (a, b):
        a.learn("b", "memory://b", "memory://elsewhere")
        a.forget("b", "memory://b")
        a.forget("b", "never learnt")
        a.forget("nobody", "memory://nobody")
        a.mon("b", lambda reason: None)
        await settle(5)
        assert not a.up_nodes()
        a.learn("b", "memory://b")
        await a.up("b", 5)


@virtual_clock
async def test_plugins_add_words_to_the_greeting():
    class Plugin:
        @staticmethod
        @mp.hookimpl
        def aemp_features(node):
            return ["one", f"of-{node.id}"]

    plugin_manager().register(Plugin)
    try:
        async with nodes("a", "b") as (a, b):
            await a.up("b", 5)
            features = a.peers["b"].session.info.features
            assert features == {"fence", "log", "status", "one", "of-b"}
    finally:
        plugin_manager().unregister(Plugin)


@virtual_clock
async def test_a_node_whose_own_address_is_a_seed_is_content(caplog):
    """All nodes of a network may share one configuration; a second node of its ID is a fault."""
    seeds = ["memory://a", "memory://b"]
    async with nodes("a", "b", connected=False, seeds=seeds) as (a, b):
        await a.up("b", 5)
        await settle(100)
        assert a.dialler.unlinked() == b.dialler.unlinked() == []
        assert not caplog.records
        absent = mp.Node("c", seeds=["memory://c"], binds=["memory://c"], secret=SECRET)
        async with absent:
            await settle(100)
            assert absent.dialler.unlinked() == []
            assert absent.dialler.last_failure("d") == "no address of it is known"
        assert not caplog.records
        twin = mp.Node("a", seeds=["memory://a"], secret=SECRET, wall_clock=wall_clock())
        async with twin:
            await settle(10)
            assert len(twin.dialler.unlinked()) == 1
        assert "our own node ID 'a'" in caplog.text


@pytest.mark.parametrize("seconds", [40, 44, 47, 55, 61, 130, 600])
async def test_a_link_is_there_seconds_after_a_break_however_long_it_was(
    aemp_network: SimulatedNetwork, seconds: float
) -> None:
    """Operating systems ask for a connection again after 1, 2, 4, 8 s: too seldom to wait for."""
    patient = {"connect_interval": 60, "monitor_timeout": 3_600}
    seed = await aemp_network.node("seed", seeds=[], **patient)
    node = await aemp_network.node("node", seeds=["memory://seed"], **patient)
    await node.up("seed", 5)
    aemp_network.partition(seed, node)
    await asyncio.sleep(seconds)
    assert not node.node_is_up("seed")
    aemp_network.heal()
    await asyncio.sleep(4)
    assert node.node_is_up("seed") and seed.node_is_up("node")


@pytest.mark.parametrize("ends", [0.5, 3.5])
async def test_who_asks_again_keeps_no_connection_but_one(
    aemp_network: SimulatedNetwork, ends: float
) -> None:
    """All that wait are answered at once when the network is whole again."""
    seed = await aemp_network.node("seed", seeds=[])
    aemp_network.partition("node")
    node = await aemp_network.node("node", seeds=["memory://seed"])
    await asyncio.sleep(15 + ends)
    assert aemp_network.dials > 3
    aemp_network.heal()
    await node.up("seed", 5)
    await asyncio.sleep(15)
    assert len(aemp_network.between(seed)) == 1
