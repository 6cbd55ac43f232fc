"""The failure detector: silence is noticed, our own stalls are not mistaken for it.

Listening: every T/8 seconds a tick looks at each link, T being the silence this node tolerates
(`heartbeat`). A link on which nine ticks in a row heard no byte, while it was being read, is
lost. A stall of our own loop, however long, is one late tick: what came in meanwhile is read
before the next one.

Talking: to a peer that tolerates T' seconds something is written at least every T'/4: each T'/8
a tick sends the empty message on links where nothing was sent since the tick before. A peer that
does not say what it tolerates sends no heartbeats either: when silent it is asked the time every
T/4.

Pinging: where a second connection to a peer raises the question whether the first still lives,
the first is asked the time, in shorter ticks.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from . import reason as reasons

if TYPE_CHECKING:
    from .ids import PortID
    from .node import Node
    from .ports import Port
    from .session import Session

__all__ = ["Pulse"]

TICKS_PER_LIMIT = 8
SILENT_TICKS = 9
#: A link of the same incarnation is lost when a ping of it brings no byte for so many seconds
#: (or T, if that is less): shorter than the time an unauthenticated connection may take.
PING_SECONDS = 8.0
#: A link of a lesser incarnation is kept if it answers within so many seconds.
RESTART_SECONDS = 2.0


class Pulse:
    """The ticks of one node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._period = node.settings.heartbeat / TICKS_PER_LIMIT
        self._sessions: dict[Session, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._talkers: dict[float, Talker] = {}
        self._pong_port: Port | None = None

    def add(self, session: Session) -> None:
        """Begin to listen and talk on a link that came up."""
        self._sessions[session] = None
        if self._timer is None:
            self._timer = self._node.loop.call_later(self._period, self._tick)
        limit = session.info.heartbeat
        if limit is not None:
            if limit not in self._talkers:
                self._talkers[limit] = Talker(self._node, limit)
            self._talkers[limit].add(session)

    def discard(self, session: Session) -> None:
        """The link is lost."""
        self._sessions.pop(session, None)
        limit = session.info.heartbeat
        if limit is not None and limit in self._talkers and self._talkers[limit].discard(session):
            del self._talkers[limit]
        if not self._sessions and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._timer = self._node.loop.call_later(self._period, self._tick)
        for session in list(self._sessions):
            if session.heard != session.heard_before or session.paused:
                session.heard_before = session.heard
                session.silent_ticks = 0
                continue
            session.silent_ticks += 1
            if session.silent_ticks >= SILENT_TICKS:
                if session.up:
                    text = f"{session.id} was silent for {self._node.settings.heartbeat:g} s"
                    session.peer.lose((reasons.TRANSPORT_ERROR, text))
            elif session.info.heartbeat is None and session.silent_ticks % 2 and session.up:
                self._ping(session)

    # -- pinging -----------------------------------------------------------------------------

    async def answers(self, session: Session, seconds: float = RESTART_SECONDS) -> bool:
        """Ask the peer the time; whether it answered within `seconds`, counted in ticks."""
        before = session.answered
        with session.being_read():
            self._ping(session)
            for _ in range(TICKS_PER_LIMIT):
                await asyncio.sleep(seconds / TICKS_PER_LIMIT)
                if session.answered != before:
                    return True
                if not session.up:
                    return False
        return False

    async def watch_over(self, session: Session) -> None:
        """Ping the peer again and again; return when the link is lost, silence included."""
        limit = min(self._node.settings.heartbeat, PING_SECONDS)
        heard, silent = session.heard, 0
        with session.being_read():
            self._ping(session)
            while session.up:
                await asyncio.sleep(limit / TICKS_PER_LIMIT)
                if session.heard != heard or session.paused:
                    heard, silent = session.heard, 0
                    if session.up:
                        self._ping(session)
                else:
                    silent += 1
                    if silent >= TICKS_PER_LIMIT and session.up:
                        text = f"{session.id} did not answer for {limit:g} s"
                        session.peer.lose((reasons.TRANSPORT_ERROR, text))

    def pong_port(self) -> PortID:
        """The port of this node that answers to pings are sent to."""
        port = self._pong_port
        if port is None or not port.alive:
            node = self._node
            port = self._pong_port = node.new_port(node.new_port_id(), self._pong)
        return port.id

    def _pong(self, serial: object = None, *_: object) -> None:
        # The serial is no secret: only what came over that very link answers for it.
        session = None if self._pong_port is None else self._pong_port.source
        if session in self._sessions and session.serial == serial:
            session.answered += 1

    def _ping(self, session: Session) -> None:
        if not self._node.closing:
            session.peer.control("time", self.pong_port(), session.serial)


class Talker:
    """The links to peers that tolerate the same silence."""

    def __init__(self, node: Node, limit: float) -> None:
        self._node = node
        self._period = limit / TICKS_PER_LIMIT
        self._sessions: dict[Session, None] = {}
        self._timer = node.loop.call_later(self._period, self._tick)

    def add(self, session: Session) -> None:
        self._sessions[session] = None

    def discard(self, session: Session) -> bool:
        """Drop a link; True if it was the last one."""
        self._sessions.pop(session, None)
        if self._sessions:
            return False
        self._timer.cancel()
        return True

    def _tick(self) -> None:
        self._timer = self._node.loop.call_later(self._period, self._tick)
        for session in list(self._sessions):
            sent = session.peer.sent
            if sent == session.sent_before:
                session.peer.beat()
            # The beat counts as sent for the next tick: on an idle link every second one beats.
            session.sent_before = sent
