"""A recorded session of the reference implementation, replayed through our machine.

Every connection is replayed twice: as the side that dialled and as the one that accepted. Its
authentication method is not ours, so a method is plugged in, as anyone may, whose tokens come
from the recording.
"""

from __future__ import annotations

import base64
import json
import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from wire_kit import cut, decode_all

from aemp_core.errors import RemoteProtocolError
from aemp_core.ids import check_port_id
from aemp_core.wire import (
    Cleartext,
    Connection,
    Greeted,
    Greeting,
    JsonFraming,
    Proved,
    Role,
    Transcript,
    pack,
)

SESSION = Path(__file__).parent / "data" / "aemp-1.30-session.jsonl"
SECRET = b"demo-secret"
MD6 = "hmac_md6_64_256"


@dataclass
class Side:
    """What one side of a recorded connection wrote."""

    greeting: bytes = b""
    nonce: bytes = b""
    auth: bytes = b""
    frames: list[bytes] = field(default_factory=list)

    @property
    def token(self) -> str:
        return self.auth.decode().split(";")[1]

    @property
    def handshake(self) -> bytes:
        return b"".join(line + b"\n" for line in (self.greeting, self.nonce, self.auth))


def load() -> dict[int, dict[Role, Side]]:
    connections: dict[int, dict[Role, Side]] = {}
    for line in SESSION.read_text("utf-8").splitlines():
        entry = json.loads(line)
        if "phase" not in entry:
            continue
        sides = connections.setdefault(entry["conn"], {"dial": Side(), "accept": Side()})
        side = sides["dial" if entry["dir"] == "c>s" else "accept"]
        data = entry["utf8"].encode()
        if entry["phase"] == "data":
            side.frames.append(data)
        else:
            assert data.endswith(b"\n")
            setattr(side, entry["phase"], data[:-1])
    return connections


CONNECTIONS = load()
OTHER: dict[Role, Role] = {"dial": "accept", "accept": "dial"}


class Recorded:
    """The MD6 method, known by the tokens that it made with the right secret."""

    name = MD6

    def __init__(self) -> None:
        self._tokens = {
            (side.greeting, side.nonce): side.token
            for number, sides in CONNECTIONS.items()
            for role, side in sides.items()
            if side.auth.startswith(MD6.encode()) and not (number == 3 and role == "dial")
        }

    def token(self, transcript: Transcript, secret: bytes) -> str:
        return self._tokens.get((transcript.greeting, transcript.nonce), "")

    def verify(self, transcript: Transcript, token: str, secret: bytes) -> bool:
        return token == self.token(transcript, secret)


