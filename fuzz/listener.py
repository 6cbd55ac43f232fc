"""Target ``accept``: a listener's stream over a memory pipe, and whoever connects to it.

    head: settings, seed of the cut, what core does, how it ends      then the stream, see `script`

The same as for ``dial`` must hold, seen from outside: nothing is delivered, and no candidate is
proved, unless the proof is right; a stranger is told greeting and nonce, and no more than core
confirmed; what is kept for a link that was not started yet is bounded; `lost` comes once and last;
and nothing of the connection is left when it ended: no timer, no place in the lobby.
"""

from __future__ import annotations

import asyncio
import atexit
from collections.abc import Callable
from functools import cache
from typing import Any

from aemp_core import inflow
from aemp_core.conversation import Origin, connections
from aemp_core.errors import TransportError
from aemp_core.link import Candidate
from aemp_core.lobby import Door, Lobby
from aemp_core.pipe import End, pipe
from aemp_core.stream import HANDSHAKE_SECONDS, Stream
from aemp_core.testing.clock import VirtualClockLoop
from aemp_core.testing.standin import StandIn

from .handshake import OUR_ID, Setting, is_right
from .judge import demand, demand_plain
from .script import SECRET, Lines, cut, play

__all__ = ["HEAD", "accept"]

HEAD = 4
#: Bytes kept before a link is started: less than in earnest, so that inputs get there.
KEPT_BYTES = 1_024
#: Loop turns after which everything has happened that takes no time.
TURNS = 4


def accept(data: bytes) -> None:
    """One input."""
    if len(data) >= HEAD:
        inflow.KEPT_BYTES = KEPT_BYTES
        loop = _loop()
        loop.run_until_complete(_Visit(data).play())
        loop.raise_unhandled()


@cache
def _loop() -> VirtualClockLoop:
    """One loop for all inputs: making one takes longer than most inputs do."""
    loop = VirtualClockLoop()
    atexit.register(loop.close)
    return loop


@cache
def _node(setting_byte: int) -> StandIn:
    setting = Setting.chosen_by(setting_byte)
    node = StandIn(
        OUR_ID,
        entropy=lambda count: bytes(range(count)),
        secret=SECRET,
        auth_offer=setting.offer,
        auth_accept=setting.accept,
        framings=setting.framings,
    )
    greeting = node.greeting("")
    line = greeting.line()
    vars(greeting)["line"] = lambda: line  # it takes its time, and is always the same
    node.greeting = lambda peeraddr, /: greeting  # type: ignore[method-assign]
    return node


class _Visitor(asyncio.Protocol):
    """The other end of the pipe."""

    transport: End

    def __init__(self) -> None:
        self.heard = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, End)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.heard += data


class _Visit:
    """One connection, from its first byte to its last."""

    def __init__(self, data: bytes) -> None:
        self.setting = Setting.chosen_by(data[0])
        self.setting_byte = data[0]
        self.seed = data[1]
        manner = data[2]
        self.confirms_early = manner & 1
        self.never_confirms = manner & 2
        self.closes = manner & 4
        self.never_starts = manner & 8
        self.pauses = manner & 16
        self.ending = data[3]
        self.script = data[HEAD:]
        self.candidate: Candidate | None = None
        self.link: Stream | None = None
        self.started = False
        self.messages: list[Any] = []
        self.losses: list[Any] = []

    async def play(self) -> None:
        """Let the visitor come, say what it says, and go; look at everything on the way."""
        self.node = _node(self.setting_byte)
        origin = Origin("fuzz://visitor", "visitor", self.setting.loopback)
        converse = connections(self.node, "accept", SECRET)
        door = Door(self.node, self._accepted, lambda transport: origin, converse)
        stream = door()
        visitor = _Visitor()
        end, far = pipe(self.node.loop, (stream, {}), (visitor, {}))
        far.open()
        end.open()
        await _turns()
        greeting, nonce, _ = bytes(visitor.heard).split(b"\n")
        ours = Lines(b"accept", greeting, nonce)
        said, peer, proof = play(self.script, ours)
        right = is_right(proof.removesuffix(b"\r"), peer, ours, self.setting)
        for piece in cut(said, self.seed):
            far.write(piece)
            await _turns()
            self._step(stream)
            size = sum(map(len, stream._kept))
            demand(size < KEPT_BYTES + len(piece), "{} bytes are kept early", size)
        await self._end(stream, end, far)
        lines = bytes(visitor.heard).count(b"\n")
        demand(lines <= 3 if self.link is not None else lines == 2, "a stranger hears more")
        proven = stream._proof.result() is None
        demand(right or not (proven or self.messages), "trusted for {!r:.300}", proof)
        demand(self.losses == [] if not self.started else len(self.losses) == 1, "lost: {}",
               self.losses)  # fmt: skip
        demand(stream._timer is None or stream._timer.cancelled(), "a timer is left")
        demand(not len(Lobby.of(self.node)) and not door._streams, "a place in the lobby is left")
        demand(stream.buffered == 0, "{} bytes to be written are left", stream.buffered)

    def _accepted(self, candidate: Candidate) -> None:
        demand(self.candidate is None, "a candidate is announced twice")
        self.candidate = candidate
        demand(candidate.peer.id != OUR_ID, "the peer goes by our name")
        if self.closes:
            candidate.close("not wanted")
        elif self.confirms_early:
            self._confirm()

    def _confirm(self) -> None:
        assert self.candidate is not None
        if self.link is None and not self.never_confirms:
            try:
                self.link = self.candidate.confirm()  # type: ignore[assignment]
            except TransportError:
                self.never_confirms = 1

    def _step(self, stream: Stream) -> None:
        """What core does next."""
        if not (stream._proof.done() and stream._proof.result() is None):
            return
        self._confirm()
        if self.link is not None and not self.started and not self.never_starts:
            self.started = True
            self.link.start(self)
            if self.pauses:
                self.link.pause()
            self.link.send(self.link.encode(b"\x91\xa1a"))

    async def _end(self, stream: Stream, end: End, far: End) -> None:
        """The connection ends by whatever side, or by nobody doing anything."""
        if self.pauses and self.started and self.link is not None:
            self.link.resume()
            await _turns()
        ways: tuple[Callable[[], None], ...] = (far.abort, far.close, far.write_eof, end.abort)
        if self.ending % 5 == 4 and not self.started:
            await asyncio.sleep(HANDSHAKE_SECONDS + 1)
        elif self.ending % 5 == 3 and self.link is not None:
            self.link.close("enough")
        else:
            ways[self.ending % 4]()
        await _turns()
        stream.abort("the input is over")
        await stream.wait_closed()
        await asyncio.sleep(0.01)  # time passes between inputs, too

    # -- Observer ----------------------------------------------------------------------------

    def received(self, messages: Any, size: int) -> None:
        """Messages of the visitor."""
        demand(not self.losses, "{} messages after the end", len(messages))
        demand(self.started and size >= 0, "messages before the start")
        demand_plain(messages)
        self.messages += messages

    def writable(self) -> None:
        """Nothing waits for this."""

    def lost(self, reason: Any) -> None:
        """The link ended."""
        demand(reason and reason[0] == "transport_error", "the reason is {!r}", reason)
        self.losses.append(reason)


async def _turns() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)
