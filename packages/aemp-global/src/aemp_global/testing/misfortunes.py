"""Misfortunes: networks under random faults, which must agree when all is mended.

Three globals and six ordinary nodes register ports in a group, and write and delete entries under
the same few keys, while machines are cut off from each other, in one direction or both, connections
break, processes are killed, lose power, stall, leave and come back under their IDs, and clocks
jump. Then everything is mended. Within `PROMISED` seconds, and those in which a silent link is
noticed, every node must see the same group, with every living port in it and no other, and the same
entries, which it also adds up from what its watcher was told; and `STILL` seconds later it must
still.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import Any

from aemp_core.node import Node
from aemp_core.testing import World

from ..groups import of
from .crowd import GLOBALS, Crowd, within

__all__ = ["ORDINARY", "PROMISED", "Outcome", "suffer"]

ORDINARY = tuple(f"n{number}" for number in range(6))
#: Seconds from the end of the last fault until all agree, if no link is silent that is up.
PROMISED = 5.0
#: Heartbeats until a silent link is noticed, at most.
NOTICED = 1.25
#: Seconds for which they must agree then.
STILL = 40.0
#: Seconds of virtual time after which a seed has failed, whatever is promised.
PATIENCE = 120.0

FAULTS = (
    "reset", "drop", "half_open", "partition", "one_way", "cut_off", "globals_apart", "kill",
    "power_off", "leave", "stall", "jump", "another_port",
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What became of a seed.

    Attributes:
        seed: which.
        heartbeat: of the nodes.
        faults: how many befell them.
        seconds: from the end of the last one until all agreed.
        error: what went wrong, "" if nothing did.
    """

    seed: int
    heartbeat: float
    faults: int = 0
    seconds: float = 0.0
    error: str = ""

    @property
    def in_time(self) -> bool:
        """Whether they agreed as soon as promised, and ever after."""
        return not self.error and self.seconds <= PROMISED + NOTICED * self.heartbeat


def suffer(seed: int) -> Outcome:
    """Run the misfortunes of a seed, always the same ones."""
    chance = random.Random(seed)
    heartbeat = chance.choice((1.0, 4.0, 10.0))
    world = World(1_000 + seed)
    try:
        faults, seconds = world.run(_misfortunes(world, chance, heartbeat))
    except Exception as error:
        return Outcome(seed, heartbeat, error=f"{type(error).__name__}: {error}")
    return Outcome(seed, heartbeat, faults, seconds)


async def _misfortunes(world: World, chance: random.Random, heartbeat: float) -> tuple[int, float]:
    crowd = Crowd(world, heartbeat=heartbeat)
    await crowd.start(*GLOBALS)
    await crowd.start(*ORDINARY)
    await within(10, crowd.agreed)
    everybody = (*GLOBALS, *ORDINARY)
    notes = Notes(crowd, chance)
    crowd.network.default.latency = chance.choice((0.000_1, 0.02, 0.1))
    faults = 0
    for _ in range(4):
        for _ in range(chance.randint(1, 5)):
            one, other = chance.sample(everybody, 2)
            await _befall(crowd, chance, chance.choice(FAULTS), one, other)
            faults += 1
            notes.write()
            await asyncio.sleep(chance.choice((0, 0.01, 0.5, 3)))
            notes.write()
        await asyncio.sleep(chance.choice((0, 3, 15, 70)))
        if chance.random() < 0.5:
            crowd.network.heal()
        await crowd.start(*(each for each in everybody if each not in crowd.nodes))
    crowd.network.heal()
    mended = max(world.now, *(process.resumes for process in crowd.processes.values()))
    notes.write()

    def differences() -> list[str]:
        return [*crowd.differences(), *notes.differences()]

    try:
        await within(PATIENCE, lambda: not differences())
    except AssertionError as error:
        raise AssertionError(f"{error}: {'; '.join(differences())}") from None
    seconds = max(0.0, world.now - mended)
    await asyncio.sleep(STILL)
    if found := differences():
        raise AssertionError(f"they agreed, and then they did not: {'; '.join(found)}")
    await crowd.close()
    return faults, seconds


async def _befall(crowd: Crowd, chance: random.Random, fault: str, one: str, other: str) -> None:
    """Have a fault befall a node, or two."""
    network, process = crowd.network, crowd.processes[one]
    if fault == "reset":
        network.reset(one)
    elif fault in ("drop", "half_open", "partition"):
        getattr(network, fault)(one, other)
    elif fault == "one_way":
        network.partition(one, other, one_way=True)
    elif fault == "cut_off":
        network.partition(one)
    elif fault == "globals_apart":
        for place, each in enumerate(GLOBALS):
            network.partition(each, set(GLOBALS[place + 1 :]))
    elif fault == "jump":
        process.jump(chance.choice((-1, 1)))
    elif one in crowd.nodes and fault == "stall":
        process.stall(chance.choice((0.3, 3, 11)))
    elif one in crowd.nodes and fault in ("kill", "power_off"):
        getattr(crowd, fault)(one)
    elif one in crowd.nodes and process.resumes <= crowd.world.now:
        await getattr(crowd, fault)(one)  # leave, another_port


class Notes:
    """Entries that all nodes write under the same few keys, and what each is told of them."""

    def __init__(self, crowd: Crowd, chance: random.Random) -> None:
        self.crowd = crowd
        self.chance = chance
        self.told: dict[Node, dict[str, Any]] = {}

    def write(self) -> None:
        """Have some nodes write something; those that are new begin to watch."""
        for node in self.crowd.nodes.values():
            if node not in self.told:
                self._watch(node, self.told.setdefault(node, {}))
            for _ in range(self.chance.choice((0, 0, 1, 5))):
                key = self.chance.choice("abcdef")
                if self.chance.random() < 0.6:
                    of(node).db_set("notes", key, [node.id, self.chance.random()])
                else:
                    of(node).db_del("notes", key)

    def _watch(self, node: Node, state: dict[str, Any]) -> None:
        def told(values: Any, added: Any, changed: Any, deleted: Any) -> None:
            for key in deleted:
                del state[key]
            for key in (*added, *changed):
                if (key in state) is not (key in changed):
                    raise AssertionError(f"a watcher was told that {key} is there twice, or never")
                state[key] = values[key]
            if state != dict(values):
                raise AssertionError("the reports of a watcher do not add up")

        of(node).db_mon("notes", told)

    def differences(self) -> list[str]:
        """Which nodes were told of something else than what the nodes that live have written."""
        expected: dict[str, Any] = {}
        for name in sorted(self.crowd.nodes, reverse=True):
            entries = of(self.crowd.nodes[name]).exchange.own.entries
            expected.update(
                (key, value) for (family, key), (value, _) in entries.items() if family == "notes"
            )
        return [
            f"{node.id} was told {self.told.get(node)}, not {expected}"
            for node in self.crowd.nodes.values()
            if self.told.get(node) != expected
        ]
