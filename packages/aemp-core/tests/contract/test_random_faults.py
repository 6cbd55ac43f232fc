"""Traffic between random ports under random faults: order, no holes, once, no residue.

Two or three nodes that dial each other over several addresses send numbered messages to each
other's ports, watch every port they send to, and watch it again when told. Connections are reset
and silenced, nodes crash, close and come back under their ID. Then everything heals.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from core_kit import SECRET, Network, crash, tasks_left

import aemp_core as mp
from aemp_core.testing.clock import VirtualClockLoop

SEEDS = range(24)
STEPS = 60


class Sender:
    """One node's messages to one port elsewhere: a new epoch begins when its monitor fires."""

    def __init__(self, scene: Scene, node: mp.Node, target: str) -> None:
        self.scene = scene
        self.node = node
        self.target = target
        self.epoch = self.number = 0
        self._watch()

    def _watch(self) -> None:
        self.epoch += 1
        epoch = self.epoch

        def fired(reason: tuple[Any, ...]) -> None:
            self.scene.check(epoch == self.epoch, "a monitor fired twice", self.target)
            self.epoch += 1
            if not self.node.closing and reason[0] == "transport_error":
                self._watch()  # which begins an epoch of its own: numbers of epochs may be skipped

        self.node.mon(self.target, fired)

    def send(self) -> None:
        if not self.node.closing:
            self.number += 1
            life = f"{self.node.id} {self.node.incarnation}"
            self.node.snd(self.target, life, self.epoch, self.number)


class Scene:
    """The nodes of one seed, and what was seen to go wrong."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.faults: list[tuple[Any, ...]] = []
        self.names = ["alice", "bob", "carol"][: self.random.choice([2, 3])]
        self.nodes: dict[str, mp.Node] = {}
        self.ports: dict[str, list[str]] = {}
        self.senders: list[Sender] = []
        self.arrived = 0

    def check(self, holds: bool, *what: Any) -> None:
        if not holds:
            self.faults.append(what)

    async def start(self, name: str) -> None:
        loop = asyncio.get_running_loop()
        addresses = {each: [f"memory://{each}{part}" for part in ("", "/2", "/3")]
                     for each in self.names}  # fmt: skip
        others = [address for each in self.names if each != name for address in addresses[each]]
        node = await mp.Node(
            name,
            binds=addresses[name],
            seeds=[address for address in others if self.random.random() < 0.7],
            secret=SECRET,
            heartbeat=self.random.choice([2, 10]),
            monitor_timeout=20,
            entropy=self.random.randbytes,
            wall_clock=lambda: 1e9 + loop.time(),
        ).start()
        self.nodes[name] = node
        self.ports[name] = [self._receiver(node) for _ in range(2)]
        self._watch_events(node)

    def _receiver(self, node: mp.Node) -> str:
        last: dict[str, tuple[int, int]] = {}

        def receive(life: str, epoch: int, number: int) -> None:
            self.arrived += 1
            old_epoch, old_number = last.get(life, (0, 0))
            self.check(number > old_number and epoch >= old_epoch, "order", life, epoch, number)
            if epoch == old_epoch:
                self.check(number == old_number + 1, "a hole", life, epoch, old_number, number)
            last[life] = epoch, number

        return node.port(receive)

    def _watch_events(self, node: mp.Node) -> None:
        up = dict.fromkeys(node.up_nodes(), True)

        def event(other: str, is_up: bool, _reason: Any) -> None:
            self.check(up.get(other, False) is not is_up, "event", node.id, other, is_up)
            up[other] = is_up

        node.mon_nodes(event)

    def connect(self, name: str, others: list[str]) -> None:
        """Have a node send to others, and them to it."""
        for other in others:
            for target in self.ports[other]:
                self.senders.append(Sender(self, self.nodes[name], target))
            for target in self.ports[name]:
                self.senders.append(Sender(self, self.nodes[other], target))

    async def fault(self, network: Network) -> None:
        one, other = self.random.sample(self.names, 2)
        kind = self.random.random()
        if kind < 0.15:
            network.reset(one, other)
        elif kind < 0.2:
            network.silence(one, other)
        elif kind < 0.3:
            network.heal()
        elif kind < 0.35:
            wires = [wire for wire in network.wires if wire.alive]
            if wires:
                self.random.choice(wires).reset()
        elif kind < 0.4:
            old = self.nodes[one]
            await (crash(network, old) if self.random.random() < 0.5 else old.close())
            self.senders = [sender for sender in self.senders if sender.node is not old]
            await self.start(one)
            self.connect(one, [name for name in self.names if name != one])

    async def play(self) -> None:
        network = Network.here()
        for name in self.names:
            await self.start(name)
        for index, name in enumerate(self.names):
            self.connect(name, self.names[:index])
        for _ in range(STEPS):
            for _ in range(self.random.randint(0, 30)):
                self.random.choice(self.senders).send()
            await self.fault(network)
            await asyncio.sleep(self.random.choice([0, 0, 0.001, 0.01, 0.1, 1, 5, 12]))
        network.heal()
        await asyncio.sleep(60)
        for name, node in self.nodes.items():
            for seed in node.settings.seeds:
                other = seed.removeprefix("memory://").partition("/")[0]
                self.check(node.node_is_up(other), "not connected after the heal", name, other)
        for node in self.nodes.values():
            await node.close()
            self.check(not (node.ports or node.peers or node.queue.items), "residue", node.id)
        await asyncio.sleep(30)
        self.check(not tasks_left(), "tasks", tasks_left())


@pytest.mark.parametrize("seed", SEEDS)
def test_no_holes_under_random_faults(seed: int) -> None:
    scene = Scene(seed)
    VirtualClockLoop().run(scene.play())
    assert not scene.faults
    assert scene.arrived > 50
