"""A cable: one connection of the simulated network, as the kernels at both ends see it.

    End --write--> Lane ~~latency, loss of contact, resets~~> End      one Lane per direction

A `Lane` is the flow of a `pipe` that takes time. What was written travels as segments, in order,
each with the time of its arrival. Contact lost (a partition, a machine that is off) keeps what is
on its way from arriving; as in TCP it is sent again and again, and arrives some time after contact
is regained. Only a reset is never sent again: without contact nobody learns of it. A lane that was
*cut* carries nothing any more and tells nobody. Reading is what polls of a loop do: they find what
has arrived until then, or the beginning of it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..pipe import READ_BYTES, End, Flow

if TYPE_CHECKING:
    from .network import SimulatedNetwork
    from .world import ProcessLoop

__all__ = ["Cable", "Lane", "Path"]

#: The longest time a kernel waits before it sends again what was not acknowledged.
LONGEST_PAUSE = 30.0
#: When a segment arrives for which there is no contact.
NEVER = float("inf")
EOF = "end of file"
RESET = "reset"


@dataclass
class Path:
    """How bytes get from one machine to another.

    Attributes:
        latency: seconds a byte takes.
        jitter: seconds it may take longer, evenly distributed.
        bandwidth: bytes per second.
        capacity: bytes the kernels hold, beyond which the writer has to wait.
        chop: how likely a poll gets only a part of what has arrived.
    """

    latency: float = 0.000_2
    jitter: float = 0.0
    bandwidth: float = float("inf")
    capacity: int = 65_536
    chop: float = 0.0


class Lane(Flow):
    """One direction.

    Attributes:
        source_machine: where bytes are written.
        sink_machine: where they are read.
        path: how bytes travel.
        held: whether there is no contact now.
        flips: how many of the next chunks read get a bit flipped.
    """

    _loop: ProcessLoop

    def __init__(
        self, network: SimulatedNetwork, cable: Cable, source_machine: str, sink_machine: str,
        path: Path, loop: asyncio.AbstractEventLoop,
    ) -> None:  # fmt: skip
        super().__init__(loop, path.capacity)
        self.source_machine = source_machine
        self.sink_machine = sink_machine
        self.path = path
        self.held = False
        self.flips = 0
        self._network = network
        self._cable = cable
        self._segments: deque[tuple[float, bytes | str]] = deque()
        self._opened = False
        self._cut = False
        self._broken = False
        self._last = 0.0  # when the newest segment arrives
        self._sent = 0.0  # when the newest byte has left
        self._held_since = 0.0
        self._unheard = 0  # bytes read that the source does not know of yet
        self._awaited = NEVER  # when the sink is to poll
        self._back: Lane

    # -- the source's side -------------------------------------------------------------------

    def put(self, data: bytes) -> None:
        """Take bytes of the source."""
        self.size += len(data)
        for machine in (self.source_machine, self.sink_machine):
            self._network.traffic[machine] += len(data)
        self._send(data)

    def end(self) -> None:
        """An end of file follows what was put."""
        self._send(EOF)

    def reset(self) -> None:
        """Reset the sink; of what is on its way, some may be lost."""
        self.size = 0
        self._lose_the_end()
        self._send(RESET)

    def _send(self, what: bytes | str) -> None:
        if self._cut or (self.held and what == RESET) or (self._broken and what != RESET):
            return
        network, path = self._network, self.path
        self._sent = max(self._sent, network.now) + len(what) / path.bandwidth
        self._last = max(self._last, self._sent + network.delay(path))
        self._segments.append((NEVER if self.held else self._last, what))
        self.arm()

    def _lose_the_end(self) -> None:
        """Nobody sends again what is lost now: of what is on its way a part arrives, or all."""
        segments, chance = self._segments, self._network.chance
        while segments and segments[-1][0] == NEVER:
            segments.pop()
        lost: bytes | str = b""
        for _ in range(chance.randint(0, len(segments))):
            when, lost = segments.pop()
        if isinstance(lost, bytes) and len(lost) > 1:
            segments.append((when, lost[: chance.randint(1, len(lost) - 1)]))

    # -- what befalls it ---------------------------------------------------------------------

    def open(self) -> None:
        """The sink has accepted the connection."""
        self._opened = True
        self.arm()

    def hold(self) -> None:
        """There is no contact any more: what is on its way is lost, and sent again in vain."""
        self.held = True
        self._held_since = now = self._network.now
        self._segments = deque(
            (when if when <= now else NEVER, what)
            for when, what in self._segments
            if when <= now or what != RESET
        )

    def release(self) -> None:
        """There is contact again: what did not arrive is sent again after a last pause."""
        self.held = False
        network = self._network
        waiting = [what for when, what in self._segments if when == NEVER]
        if waiting:
            self._segments = deque(each for each in self._segments if each[0] != NEVER)
            longest = min(network.now - self._held_since, LONGEST_PAUSE)
            self._sent = max(self._sent, network.now + network.chance.uniform(0.0, longest))
            for what in waiting:
                self._send(what)
        if self._back._unheard:
            self._back._acknowledge()

    def cut(self) -> None:
        """Lose everything that is on its way and everything to come, and tell nobody."""
        self._cut = True
        self._segments.clear()

    def end_for(self, capacity: int, *, reset: bool) -> None:
        """The source was killed: what its kernel holds still arrives, and how it ended."""
        kept: deque[tuple[float, bytes | str]] = deque()
        for when, what in self._segments:
            if isinstance(what, bytes):
                what, capacity = what[:capacity], capacity - len(what)
            kept.append((when, what))
            if capacity <= 0:
                break
        self._segments = kept
        self._send(RESET if reset else EOF)

    def fall_silent(self) -> None:
        """The source's machine is off: what is on its way is lost, and nobody sends it again."""
        self._segments = deque(each for each in self._segments if each[0] <= self._network.now)

    def break_off(self) -> None:
        """The connection broke at the sink: nothing that is on its way arrives."""
        self._segments.clear()
        self._segments.append((self._network.now, RESET))
        self.arm()

    def forget(self) -> None:
        """The connection broke at the source: of it come only resets, for what arrives there."""
        self._broken = True
        self._segments.clear()

    def answer_reset(self) -> None:
        """Something arrived where no socket is: the kernel says so."""
        if not self._segments or self._segments[-1][1] != RESET:
            self._send(RESET)

    def orphan(self) -> None:
        """The sink's process is dead: whatever arrives now is for its kernel alone."""
        self._opened = True
        self._awaited = NEVER
        self.arm()

    @property
    def waiting(self) -> bool:
        """Whether something has arrived that was not read."""
        return bool(self._segments) and self._segments[0][0] <= self._network.now

    # -- the sink's side ---------------------------------------------------------------------

    def arm(self) -> None:
        """Have the sink poll when something arrives, if it takes it."""
        if not self._segments or not self._opened:
            return
        when, what = self._segments[0]
        sink = self.sink
        if when < self._awaited and (sink.is_reading() or sink.is_closing() or what == RESET):
            self._awaited = when
            self._network.kernel_of(self._loop).io(when, self._poll, when)

    def _poll(self, awaited: float) -> None:
        if awaited == self._awaited:
            self._awaited = NEVER
        if not self.waiting:
            self.arm()
            return
        sink, what = self.sink, self._segments[0][1]
        if sink._gone:
            self._segments.popleft()
            if isinstance(what, bytes):
                self._back.answer_reset()
        elif what == RESET:
            self._segments.popleft()
            self._network.note("reset", self)
            sink.lose(ConnectionResetError("reset by the other end"))
        elif sink.is_closing():
            if what == EOF:
                self._segments.popleft()
            else:
                self._heard(len(self._take()))
        elif not sink.is_reading():
            return  # `resume_reading` arms it again
        elif what == EOF:
            self._segments.popleft()
            self._network.note("end of file", self)
            sink.feed_eof()
        else:
            data = self._take()
            self._heard(len(data))
            if self.flips:
                self.flips -= 1
                data = self._network.flip(data, self)
            self._network.note("bytes", self, len(data))
            sink.feed(data)
        self.arm()

    def _take(self) -> bytes:
        """What has arrived, or the beginning of it."""
        segments, now = self._segments, self._network.now
        parts: list[bytes] = []
        size = 0
        while segments and segments[0][0] <= now and size < READ_BYTES:
            part = segments[0][1]
            if isinstance(part, str):
                break
            segments.popleft()
            parts.append(part)
            size += len(part)
        data = b"".join(parts)
        cut = min(size, READ_BYTES)
        chance = self._network.chance
        if size > 1 and chance.random() < self.path.chop:
            cut = chance.randint(1, min(size - 1, READ_BYTES))
        if cut < size:
            segments.appendleft((now, data[cut:]))
        return data[:cut]

    def _heard(self, count: int) -> None:
        """The sink has read: the source's kernel has room again once it is told."""
        self._unheard += count
        if not self._back.held:
            self._acknowledge()

    def _acknowledge(self) -> None:
        count, self._unheard = self._unheard, 0
        if self.size > self.capacity or self.source.is_closing():
            network = self._network
            loop: ProcessLoop = self._back._loop
            loop.io(network.now + network.delay(self._back.path), self._drained, count)
        else:
            self.size -= count  # nobody waits for it

    def _drained(self, count: int) -> None:
        self.size = max(0, self.size - count)
        if not self.source._gone:
            self.source.drained()


class Cable:
    """One connection.

    Attributes:
        machines: the dialling and the listening one.
        nodes: the IDs they go by.
        near: the dialling end.
        far: the listening end.
    """

    def __init__(
        self, network: SimulatedNetwork, machines: tuple[str, str], nodes: tuple[str, str],
        near: End, far: End,
    ) -> None:  # fmt: skip
        self.machines = machines
        self.nodes = nodes
        self.near = near
        self.far = far
        here, there = machines
        out = Lane(network, self, here, there, network.path(here, there), far._loop)
        back = Lane(network, self, there, here, network.path(there, here), near._loop)
        out._back, back._back = back, out
        near.wire(back, out)
        far.wire(out, back)
        self.lanes = (out, back)

    @property
    def ends(self) -> tuple[End, End]:
        """Both ends, the dialling one first."""
        return self.near, self.far

    @property
    def alive(self) -> bool:
        """Whether one of the ends is still open."""
        return not (self.near._gone and self.far._gone)

    def joins(self, one: str, other: str | None) -> bool:
        """Whether it joins two machines; None: a machine and any other."""
        return one in self.machines and (other is None or other in self.machines)