class Unused:
    """A method or framing that the recording names and does not use."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{self.name} is not in the recording")


def replay_as(role: Role, side: Side, *, loopback: bool = True) -> Connection:
    """The machine in the place of `side`, saying exactly what was recorded of it."""
    greeting = Greeting.parse(side.greeting)
    methods: dict[str, Any] = {MD6: Recorded(), "cleartext": Cleartext()}
    framings: dict[str, Any] = {"json": JsonFraming()}
    return Connection(
        role,
        greeting,
        base64.b64decode(side.nonce),
        secret=SECRET,
        auth_offer=[Recorded()],
        auth_accept=[methods.get(name) or Unused(name) for name in greeting.auths],
        framings=[framings.get(name) or Unused(name) for name in greeting.framings],
        frame_limit=65_536,
        loopback=loopback,
    )


def all_cuts(data: bytes) -> list[Iterable[bytes]]:
    choose = random.Random(len(data))
    return [
        [data],
        cut(data, [1] * len(data)),
        *(cut(data, [choose.randint(1, 70) for _ in data]) for _ in range(5)),
    ]


def understood(message: list[Any]) -> str:
    """What kind of message it is, by the rules the wire facts give."""
    port, *rest = message
    if port:
        check_port_id(f"node#{port}")
        return "port message"
    word, *arguments = rest
    if word in ("mon1", "mon0", "kil0", "kil"):
        check_port_id(f"node#{arguments[0]}")
    elif word in ("info", "known_nodes", "up_nodes", "time", "snd"):
        check_port_id(arguments[0])
    elif word == "snd_multiple":
        for each in arguments:
            check_port_id(each[0])
    elif word == "eval":
        assert isinstance(arguments[0], str)
    elif word == "AnyEvent::MP::_spawn":
        check_port_id(f"node#{arguments[0]}")
        assert "::" in arguments[1]
    elif word not in ("", "devnull"):
        return "call"
    return str(word) or "nothing"


WHOLE = pytest.mark.parametrize("number", [1, 2])
ROLES = pytest.mark.parametrize("role", ["dial", "accept"])


@WHOLE
@ROLES
def test_the_machine_replays_the_session_from_either_side(number: int, role: Role) -> None:
    ours, theirs = CONNECTIONS[number][role], CONNECTIONS[number][OTHER[role]]
    data = theirs.handshake + b"".join(theirs.frames)
    expected = [json.loads(frame) for frame in theirs.frames if frame != b"[]"]
    for pieces in all_cuts(data):
        connection = replay_as(role, ours)
        assert connection.outgoing() == ours.greeting + b"\n" + ours.nonce + b"\n"
        events: list[Any] = []
        received: list[Any] = []
        for piece in pieces:
            if events and isinstance(events[-1], Proved):
                received += connection.decode(piece)
            else:
                events += connection.receive(piece)
        received += connection.decode(b"")
        greeted, proved = events
        assert isinstance(greeted, Greeted)
        assert (greeted.peer.provider, greeted.peer.incarnation) == ("AE-1.30", None)
        assert proved == Proved(MD6, "json")
        assert connection.error is None
        assert received == expected
        assert connection.prove() == ours.auth + b"\n"
        for frame in ours.frames:
            assert connection.encode(pack(json.loads(frame))) == frame


def test_every_message_of_the_session_is_understood() -> None:
    kinds: Counter[str] = Counter()
    for sides in CONNECTIONS.values():
        for side in sides.values():
            data = b"".join(side.frames)
            for pieces in all_cuts(data):
                decoder = JsonFraming().decoder(65_536)
                received = decode_all(decoder, pieces)
                assert decoder.error is None
                assert len(received) == len([frame for frame in side.frames if frame != b"[]"])
            kinds.update(map(understood, received))
    assert kinds == {
        "AnyEvent::MP::_spawn": 11,
        "call": 2,
        "devnull": 1,
        "eval": 3,
        "info": 2,
        "kil": 2,
        "kil0": 7,
        "known_nodes": 1,
        "mon0": 1,
        "mon1": 13,
        "nothing": 1,
        "port message": 51,
        "snd": 1,
        "snd_multiple": 1,
        "time": 1,
        "up_nodes": 1,
    }


def test_the_wrong_secret_is_refused() -> None:
    delta, beta = CONNECTIONS[3]["dial"], CONNECTIONS[3]["accept"]
    connection = replay_as("accept", beta)
    connection.outgoing()
    assert len(connection.receive(delta.greeting + b"\n" + delta.nonce + b"\n")) == 1
    assert connection.prove() == beta.auth + b"\n"
    with pytest.raises(RemoteProtocolError, match="the token of the peer is wrong"):
        connection.receive(delta.auth + b"\n")


def test_the_hand_made_client_is_refused_for_its_nonce() -> None:
    tiny, beta = CONNECTIONS[4]["dial"], CONNECTIONS[4]["accept"]
    connection = replay_as("accept", beta)
    connection.outgoing()
    with pytest.raises(RemoteProtocolError, match="the nonce is not base64: b'some-nonce'"):
        connection.receive(tiny.handshake)


@pytest.mark.parametrize("loopback", [True, False])
def test_the_hand_made_client_is_understood_with_a_better_nonce(loopback: bool) -> None:
    """Its cleartext token does not cover the nonce; data follows the auth line at once."""
    tiny, beta = CONNECTIONS[4]["dial"], CONNECTIONS[4]["accept"]
    connection = replay_as("accept", beta, loopback=loopback)
    connection.outgoing()
    data = tiny.handshake.replace(b"some-nonce", base64.b64encode(bytes(66)))
    if loopback:
        greeted, proved = connection.receive(data + b"".join(tiny.frames))
        assert isinstance(greeted, Greeted)
        assert greeted.peer.provider == ""
        assert proved == Proved("cleartext", "json")
        assert connection.decode(b"") == [["", "info", "tiny#p1", "info"]]
    else:
        with pytest.raises(RemoteProtocolError, match="loopback only"):
            connection.receive(data)
