"""Target ``dial``: a connection we opened, and whoever answers there.

    head: settings, seed of the cut, when we prove ourselves        then the stream, see `script`

Nothing but `RemoteProtocolError` comes out of `receive`, and nothing after it is read. The peer
is trusted if, and only if, its proof is one that the words of the protocol call right; before, not
even a right frame is decoded. A line of a handshake is never kept beyond its limit.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from typing import Any

from aemp_core.errors import LocalProtocolError, RemoteProtocolError
from aemp_core.wire import (
    MAX_LINE,
    Cleartext,
    Connection,
    Greeted,
    Greeting,
    HmacSha3,
    HmacSha3Role,
    JsonFraming,
    MsgpackFraming,
    Proved,
    Role,
    connection,
)

from .judge import demand, demand_plain, held
from .script import SECRET, Lines, cut, play, right_token

__all__ = ["HEAD", "OUR_ID", "Setting", "dial", "is_right"]

HEAD = 3
OUR_ID = "us"
#: Bytes of frames kept before the link is up: less than in earnest, so that inputs get there.
MAX_EARLY = 512

_METHODS: dict[str, Any] = {each.name: each() for each in (HmacSha3Role, HmacSha3, Cleartext)}
_FRAMINGS: dict[str, Any] = {each.name: each() for each in (MsgpackFraming, JsonFraming)}


@dataclass
class Setting:
    """How our side is configured, chosen by the first byte of the head."""

    offer: tuple[str, ...]
    accept: tuple[str, ...]
    framings: tuple[str, ...]
    frame_limit: int
    loopback: bool

    def __post_init__(self) -> None:
        attributes = {"incarnation": "1" * 14}
        self.greeting = Greeting(OUR_ID, self.accept, self.framings, attributes)
        line = self.greeting.line()
        vars(self.greeting)["line"] = lambda: line  # it takes its time, and is always the same

    @classmethod
    @cache
    def chosen_by(cls, byte: int) -> Setting:
        """The setting that the first byte of a head stands for."""
        methods = (
            (("hmac_sha3_512_role",), ("hmac_sha3_512_role",)),
            (("hmac_sha3_512_role", "hmac_sha3_512"), ("hmac_sha3_512_role", "hmac_sha3_512")),
            (("hmac_sha3_512_role", "hmac_sha3_512"), ("hmac_sha3_512_role", "cleartext")),
            (("hmac_sha3_512",), ("cleartext", "hmac_sha3_512")),
        )[byte & 3]
        framings = (("msgpack", "json"), ("json",), ("msgpack",), ("json", "msgpack"))[
            byte >> 2 & 3
        ]
        return cls(*methods, framings, 1_024 << (byte >> 4 & 3) * 2, bool(byte & 0x40))

    def connection(self, role: Role) -> Connection:
        """Our side of a connection."""
        return Connection(
            role,
            self.greeting,
            hashlib.sha512(b"our nonce").digest() + b"..",
            secret=SECRET,
            auth_offer=[_METHODS[name] for name in self.offer],
            auth_accept=[_METHODS[name] for name in self.accept],
            framings=[_FRAMINGS[name] for name in self.framings],
            frame_limit=self.frame_limit,
            loopback=self.loopback,
        )


def is_right(proof: bytes, peer: Lines, ours: Lines, setting: Setting) -> bool:
    """Whether a line proves that the peer knows the secret, in the words of the protocol."""
    fields = proof.split(b";")
    if len(fields) != 3 or not proof.isascii():
        return False
    method, token, framing = fields
    if method.decode() not in setting.accept or framing.decode() not in setting.framings:
        return False
    if method == b"cleartext" and not setting.loopback:
        return False
    return token == right_token(peer, ours, method, framing)


def dial(data: bytes) -> None:
    """One input."""
    if len(data) < HEAD:
        return
    setting = Setting.chosen_by(data[0])
    machine = setting.connection("dial")
    greeting, nonce, rest = machine.outgoing().split(b"\n")
    demand(rest == b"", "something follows our nonce: {!r:.200}", rest)
    ours = Lines(b"dial", greeting, nonce)
    stream, peer, proof = play(data[HEAD:], ours)
    conversation = _Conversation(machine, setting, data[2])
    conversation.hear(stream, data[1])
    proof = proof.removesuffix(b"\r")
    if machine.decoder is not None:
        demand(is_right(proof, peer, ours, setting), "a wrong proof is accepted: {!r:.300}", proof)
    elif conversation.events and stream.count(b"\n") >= 3 and len(proof) < MAX_LINE - 2:
        demand(
            not is_right(proof, peer, ours, setting), "a right proof is refused: {!r:.300}", proof
        )


class _Conversation:
    """What is said on one connection, and what must hold at each step of it."""

    def __init__(self, machine: Connection, setting: Setting, manner: int) -> None:
        self.machine = machine
        self.setting = setting
        self.proves_early = manner & 1
        self.never_proves = manner & 2
        # Pieces after the peer's proof that still go to `receive`: our own proof is not out yet.
        self.early_pieces = manner >> 2
        self.events: list[Any] = []
        connection.MAX_EARLY = MAX_EARLY

    def hear(self, stream: bytes, seed: int) -> None:
        """Take the stream to its end, or to the end of the connection."""
        self._decodes_nothing()
        for piece in cut(stream, seed):
            if not self._take(piece):
                break

    def _take(self, piece: bytes) -> bool:
        """Whether to go on."""
        machine = self.machine
        if len(self.events) == 2 and not self.early_pieces:
            return self._decode(piece)
        proved = len(self.events) == 2
        self.early_pieces -= proved
        try:
            events = machine.receive(piece)
        except RemoteProtocolError:
            demand(not machine._buffer, "{} bytes of a broken peer", len(machine._buffer))
            self._stays_broken()
            return False
        for event in events:
            expected = (Greeted, Proved)[len(self.events)] if len(self.events) < 2 else None
            demand(type(event) is expected, "{} comes as event {}", event, len(self.events))
            self.events.append(event)
            self._meet(event)
        if len(self.events) < 2:
            demand(len(machine._buffer) < MAX_LINE, "{} bytes of a line", len(machine._buffer))
            if events:
                self._decodes_nothing()
        else:
            size = len(machine._buffer)
            demand(size < MAX_EARLY + len(piece), "{} bytes are kept early", size)
            if not proved and not self.early_pieces:
                return self._decode(b"")
        return True

    def _meet(self, event: Any) -> None:
        if isinstance(event, Greeted):
            demand(event.peer.id != OUR_ID, "the peer goes by our name")
            demand(event.peer.heartbeat is None or 1 <= event.peer.heartbeat <= 3_600, "heartbeat")
        wanted = isinstance(event, Greeted) if self.proves_early else isinstance(event, Proved)
        if wanted and not self.never_proves:
            line = self.machine.prove()
            method, token, framing = line.decode().removesuffix("\n").split(";")
            demand(method in self.setting.offer and method != "cleartext", "we prove by {}", method)
            demand(framing in self.setting.framings, "we write {}", framing)
            demand(SECRET.hex() not in token and len(line) <= MAX_LINE, "we say {}", line)
            self.machine.encode(b"\x91\xa1a")

    def _decode(self, piece: bytes) -> bool:
        machine = self.machine
        demand_plain(machine.decode(piece))
        size = held(machine.decoder) + len(machine._buffer)
        limit = self.setting.frame_limit
        demand(size <= 2 * limit, "{} bytes are held, the limit is {}", size, limit)
        if machine.error is None:
            return True
        demand(size == 0, "{} bytes are held after a fault", size)
        demand(type(machine.error) is RemoteProtocolError, "error is {!r}", machine.error)
        demand(machine.decode(b"\x91\xa1a[]") == [], "it reads on after an error")
        self._stays_broken()
        return False

    def _decodes_nothing(self) -> None:
        try:
            self.machine.decode(b'\x92\xa1a\x01["a",1]')
        except LocalProtocolError:
            return
        demand(False, "messages are decoded after {}", self.events)

    def _stays_broken(self) -> None:
        try:
            self.machine.receive(b"aemp;1;peer;hmac_sha3_512_role;json\n")
        except RemoteProtocolError:
            return
        demand(False, "it reads on after a fault")
