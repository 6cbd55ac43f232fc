"""The simulated network: what joins the nodes of a world, and everything that goes wrong there.

It serves ``memory://`` addresses, so nodes need nothing special to run on it. Faults are about
*machines*: a node is on the machine its process was made for; nodes of the main process are on
one called after their node ID. Where machines are asked for, nodes, processes and names of
machines will do; where several are, one or a collection.

    network.partition(alice, {bob, carol})      # no byte passes; nobody is told
    network.heal()                              # bytes pass again, those held back too
    network.reset(alice, bob)                   # both are told that their connections broke
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..errors import TransportError
from ..memory import SCHEME, MemoryNetwork
from ..pipe import End
from .cable import Cable, Lane, Path
from .simulated_node import SimulatedNode

if TYPE_CHECKING:
    from .world import Process, ProcessLoop, World

__all__ = ["Machine", "SimulatedNetwork"]

#: What names a machine: a node, a process, or the name itself.
Machine = Any
#: One machine, or several.
Machines = Any
#: Seconds after which a connection request that nobody answered is sent again; then twice that.
REQUEST_SECONDS = 1.0


@dataclass(frozen=True)
class Partition:
    """Machines between which no byte passes, from `some` to `others` (None: all the others)."""

    some: frozenset[str]
    others: frozenset[str] | None
    one_way: bool

    def stops(self, source: str, sink: str) -> bool:
        """Whether it keeps bytes from getting from one machine to another."""
        return self._parts(source, sink) or (not self.one_way and self._parts(sink, source))

    def _parts(self, one: str, other: str) -> bool:
        there = other not in self.some if self.others is None else other in self.others
        return there and one in self.some


class SimulatedNetwork(MemoryNetwork):
    """The network of one world, made by it.

    Attributes:
        world: the world.
        default: how bytes travel between machines for which nothing else was set.
        cables: every connection there is, and some that have ended.
        dials: how often a connection was asked for.
        sealed: whether links notice altered bytes, so that these excuse nothing.
        traffic: bytes that each machine wrote, or was written, by its name.
    """

    def __init__(self, world: World) -> None:
        super().__init__()
        self.secret = world.random.randbytes(32)
        self.default = Path()
        self.cables: list[Cable] = []
        self.dials = 0
        self.sealed = False
        self.traffic: Counter[str] = Counter()
        self._enough = 100  # cables, to look which of them have ended
        self.world = world
        self.chance = world.random
        self._paths: dict[tuple[str, str], Path] = {}
        self._partitions: list[Partition] = []
        self._off: set[str] = set()
        self._listeners: dict[str, tuple[Process, str, str]] = {}
        self._places: dict[str, str] = {}

    # -- nodes -------------------------------------------------------------------------------

    async def node(self, node_id: str, /, **settings: Any) -> SimulatedNode:
        """Start a node in the running process, on its clocks and with the world's entropy.

        Args:
            node_id: its ID.
            settings: as for `Node`. Unless told otherwise it listens at ``memory://NODE_ID``, its
                seeds are all addresses ever listened at here, and it is ``strict``.
        """
        process = _process(asyncio.get_running_loop())
        binds = [SCHEME + node_id]
        seeds = [address for name in self._places if (address := SCHEME + name) not in binds]
        node = SimulatedNode(
            self,
            node_id,
            entropy=process.entropy,
            wall_clock=process.wall_clock,
            **{"binds": binds, "seeds": seeds, "strict": True, **settings},
        )
        await node.start()
        return node

    # -- what it is like ---------------------------------------------------------------------

    @property
    def now(self) -> float:
        """The world's time, in seconds."""
        return self.world.now

    def path(self, source: str, sink: str) -> Path:
        """How bytes get from one machine to another."""
        return self._paths.get((source, sink), self.default)

    def shape(self, source: Machine, sink: Machine, /, **changes: Any) -> None:
        """Change how bytes get from one machine to another, from now on.

        Args:
            source: a machine.
            sink: another one.
            changes: attributes of `Path`.
        """
        pair = machine(source), machine(sink)
        path = self._paths[pair] = replace(self.path(*pair), **changes)
        for lane in self._lanes():
            if _ends(lane) == pair:
                lane.path, lane.capacity = path, path.capacity

    def delay(self, path: Path) -> float:
        """Seconds the next bytes take."""
        return path.latency + (path.jitter * self.chance.random() if path.jitter else 0.0)

    def kernel_of(self, loop: ProcessLoop) -> ProcessLoop:
        """The loop in which arrivals for `loop` are handled: for a dead process, the main one."""
        return loop if loop.process.alive else self.world.main.loop

    def note(self, what: str, lane: Lane, *details: Any) -> None:
        """Write down what a lane did."""
        self.world.history.note("wire", what, lane.source_machine, lane.sink_machine, *details)

    # -- MemoryNetwork -----------------------------------------------------------------------

    def bind(self, name: str, factory: Callable[[], asyncio.Protocol], owner: str = "") -> None:
        """See `MemoryNetwork`."""
        super().bind(name, factory, owner)
        process = _process(asyncio.get_running_loop())
        place = self._place(process, owner or name)
        self._listeners[name] = process, place, owner
        self._places[name] = place

    def release(self, name: str) -> None:
        """See `MemoryNetwork`."""
        super().release(name)
        self._listeners.pop(name, None)

    async def reach(self, name: str, label: str) -> None:
        """See `MemoryNetwork`: here it takes a way there and back, and contact."""
        self.dials += 1
        here = self._place(_process(asyncio.get_running_loop()), label)
        there = self._places.get(name)
        if there is None:
            raise _refused(name)
        pause = REQUEST_SECONDS
        while not (self._contact(here, there) and self._contact(there, here)):
            await asyncio.sleep(pause)
            pause *= 2
        await asyncio.sleep(self.delay(self.path(here, there)) + self.delay(self.path(there, here)))
        if name not in self._listeners:
            raise _refused(name)

    def connect(
        self, loop: asyncio.AbstractEventLoop, name: str, dialler: asyncio.Protocol, label: str
    ) -> None:
        """See `MemoryNetwork`."""
        factory = self._names.get(name)
        if factory is None:
            raise _refused(name)
        process, there, owner = self._listeners[name]
        here = self._place(_process(loop), label)
        near = End(loop, dialler, {"peername": name})
        far = End(process.loop, factory(), {"peername": label})
        cable = Cable(self, (here, there), (label, owner), near, far)
        self.cables.append(cable)
        if len(self.cables) > self._enough:
            self.cables = [each for each in self.cables if each.alive]
            self._enough = 2 * len(self.cables) + 100
        for lane in cable.lanes:
            if not self._contact(*_ends(lane)):
                lane.hold()
        self.world.history.note("wire", "connected", here, there)
        out, back = cable.lanes
        process.loop.io(self.now, self._accept, far, out)
        near.open()
        back.open()

    @staticmethod
    def _accept(far: End, lane: Lane) -> None:
        if not far._gone:
            far.open()
        lane.open()

    def _place(self, process: Process, label: str) -> str:
        return label if process is self.world.main else process.name

    # -- contact -----------------------------------------------------------------------------

    def partition(
        self, some: Machines, others: Machines | None = None, /, *, one_way: bool = False
    ) -> None:
        """Let no byte pass between machines; nobody is told. New connections are not answered.

        Args:
            some: machines, among which bytes go on to pass.
            others: other machines; None: all the others.
            one_way: only bytes from the first to the second do not pass.
        """
        there = None if others is None else _machines(others)
        self._partitions.append(Partition(_machines(some), there, one_way))
        self._look()

    def heal(self) -> None:
        """End every partition: bytes pass again, those that were held back too."""
        self._partitions.clear()
        self._look()

    def _look(self) -> None:
        """Contact was lost or regained somewhere."""
        for lane in self._lanes():
            if lane.held is self._contact(*_ends(lane)):
                if lane.held:
                    lane.release()
                else:
                    lane.hold()

    def _contact(self, source: str, sink: str) -> bool:
        """Whether bytes get from one machine to another."""
        if source in self._off or sink in self._off:
            return False
        return source == sink or not any(each.stops(source, sink) for each in self._partitions)

    def _lanes(self) -> list[Lane]:
        return [lane for cable in self.cables for lane in cable.lanes]

    # -- connections -------------------------------------------------------------------------

    def between(self, one: Machine, other: Machine | None = None, /) -> list[Cable]:
        """The living connections of a machine, or of two."""
        there = None if other is None else machine(other)
        return [each for each in self.cables if each.alive and each.joins(machine(one), there)]

    def reset(self, one: Machine, other: Machine | None = None, /) -> None:
        """Break connections of a machine, or between two, and tell both ends."""
        for cable in self.between(one, other):
            for end in cable.ends:
                end._inward.break_off()  # type: ignore[attr-defined]

    def drop(self, one: Machine, other: Machine | None = None, /) -> None:
        """Lose connections, as a firewall that forgot them: no byte passes, nobody is told."""
        for cable in self.between(one, other):
            for lane in cable.lanes:
                lane.cut()

    def half_open(self, one: Machine, other: Machine | None = None, /) -> None:
        """Break connections of a machine at its end only: the other end learns when it sends."""
        for cable in self.between(one, other):
            out, back = cable.lanes
            inward, outward = (back, out) if cable.machines[0] == machine(one) else (out, back)
            outward.forget()
            inward.break_off()

    def corrupt(self, one: Machine, other: Machine, /, chunks: int = 1) -> None:
        """Flip a bit in each of the next chunks from one machine to another."""
        for cable in self.between(one, other):
            for lane in cable.lanes:
                if lane.source_machine == machine(one):
                    lane.flips = chunks

    def flip(self, data: bytes, lane: Lane) -> bytes:
        """`data` with one bit flipped."""
        bit = self.chance.randrange(len(data) * 8)
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        one, other = lane._cable.nodes
        self.world.history.note("wire" if self.sealed else "tainted", one, other)
        return bytes(flipped)

    # -- processes and machines --------------------------------------------------------------

    def killed(self, process: Process) -> None:
        """A process is dead: its kernel closes its connections and listeners."""
        for name, (owner, _, _) in list(self._listeners.items()):
            if owner is process:
                self.release(name)
        self._close_ends(lambda end, _: end._loop is process.loop)

    def crashed(self, node: SimulatedNode) -> None:
        """A node of the main process counts as killed; its streams are told that they broke."""
        main = self.world.main
        if node.loop is not main.loop:
            raise ValueError(f"node {node.id} has a process of its own: kill that")
        for name, (process, place, _) in list(self._listeners.items()):
            if process is main and place == node.id:
                self.release(name)
        for end in self._close_ends(lambda end, at: end._loop is main.loop and at == node.id):
            error = ConnectionAbortedError(f"node {node.id} crashed")
            main.loop.call_soon(end.get_protocol().connection_lost, error)

    def _close_ends(self, dead: Callable[[End, str], bool]) -> list[End]:
        closed = []
        for cable in self.cables:
            for end, place in zip(cable.ends, cable.machines, strict=True):
                if not end._gone and dead(end, place):
                    inward, outward = end._inward, end._outward
                    assert isinstance(inward, Lane) and isinstance(outward, Lane)
                    end._gone = end._closing = True
                    # Unread input makes a kernel reset the connection.
                    outward.end_for(outward.capacity, reset=inward.waiting)
                    inward.orphan()
                    closed.append(end)
        return closed

    def powered_off(self, name: str) -> None:
        """A machine is off: nothing leaves it, nothing is answered."""
        self._off.add(name)
        for cable in self.cables:
            for lane in cable.lanes:
                if lane.source_machine == name:
                    lane.fall_silent()
                if lane.sink_machine == name:
                    lane.sink._gone = lane.sink._closing = True
                    lane.orphan()
        self._look()

    def switched_on(self, name: str) -> None:
        """A machine is on: its kernel knows nothing of connections it had before."""
        if name in self._off:
            self._off.discard(name)
            for bound, (_, place, _) in list(self._listeners.items()):
                if place == name:
                    self.release(bound)
            self._look()


def machine(of: Machine) -> str:
    """The name of the machine of a node or process."""
    if isinstance(of, str):
        return of
    process: Process | None = getattr(getattr(of, "loop", None), "process", None)
    name: str
    if process is not None and process is not process.world.main:
        name = process.name
    else:
        name = of.id if hasattr(of, "id") else of.name
    return name


def _machines(of: Machines) -> frozenset[str]:
    """The names of one machine, or of several."""
    several = isinstance(of, Collection) and not isinstance(of, str)
    return frozenset(machine(each) for each in (of if several else (of,)))


def _process(loop: asyncio.AbstractEventLoop) -> Process:
    process: Process | None = getattr(loop, "process", None)
    if process is None:
        raise RuntimeError(
            "the simulated network joins nodes that run on the loops of its world: "
            "make them in World.run, in a process of the world, or in the async test itself "
            "(async fixtures have a loop of their own)"
        )
    return process


def _ends(lane: Lane) -> tuple[str, str]:
    return lane.source_machine, lane.sink_machine


def _refused(name: str) -> TransportError:
    return TransportError(f"{SCHEME}{name}: nobody listens there")
