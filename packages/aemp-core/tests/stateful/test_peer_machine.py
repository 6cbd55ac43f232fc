"""What a node holds about another, on a scripted link: sending, watching, losing, coming back.

Model: per port elsewhere, the numbers sent to it and those that went over a link, and per monitor
where it was set. Of what was sent between a monitor and its firing, what went over is a prefix; it
fires at most once, never when cancelled, and has fired when the link is lost and the dust settled.
Counts of what waits are bounded, and go back to zero.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, consumes, initialize, invariant, precondition, rule
from stateful_kit import LoopMachine, patience, story

import aemp_core as mp
from aemp_core.link import Observer, PeerInfo
from aemp_core.wire import unpack

pytestmark = patience

SEND_LIMIT = 4_000
LONGEST = 1_000
TIMEOUT = 20
PORTS = ("p0", "p1", "")
names = st.sampled_from(PORTS)
parts = st.sampled_from([0.0, 0.4, 1.0])


class ScriptedLink:
    """A link whose other end is the machine: it keeps what was sent, and takes it when told."""

    def __init__(self, incarnation: str) -> None:
        self.peer = PeerInfo("there", incarnation=incarnation, heartbeat=3_600.0)
        self.buffered = 0
        self.frames: list[list[Any]] = []
        self.taken = 0
        self.observer: Observer
        self.ended = False

    def start(self, observer: Observer, /) -> None:
        self.observer = observer

    def encode(self, packed: bytes, /) -> bytes:
        return packed

    def send(self, frame: bytes, /) -> None:
        assert not self.ended
        self.frames.append(unpack(frame))
        self.buffered += len(frame)

    def measure(self) -> int:
        return self.buffered

    def pause(self) -> None:
        pass

    resume = pause

    def close(self, reason: str = "", /) -> None:
        self.abort(reason)

    def forget(self, part: float) -> None:
        """The connection is gone: of what the other side had not read, a part never arrives."""
        arrived = self.taken + int((len(self.frames) - self.taken) * part)
        del self.frames[arrived:]
        self.ended = True

    def abort(self, reason: str = "", /) -> None:
        self.ended = True
        self.observer.lost(("transport_error", reason))


class Monitor:
    """One monitor of the model."""

    def __init__(self, name: str, since: int) -> None:
        self.name = name
        self.since = since
        self.cancelled = False
        self.reasons: list[Any] = []
        self.guard: Any

    @property
    def waits(self) -> bool:
        return not self.reasons and not self.cancelled


class PeerMachine(LoopMachine):
    """What may happen between one node and one peer."""

    monitors = Bundle("monitors")

    @initialize()
    def open(self) -> None:
        node = mp.Node(
            "here",
            send_limit=SEND_LIMIT,
            monitor_timeout=TIMEOUT,
            heartbeat=3_600,
            wall_clock=lambda: 1e9,
        )
        self.node = self.start(node.open)
        self.links: list[ScriptedLink] = []
        self.number = 0
        self.sent: dict[str, list[int]] = {name: [] for name in PORTS}
        self.all_monitors: list[Monitor] = []
        self.local = self.node.port(lambda *message: None)
        self.watched_by: ScriptedLink | None = None

    @property
    def link(self) -> ScriptedLink | None:
        return self.links[-1] if self.links and not self.links[-1].ended else None

    @property
    def peer(self) -> Any:
        return self.node.peers.get("there")

    def went(self, name: str) -> list[int]:
        """The numbers that went over a link to a port there."""
        return [
            frame[-2]
            for link in self.links
            for frame in link.frames
            if (frame[0] == name or (not name and frame[1:2] == ["devnull"])) and len(frame) > 2
            if isinstance(frame[-2], int)
        ]

    # -- this side ---------------------------------------------------------------------------

    @rule(name=names, size=st.sampled_from([1, 1, 1, 300, LONGEST]), times=st.integers(1, 6))
    def snd(self, name: str, size: int, times: int) -> None:
        for _ in range(times):
            self.number += 1
            self.sent[name].append(self.number)
            message = ("note",) if name else ("devnull",)
            port = f"there#{name}" if name else "there"
            self.node.snd(port, *message, self.number, "x" * size)

    @rule(target=monitors, name=names)
    def mon(self, name: str) -> Monitor:
        monitor = Monitor(name, len(self.sent[name]))
        monitor.guard = self.node.mon(f"there#{name}" if name else "there", monitor.reasons.append)
        self.all_monitors.append(monitor)
        return monitor

    @rule(monitor=consumes(monitors))
    def cancel(self, monitor: Monitor) -> None:
        monitor.guard.cancel()
        if not monitor.reasons:
            monitor.cancelled = True

    @rule(name=st.sampled_from(PORTS[:2]))
    def kil(self, name: str) -> None:
        self.node.kil(f"there#{name}", "enough")

    # -- the link ----------------------------------------------------------------------------

    @rule(part=parts)
    def come_up(self, part: float) -> None:
        """A link comes up; if there is one already, it is replaced."""
        old = self.link
        if old is not None:
            old.forget(part)
        link = ScriptedLink(f"{len(self.links):014}")
        self.links.append(link)
        self.node.peer("there").come_up(link)
        self.watched_by = None

    @precondition(lambda self: self.link)
    @rule(part=parts)
    def lose(self, part: float) -> None:
        link = self.link
        assert link is not None
        link.forget(part)
        link.observer.lost(("transport_error", "reset"))

    @precondition(lambda self: self.link)
    @rule(part=parts, name=names)
    def blink(self, part: float, name: str) -> None:
        """The link is lost and back before the notice of it is given, and something is sent."""
        self.snd(name, 1, 1)
        self.lose(part)
        self.snd(name, 1, 1)
        self.come_up(1.0)

    @precondition(lambda self: self.link)
    @rule(part=parts)
    def take(self, part: float) -> None:
        """The other side reads; a part of what is buffered stays."""
        link = self.link
        assert link is not None
        link.buffered = int(link.buffered * part)
        link.taken += int((len(link.frames) - link.taken) * (1 - part))
        link.observer.writable()

    def come_in(self, *message: Any) -> None:
        assert self.link is not None
        self.link.observer.received([["", *message]], 40)

    @precondition(lambda self: self.link)
    @rule(name=st.sampled_from(PORTS[:2]), times=st.integers(1, 2))
    def port_there_dies(self, name: str, times: int) -> None:
        """The peer says so, perhaps twice, perhaps of a port nobody watches; of its node port, as
        it leaves: that is the end of the link."""
        for _ in range(times):
            if self.link is not None:
                self.come_in("kil0", name, "die", "there")

    @precondition(lambda self: self.link)
    @rule(part=parts)
    def peer_leaves(self, part: float) -> None:
        """Its last word ends the link here, and tells everyone who watches why."""
        link = self.link
        assert link is not None
        self.settle()
        waiting = [each for each in self.all_monitors if each.waits]
        self.come_in("kil0", "", "closed", "there")
        self.settle()
        assert link.ended
        link.forget(part)
        assert all(each.reasons == [("closed", "there")] for each in waiting)

    @precondition(lambda self: self.link)
    @rule(withdrawn=st.booleans())
    def watched_from_there(self, withdrawn: bool) -> None:
        self.come_in("mon1", self.local.partition("#")[2])
        if withdrawn:
            self.come_in("mon0", self.local.partition("#")[2])
        self.settle()
        self.watched_by = None if withdrawn else self.link

    @rule()
    def local_port_dies(self) -> None:
        """The peer is told once, over the link it asked on."""
        name = self.local.partition("#")[2]
        before = self.told(name)
        self.node.kil(self.local, "enough")
        self.settle()
        asked = self.watched_by is not None and self.watched_by is self.link
        assert self.told(name) - before == asked
        self.local = self.node.port(lambda *message: None)
        self.watched_by = None

    def told(self, name: str) -> int:
        return sum(frame[1:3] == ["kil0", name] for link in self.links for frame in link.frames)

    # -- time --------------------------------------------------------------------------------

    @rule()
    def turn(self) -> None:
        """The dust settles: who waits for a notice of a loss has it."""
        self.settle()
        if self.link is None and (self.peer is None or not self.peer.dialling):
            assert not [each for each in self.all_monitors if each.waits]

    @rule()
    def wait(self) -> None:
        """Longer than a node is dialled."""
        self.settle(TIMEOUT + 1)
        if self.link is None:
            assert self.peer is None
            assert not [each for each in self.all_monitors if each.waits]

    # -- what must hold ----------------------------------------------------------------------

    @invariant()
    def order_and_once(self) -> None:
        for name in PORTS if self.links else ():
            went = self.went(name)
            assert went == sorted(set(went))
            assert set(went) <= set(self.sent[name])

    @invariant()
    def no_holes(self) -> None:
        """What went over since a monitor was set is a prefix, until it fires."""
        for monitor in getattr(self, "all_monitors", ()):
            assert len(monitor.reasons) <= 1
            if monitor.waits:
                since = self.sent[monitor.name][monitor.since :]
                went = [number for number in self.went(monitor.name) if number in since]
                assert went == since[: len(went)]

    @invariant()
    def cancelled_never(self) -> None:
        assert not [
            each for each in getattr(self, "all_monitors", ()) if each.cancelled and each.reasons
        ]

    @invariant()
    def bounded(self) -> None:
        if hasattr(self, "node") and self.peer is not None:
            assert self.peer.buffered() <= 2 * SEND_LIMIT + LONGEST

    def teardown(self) -> None:
        """All counts go back to zero."""
        if hasattr(self, "node"):
            if self.link is not None:
                self.lose(1.0)
            self.wait()
            node = self.node
            assert not node.peers and not node.queue.items and node.buffered() == 0
            assert not node.ports[self.local].watches
            assert not [timer for timer in self.loop._scheduled if not timer.cancelled()]
            self.loop.run_until_complete(node.close())
            self.cancelled_never()
        super().teardown()


TestPeer = PeerMachine.TestCase
TestPeer.settings = story(250, 40)
