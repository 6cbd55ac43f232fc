"""A peer: another node as this one sees it; its state, its queue, what we watch there.

    idle --first item--> dialling --link--> up --lost--> idle
                             \\--dial deadline: as lost----^

*Loss happens in one step* (`lose`), and that is what keeps the promise: the queue is dropped and
each port we monitor there is *cut*, with one item of the run queue for each. Sends to a cut port
are discarded, monitors on it join those that wait. The item un-cuts the port and then fires them
all together; so between a lost message and the notice of it, nothing sent later can arrive. Over
`send_limit` a single port is cut in the same way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from . import reason as reasons
from . import refusals
from .errors import TransportError, UnsendableError
from .link import Link
from .reason import Reason
from .session import Session
from .wire import pack, pack_apart

if TYPE_CHECKING:
    from .monitor import Watch
    from .node import Node

__all__ = ["Peer", "Target"]

#: Bytes sent between two looks at how much is really buffered, as a part of `send_limit`.
STRIDE = 32
#: All peers together may buffer this many times `send_limit`.
TOTAL = 8
#: What a message that waits for a link takes beside its bytes, and counts for.
QUEUED_BYTES = 200


class Target:
    """A port of a peer that ports of this node monitor; the peer's node port likewise."""

    __slots__ = ("cut", "name", "peer", "watches")

    def __init__(self, peer: Peer, name: str) -> None:
        self.peer = peer
        self.name = name
        self.cut = False
        self.watches: dict[Watch, None] = {}

    def watch(self, watch: Watch) -> None:
        """Have `watch` fire when the port dies or messages to it are lost."""
        self.watches[watch] = None
        watch.attach(self)

    def unwatch(self, watch: Any) -> None:
        """Drop a watch; the last one withdraws our monitor."""
        self.watches.pop(watch, None)
        if not self.watches and not self.cut:
            self.peer.unmonitor(self)

    def deliver(self, reason: Reason) -> None:
        """Un-cut the port, then fire every watch on it, together: nothing comes between."""
        self.peer.uncut(self)
        watches = deque(self.watches)
        self.watches = {}
        try:
            while watches:
                watches.popleft().deliver(reason)
        finally:
            # SystemExit in one of them leaves the loop; the others fire if it is run again.
            for watch in reversed(watches):
                self.peer.node.queue.put_first(watch, reason)


