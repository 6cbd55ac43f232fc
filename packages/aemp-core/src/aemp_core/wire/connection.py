"""The AEMP stream protocol as a machine: bytes in, events and bytes out, nothing else.

No socket, no clock, no event loop: whoever has a byte stream feeds a `Connection` with what
arrived and writes what it is given. Each side of a connection says the same things in the same
order, so one table describes both:

    GREETING   a line: who I am, which methods and framings I accept (`greeting`)
    NONCE      a line: random bytes that make this handshake like no other
    PROOF      a line METHOD;TOKEN;FRAMING: here is proof that I know the secret (`auth`), and
               the framing I write from now on
    MESSAGE    frames, until the connection ends (`framing`)

Greeting and nonce go out at once. The proof needs the peer's two lines: the method is the first
of the peer's list that we are willing to send, the framing the first of its list that we write.
The two sides are independent otherwise: either may prove itself first, and frames may follow
the proof in the same packet. A step that is not in the table is a fault of the side that took
it: `LocalProtocolError` for ours, `RemoteProtocolError` for the peer's. After a fault of the
peer nothing more is read.

A handshake is refused, before our own proof can go out, if the peer goes by our node ID, echoes
our greeting or our nonce, or shares no method or framing with us; and later if its proof uses
what we did not offer, or is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, ClassVar, TypeVar

from ..errors import LocalProtocolError, OwnAddress, RemoteProtocolError
from ..link import PeerInfo
from .auth import AuthMethod, Role, Transcript
from .framing import Decoder, Framing
from .greeting import (
    MAX_LINE,
    MIN_NONCE_BYTES,
    Greeting,
    nonce_line,
    parse_nonce,
    quote,
)

__all__ = ["MAX_EARLY", "TRANSITIONS", "Connection", "Event", "Greeted", "Proved", "State", "Step"]

#: Bytes of frames kept until they may be decoded; what one read brings may go beyond.
MAX_EARLY = 1_048_576


class State(Enum):
    """How far one side of a connection has come."""

    SILENT = "has said nothing yet"
    NAMED = "has sent its greeting"
    GREETED = "has sent greeting and nonce"
    PROVED = "has proved itself"
    BROKEN = "broke the protocol"


class Step(Enum):
    """What one side of a connection may do."""

    GREETING = "greet"
    NONCE = "send a nonce"
    PROOF = "prove itself"
    MESSAGE = "send messages"
    FAULT = "break the protocol"


#: The protocol: state of a side -> what it does -> its next state.
TRANSITIONS: dict[State, dict[Step, State]] = {
    State.SILENT: {Step.GREETING: State.NAMED, Step.FAULT: State.BROKEN},
    State.NAMED: {Step.NONCE: State.GREETED, Step.FAULT: State.BROKEN},
    State.GREETED: {Step.PROOF: State.PROVED, Step.FAULT: State.BROKEN},
    State.PROVED: {Step.MESSAGE: State.PROVED, Step.FAULT: State.BROKEN},
    State.BROKEN: {Step.FAULT: State.BROKEN},
}

#: A line does not say what it is: it is what the table has next.
_NEXT_LINE = {State.SILENT: Step.GREETING, State.NAMED: Step.NONCE, State.GREETED: Step.PROOF}


@dataclass(frozen=True)
class Greeted:
    """The peer has greeted: nothing of what it says is proven."""

    peer: PeerInfo


@dataclass(frozen=True)
class Proved:
    """The peer knows the secret; it proved so by `method` and will write `framing`."""

    method: str
    framing: str


Event = Greeted | Proved


class Connection:
    """One side's view of one connection.

    Args:
        role: "dial" if our side opened the connection, "accept" if it took it.
        greeting: what we say of ourselves; its lists name methods of `auth_accept` and `framings`.
        nonce: random bytes, never used before: `NONCE_BYTES` of them.
        secret: what both sides know.
        auth_offer: methods we are willing to prove ourselves with.
        auth_accept: methods the peer may prove itself with.
        framings: framings we read and write.
        frame_limit: the longest frame we read, in bytes.
        origin: the address of the connection, for logs.
        loopback: whether the connection stays on this machine.
        admit: called with what the peer says of itself, before anybody is told, and returns what
            is to be told; `RemoteProtocolError` refuses the peer before our proof can go out.

    Attributes:
        peer: what the peer said of itself; None before `Greeted`.
        decoder: reads the peer's messages; None before `Proved`. Once `decode` was called with
            what came first, it may be used directly.

    Raises:
        LocalProtocolError: the arguments contradict each other.
    """

    def __init__(
        self,
        role: Role,
        greeting: Greeting,
        nonce: bytes,
        *,
        secret: bytes,
        auth_offer: Sequence[AuthMethod],
        auth_accept: Sequence[AuthMethod],
        framings: Sequence[Framing],
        frame_limit: int,
        origin: str = "",
        loopback: bool = False,
        admit: Callable[[PeerInfo], PeerInfo] = lambda peer: peer,
    ) -> None:
        self.peer: PeerInfo | None = None
        self._greeting = greeting
        self._nonce = nonce
        self._secret = secret
        self._auth_offer = {method.name: method for method in auth_offer}
        self._auth_accept = {method.name: method for method in auth_accept}
        self._framings = {framing.name: framing for framing in framings}
        self._frame_limit = frame_limit
        self._origin = origin
        self._admit = admit
        if len(nonce) < MIN_NONCE_BYTES:
            raise LocalProtocolError(f"a nonce of {len(nonce)} bytes is too short")
        named = {*greeting.auths, *greeting.framings}
        unknown = named - self._auth_accept.keys() - self._framings.keys()
        if unknown:
            raise LocalProtocolError(f"the greeting names {sorted(unknown)}, which we lack")

        self._ours = self._theirs = State.SILENT
        self._buffer = bytearray()
        self.decoder: Decoder | None = None
        # What our proof will use, known once the peer has greeted.
        self._method: AuthMethod
        self._framing: Framing
        # The transcript of our proof; what the peer's proof covers is the same, mirrored.
        self._transcript = Transcript(
            role, greeting.line(), nonce_line(nonce), b"", b"", "", "", loopback
        )

    # Our side.

    def outgoing(self) -> bytes:
        """Our greeting and nonce lines: the first thing to write, asked for once."""
        self._we(Step.GREETING)
        self._we(Step.NONCE)
        return b"%s\n%s\n" % (self._transcript.greeting, self._transcript.nonce)

    def prove(self) -> bytes:
        """Our auth line, asked for once, after `Greeted`; then `encode` may be used."""
        if self._theirs not in (State.GREETED, State.PROVED):
            raise LocalProtocolError(f"we cannot prove ourselves: the peer {self._theirs.value}")
        self._we(Step.PROOF)
        token = self._method.token(self._transcript, self._secret)
        line = f"{self._method.name};{token};{self._framing.name}\n".encode()
        if ";" in token or not token.isascii() or not token.isprintable() or len(line) > MAX_LINE:
            raise LocalProtocolError(f"{self._method.name}: {quote(token)} cannot be a token")
        # From now on without a look at the table.
        self.encode = self._framing.encode  # type: ignore[method-assign]
        return line

    def encode(self, packed: bytes) -> bytes:
        """The frame, in the framing that our proof names, of a packed message."""
        self._we(Step.MESSAGE)
        return self._framing.encode(packed)

    # The peer's side.

    def receive(self, data: bytes) -> list[Event]:
        """Take bytes of the handshake; tell what they brought about.

        Bytes after the peer's auth line are kept for `decode`; once there are `MAX_EARLY` of
        them, no more are taken.

        Raises:
            RemoteProtocolError: the peer broke the protocol, now or before.
        """
        try:
            if self._theirs is State.BROKEN:
                raise RemoteProtocolError("the peer broke the protocol before")
            if self._theirs is State.PROVED and len(self._buffer) >= MAX_EARLY:
                raise RemoteProtocolError(f"over {MAX_EARLY} bytes came before the link was up")
            self._buffer += data
            return list(self._read())
        except RemoteProtocolError:
            self._they(Step.FAULT)
            self._buffer.clear()
            raise

    def decode(self, data: bytes) -> list[list[Any]]:
        """The messages that kept bytes and `data` complete; see `Decoder.decode`, and `error`.

        Raises:
            LocalProtocolError: the peer has not proved itself.
        """
        if self.decoder is None:
            raise LocalProtocolError(f"we cannot read messages: the peer {self._theirs.value}")
        if self._buffer:
            data = bytes(self._buffer) + data
            self._buffer.clear()
        messages = self.decoder.decode(data)
        if self.decoder.error is not None:
            self._they(Step.FAULT)
        return messages

    @property
    def error(self) -> RemoteProtocolError | None:
        """Why no more messages can be read; None while all is well."""
        return self.decoder.error if self.decoder is not None else None

    def _read(self) -> Iterator[Event]:
        while self._theirs in _NEXT_LINE:
            end = self._buffer.find(b"\n", 0, MAX_LINE)
            if end < 0:
                if len(self._buffer) >= MAX_LINE:
                    raise RemoteProtocolError(
                        f"a line of the handshake is longer than {MAX_LINE} bytes: "
                        f"{quote(bytes(self._buffer[:MAX_LINE]))}"
                    )
                return
            line = bytes(self._buffer[:end]).removesuffix(b"\r")  # the protocol allows CR LF
            del self._buffer[: end + 1]
            step = _NEXT_LINE[self._theirs]
            event = self._READERS[step](self, line)
            self._they(step)
            if event is not None:
                yield event

    def _read_greeting(self, line: bytes) -> None:
        greeting = Greeting.parse(line)
        if greeting.node_id == self._greeting.node_id:
            life = greeting.attributes.get("incarnation")
            if life and life == self._greeting.attributes.get("incarnation"):
                raise OwnAddress("this node itself is there, or somebody echoes our own greeting")
            if line == self._transcript.greeting:
                raise RemoteProtocolError("the peer echoes our own greeting")
            raise RemoteProtocolError(
                f"the peer goes by our own node ID {greeting.node_id!r}: "
                "a duplicate, or our own address"
            )
        self._method = _first_common(
            "authentication method", greeting.auths, self._auth_offer, "are willing to send"
        )
        self._framing = _first_common("framing", greeting.framings, self._framings, "write")
        self.peer = greeting.peer_info(self._origin)
        self._transcript = replace(
            self._transcript,
            peer_greeting=line,
            method=self._method.name,
            framing=self._framing.name,
        )

    def _read_nonce(self, line: bytes) -> Greeted:
        if parse_nonce(line) == self._nonce:
            raise RemoteProtocolError("the peer echoes our own nonce")
        self._transcript = replace(self._transcript, peer_nonce=line)
        assert self.peer is not None
        self.peer = self._admit(self.peer)
        return Greeted(self.peer)

    def _read_proof(self, line: bytes) -> Proved:
        try:
            name, token, framing_name = line.decode("ascii").split(";")
        except ValueError:
            raise RemoteProtocolError(f"no auth line METHOD;TOKEN;FRAMING: {quote(line)}") from None
        if name not in self._greeting.auths:
            raise RemoteProtocolError(
                f"the peer proves itself by {quote(name)}; we accept "
                f"{', '.join(self._greeting.auths)}"
            )
        if framing_name not in self._greeting.framings:
            raise RemoteProtocolError(
                f"the peer chose framing {quote(framing_name)}; we read "
                f"{', '.join(self._greeting.framings)}"
            )
        ours = self._transcript
        theirs = Transcript(
            role="accept" if ours.role == "dial" else "dial",
            greeting=ours.peer_greeting,
            nonce=ours.peer_nonce,
            peer_greeting=ours.greeting,
            peer_nonce=ours.nonce,
            method=name,
            framing=framing_name,
            loopback=ours.loopback,
        )
        if not self._auth_accept[name].verify(theirs, token, self._secret):
            raise RemoteProtocolError(
                f"the token of the peer is wrong ({name}): it has another secret, "
                "or someone changed what was sent"
            )
        self.decoder = self._framings[framing_name].decoder(self._frame_limit)
        return Proved(name, framing_name)

    _READERS: ClassVar[dict[Step, Callable[[Connection, bytes], Event | None]]] = {
        Step.GREETING: _read_greeting,
        Step.NONCE: _read_nonce,
        Step.PROOF: _read_proof,
    }

    # The table.

    def _we(self, step: Step) -> None:
        if step not in TRANSITIONS[self._ours]:
            raise LocalProtocolError(f"we cannot {step.value}: our side {self._ours.value}")
        self._ours = TRANSITIONS[self._ours][step]

    def _they(self, step: Step) -> None:
        self._theirs = TRANSITIONS[self._theirs][step]


_Named = TypeVar("_Named")


def _first_common(what: str, listed: Sequence[str], ours: dict[str, _Named], verb: str) -> _Named:
    for name in listed:
        if name in ours:
            return ours[name]
    raise RemoteProtocolError(
        f"no common {what}: the peer accepts {quote(','.join(listed))}, "
        f"we {verb} {', '.join(ours) or 'none'}"
    )
