"""Faults: what befalls the nodes of one simulated run, drawn from its seed.

A `Plan` is plain data: the machines, how each is set up, and a schedule of `Fault`s. Taking faults
away from it makes another plan, which is how a failing one is shrunk to what matters. Every fault
names the verb of `driver.Driver` that brings it about.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

__all__ = ["Fault", "Plan", "draw"]

MACHINES = ("alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi")
#: Seconds between one fault and the next: most come in bursts, some after everything has settled.
GAPS = (0.0, 0.0, 0.0, 0.001, 0.01, 0.1, 0.5, 2.0, 3.0, 11.0)
#: Seconds of a stall: from a hiccup to more than any peer tolerates.
STALLS = (0.01, 0.3, 1.0, 3.0, 11.0)


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        pause: seconds after the fault before it.
        verb: the method of the driver.
        arguments: of that method.
    """

    pause: float
    verb: str
    arguments: tuple[Any, ...] = ()

    def __str__(self) -> str:
        return f"after {self.pause:g} s: {self.verb}({', '.join(map(repr, self.arguments))})"


@dataclass(frozen=True)
class Plan:
    """Everything one run is made of.

    Attributes:
        seed: what it was drawn from, and what the world runs on.
        machines: their names; on each runs one node of that ID.
        settings: of the nodes, by machine.
        seeds: whom each dials for ever, by machine.
        addresses: how many addresses each listens on.
        path: how bytes travel, see `cable.Path`.
        faults: in the order they come.
    """

    seed: int
    machines: tuple[str, ...]
    settings: Mapping[str, Mapping[str, Any]]
    seeds: Mapping[str, tuple[str, ...]]
    addresses: int
    path: Mapping[str, Any]
    faults: tuple[Fault, ...] = field(default=())

    def with_faults(self, faults: list[Fault]) -> Plan:
        """The same plan with other faults."""
        return replace(self, faults=tuple(faults))

    def __str__(self) -> str:
        lines = [f"{len(self.machines)} nodes, {self.addresses} addresses each, path {self.path}"]
        for machine in self.machines:
            settings = ", ".join(f"{key}={value}" for key, value in self.settings[machine].items())
            lines.append(f"  {machine}: dials {', '.join(self.seeds[machine])}; {settings}")
        return "\n".join([*lines, *(f"  {fault}" for fault in self.faults)])


def draw(seed: int, *, faults: int = 24) -> Plan:
    """Draw the plan of a seed, with at least so many faults."""
    chance = random.Random(f"plan {seed}")
    count = chance.choice((2, 2, 2, 3, 3, 3, 3, 3, 4, 5))
    machines = MACHINES[:count]
    return Plan(
        seed=seed,
        machines=machines,
        settings={machine: _settings(chance) for machine in machines},
        seeds=_seeds(chance, machines),
        addresses=chance.choice((1, 1, 2, 3)),
        path={
            "latency": chance.choice((0.000_05, 0.000_5, 0.02, 0.15)),
            "jitter": chance.choice((0.0, 0.0, 0.001, 0.05)),
            "bandwidth": chance.choice((float("inf"), float("inf"), 1e7, 5e4)),
            "capacity": chance.choice((65_536, 65_536, 4_096, 512)),
            "chop": chance.choice((0.0, 0.2, 0.9)),
        },
        faults=tuple(_fault(chance, machines) for _ in range(faults)),
    )


def _settings(chance: random.Random) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "heartbeat": chance.choice((4, 8, 8)),
        "monitor_timeout": 11,
        "connect_interval": chance.choice((0.5, 5)),
    }
    if chance.random() < 0.2:
        settings["framings"] = chance.choice((("json",), ("json", "msgpack")))
    if chance.random() < 0.4:
        settings["send_limit"] = 20_000
    return settings


def _seeds(chance: random.Random, machines: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Who dials whom: everybody is in, most pairs dial each other."""
    seeds = {}
    for index, machine in enumerate(machines):
        others = [each for each in machines if each != machine]
        chosen = {each for each in others if chance.random() < 0.6}
        chosen.add(machines[index - 1])
        seeds[machine] = tuple(each for each in others if each in chosen)
    return seeds


Draw = Callable[[random.Random, list[str]], tuple[Any, ...]]

#: Each fault: how often it comes, its verb, and how its arguments are drawn from shuffled machines.
_KINDS: tuple[tuple[int, str, Draw], ...] = (
    (12, "reset", lambda _, names: (names[0], names[1])),
    (2, "reset", lambda _, names: (names[0], None)),
    (5, "drop", lambda _, names: (names[0], names[1])),
    (5, "half_open", lambda _, names: (names[0], names[1])),
    (6, "partition", lambda chance, names: (names[0], names[1], chance.random() < 0.4)),
    (2, "partition", lambda chance, names: (names[0], None, chance.random() < 0.4)),
    (12, "heal", lambda _, names: ()),
    (4, "corrupt", lambda chance, names: (names[0], names[1], chance.randint(1, 2))),
    (6, "stall", lambda chance, names: (names[0], chance.choice(STALLS))),
    (2, "jump", lambda chance, names: (names[0], chance.choice((-86_400, -1, 1, 86_400)))),
    (4, "kill", lambda _, names: (names[0],)),
    (2, "power_off", lambda _, names: (names[0],)),
    (3, "close", lambda _, names: (names[0],)),
    (14, "restart", lambda _, names: ()),
    (3, "twin", lambda _, names: (names[0],)),
    (2, "end_twin", lambda chance, names: (chance.random() < 0.5,)),
    (4, "pipe", lambda _, names: (names[0], names[1])),
    (4, "stranger", lambda chance, names: (names[0], names[1], chance.randint(0, 2))),
    (3, "throttle", lambda chance, names: (names[0], names[1], chance.choice((2e4, 2e5, 1e9)))),
    (8, "burst", lambda chance, names: (names[0], chance.choice((2, 20, 100)))),
    (8, "end_ports", lambda _, names: (names[0],)),
)


def _fault(chance: random.Random, machines: tuple[str, ...]) -> Fault:
    names = list(machines)
    chance.shuffle(names)
    (_, verb, arguments) = chance.choices(_KINDS, [often for often, _, _ in _KINDS])[0]
    return Fault(chance.choice(GAPS), verb, arguments(chance, names))