class Peer:
    """Everything a node holds about another."""

    __slots__ = (
        "_deadline", "_queue", "_queued_bytes", "_ready", "_room", "allowance", "cuts",
        "dialling", "id", "node", "received", "sent", "session", "targets",
    )  # fmt: skip

    def __init__(self, node: Node, id: str) -> None:
        self.node = node
        self.id = id
        self.session: Session | None = None
        self.dialling = False
        self.targets: dict[str, Target] = {}
        self.cuts: dict[str, Target] = {}
        self.sent = 0
        self.received = 0
        # With the port in question; None: a request that keeps the contract, never held up.
        self._queue: deque[tuple[str | None, bytes]] = deque()
        self._queued_bytes = 0
        self.allowance = 0
        self._deadline: asyncio.TimerHandle | None = None
        self._ready: list[asyncio.Future[None]] = []
        self._room: list[asyncio.Future[None]] = []

    # -- sending -----------------------------------------------------------------------------

    def snd(self, name: str, message: tuple[Any, ...], about: str = "") -> None:
        """Send to port `name` there.

        Args:
            name: the local part of the port ID.
            message: its elements.
            about: the port in question, if that is another: if the message is lost, its monitors
                are told.

        Raises:
            UnsendableError: the message cannot be sent at all.
        """
        packed = pack_apart(message, name)
        session = self.session
        if isinstance(packed, list):
            if session is not None and session.send_parts is not None:
                if self._admit(session, about or name, sum(map(len, packed))):
                    session.send_parts(packed)
                return
            packed = b"".join(packed)
        if session is None:
            self._wait_for_link(about or name, packed)
            return
        frame = packed if session.verbatim else session.encode(packed)
        if len(frame) <= self.allowance:  # `_admit` without the call
            self.allowance -= len(frame)
            self.sent += 1
            if session.waiting:
                session.waiting.append(frame)
            else:
                session.send(frame)
        elif self._admit(session, about or name, len(frame)):
            session.send(frame)

    def _admit(self, session: Session, about: str, size: int) -> bool:
        """Whether a frame may go over the link now; it counts as sent then."""
        # The allowance is never more than one frame may take.
        if size > self.allowance:
            self._check_length(size, session.frame_limit)
            if not self._may_pass(about, size):
                return False
        else:
            self.allowance -= size
        self.sent += 1
        return True

    def _wait_for_link(self, about: str, packed: bytes) -> None:
        """Keep a message until there is a link, if there is room."""
        self.node.check_thread()
        self._check_length(len(packed), self.node.settings.frame_limit)
        if self._may_pass(about, len(packed) + QUEUED_BYTES):
            self._enqueue(about, packed)

    def _check_length(self, size: int, limit: int) -> None:
        if size > limit:
            whose = "frame_limit here" if limit == self.node.settings.frame_limit else "its limit"
            raise UnsendableError(
                f"the message takes {size} bytes, {self.id} is sent {limit}, {whose}: "
                "send it in parts, or raise frame_limit"
            )

    def _may_pass(self, about: str, size: int) -> bool:
        """Whether a message may go: its port is not cut, and there is room; else it is lost."""
        if self.cuts and about in self.cuts:
            return False
        self.allowance -= size
        if self.allowance >= 0 or self._has_room(1):
            return True
        text = (
            f"{self.buffered()} bytes wait for {self.id} and {size} more do not fit; "
            f"send_limit is {self.node.settings.send_limit}, flush() keeps pace"
        )
        self._cut_one(about, (reasons.SEND_LIMIT, text, f"{self.id}#{about}"))
        self.node.forget_idle(self)
        return False

    def control(self, request: str, *arguments: Any) -> None:
        """Send a node request that keeps the contract; it passes up to twice the limit."""
        packed = pack((request, *arguments), "")
        self.allowance -= len(packed)
        if self.allowance < 0 and not self._has_room(2):
            self.lose((reasons.TRANSPORT_ERROR, f"{self.id} takes nothing, twice send_limit waits"))
            return
        if self.session is None:
            self._enqueue(None, packed)
        else:
            self.sent += 1
            self.session.send(self.session.encode(packed))

    def beat(self) -> None:
        """Send the empty message, so that the peer hears us."""
        if self.session is not None:
            self.sent += 1
            self.session.send_now(self.session.heartbeat)

    def buffered(self) -> int:
        """Bytes that wait here for this peer."""
        if self.session is None:
            return self._queued_bytes
        return self.session.link.measure()

    def _has_room(self, times: int) -> bool:
        """Look at what is buffered, and grant bytes to send before the next look.

        False, if `times` the limit is reached, for this peer or for all together. What is
        granted is always below the limit itself: requests that pass it make no room for data. While
        a port is cut nothing is granted, so that each message is looked at.
        """
        limit = self.node.settings.send_limit
        mine, all_peers = self.buffered(), self.node.buffered()
        room = min(limit - mine, limit * TOTAL - all_peers, limit // STRIDE)
        if self.session is not None:
            room = min(room, self.session.frame_limit)
        self.allowance = 0 if self.cuts else max(0, room)
        return mine < limit * times and all_peers < limit * times * TOTAL

    def _enqueue(self, about: str | None, packed: bytes) -> None:
        self._queue.append((about, packed))
        self._queued_bytes += len(packed) + QUEUED_BYTES
        self.want()

    # -- flow --------------------------------------------------------------------------------

    async def flushed(self) -> None:
        """Return when less than half of `send_limit` is buffered, or the peer is lost."""
        while self.buffered() * 2 >= self.node.settings.send_limit:
            # What was sent in this loop turn is written at its end: only what the operating
            # system did not take then is announced by `writable` when it goes.
            await asyncio.sleep(0)
            if self.buffered() * 2 >= self.node.settings.send_limit:
                waiter: asyncio.Future[None] = self.node.loop.create_future()
                self._room.append(waiter)
                await waiter

    def drained(self) -> None:
        """Something was written out or dropped: those in `flushed` look again."""
        waiters, self._room = self._room, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    # -- state -------------------------------------------------------------------------------

    def want(self) -> None:
        """Have a link made unless there is one; the dial deadline runs from the first item."""
        if self.session is not None or self.dialling:
            return
        self.dialling = True
        seconds = self.node.settings.monitor_timeout
        self._deadline = self.node.loop.call_later(seconds, self._undialled)
        self.node.dialler.begin(self)

    def _undialled(self) -> None:
        seconds = self.node.settings.monitor_timeout
        failure = self.node.dialler.last_failure(self.id)
        text = f"no link to {self.id} within {seconds:g} s" + (f": {failure}" if failure else "")
        self.lose((reasons.TRANSPORT_ERROR, text))

    def _end_dialling(self) -> None:
        self.dialling = False
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        self.node.dialler.end(self)

    def come_up(self, link: Link) -> None:
        """`link` is the peer's link from now on: queue to the link, state, event, in one step."""
        if self.session is not None:
            self.lose((reasons.TRANSPORT_ERROR, f"replaced by a new link to {self.id}"))
            # With nothing else worth remembering that has made the node forget us.
            self.node.peers[self.id] = self
        if self.dialling:
            self._end_dialling()
        queue, self._queue, self._queued_bytes = self._queue, deque(), 0
        self.allowance = 0
        session = self.session = Session(self, link)
        self.node.node_event(self.id, True, ())
        for waiter in self._take_ready():
            waiter.set_result(None)
        self.node.rendezvous.decided(self.id, "another connection became the link")
        link.start(session)
        self.node.pulse.add(session)
        for about, packed in queue:
            if self.session is not session:
                break  # lost by what was sent: the rest is lost with it, and told
            self._move(session, about, packed)
        self.drained()

    def _move(self, session: Session, about: str | None, packed: bytes) -> None:
        """Send what was queued; as a frame it may be longer than it was packed."""
        frame = session.encode(packed)
        if about is not None and len(frame) > session.frame_limit:
            text = f"a message took {len(frame)} bytes, {self.id} accepts {session.frame_limit}"
            self._cut_one(about, (reasons.TRANSPORT_ERROR, text, f"{self.id}#{about}"))
        elif about is None or self._may_pass(about, len(frame)):
            self.sent += 1
            session.send(frame)

    def lose(self, reason: Reason) -> None:
        """The link is lost, or none could be made: everything that follows from it, in one step."""
        session, self.session = self.session, None
        if self.dialling:
            self._end_dialling()
        self._queue.clear()
        self._queued_bytes = 0
        self.allowance = 0
        queue = self.node.queue
        for name, target in self.targets.items():
            if not target.cut:
                target.cut = True
                self.cuts[name] = target
                queue.put(target, reason)
        if session is not None:
            self.node.pulse.discard(session)
            session.end(reasons.describe(reason))
            self.node.released(session)
            self.node.node_event(self.id, False, reason)
        for waiter in self._take_ready():
            waiter.set_exception(TransportError(reasons.describe(reason)))
        self.drained()
        self.node.forget_idle(self)

    def _take_ready(self) -> list[asyncio.Future[None]]:
        ready, self._ready = self._ready, []
        return [waiter for waiter in ready if not waiter.done()]

    async def ready(self) -> None:
        """Return when the link is up; `TransportError` when none could be made."""
        if self.session is None:
            waiter: asyncio.Future[None] = self.node.loop.create_future()
            self._ready.append(waiter)
            self.want()
            await waiter

    @property
    def idle(self) -> bool:
        """Whether nothing here is worth remembering."""
        return not (self.session or self.dialling or self.targets)

    # -- watching ----------------------------------------------------------------------------

    def monitor(self, name: str, watch: Watch) -> None:
        """Watch port `name` there, or the peer itself (no name: the link is what is watched)."""
        target = self.targets.get(name)
        if target is None:
            target = self.targets[name] = Target(self, name)
            target.watch(watch)
            if name:
                self.control("mon1", name)
            else:
                self.want()
        else:
            target.watch(watch)

    def unmonitor(self, target: Target) -> None:
        """The last watch on `target` was withdrawn."""
        if self.targets.get(target.name) is target:
            del self.targets[target.name]
            if target.name and (self.session is not None or self.dialling):
                self.control("mon0", target.name)
            self.node.forget_idle(self)

    def ended(self, name: str, reason: Reason) -> None:
        """The peer says that its port `name` ended (`kil0`)."""
        target = self.targets.get(name)
        if target is not None and not target.cut:
            target.deliver(reason)

    def _cut_one(self, name: str, reason: Reason) -> None:
        """Messages to one port are lost while the link stays."""
        target = self.targets.get(name)
        if target is None:
            refusals.warn(
                self.node.loop, "dropped", "message to %s#%s dropped: %s", self.id, name, reason[1]
            )
        elif not target.cut:
            target.cut = True
            self.cuts[name] = target
            self.allowance = 0
            self.node.queue.put(target, reason)
            if name:
                self.control("mon0", name)

    def uncut(self, target: Target) -> None:
        """The notice of the cut is being given: messages may pass again."""
        target.cut = False
        self.cuts.pop(target.name, None)
        if self.targets.get(target.name) is target:
            del self.targets[target.name]
        self.node.forget_idle(self)
