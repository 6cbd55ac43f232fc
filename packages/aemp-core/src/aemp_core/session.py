"""A session: one link from its coming up to its loss, as core sees it.

It observes the link: what comes in goes to the run queue, marked with the session it came over,
and the loss of the link is told to the `Peer`. It keeps what lives as long as the link does: the
watches the peer holds on our ports, the names it may spawn, the beats of the failure detector.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from . import run_queue
from .link import Link, PeerInfo
from .ports import Port
from .reason import Reason
from .way import Ways
from .wire import HEARTBEAT

if TYPE_CHECKING:
    from .node import Node
    from .peer import Peer

__all__ = ["RemoteWatch", "Session"]

#: What a heartbeat takes in the longest of our framings: such a chunk begins no message.
HEARTBEAT_BYTES = 2
#: Ports a session knows by name before it begins anew.
KNOWN_PORTS = 1_000


class RemoteWatch:
    """A peer's `mon1` on one of our ports: answered with `kil0` when the port ends."""

    __slots__ = ("_name", "_session", "port")

    def __init__(self, session: Session, name: str, port: Any) -> None:
        self._session = session
        self._name = name
        self.port = port

    def deliver(self, reason: Reason) -> None:
        """The port ended."""
        session = self._session
        if session.watches.pop(self._name, None) is self:
            session.peer.control("kil0", self._name, *reason)


