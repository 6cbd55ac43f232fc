"""The switchboard: how a global joins streams of two of its neighbours, and passes their bytes on.

It looks at nothing but the words of a stream. Each direction of a joint holds at most the credit
its reader gave; whoever sends more has its stream reset, and nobody else is the worse for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .relay_stream import WINDOW

__all__ = ["Switchboard"]

#: Streams of one neighbour that are joined at a time.
JOINT_LIMIT = 1_000

End = tuple[str, str]  # a neighbour, and the name of its stream


class Joint:
    """One end of a stream that passes here: where the other end is, and what it may be sent."""

    __slots__ = ("ended", "other", "room")

    def __init__(self, other: End) -> None:
        self.other = other
        self.room = WINDOW
        self.ended = False


class Switchboard:
    """The joints of one node.

    Args:
        carry: sends a neighbour a word about a stream; False if there is no link to it.
        may: why a neighbour may not be joined with another, "" if it may.
        new_stream: a name no stream had before.
    """

    def __init__(
        self,
        carry: Callable[[str, str, str, Any], bool],
        may: Callable[[str, str], str],
        new_stream: Callable[[], str],
    ) -> None:
        self._carry = carry
        self._may = may
        self._new_stream = new_stream
        self._joints: dict[End, Joint] = {}

    def __contains__(self, end: End) -> bool:
        return end in self._joints

    def __len__(self) -> int:
        return len(self._joints) // 2

    def open(self, asker: str, stream: str, target: Any) -> None:
        """A neighbour asks for a stream to another one."""
        end = asker, stream
        why = "that name is in use" if end in self._joints else ""
        if not isinstance(target, str):
            why = "that is no node ID"
        if sum(each[0] == asker for each in self._joints) >= JOINT_LIMIT:
            why = "too many streams"
        why = why or self._may(asker, target)
        name = self._new_stream()
        if not why and not self._carry(target, "incoming", name, [asker, target]):
            why = f"{target} is not linked here"
        if why:
            self._carry(asker, "reset", stream, why)
            return
        self._joints[end] = Joint((target, name))
        self._joints[target, name] = Joint(end)

    def heard(self, neighbour: str, word: str, stream: str, argument: Any) -> None:
        """A word about a stream that passes here; `ValueError` if it breaks the rules."""
        end = neighbour, stream
        joint = self._joints[end]
        back = self._joints[joint.other]
        if word == "data":
            size = len(argument) if isinstance(argument, (bytes, str)) else 0
            back.room -= size
            if not size or back.room < 0:
                self._cut(end, "broke the rules of streams")
                raise ValueError("a stream carries bytes, and no more than its credit")
        elif word == "credit":
            if not isinstance(argument, int) or not 0 < argument <= WINDOW - joint.room:
                self._cut(end, "broke the rules of streams")
                raise ValueError(f"{argument!r:.50} is no credit")
            joint.room += argument
        elif word == "eof":
            joint.ended = True
        elif word != "reset":
            self._cut(end, "broke the rules of streams")
            raise ValueError(f"{word!r:.50} is no word of a stream")
        if not self._carry(joint.other[0], word, joint.other[1], argument):
            self._cut(end, f"the link to {joint.other[0]} was lost")
        elif word == "reset" or (joint.ended and back.ended):
            self._drop(end)

    def lost(self, neighbour: str, why: str) -> None:
        """The link to a neighbour was lost, or what was sent over it."""
        for end in [each for each in self._joints if each[0] == neighbour]:
            joint = self._drop(end)
            if joint is not None:
                self._carry(joint.other[0], "reset", joint.other[1], why)

    def _cut(self, end: End, why: str) -> None:
        joint = self._drop(end)
        if joint is not None:
            for neighbour, stream in (end, joint.other):
                self._carry(neighbour, "reset", stream, why)

    def _drop(self, end: End) -> Joint | None:
        joint = self._joints.pop(end, None)
        if joint is not None:
            self._joints.pop(joint.other, None)
        return joint
