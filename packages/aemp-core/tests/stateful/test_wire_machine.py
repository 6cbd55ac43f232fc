"""Two connections and the bytes between them, in any order of steps and cut anywhere.

Model: per direction, the messages that were sent. What arrives is a prefix of them, and all of them
once every byte was carried; unless a byte was changed on the way, which only what was sent after it
can feel.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from stateful_kit import patience, story
from wire_kit import FRAMINGS, as_read, make_connection

from aemp_core.errors import LocalProtocolError, RemoteProtocolError
from aemp_core.wire import MAX_LINE, Greeted, Proved, pack

pytestmark = patience

LIMIT = 65_536
SIDES = ("left", "right")
sides = st.sampled_from(SIDES)
#: Whatever a decoder may stumble over where it is cut.
MESSAGES = (
    ("",),
    ("tag", 1, -1, 2**64 - 1, 2.5, None, True),
    ("quotes", '"', "\\", '\\"', "[", "]}", "\x00\x1f\x7f"),
    ("letters", "é", "€", "😀", "\u2028", "\ud7ff"),
    ("bytes", b"", b"\x00\xff", b"x" * 300),
    ("nested", [[], {}, [[{"k": [1, [2]]}]]], {"": {"a": ("b",)}}),
    ("wide", [0] * 1_100),
    ("long", "y" * 3_000, '"' * 300),
)
several = st.lists(st.sampled_from(MESSAGES), min_size=1, max_size=5)


class Side:
    """One end, the bytes on their way from it, and what the model knows of them."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.way = bytearray(connection.outgoing())
        self.greeted = self.proved = self.opened = self.broken = False
        self.has_proved = False
        self.writes_json = False
        self.sent: list[Any] = []
        self.arrived: list[Any] = []
        # How many messages are sure to pass: those before a byte was changed, or too long a frame.
        self.spoilt: int | None = None
        self.last: int | None = None

    def take(self, data: bytes) -> None:
        """Bytes of the other end."""
        if self.broken:
            return
        if not self.opened:
            try:
                events = self.connection.receive(data)
            except RemoteProtocolError:
                self.broken = True
                return
            for event in events:
                self.greeted |= isinstance(event, Greeted)
                self.proved |= isinstance(event, Proved)
            return
        self.arrived += self.connection.decode(data)
        self.broken |= self.connection.error is not None


class WireMachine(RuleBasedStateMachine):
    """What may happen on one connection."""

    @initialize(
        framings=st.permutations(FRAMINGS),
        right_framings=st.permutations(FRAMINGS),
        same_secret=st.sampled_from([True, True, True, False]),
        trouble=st.sampled_from(["none", "none", "changed bytes", "long frames"]),
        acquainted=st.booleans(),
    )
    def connect(
        self,
        framings: list[Any],
        right_framings: list[Any],
        same_secret: bool,
        trouble: str,
        acquainted: bool,
    ) -> None:
        self.trouble = trouble
        secret = b"the secret of the left side"
        other = secret if same_secret else b"the secret of the right side"
        self.same_secret = same_secret
        self.ends = {
            "left": Side(make_connection("dial", "left", framings=framings, secret=secret)),
            "right": Side(
                make_connection("accept", "right", framings=right_framings, secret=other)
            ),
        }
        if acquainted:
            for side in SIDES:
                self.shake_hands(side)

    def other(self, side: str) -> Side:
        return self.ends[SIDES[side == "left"]]

    @rule(side=sides, size=st.integers(1, 300) | st.just(10**6))
    def carry(self, side: str, size: int) -> None:
        """Some of the bytes that `side` wrote arrive."""
        end = self.ends[side]
        data = bytes(end.way[:size])
        del end.way[:size]
        if data:
            self.other(side).take(data)

    @rule(side=sides, sizes=st.lists(st.integers(1, 40), max_size=10))
    def trickle(self, side: str, sizes: list[int]) -> None:
        """Some of the bytes that `side` wrote arrive in small pieces."""
        for size in sizes:
            self.carry(side, size)

    def shake_hands(self, side: str) -> None:
        """`side` proves itself, the other hears it and reads from then on."""
        for each in SIDES:
            self.carry(each, 10**6)
        self.prove(side)
        self.carry(side, 10**6)
        self.open(SIDES[side == "left"])

    @rule(side=sides)
    def prove(self, side: str) -> None:
        end = self.ends[side]
        if not end.greeted or end.has_proved or end.broken:
            refused(end.connection.prove)
            return
        line = end.connection.prove()
        end.has_proved = True
        end.writes_json = line.endswith(b";json\n")
        end.way += line

    @rule(side=sides)
    def open(self, side: str) -> None:
        """From now on `side` reads messages, those first that came meanwhile."""
        end = self.ends[side]
        if not end.proved:
            refused(end.connection.decode, b"")
        elif not end.opened and not end.broken:
            end.opened = True
            end.take(b"")

    @rule(side=sides, some=several)
    def send(self, side: str, some: list[Any]) -> None:
        end = self.ends[side]
        for message in some:
            if not end.has_proved:
                refused(end.connection.encode, pack(message))
                continue
            end.way += end.connection.encode(pack(message))
            end.sent.append(as_read(message, json=end.writes_json))

    @precondition(lambda self: self.trouble == "long frames" and self.ends["left"].has_proved)
    @rule(size=st.sampled_from([LIMIT - 100, LIMIT + 1, 2 * LIMIT]))
    def send_long(self, size: int) -> None:
        """A message about as long as the longest that is read."""
        end = self.ends["left"]
        message = ["long", "x" * size]
        frame = end.connection.encode(pack(message))
        end.way += frame
        if len(frame) > LIMIT and end.spoilt is None:
            end.spoilt = end.last = len(end.sent)
        end.sent.append(message)

    @precondition(lambda self: self.trouble == "changed bytes")
    @rule(side=sides, place=st.integers(0, 10_000), byte=st.integers(1, 255))
    def flip(self, side: str, place: int, byte: int) -> None:
        """Someone changes a byte on its way; the messages it belongs to are not told apart."""
        end = self.ends[side]
        if end.way:
            end.way[place % len(end.way)] ^= byte
            end.last = None
            if end.spoilt is None:
                end.spoilt = len(self.other(side).arrived)

    @invariant()
    def what_arrives_is_a_prefix(self) -> None:
        for side in SIDES:
            sent, arrived = self.ends[side].sent, self.other(side).arrived
            spoilt = self.ends[side].spoilt
            sure = len(arrived) if spoilt is None else min(spoilt, len(arrived))
            assert arrived[:sure] == sent[:sure]
            assert self.ends[side].last is None or len(arrived) <= self.ends[side].last

    @invariant()
    def nothing_is_trusted_without_the_secret(self) -> None:
        for side in SIDES:
            end = self.ends[side]
            assert self.same_secret or not (end.proved or end.arrived)
            if not end.proved:
                assert len(end.connection._buffer) < MAX_LINE

    def teardown(self) -> None:
        """Everything arrives in the end, if nobody spoilt it."""
        for _ in range(2):
            for side in SIDES:
                self.carry(side, 10**9)
        for side in SIDES:
            end, other = self.ends[side], self.other(side)
            self.open(SIDES[side == "left"])
            if end.spoilt is None and other.opened:
                assert not other.broken and other.arrived == end.sent
        self.what_arrives_is_a_prefix()


def refused(step: Any, *args: Any) -> None:
    """`step` is out of turn, and says so."""
    try:
        step(*args)
    except LocalProtocolError:
        return
    raise AssertionError(f"{step} should be refused")


TestWire = WireMachine.TestCase
TestWire.settings = story(120, 40)
