"""Whatever happened, reachable nodes agree within five seconds, and nobody sees a dead port."""

from __future__ import annotations

import asyncio

import pytest

import aemp_global as gl
from aemp_core.testing import World
from aemp_global.testing.crowd import GLOBALS, Crowd, within
from aemp_global.testing.misfortunes import NOTICED, ORDINARY, PROMISED, suffer

G, N = GLOBALS, ORDINARY
#: Where a silent link has to be noticed first, by nodes with the heartbeat of a crowd.
SILENT = PROMISED + NOTICED * 4


async def crowd_of(world: World) -> Crowd:
    crowd = Crowd(world)
    await crowd.start(*G)
    await crowd.start(*N)
    await within(10, crowd.agreed)
    return crowd


@pytest.mark.parametrize("seconds", [20, 50, 300])
async def test_globals_that_were_cut_off_from_each_other_agree(
    aemp_world: World, seconds: float
) -> None:
    """Ordinary nodes stay linked with their homes all the time."""
    crowd = await crowd_of(aemp_world)
    for place, each in enumerate(G):
        crowd.network.partition(each, set(G[place + 1 :]))
    await asyncio.sleep(seconds)
    assert not crowd.agreed()
    crowd.network.heal()
    await within(PROMISED, lambda: not crowd.differences())
    await crowd.close()


@pytest.mark.parametrize("seconds", [30, 33, 200])
async def test_halves_of_a_network_agree_after_the_heal(aemp_world: World, seconds: float) -> None:
    crowd = await crowd_of(aemp_world)
    crowd.network.partition({"g1", "n0", "n1"})
    await asyncio.sleep(seconds)
    assert not crowd.agreed()
    crowd.network.heal()
    await within(PROMISED, lambda: not crowd.differences())
    await crowd.close()


async def test_a_node_that_flaps_is_seen_again_each_time(aemp_world: World) -> None:
    crowd = await crowd_of(aemp_world)
    for _ in range(10):
        crowd.network.reset("n0")
        await asyncio.sleep(aemp_world.random.choice((0.01, 0.5, 3)))
    await within(PROMISED, crowd.agreed)
    await crowd.close()


async def test_a_node_that_comes_back_under_its_id_replaces_its_past(aemp_world: World) -> None:
    crowd = await crowd_of(aemp_world)
    for pause in (0.0, 1.0, 5.0):
        crowd.kill("n0", "g1")
        await asyncio.sleep(pause)
        await crowd.start("n0", "g1")
        await within(PROMISED, crowd.agreed)
    crowd.power_off("n1", "g2")
    await crowd.start("n1", "g2")
    await within(SILENT, crowd.agreed)
    await crowd.close()


async def test_the_dead_are_gone_everywhere(aemp_world: World) -> None:
    """An ordinary node; a global; a global and everybody who is attached to it."""
    crowd = await crowd_of(aemp_world)
    crowd.kill("n0")
    await within(PROMISED, crowd.agreed)
    await crowd.start("n0")
    await within(PROMISED, crowd.agreed)
    attached = [name for name in N if gl.of(crowd.nodes[name]).exchange.home == "g1"]
    assert attached
    crowd.kill("g1", *attached)
    await within(PROMISED, crowd.agreed)
    await crowd.start("g1", *attached)
    await within(PROMISED, crowd.agreed)
    crowd.power_off("g2")
    await within(SILENT, crowd.agreed)
    await crowd.close()


async def test_all_globals_are_lost_and_come_back(aemp_world: World) -> None:
    crowd = await crowd_of(aemp_world)
    crowd.kill(*G)
    await asyncio.sleep(30)
    await crowd.start(*G)
    await within(PROMISED, crowd.agreed)
    await crowd.close()


async def test_a_global_dies_while_an_owner_is_moving(aemp_world: World) -> None:
    crowd = await crowd_of(aemp_world)
    for victim in G:
        crowd.network.reset("n0")
        await asyncio.sleep(aemp_world.random.choice((0, 0.001, 0.01)))
        crowd.kill(victim)
        await asyncio.sleep(0.3)
        await crowd.start(victim)
        await within(PROMISED, crowd.agreed)
    await crowd.close()


@pytest.mark.parametrize("seed", range(12))
def test_random_faults_leave_no_disagreement(seed: int) -> None:
    """Any of the faults of the network and of processes, some at a time; then all is mended."""
    outcome = suffer(seed)
    assert outcome.in_time, outcome