class Session:
    """What a node holds about one link while it is up."""

    __slots__ = (
        "answered", "begun", "encode", "frame_limit", "heard", "heard_before", "heartbeat", "info",
        "link", "lost_reason", "node", "paused", "peer", "ports", "readers", "send", "send_now",
        "send_parts", "sent_before", "serial", "silent_ticks", "since", "there", "verbatim",
        "waiting", "watches", "ways",
    )  # fmt: skip

    def __init__(self, peer: Peer, link: Link) -> None:
        self.peer = peer
        self.node: Node = peer.node
        self.link = link
        self.info: PeerInfo = link.peer
        self.there = f"{self.info.id}#"  # what the IDs of ports at the other end begin with
        # What every message goes through, looked up once.
        self.encode = link.encode
        self.send = link.send
        self.send_now = getattr(link, "send_now", link.send)
        self.heartbeat = link.encode(HEARTBEAT)
        # Frames may be something else than what is packed: then parts of that are none of theirs.
        self.verbatim = self.heartbeat is HEARTBEAT
        self.send_parts = getattr(link, "send_parts", None) if self.verbatim else None
        ours, theirs = self.node.settings.frame_limit, self.info.frame_limit
        self.frame_limit = ours if theirs is None else min(ours, theirs)
        # While this list is not empty, frames put there are as good as sent; see `Link`.
        self.waiting: Any = getattr(link, "waiting", ()) if self.verbatim else ()
        self.ways = Ways(self, self.node.far)
        self.watches: dict[str, RemoteWatch] = {}
        # Ports here that the peer sent to, by name. Dead ones, too: few names are used again
        # (see `Spawner`).
        self.ports: dict[str, Any] = {}
        self.lost_reason: Reason | None = None
        self.serial = self.node.next_serial()
        self.since = self.node.loop.time()
        self.paused = False
        self.readers = 0
        self.begun = 0  # bytes of a message that is not complete yet
        # The failure detector's: chunks heard, pings answered; see heartbeat.py.
        self.heard = 0
        self.heard_before = -1
        self.silent_ticks = 0
        self.sent_before = -1
        self.answered = 0

    @property
    def id(self) -> str:
        """The proven node ID at the other end."""
        return self.info.id

    @property
    def up(self) -> bool:
        """Whether this is the peer's link now."""
        return self.peer.session is self

    # -- Observer ----------------------------------------------------------------------------

    def received(self, messages: Sequence[list[Any]], size: int) -> None:
        """Queue what came in, and hold the peer back while too much waits."""
        self.heard += 1
        if not messages:
            if size > HEARTBEAT_BYTES:
                self.begun = min(self.begun + size, self.node.settings.frame_limit)
            return
        queue = self.node.queue
        if len(messages) == 1 and not (queue.armed or self.begun):
            port = self.ports.get(messages[0][0])
            if port is not None:  # the short way of a question, and of an answer
                self.peer.received += 1
                queue.work_on(port, messages[0], self, size)
                return
        self.peer.received += len(messages)
        share = size // len(messages) or 1
        place = 0
        if self.begun:
            # Earlier chunks held nothing but the beginning of the first of these.
            self._put(messages[:1], share + self.begun)
            self.begun = 0
            place = 1
        while place < len(messages):
            self._put(messages[place : place + run_queue.STRIDE], share)
            place += run_queue.STRIDE
        if not queue.armed:
            queue.work()
        if queue.received > run_queue.RECEIVED_LIMIT:
            self.node.hold_back(self)

    def _put(self, frames: Sequence[list[Any]], share: int) -> None:
        queue = self.node.queue
        queue.items.append(self)
        queue.items.append((frames, share))
        queue.received += share * len(frames)

    def put(self, name: str, message: tuple[Any, ...], size: int) -> None:
        """Queue what a request of the peer sends to the port `name` here."""
        queue = self.node.queue
        queue.put(self, ([[name, *message]], size))
        queue.received += size

    def deliver(self, chunk: tuple[Sequence[list[Any]], int]) -> int:
        """Handle frames that came in together, and return how many of them.

        Each counts for so many bytes where it waits: its share of those that came in. Frames behind
        a request are put back, and not counted.
        """
        frames, share = chunk
        node = self.node
        node.queue.received -= share * len(frames)
        ports = self.ports
        rest = iter(frames)
        frame: Any = next(rest, None)
        try:
            while frame is not None:
                name = frame[0]
                port = ports.get(name)
                if port is not None:
                    frame = port.deliver_run(frame, rest, self, share, 1)
                elif name:
                    port = node.ports.get(f"{node.id}#{name}")
                    if port is None:
                        node.unknown_port(self, name)
                        frame = next(rest, None)
                        continue
                    if type(port) is Port:  # not one that waits for an answer, and for no more
                        if len(ports) >= KNOWN_PORTS:
                            ports.clear()
                        ports[name] = port
                    frame = port.deliver_run(frame, rest, self, share, 1)
                else:
                    # What it asks for may go to the head of the queue, and before the rest.
                    left = list(rest)
                    self._put_back(left, share)
                    node.node_port.deliver(tuple(frame[1:]), self, share)
                    return len(frames) - len(left)
        except BaseException:
            # It leaves the loop. If that is run again, the rest is handled.
            self._put_back(list(rest), share)
            raise
        return len(frames)

    def _put_back(self, frames: list[list[Any]], share: int) -> None:
        if frames:
            self.node.queue.put_first(self, (frames, share))
            self.node.queue.received += share * len(frames)

    def writable(self) -> None:
        """The link's buffer drained."""
        self.peer.drained()

    def lost(self, reason: Reason) -> None:
        """The link ended."""
        self.lost_reason = reason
        if self.up:
            self.peer.lose(reason)

    # -- reading -----------------------------------------------------------------------------

    def pause(self) -> None:
        """Stop reading; a peer that is being pinged may fill twice the room, to let it answer."""
        spare = 2 * run_queue.RECEIVED_LIMIT if self.readers else 0
        if not self.paused and self.node.queue.received > spare:
            self.paused = True
            self.link.pause()

    def resume(self) -> None:
        """Read again."""
        if self.paused:
            self.paused = False
            self.link.resume()

    @contextmanager
    def being_read(self) -> Iterator[None]:
        """Read inside the block whatever waits in the run queue: an answer must get through."""
        self.readers += 1
        self.resume()
        try:
            yield
        finally:
            self.readers -= 1

    # -- watching ----------------------------------------------------------------------------

    def watch(self, name: str, port: Any) -> None:
        """The peer monitors `port`; a second request changes nothing."""
        if name not in self.watches:
            watch = self.watches[name] = RemoteWatch(self, name, port)
            port.watch(watch)

    def unwatch(self, name: str) -> None:
        """The peer withdrew its monitor."""
        watch = self.watches.pop(name, None)
        if watch is not None:
            watch.port.unwatch(watch)

    def end(self, text: str) -> None:
        """The link is lost to us, whoever ended it: nothing of it has an effect any more."""
        self.ways.close()
        watches, self.watches = self.watches, {}
        for watch in watches.values():
            watch.port.unwatch(watch)
        if self.lost_reason is None:
            self.link.abort(text)
