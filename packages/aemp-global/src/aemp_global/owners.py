"""Owners: what each node has registered, as its one writer numbers it.

The state of an owner is a *claim* (incarnation, attach), a *version*, and a map of entries. The
owner counts one version up with each change and nobody else changes anything, so two nodes that
hold the same version of one incarnation hold the same map. *attach* counts the owner's moves
between homes: of two claims the greater is the later one, whoever says so.

Each holder keeps a *log* of the newest changes: whoever has a version the log reaches back to gets
the tail of it, anyone else the whole map.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, NamedTuple

from .entries import GONE, OWNER_BYTES, OWNER_ENTRIES, Change, Key, cost

__all__ = ["ATTACH_LIMIT", "Claim", "OwnerState"]

#: Changes logged at least; more, if the map is larger than that.
LOG_LENGTH = 64
#: Moves that are counted in one incarnation; nobody has moved so often who tells the truth.
ATTACH_LIMIT = 2**32

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class Claim(NamedTuple):
    """Which life of an owner, and which of its homes; greater is later.

    Attributes:
        incarnation: of the owner, or above it, if it was told of a greater one.
        attach: how often it moved.
    """

    incarnation: str
    attach: int

    def above(self, other: Claim) -> Claim:
        """The least claim of this life that is greater than `other`."""
        if other.incarnation < self.incarnation:
            return self
        attach = max(self.attach, other.attach) + 1
        if other.incarnation == self.incarnation and attach < ATTACH_LIMIT:
            return Claim(self.incarnation, attach)
        return Claim(_successor(other.incarnation), 1)


def _successor(incarnation: str) -> str:
    """The next incarnation in the order of texts; of the last one, itself."""
    digits = list(incarnation)
    for place in reversed(range(len(digits))):
        index = _DIGITS.find(digits[place]) + 1
        if 0 < index < len(_DIGITS):
            digits[place] = _DIGITS[index]
            return "".join(digits)
        digits[place] = "0"
    return incarnation


class OwnerState:
    """What one owner has registered, as far as this node knows.

    Attributes:
        owner: its node ID.
        claim: under which it is known here.
        version: of the map.
        entries: value and cost by family and key.
        size: the costs together.
    """

    __slots__ = ("_floor", "_log", "claim", "entries", "owner", "size", "version")

    def __init__(self, owner: str, claim: Claim) -> None:
        self.owner = owner
        self.claim = claim
        self.version = 0
        self.entries: dict[Key, tuple[Any, int]] = {}
        self.size = 0
        self._log: deque[tuple[int, Key]] | None = None  # most owners never change anything
        self._floor = 0  # the log holds every change after this version

    def write(self, key: Key, value: Any, size: int) -> None:
        """A change by the owner itself.

        Args:
            key: family and key.
            value: or `GONE`.
            size: bytes of the value.
        """
        self._put(key, value, cost(key, size))
        self.version += 1
        self._note(key)

    def leap(self, version: int) -> None:
        """Somebody holds a version we never had: be above it, and told as a whole."""
        self.version = self._floor = version + 1
        self._log = None

    def room_for(self, key: Key, size: int) -> bool:
        """Whether one node may have this entry, too."""
        before = self.entries.get(key)
        count = len(self.entries) + (before is None)
        total = self.size + cost(key, size) - (before[1] if before else 0)
        return count <= OWNER_ENTRIES and total <= OWNER_BYTES

    def since(self, base: int) -> tuple[int, list[Change]]:
        """What changed since version `base`: that, or 0 and the whole map, if it is too long ago.

        Version 0 is always that of an empty map.
        """
        if base < self._floor or base > self.version:
            return 0, [(key, value, size) for key, (value, size) in self.entries.items()]
        keys: dict[Key, None] = {}
        for version, key in reversed(self._log or ()):
            if version <= base:
                break
            keys[key] = None
        return base, [(key, *self.entries.get(key, (GONE, 0))) for key in reversed(keys)]

    def apply(self, base: int, version: int, changes: Iterable[Change]) -> list[Key]:
        """Take over what another holder told of `since`; return the keys that changed.

        Args:
            base: 0 for a whole map, else the version held here.
            version: the version then held.
            changes: checked ones.
        """
        changed: dict[Key, None] = {}
        told: dict[Key, None] = {}
        if base == 0 and (self.version or self.entries):
            new = {key: (value, size) for key, value, size in changes if value is not GONE}
            for key in [key for key in self.entries if key not in new]:
                self._put(key, GONE, 0)
                changed[key] = None
            changes = [(key, value, size) for key, (value, size) in new.items()]
        for key, value, size in changes:
            told[key] = None
            if self._put(key, value, size):
                changed[key] = None
        self.version = version
        if base == 0:
            self._log = None
            self._floor = version
        else:
            # What did not change here may have elsewhere: what was set and deleted since `base` is
            # there for whoever has a version from in between.
            for key in told:
                self._note(key)
        return list(changed)

    def _put(self, key: Key, value: Any, size: int) -> bool:
        before = self.entries.get(key)
        if before is not None:
            self.size -= before[1]
        if value is GONE:
            self.entries.pop(key, None)
            return before is not None
        self.entries[key] = (value, size)
        self.size += size
        return before is None or not same(before[0], value)

    def _note(self, key: Key) -> None:
        if self._log is None:
            self._log = deque()
        self._log.append((self.version, key))
        while len(self._log) > max(LOG_LENGTH, len(self.entries)):
            self._floor = self._log.popleft()[0]


def same(one: Any, other: Any) -> bool:
    """Whether two plain values are the same: True is not 1, and 1 is not 1.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return bool(one == other)
