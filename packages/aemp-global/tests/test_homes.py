"""Homes: how nodes find a global, move to another, and what links they keep meanwhile."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

import aemp_core as mp
import aemp_global as gl
from aemp_core.testing import SimulatedNetwork, World
from aemp_global.testing.crowd import Crowd, members, within

G = ("g1", "g2", "g3")


def home(node: mp.Node) -> str | None:
    service = gl.of(node)
    return service.exchange.home if service.homing.at_home else None


async def crowd_of(world: World, count: int, **settings: Any) -> Crowd:
    """Three globals, and so many ordinary nodes, all agreed."""
    crowd = Crowd(world, **settings)
    await crowd.start(*G)
    await crowd.start(*(f"n{number}" for number in range(count)))
    await within(10, crowd.agreed)
    return crowd


async def test_globals_are_linked_pairwise_and_ordinary_nodes_with_one(aemp_world: World) -> None:
    crowd = await crowd_of(aemp_world, 6)
    for name, node in crowd.nodes.items():
        up = set(node.up_nodes())
        if name in G:
            assert up >= set(G) - {name}
        else:
            assert up == {home(node)}
            assert home(node) in G
    await crowd.close()


async def test_a_node_is_dialled_by_its_id_alone_on_first_use(aemp_world: World) -> None:
    crowd = await crowd_of(aemp_world, 6)
    one, two = crowd.nodes["n1"], crowd.nodes["n2"]
    await crowd.processes["n1"].call(one.up, "n2")
    assert set(one.up_nodes()) == {home(one), "n2"}
    assert set(two.up_nodes()) == {home(two), "n1"}
    assert (await crowd.processes["n1"].call(lambda: one.cal("n3", "info", timeout=5))) == ("n3",)
    await crowd.close()


async def test_a_message_to_a_node_that_comes_later_waits_for_it(aemp_world: World) -> None:
    crowd = await crowd_of(aemp_world, 2)
    one = crowd.nodes["n1"]
    call = crowd.processes["n1"].start(one.cal("late", "info"))
    await asyncio.sleep(3)
    assert not call.done()
    await crowd.start("late")
    assert await asyncio.wait_for(crowd.processes["n1"].finish(call), 2) == ("late",)
    await crowd.close()


@pytest.mark.parametrize("latency", [0.000_1, 0.05])
async def test_a_node_that_loses_its_home_is_at_another_within_a_second(
    aemp_world: World, latency: float
) -> None:
    crowd = await crowd_of(aemp_world, 6)
    crowd.network.default.latency = latency
    for name in ("n1", "n2"):
        await crowd.processes["n0"].call(crowd.nodes["n0"].up, name)
    lost = home(crowd.nodes["n0"])
    assert lost is not None
    downs: list[str] = []
    crowd.nodes["n0"].mon_nodes(lambda node_id, up, reason: up or downs.append(node_id))
    crowd.kill(lost)

    def at_home(node: mp.Node) -> bool:
        return home(node) not in (None, lost) and gl.of(node).homing.at_home

    nodes = [node for name, node in crowd.nodes.items() if name not in G]
    took = await within(1, lambda: all(map(at_home, nodes)))
    assert took < 1
    assert downs == [lost]
    await within(5, crowd.agreed)
    await crowd.close()


async def test_moving_to_another_home_shows_nowhere(aemp_world: World) -> None:
    crowd = await crowd_of(aemp_world, 4)
    told: list[Any] = []
    for name, node in crowd.nodes.items():
        gl.of(node).grp_mon("all", lambda *report, name=name: told.append((name, *report)))
    await asyncio.sleep(1)
    told.clear()
    node = crowd.nodes["n0"]
    before = home(node)
    assert before is not None
    crowd.network.reset("n0", before)
    await within(2, lambda: home(node) is not None)
    await asyncio.sleep(5)
    assert told == []
    assert crowd.agreed()
    await crowd.close()


async def test_a_seed_becomes_global_when_somebody_has_it_as_seed(
    aemp_network: SimulatedNetwork,
) -> None:
    """Two nodes that have each other as seeds: neither can know that it is one."""
    one = await aemp_network.node("one", seeds=["memory://two"])
    two = await aemp_network.node("two", seeds=["memory://one"])
    port = one.port()
    gl.of(one).grp_reg("g", port)
    assert await asyncio.wait_for(gl.of(two).grp_wait("g"), 5) == [port]
    assert gl.of(one).exchange.is_global or gl.of(two).exchange.is_global


async def test_seeds_in_a_chain_make_one_network(aemp_network: SimulatedNetwork) -> None:
    nodes = [await aemp_network.node("n0", seeds=[])]
    for number in range(1, 5):
        nodes.append(await aemp_network.node(f"n{number}", seeds=[f"memory://n{number - 1}"]))
    port = nodes[0].port()
    gl.of(nodes[0]).grp_reg("g", port)
    assert await asyncio.wait_for(gl.of(nodes[4]).grp_wait("g"), 10) == [port]
    assert await nodes[4].cal("n1", "info", timeout=5) == ("n1",)


async def test_who_becomes_global_sees_neither_gaps_nor_what_is_gone(
    aemp_network: SimulatedNetwork,
) -> None:
    await aemp_network.node("hub", seeds=[])
    one = await aemp_network.node("one", seeds=["memory://hub"])
    two = await aemp_network.node("two", seeds=["memory://hub"])
    for key in ("stays", "goes"):
        gl.of(two).db_set("f", key)
    reports: list[Any] = []
    gl.of(one).db_mon("f", lambda values, *keys: reports.append(keys))
    await within(5, lambda: len(gl.of(one).families.values("f")) == 2)
    gl.of(two).db_del("f", "goes")
    gl.of(one).become_global()
    await asyncio.sleep(5)
    assert list(gl.of(one).families.values("f")) == ["stays"]
    assert sorted(reports[0][0]) == ["goes", "stays"]
    assert reports[1:] == [([], [], ["goes"])]


async def test_an_owner_that_is_global_now_is_not_kept_by_who_cannot_hear_it(
    aemp_world: World,
) -> None:
    """Two globals hold it through its last home; one of them is not linked with it."""
    crowd = await crowd_of(aemp_world, 1)
    one = crowd.nodes["n0"]
    last = home(one)
    (deaf, _) = [name for name in G if name != last]
    crowd.network.partition("n0", deaf)
    await crowd.processes["n0"].call(become_global, one)
    await asyncio.sleep(1)
    crowd.kill("n0")
    await within(10, crowd.agreed)
    await crowd.close()


async def become_global(node: mp.Node) -> None:
    gl.of(node).become_global()


async def test_a_node_that_shall_be_ordinary_stays_so(aemp_network: SimulatedNetwork) -> None:
    plain = await aemp_network.node("plain", seeds=[], role="ordinary")
    other = await aemp_network.node("other", seeds=["memory://plain"])
    await asyncio.sleep(20)
    assert not gl.of(plain).exchange.is_global
    assert home(other) is None
    hub = await aemp_network.node("hub", seeds=["memory://plain"], role="global")
    await within(10, lambda: home(other) == home(plain) == hub.id)


async def test_topology_mesh_links_everybody_with_everybody(aemp_world: World) -> None:
    crowd = await crowd_of(aemp_world, 5, topology="mesh")
    everybody = set(crowd.nodes)
    await within(
        10, lambda: all({*node.up_nodes(), name} == everybody for name, node in crowd.nodes.items())
    )
    crowd.network.reset("n0")
    await within(
        20, lambda: all({*node.up_nodes(), name} == everybody for name, node in crowd.nodes.items())
    )
    await crowd.close()


async def test_an_address_that_is_out_of_date_is_forgotten(aemp_network: SimulatedNetwork) -> None:
    await aemp_network.node("hub", seeds=[])
    one = await aemp_network.node("one", seeds=["memory://hub"])
    two = await aemp_network.node("two", seeds=["memory://hub"])
    await one.up("two")
    await two.crash()
    await asyncio.sleep(5)
    await aemp_network.node("two", seeds=["memory://hub"], binds=["memory://elsewhere"])
    dials = aemp_network.dials
    assert await one.cal("two", "info", timeout=5) == ("two",)
    assert "memory://two" not in one.dialler._addresses.get("two", ())
    assert aemp_network.dials - dials <= 2


async def test_a_second_node_of_an_id_is_told_and_does_not_fill_the_log(
    aemp_world: World, caplog: pytest.LogCaptureFixture
) -> None:
    crowd = await crowd_of(aemp_world, 2)
    process = aemp_world.process("twin")
    twin = mp.Node(
        "n0", entropy=process.entropy, wall_clock=process.wall_clock,
        binds=["memory://twin"], seeds=["memory://g1", "memory://g2", "memory://g3"],
        heartbeat=4, monitor_timeout=11,
    )  # fmt: skip
    with caplog.at_level(logging.ERROR):
        await process.call(twin.start)
        await asyncio.sleep(120)
    told = [each for each in caplog.messages if "duplicate node ID n0" in each]
    assert 1 <= len(told) <= 20
    await process.call(twin.close)
    await within(65, crowd.agreed)
    await crowd.close()


async def test_a_node_whose_clock_was_set_back_replaces_its_past(aemp_world: World) -> None:
    crowd = await crowd_of(aemp_world, 2)
    crowd.power_off("n0")
    await asyncio.sleep(0.1)
    await crowd.start("n0", clock=-86_400)
    await within(30, crowd.agreed)
    assert len(members(crowd.nodes["g1"])) == 5
    await crowd.close()


async def test_what_is_sought_is_asked_of_the_next_home(aemp_world: World) -> None:
    """The home dies while a message waits for a node that nobody knows yet."""
    crowd = await crowd_of(aemp_world, 2)
    one = crowd.nodes["n0"]
    call = crowd.processes["n0"].start(one.cal("late", "info"))
    await asyncio.sleep(1)
    lost = home(one)
    assert lost is not None
    crowd.kill(lost)
    await within(1, lambda: home(one) not in (None, lost))
    await crowd.start("late")
    assert await asyncio.wait_for(crowd.processes["n0"].finish(call), 2) == ("late",)
    await crowd.close()


async def test_the_next_home_is_believed_before_the_last_one_notices(aemp_world: World) -> None:
    """The link broke at one end only: for its last home the node is there until it is silent."""
    crowd = await crowd_of(aemp_world, 2)
    one = crowd.nodes["n0"]
    last = home(one)
    assert last is not None
    crowd.network.half_open("n0", last)
    aemp_world.network.partition("n0", last)
    await within(1, lambda: home(one) not in (None, last))
    await within(0.5, lambda: all(
        gl.of(crowd.nodes[name]).exchange.held["n0"].home == home(one) for name in G
        if name != home(one)
    ))  # fmt: skip
    assert crowd.agreed()
    aemp_world.network.heal()
    await asyncio.sleep(20)
    assert crowd.agreed()
    await crowd.close()


async def test_what_was_dropped_for_want_of_room_is_said_again(
    aemp_network: SimulatedNetwork,
) -> None:
    """A program fills the queue to the node port of the hub, and what the exchange says is lost."""
    hub = await aemp_network.node("hub", seeds=[])
    one = await aemp_network.node("one", seeds=["memory://hub"], send_limit=50_000)
    await within(5, lambda: home(one) == "hub")

    def work(number: int) -> None:
        if number == 0:
            gl.of(one).grp_reg("g", one.id)
            for _ in range(10):
                one.snd("hub", "devnull", "x" * 10_000)

    # So many that the loop gets its turn before the notice that something was dropped.
    port = one.port(work)
    for number in range(1_000):
        one.snd(port, number)
    await within(5, lambda: members(hub, "g") == ["one"])


async def test_no_more_is_told_than_there_is_room_for(
    aemp_network: SimulatedNetwork, caplog: pytest.LogCaptureFixture
) -> None:
    """A large map for a new global takes its time on a slow link, and nothing of it is dropped."""
    limit = {"send_limit": 400_000}
    old = await aemp_network.node("old", seeds=[], role="global", **limit)
    for number in range(400):
        gl.of(old).db_set("family", str(number), "x" * 5_000)
    aemp_network.shape("old", "new", bandwidth=100_000)
    new = await aemp_network.node("new", seeds=["memory://old"], role="global", **limit)
    await within(60, lambda: len(gl.of(new).families.values("family")) == 400)
    assert "dropped" not in caplog.text
