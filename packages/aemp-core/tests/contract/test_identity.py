"""Identity: port names are never reused; a port message for a dead incarnation reaches nobody."""

from __future__ import annotations

import asyncio

import pytest
from core_kit import SECRET, Network, Probe, SkilledClient, crash, nodes, settle

import aemp_core as mp
from aemp_core.testing.clock import virtual_clock


@virtual_clock
async def test_identity_names_are_never_reused_within_a_life():
    async with nodes("a", "b") as (a, b):
        seen = set()
        for number in range(2_000):
            port = a.port() if number % 2 else a.spawn("b", quiet)
            assert port not in seen
            seen.add(port)
            a.kil(port)
            if number % 50 == 0:
                await settle()
        assert len(seen) == 2_000


@mp.exposed(name="identity:quiet")
def quiet():
    mp.rcv(mp.current_port(), lambda *_: None)


@virtual_clock
async def test_identity_a_name_is_the_node_id_and_more():
    async with nodes("a") as (a,):
        port = a.port()
        assert port.startswith("a#")
        assert mp.node_of(port) == "a"
        assert a.port_is_local(port) and not a.port_is_local("b#x")
        await asyncio.sleep(0)


@virtual_clock
async def test_identity_names_differ_between_lives():
    names = []
    for _ in range(3):
        async with nodes("a", connected=False) as (a,):
            names.append({a.port() for _ in range(200)})
    assert not names[0] & names[1] and not names[1] & names[2]


@virtual_clock
async def test_identity_incarnations_rise_even_if_the_clock_steps_back():
    """A node that is told of a greater incarnation of its own ID counts its own above it."""
    network = Network.here()
    wall = [1_700_000_000.0]
    async with nodes("a") as (a,):
        b = mp.Node(
            "b", wall_clock=lambda: wall[0], binds=["memory://b"],
            seeds=["memory://a"], secret=SECRET,
        )  # fmt: skip
        await b.start()
        await a.up("b")
        old = b.incarnation
        await crash(network, b)
        wall[0] -= 3_600
        again = mp.Node(
            "b", wall_clock=lambda: wall[0], binds=["memory://b"],
            seeds=["memory://a"], secret=SECRET,
        )  # fmt: skip
        await again.start()
        try:
            await again.up("a", 25)
            await settle()
            assert a.node_is_up("b")
            assert old != again.incarnation
        finally:
            await again.close()


@virtual_clock
async def test_identity_a_message_for_a_dead_incarnation_reaches_nobody():
    network = Network.here()
    async with nodes("a", "b") as (a, b):
        old = [b.port() for _ in range(50)]
        spawned = [a.spawn("b", quiet) for _ in range(50)]
        await settle()
        await crash(network, b)
        async with nodes("b", connected=False) as (again,):
            got = []
            for _ in range(120):
                again.port(lambda *message: got.append(message))
            for _ in range(60):
                again.spawn("b", quiet)
            await settle()
            a.learn("b", "memory://b")
            await a.up("b", 20)
            for port in old + spawned:
                a.snd(port, "ghost")
            alive = Probe(again)
            a.snd(alive.port, "hello")
            await settle(5)
            assert alive.got == [("hello",)], "the node itself is reached"
            assert got == []


@virtual_clock
async def test_identity_monitors_on_ports_of_a_dead_incarnation_fire():
    network = Network.here()
    async with nodes("a", "b") as (a, b):
        port = b.port()
        await settle()
        await crash(network, b)
        async with nodes("b", connected=False):
            a.learn("b", "memory://b")
            await a.up("b", 20)
            fired = []
            a.mon(port, fired.append)
            await settle()
            assert [reason[0] for reason in fired] == ["no_such_port"]


@virtual_clock
async def test_identity_the_old_life_is_down_before_the_new_one_is_up():
    """Also when nobody told that the old life ended: the restarted node is noticed as another."""
    network = Network.here()
    async with nodes("a", "b") as (a, b):
        events = []
        a.mon_nodes(lambda node_id, is_up, reason: events.append((node_id, is_up)))
        fired = []
        a.mon(b.port(), fired.append)
        await settle()
        # The old life falls silent, as on a machine that lost its power; `a` is not told.
        network.silence("a", "b")
        network.release("b")
        network._silenced.clear()
        async with nodes("b", connected=False) as (again,):
            again.learn("a", "memory://a")
            await again.up("a", 6)  # it takes 2 s to see that the old life is silent
            await settle(1)
            assert events == [("b", False), ("b", True)]
            assert len(fired) == 1
            got = Probe(again)
            a.snd(got.port, "new life")
            await settle()
            assert got.got == [("new life",)]
            network.reset("b")
            network.cut_off("b")
            await b.close()


@pytest.mark.parametrize(("here", "there"), [("a", "b"), ("b", "a")])
@virtual_clock
async def test_identity_a_connection_of_an_earlier_life_is_closed_at_once(here, there):
    """Whoever chooses: the link to the present life stays, and nothing of the past is heard."""
    network = Network.here()
    async with nodes(here, there) as (node, other):
        events, probe = [], Probe(node)
        node.mon_nodes(lambda *event: events.append(event))
        ghost = SkilledClient(there, incarnation="0" * 14).join(network, here)
        await settle()
        proof = b"" if ghost.ended else ghost.connection.prove()
        ghost.write(proof + ghost.frames((probe.port.partition("#")[2], "from the past")))
        await settle(15)
        assert ghost.ended
        assert events == [] and probe.got == []
        other.snd(probe.port, "from the present")
        await settle()
        assert probe.got == [("from the present",)]


@virtual_clock
async def test_identity_a_reply_port_of_a_finished_call_is_gone():
    """An answer that comes twice or late reaches nobody, and no later call takes it for its own."""
    async with nodes("a", "b") as (a, b):
        replies = []
        port = b.port(lambda *message: replies.append(message[-1]))
        call = asyncio.ensure_future(a.cal(port, "question"))
        await settle()
        b.snd(replies[0], "answer")
        assert await call == ("answer",)
        second = asyncio.ensure_future(a.cal(port, "another"))
        await settle()
        b.snd(replies[0], "late")
        await settle()
        assert not second.done()
        assert replies[0] != replies[1]
        b.snd(replies[1], "right")
        assert await second == ("right",)


@pytest.mark.parametrize(("here", "there"), [("a", "b"), ("b", "a")])
@virtual_clock
async def test_identity_an_earlier_life_gets_no_proof_of_us(here, there):
    """It is closed when it has greeted, whether it would have proved itself or not."""
    network = Network.here()
    async with nodes(here, there):
        ghost = SkilledClient(there, incarnation="0" * 14).join(network, here)
        await settle()
        assert ghost.ended
        assert len(ghost.lines) == 2, "our greeting and nonce, and no proof"
