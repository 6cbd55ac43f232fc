"""Whatever happened, reachable nodes agree within five seconds, and nobody sees a dead port."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from global_kit import Crowd, within

import aemp_core as mp
import aemp_global as gl
from aemp_core.testing import World

G = ("g1", "g2", "g3")
N = tuple(f"n{number}" for number in range(6))


async def crowd_of(world: World) -> Crowd:
    crowd = Crowd(world)
    await crowd.start(*G)
    await crowd.start(*N)
    await within(10, crowd.agreed)
    return crowd


async def test_globals_that_were_cut_off_from_each_other_agree(aemp_world: World) -> None:
    """Ordinary nodes stay linked with their homes all the time."""
    crowd = await crowd_of(aemp_world)
    for one in G:
        for other in G:
            if one < other:
                crowd.network.partition(one, other)
    await asyncio.sleep(20)
    assert not crowd.agreed()
    crowd.network.heal()
    # Kernels send again what was held back after a while only.
    await within(40, lambda: all(
        set(crowd.nodes[one].up_nodes()) >= set(G) - {one} for one in G
    ))  # fmt: skip
    assert await within(5, crowd.agreed) <= 5
    await crowd.close()


async def test_halves_of_a_network_agree_after_the_heal(aemp_world: World) -> None:
    crowd = await crowd_of(aemp_world)
    crowd.network.partition({"g1", "n0", "n1"})
    await asyncio.sleep(30)
    crowd.network.heal()
    await within(60, lambda: len(crowd.nodes["g1"].up_nodes()) > 1 and all(
        set(crowd.nodes[one].up_nodes()) >= set(G) - {one} for one in G
    ))  # fmt: skip
    await within(5, crowd.agreed)
    await crowd.close()


async def test_a_node_that_flaps_is_seen_again_each_time(aemp_world: World) -> None:
    crowd = await crowd_of(aemp_world)
    for _ in range(10):
        crowd.network.reset("n0")
        await asyncio.sleep(aemp_world.random.choice((0.01, 0.5, 3)))
    await within(5, crowd.agreed)
    await crowd.close()


async def test_a_node_that_comes_back_under_its_id_replaces_its_past(aemp_world: World) -> None:
    crowd = await crowd_of(aemp_world)
    for pause in (0.0, 1.0, 5.0):
        crowd.kill("n0", "g1")
        await asyncio.sleep(pause)
        await crowd.start("n0", "g1")
        await within(8, crowd.agreed)
    crowd.power_off("n1", "g2")
    await crowd.start("n1", "g2")
    await within(15, crowd.agreed)
    await crowd.close()


async def test_the_dead_are_gone_everywhere(aemp_world: World) -> None:
    """An ordinary node; a global; a global and everybody who is attached to it."""
    crowd = await crowd_of(aemp_world)
    crowd.kill("n0")
    await within(5, crowd.agreed)
    await crowd.start("n0")
    await within(5, crowd.agreed)
    attached = [name for name in N if gl.of(crowd.nodes[name]).exchange.home == "g1"]
    assert attached
    crowd.kill("g1", *attached)
    await within(5, crowd.agreed)
    await crowd.start("g1", *attached)
    await within(5, crowd.agreed)
    crowd.power_off("g2")
    await within(10, crowd.agreed)
    await crowd.close()


async def test_all_globals_are_lost_and_come_back(aemp_world: World) -> None:
    crowd = await crowd_of(aemp_world)
    crowd.kill(*G)
    await asyncio.sleep(30)
    await crowd.start(*G)
    await within(12, crowd.agreed)
    await crowd.close()


async def test_a_global_dies_while_an_owner_is_moving(aemp_world: World) -> None:
    crowd = await crowd_of(aemp_world)
    for victim in G:
        crowd.network.reset("n0")
        await asyncio.sleep(aemp_world.random.choice((0, 0.001, 0.01)))
        crowd.kill(victim)
        await asyncio.sleep(0.3)
        await crowd.start(victim)
        await within(10, crowd.agreed)
    await crowd.close()


@pytest.mark.parametrize("seed", range(12))
def test_random_faults_leave_no_disagreement(seed: int) -> None:
    """Any of the faults of the network and of processes, some at a time; then all is mended."""
    world = World(1_000 + seed)
    world.run(misfortunes(world, random.Random(seed)))


async def misfortunes(world: World, chance: random.Random) -> float:
    """Seconds from the heal until everybody agrees."""
    crowd = await crowd_of(world)
    everybody = (*G, *N)
    notes = Notes(crowd, chance)
    crowd.network.default.latency = chance.choice((0.000_1, 0.02, 0.1))
    for _ in range(4):
        for _ in range(chance.randint(1, 5)):
            one, other = chance.sample(everybody, 2)
            fault = chance.randrange(9)
            alive = one in crowd.nodes
            if fault == 0:
                crowd.network.reset(one)
            elif fault == 1:
                crowd.network.drop(one, other)
            elif fault == 2:
                crowd.network.half_open(one, other)
            elif fault == 3:
                crowd.network.partition(one, other, one_way=chance.random() < 0.4)
            elif fault == 4:
                crowd.network.partition(one)
            elif fault == 5 and alive:
                crowd.kill(one)
            elif fault == 6 and alive:
                crowd.power_off(one)
            elif fault == 7 and alive:
                crowd.processes[one].stall(chance.choice((0.3, 3, 11)))
            elif fault == 8:
                crowd.processes[one].jump(chance.choice((-1, 1)))
            notes.write()
            await asyncio.sleep(chance.choice((0, 0.01, 0.5, 3)))
            notes.write()
        await asyncio.sleep(chance.choice((0, 3, 15)))
        if chance.random() < 0.5:
            crowd.network.heal()
        missing = [each for each in everybody if each not in crowd.nodes]
        await crowd.start(*missing)
    crowd.network.heal()
    began = world.now
    # Connections that no byte passes are noticed, and dialled anew; kernels send again what was
    # held back after as long as it was held, up to 30 s.
    notes.write()
    await within(60, lambda: linked(crowd) and crowd.agreed() and notes.agreed())
    took = world.now - began
    await asyncio.sleep(40)
    assert crowd.agreed() and notes.agreed()
    await crowd.close()
    return took


class Notes:
    """Entries that all nodes write under the same few keys, and what each is told of them."""

    def __init__(self, crowd: Crowd, chance: random.Random) -> None:
        self.crowd = crowd
        self.chance = chance
        self.told: dict[mp.Node, dict[str, Any]] = {}

    def write(self) -> None:
        """Have some nodes write something; those that are new begin to watch."""
        for node in self.crowd.nodes.values():
            if node not in self.told:
                self._watch(node, self.told.setdefault(node, {}))
            for _ in range(self.chance.choice((0, 0, 1, 5))):
                key = self.chance.choice("abcdef")
                if self.chance.random() < 0.6:
                    gl.of(node).db_set("notes", key, [node.id, self.chance.random()])
                else:
                    gl.of(node).db_del("notes", key)

    def _watch(self, node: mp.Node, state: dict[str, Any]) -> None:
        def told(values: Any, added: Any, changed: Any, deleted: Any) -> None:
            for key in deleted:
                del state[key]
            for key in (*added, *changed):
                assert (key in state) is (key in changed)
                state[key] = values[key]
            assert state == dict(values)

        gl.of(node).db_mon("notes", told)

    def agreed(self) -> bool:
        """Whether every node was told what the nodes that live have written."""
        expected: dict[str, Any] = {}
        for name in sorted(self.crowd.nodes, reverse=True):
            entries = gl.of(self.crowd.nodes[name]).exchange.own.entries
            expected.update(
                (key, value) for (family, key), (value, _) in entries.items() if family == "notes"
            )
        return all(self.told.get(node) == expected for node in self.crowd.nodes.values())


def linked(crowd: Crowd) -> bool:
    """Whether globals are linked pairwise, and every other node is at home with one."""
    for name, node in crowd.nodes.items():
        if name in G and not set(node.up_nodes()) >= set(G) - {name}:
            return False
        if name not in G and not gl.of(node).homing.at_home:
            return False
    return True
