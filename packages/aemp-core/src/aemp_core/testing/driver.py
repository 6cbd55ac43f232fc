"""The driver: starts the nodes of a plan, brings its faults about, mends everything, and looks.

Each fault of a `Plan` names a method here. After the last one everything is mended (the fault
``healed`` in the history); then there is calm, in which all that can be connected must connect; and
then every node is closed, and must leave nothing.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import aemp_core as mp

from .agents import Agent
from .cable import Path
from .faults import Plan, draw
from .mischief import Joint, Stranger
from .world import Process, World

__all__ = ["Driver"]

SECRET = b"the secret of the simulation"
#: Seconds of calm after the last fault is mended.
CALM = 36.0
#: The part of all faults that meets nodes which are sending.
RUSHES = 0.7
#: Seconds in which what closes may still take leave of its peers.
LEAVE = 15.0


class Driver:
    """One run of a plan. A subclass may run it with nodes that have another kind of links.

    Args:
        world: a fresh one.
        plan: what is to happen.
    """

    #: Draws the plan of a seed.
    draw = staticmethod(draw)

    def __init__(self, world: World, plan: Plan) -> None:
        self.world = world
        self.plan = plan
        self.agents: dict[str, Agent] = {}
        self._network = world.network
        self._chance = world.random
        self._ports: list[str] = []
        self._answering: dict[str, bool] = {}
        self._lives = itertools.count(1)
        self._names = itertools.count(1)
        self._twin: Agent | None = None
        self._twins = itertools.count(1)
        self._done: list[tuple[Process, mp.Node, str]] = []

    # -- for the agents ----------------------------------------------------------------------

    def name(self, kind: str) -> str:
        """A name never used before."""
        return f"{kind} {next(self._names)}"

    def publish(self, port: str, *, answers: bool) -> None:
        """Let every agent know a port, and whether it answers calls."""
        self._ports.append(port)
        self._answering[port] = answers

    def answers(self, port: str) -> bool:
        """Whether a port answers calls."""
        return self._answering[port]

    def any_port(self) -> str:
        """A port to use, mostly one of the newest."""
        newest = self._ports[-5 * len(self.plan.machines) :]
        return self._chance.choice(newest if self._chance.random() < 0.9 else self._ports)

    def look_for_intruders(self, agent: Agent) -> None:
        """Note links over connections that only strangers made."""
        for node_id, peer in agent.node.peers.items():
            session = peer.session
            if session is not None and Stranger.NAME in session.info.origin:
                self.world.history.note("intruder", agent.life, node_id)

    # -- the run -----------------------------------------------------------------------------

    async def run(self) -> None:
        """Everything, from the start of the first node to the look at what is left."""
        note = self.world.history.note
        self._network.default = Path(**self.plan.path)
        for machine in self.plan.machines:
            await self._start(machine)
        await asyncio.sleep(1)
        for fault in self.plan.faults:
            await asyncio.sleep(fault.pause)
            if self._chance.random() < RUSHES:
                await self._rush()
            note("fault", str(fault))
            await getattr(self, fault.verb)(*fault.arguments)
        await self._mend()
        note("healed")
        await asyncio.sleep(CALM)
        self._judge_links()
        note("judged")
        for machine in self.plan.machines:
            agent = self.agents[machine]
            await agent.process.call(agent.close)
            self._done.append((agent.process, agent.node, agent.life))
        await asyncio.sleep(LEAVE)
        self._look_for_residue()

    async def _rush(self) -> None:
        """Have bytes of everybody on their way when the fault comes."""
        for machine in self.plan.machines:
            agent = self._alive(machine)
            if agent is not None:
                agent.process.loop.call_soon(agent.rush)
        await asyncio.sleep(self.plan.path["latency"] * self._chance.choice((0.0, 0.5, 1.5)))

    async def _start(self, machine: str, node_id: str = "") -> Agent:
        process = self.world.process(machine)
        node_id = node_id or machine
        node = self.make_node(
            node_id,
            secret=SECRET,
            entropy=process.entropy,
            wall_clock=process.wall_clock,
            **self.places(machine, node_id),
            **self.plan.settings[node_id],
        )
        agent = Agent(self, process, node, f"{node_id}@{next(self._lives)}")
        await process.call(agent.begin)
        if node_id == machine:
            self.agents[machine] = agent
        return agent

    def places(self, machine: str, node_id: str) -> dict[str, Any]:
        """The settings that say where a node listens and whom it dials."""
        plan = self.plan
        addresses = {each: [f"memory://{each}/{number}" for number in range(plan.addresses)]
                     for each in plan.machines}  # fmt: skip
        return {
            "binds": [f"memory://{machine}"] if node_id != machine else addresses[machine],
            "seeds": [address for seed in plan.seeds[node_id] for address in addresses[seed]],
        }

    def make_node(self, node_id: str, **settings: Any) -> mp.Node:
        """The node of a new life, not started yet."""
        return mp.Node(node_id, **settings)

    def _alive(self, machine: str) -> Agent | None:
        """The agent of a machine if it is in its right mind: neither dead nor closing."""
        agent = self.agents[machine]
        return agent if agent.process.alive and agent.closing is None else None

    # -- faults of the network ---------------------------------------------------------------

    async def reset(self, one: str, other: str | None) -> None:
        """Connections break, both ends are told."""
        self._network.reset(one, other)

    async def drop(self, one: str, other: str) -> None:
        """Connections are lost, nobody is told."""
        self._network.drop(one, other)

    async def half_open(self, one: str, other: str) -> None:
        """Connections are lost, one end is told."""
        self._network.half_open(one, other)

    async def partition(self, one: str, other: str | None, one_way: bool) -> None:
        """No byte passes."""
        self._network.partition([one], None if other is None else [other], one_way=one_way)

    async def heal(self) -> None:
        """All bytes pass again."""
        self._network.heal()

    async def corrupt(self, one: str, other: str, chunks: int) -> None:
        """Bits flip; a while later the connections break, since no byte of them means anything."""
        self._network.corrupt(one, other, chunks)
        later = self._chance.uniform(0, 5)
        asyncio.get_running_loop().call_later(later, self._network.reset, one, other)

    async def throttle(self, one: str, other: str, bandwidth: float) -> None:
        """New connections carry less, or more, in one direction."""
        self._network.shape(one, other, bandwidth=bandwidth)

    # -- faults of machines ------------------------------------------------------------------

    async def stall(self, machine: str, seconds: float) -> None:
        """A process does not run for a while."""
        agent = self.agents[machine]
        if agent.process.alive:
            self.world.history.note("stall", agent.life, seconds)
            agent.process.stall(seconds)

    async def jump(self, machine: str, seconds: float) -> None:
        """A wall clock is set."""
        self.agents[machine].process.jump(seconds)

    async def kill(self, machine: str) -> None:
        """A process is killed."""
        agent = self.agents[machine]
        if agent.process.alive and not agent.node.closed:
            self.world.history.note("end", agent.life, "kill")
            agent.process.kill()

    async def power_off(self, machine: str) -> None:
        """A machine loses power."""
        agent = self.agents[machine]
        if agent.process.alive and not agent.node.closed:
            self.world.history.note("end", agent.life, "power off")
            agent.process.power_off()

    async def close(self, machine: str) -> None:
        """A node leaves in order; what follows does not wait for it."""
        agent = self._alive(machine)
        if agent is not None:
            agent.closing = agent.process.start(agent.close())
            self._done.append((agent.process, agent.node, agent.life))

    async def restart(self) -> None:
        """What has ended comes back under its ID."""
        for machine, agent in self.agents.items():
            if not agent.process.alive or agent.node.closed:
                await self._start(machine)

    async def twin(self, machine: str) -> None:
        """A second process with the ID of a node that runs."""
        if self._twin is None and self._alive(machine) is not None:
            # On a machine of its own each: the one before may still be leaving.
            name = f"{machine}-twin-{next(self._twins)}"
            self._twin = await self._start(name, node_id=machine)

    async def end_twin(self, kindly: bool) -> None:
        """The second process ends."""
        twin, self._twin = self._twin, None
        if twin is None:
            return
        if kindly:
            twin.process.start(twin.close())
        else:
            self.world.history.note("end", twin.life, "kill")
            twin.process.kill()

    # -- people ------------------------------------------------------------------------------

    async def pipe(self, one: str, other: str) -> None:
        """A client connects two listeners with each other, to have them trust it."""
        process = self.world.process(Stranger.NAME)
        for near, far in ((one, other), (other, one)):
            process.start(Joint.connect(self._network, f"{near}/0", f"{far}/0", self.make_joint))

    async def stranger(self, machine: str, claimed: str, kind: int) -> None:
        """Somebody who does not know the secret tries to be a node."""
        process = self.world.process(Stranger.NAME)
        stranger = self.make_stranger(process)
        process.start(stranger.try_to_join(f"{machine}/0", claimed, kind))

    def make_joint(self) -> Joint:
        """One of the two connections of such a client."""
        return Joint()

    def make_stranger(self, process: Process) -> Stranger:
        """Such a somebody, in a process of theirs."""
        return Stranger(self._network, process, self._ports[-5:])

    async def burst(self, machine: str, count: int) -> None:
        """A node sends more than fits."""
        agent = self._alive(machine)
        if agent is not None:
            agent.process.loop.call_soon(agent.send, self.any_port(), count, 1_000)

    async def end_ports(self, machine: str) -> None:
        """A node ends two of its ports."""
        agent = self._alive(machine)
        if agent is not None:
            for _ in range(2):
                agent.process.loop.call_soon(agent.end_a_port)

    # -- the end -----------------------------------------------------------------------------

    async def _mend(self) -> None:
        await self.end_twin(kindly=False)
        self._network.heal()
        for agent in self.agents.values():
            if agent.process.alive and agent.closing is not None:
                await agent.process.finish(agent.closing)
        await self.restart()

    def _judge_links(self) -> None:
        note = self.world.history.note
        for machine, agent in self.agents.items():
            self.look_for_intruders(agent)
            for other, its_agent in self.agents.items():
                if other in self.plan.seeds[machine] or machine in self.plan.seeds[other]:
                    note("expect", agent.life, its_agent.node.id)
                if other != machine and agent.node.node_is_up(other):
                    note("linked", agent.life, other)

    def _look_for_residue(self) -> None:
        note = self.world.history.note
        for process, node, life in self._done:
            if not process.alive:
                continue
            for what in (node.ports, node.peers, node.queue.items):
                if what:
                    note("residue", life, f"of the node: {what!r:.200}")
            for task in sorted(asyncio.all_tasks(process.loop), key=lambda task: task.get_name()):
                note("residue", life, f"task {task.get_coro().__qualname__}")  # type: ignore[union-attr]
            for timer in process.loop._scheduled:
                if not timer.cancelled():
                    note("residue", life, f"timer {timer!r:.200}")
