"""A neighbour: a linked node that speaks the exchange, and everything it is still to be told.

Nothing is queued for a neighbour but what it must know *now*: which owners have news for it, which
keys of a family it follows changed. What to say is made when there is room on the link, so a slow
neighbour costs a set of names, and gets the newest state when it comes to it, not each one between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from .entries import GONE, Change, told_value
from .families import Families
from .owners import Claim, OwnerState

__all__ = ["Follow", "Message", "Neighbour"]

#: Bytes of entries in one message; well below what every peer accepts.
CHUNK_BYTES = 24_576
#: Messages that wait to be sent first: whoever asks for more at a time gets no answer.
CONTROL_LIMIT = 10_000
#: Names in one message.
CHUNK_NAMES = 64

Message = tuple[Any, ...]


class Follow:
    """A family that a neighbour follows here."""

    __slots__ = ("dirty", "listener", "whole")

    def __init__(self, listener: Callable[[str], None]) -> None:
        self.listener = listener
        self.whole = True
        self.dirty: dict[str, None] = {}


class Neighbour:
    """What this node holds about one link to a node that speaks the exchange.

    Attributes:
        id: its node ID.
        session: the link its hello came over; what comes over another is of the past.
        greeted: whether it has said hello.
        is_global: whether it says so.
        record: where it can be dialled, as it says, if it is global.
        globals_due: whether it is to be told which globals there are.
        control: messages to send first, in order.
        announce: owners whose claims it is to be told.
        wants: owners whose state we want, and the versions here.
        stale: owners it claims in vain, and the claims that won.
        gone: claims that are given up.
        cursors: the versions it has of owners we are home to.
        dirty: owners of which we have more than that.
        follows: families it follows here.
        seeks: nodes whose addresses it waits for.
        banned: it broke the rules: nothing is taken from it while this link lasts.
    """

    __slots__ = (
        "_sending", "announce", "banned", "control", "cursors", "dirty", "follows", "globals_due",
        "gone", "greeted", "id", "is_global", "record", "seeks", "session", "stale", "wants",
    )  # fmt: skip

    def __init__(self, node_id: str) -> None:
        self.id = node_id
        self.session: Any = None
        self.greeted = False
        self.is_global = False
        self.banned = False
        self.globals_due = False
        self.record: Any = None
        self.control: list[Message] = []
        self.announce: dict[str, None] = {}
        self.wants: dict[str, int] = {}
        self.stale: dict[str, Claim] = {}
        self.gone: dict[str, Claim] = {}
        self.cursors: dict[str, int] = {}
        self.dirty: dict[str, None] = {}
        self.follows: dict[str, Follow] = {}
        self.seeks: dict[str, None] = {}
        self._sending: tuple[OwnerState, Claim, Iterator[Message]] | None = None

    def reset(self, families: Families) -> None:
        """Forget what it was told and asked for: it knows nothing, or everything has to be said."""
        for things in (self.announce, self.wants, self.stale, self.gone, self.cursors, self.dirty):
            things.clear()
        for family in list(self.follows):
            self.unfollow(family, families)
        self.seeks.clear()
        self._sending = None

    def unfollow(self, family: str, families: Families) -> None:
        """It follows a family no more."""
        follow = self.follows.pop(family, None)
        if follow is not None:
            families.unlisten(family, follow.listener)

    def say(self, *message: Any) -> None:
        """Have a message sent first; dropped, if it takes none of those that wait already."""
        if len(self.control) < CONTROL_LIMIT:
            self.control.append(message)

    def forget_owner(self, owner: str) -> None:
        """We are not the home of that owner any more."""
        for things in (self.announce, self.cursors, self.dirty):
            things.pop(owner, None)
        if self._sending is not None and self._sending[0].owner == owner:
            self._sending = None

    @property
    def waiting(self) -> bool:
        """Whether there is something to tell."""
        if self.control or self._sending is not None:
            return True
        if not self.greeted:
            return False
        return bool(
            self.globals_due or self.stale or self.gone or self.wants or self.announce or self.dirty
            or any(follow.whole or follow.dirty for follow in self.follows.values())
        )  # fmt: skip

    # -- what to say next --------------------------------------------------------------------

    def next_message(
        self, held: Callable[[str], OwnerState | None], families: Families
    ) -> Message | None:
        """The next message for it, None if there is nothing to say.

        Args:
            held: the state of an owner we speak for, None if we do not.
            families: what it may follow.
        """
        if self.control:
            return self.control.pop(0)
        if not self.greeted:
            return None
        if self.globals_due:
            return ("globals",)  # whoever sends it adds which
        if self.stale:
            return ("stale", _taken(self.stale, lambda owner, claim: [owner, *claim]))
        if self.gone:
            return ("gone", _taken(self.gone, lambda owner, claim: [owner, *claim]))
        if self.wants:
            return ("want", _taken(self.wants, lambda owner, have: [owner, have]))
        if self.announce:
            claims = _taken(self.announce, lambda owner, _: _announcement(held(owner)))
            if claims:
                return ("claim", claims)
        return self._next_state(held) or self._next_family(families)

    def _next_state(self, held: Callable[[str], OwnerState | None]) -> Message | None:
        while True:
            if self._sending is not None:
                state, claim, messages = self._sending
                # Under another claim it would be a stranger's: it will be asked for anew.
                message = next(messages, None) if state.claim == claim else None
                if message is not None:
                    return message
                self._sending = None
            if not self.dirty:
                return None
            owner = next(iter(self.dirty))
            del self.dirty[owner]
            found, cursor = held(owner), self.cursors.get(owner)
            if found is None or cursor is None or cursor >= found.version:
                continue
            base, changes = found.since(cursor)
            self.cursors[owner] = found.version
            head = ("state", owner, *found.claim, base, found.version)
            self._sending = found, found.claim, _state_messages(head, changes)

    def _next_family(self, families: Families) -> Message | None:
        for family, follow in self.follows.items():
            if follow.whole:
                follow.whole, follow.dirty = False, {}
                rows = ([key, *_shown(families, family, key)] for key in families.values(family))
                self.control.extend(_messages(("family", family, True), rows))
                return self.control.pop(0)
            if follow.dirty:
                dirty, follow.dirty = follow.dirty, {}
                rows = ([key, *_shown(families, family, key)] for key in dirty)
                self.control.extend(_messages(("family", family, False), rows))
                return self.control.pop(0)
        return None


def _taken(things: dict[str, Any], row: Callable[[str, Any], Any]) -> list[Any]:
    """Rows for the first of `things`, which are taken out; rows that are None are left out."""
    rows = []
    for name in list(things)[:CHUNK_NAMES]:
        made = row(name, things.pop(name))
        if made is not None:
            rows.append(made)
    return rows


def _announcement(state: OwnerState | None) -> list[Any] | None:
    return None if state is None else [state.owner, *state.claim, state.version]


def _shown(families: Families, family: str, key: str) -> tuple[Any, ...]:
    shown = families.shown(family, key)
    return () if shown is None else (shown[0], *told_value(shown[1]))


def _state_messages(head: Message, changes: list[Change]) -> Iterator[Message]:
    rows = ([*key] if value is GONE else [*key, *told_value(value)] for key, value, _ in changes)
    return _messages(head, rows)


def _messages(head: Message, rows: Iterable[list[Any]]) -> Iterator[Message]:
    """Rows in messages that are not too long: ``(*head, more, rows)``."""
    batch: list[list[Any]] = []
    size = 0
    for row in rows:
        # What packing would tell exactly: close enough for a message far below every limit.
        weight = _weight(row)
        if batch and size + weight > CHUNK_BYTES:
            yield (*head, True, batch)
            batch, size = [], 0
        batch.append(row)
        size += weight
    yield (*head, False, batch)


def _weight(value: Any) -> int:
    """About how many bytes a value takes, never much less than packed."""
    if isinstance(value, str):
        return 5 + (len(value) if value.isascii() else 4 * len(value))
    if isinstance(value, bytes):
        return 5 + len(value)
    if isinstance(value, list):
        return 5 + sum(map(_weight, value))
    if isinstance(value, dict):
        return 5 + sum(_weight(key) + _weight(each) for key, each in value.items())
    return 9
