"""What core and a transport say to each other: transport, listener, candidate, link, observer.

A transport makes *candidates*: connections whose peer has greeted. Core alone decides which
candidate becomes the *link* to that peer:

    Transport.dial(address) ----+
                                +--> Candidate --proved()--> the peer's token is good
    Transport.listen(.., accept)+        |      --confirm()--> our token goes out: a Link
                                         +------close()------> not this one

`proved` and `confirm` come in either order: one side of each pair of nodes proves itself first.
A link delivers nothing before `start`, and tells its observer `lost` exactly once and last.
`aemp_core.testing.conformance` checks a transport against every sentence here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from .reason import Reason

__all__ = ["Accept", "Candidate", "Link", "Listener", "Observer", "PeerInfo", "Transport"]


@dataclass(frozen=True)
class PeerInfo:
    """What a peer said of itself in its greeting.

    Attributes:
        id: its node ID.
        incarnation: which life of that node; None for nodes of the reference implementation.
        heartbeat: seconds of silence the peer tolerates, None if it does not say.
        frame_limit: the longest frame in bytes that the peer accepts, None if it does not say.
        provider: the name and version of its implementation, "" if it does not say.
        features: node requests and abilities beyond protocol version 1.
        attributes: every key=value pair of the greeting, unknown ones too.
        origin: the address of the connection as the transport knows it, for logs.
        identity: what a certificate proves of it, ``aemp://NETWORK/NODEID``; "" if none does.
    """

    id: str
    incarnation: str | None = None
    heartbeat: float | None = None
    frame_limit: int | None = None
    provider: str = ""
    features: frozenset[str] = frozenset()
    attributes: Mapping[str, str] = field(default_factory=dict)
    origin: str = ""
    identity: str = ""


class Observer(Protocol):
    """The side of a link that listens to it: core, or the conformance kit."""

    def received(self, messages: Sequence[list[Any]], size: int) -> None:
        """Messages that arrived together, in order, and the bytes they took on the wire.

        Each is a non-empty list whose first element is a str. An empty `messages` tells of
        bytes that carried no message yet: a heartbeat, or the middle of a long message.

        Called by callbacks of the loop alone, never inside a call of the link: what came in may
        be handled at once.
        """

    def writable(self) -> None:
        """`buffered` fell low after it was high; a sender that held back may go on."""

    def lost(self, reason: Reason) -> None:
        """The link ended; called once, nothing follows. ``("transport_error", text)``."""


class Link(Protocol):
    """One ordered, at-most-once channel to one incarnation of one other node."""

    @property
    def peer(self) -> PeerInfo:
        """Who is at the other end, proven."""

    @property
    def buffered(self) -> int:
        """Bytes taken by `send` that the operating system has not taken yet (may lag high)."""

    def start(self, observer: Observer, /) -> None:
        """Deliver to `observer` from now on, what came in meanwhile first, never inside `start`."""

    def encode(self, packed: bytes, /) -> bytes:
        """The frame that carries `packed`, a message packed as msgpack, on this link."""

    def send(self, frame: bytes, /) -> None:
        """Queue a frame; frames of one loop turn go out in one write. Ignored once lost."""

    # A link may have more, which makes it faster. `send_now(frame)` is `send` for a frame that need
    # not wait for others of its loop turn. Where frames are the packed messages themselves there
    # may be two things more. `send_parts(parts)` queues one frame given in parts, of which those
    # that hold long values are never copied. `waiting` is one list as long as the link lives: while
    # it is not empty, frames appended to it are as good as sent.

    def measure(self) -> int:
        """Bring `buffered` up to date and return it."""

    def pause(self) -> None:
        """Stop reading, so that the peer's sends meet back-pressure."""

    def resume(self) -> None:
        """Read again."""

    def close(self, reason: str = "", /) -> None:
        """Write out what is queued, then end the connection; `lost` follows, soon or at once."""

    def abort(self, reason: str = "", /) -> None:
        """End the connection now, unread and unwritten bytes dropped; `lost` follows at once."""


class Candidate(Protocol):
    """A connection whose peer has greeted, and that is not a link yet."""

    @property
    def peer(self) -> PeerInfo:
        """Who the peer says it is: nothing here is proven before `proved` returns."""

    async def proved(self) -> None:
        """Return when the peer's token is verified; raise `TransportError` if that cannot be."""

    def confirm(self) -> Link:
        """Send our own proof and return the link; raise `TransportError` if it broke already."""

    def close(self, reason: str = "", /) -> None:
        """End the connection; the peer learns no more than that. Idempotent."""

    async def wait_closed(self) -> None:
        """Return when the connection has ended, by whatever side."""


Accept = Callable[[Candidate], None]


class Listener(Protocol):
    """A bound address."""

    @property
    def addresses(self) -> Sequence[str]:
        """The addresses others may dial, with real port numbers, scheme included."""

    async def close(self) -> None:
        """Stop accepting, end connections that are not links yet, release the address."""


class Transport(Protocol):
    """Makes links for one address scheme; one object per node.

    One whose links nobody can read or change on their way says so by an attribute ``private``
    that is true; others are not used by nodes that `require_tls`.
    """

    def check(self, address: str, /) -> None:
        """Raise `AddressError` unless `address` is one that can be dialled."""

    def listen(self, address: str, accept: Accept, /) -> Awaitable[Listener]:
        """Bind `address` and call `accept` with each candidate, in the loop's thread."""

    def dial(self, address: str, /) -> Awaitable[Candidate]:
        """Connect and return once the peer has greeted; raise `TransportError` if it cannot."""
