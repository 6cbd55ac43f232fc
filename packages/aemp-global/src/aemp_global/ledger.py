"""The ledger: what is known of every owner, through whom, and what each neighbour is told of it.

The half of the exchange that speaks; what is said, and why it comes out right, is told in
`exchange`, which listens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from .entries import GONE, Change, Key
from .families import Families
from .neighbour import Message, Neighbour
from .owners import Claim, OwnerState

__all__ = ["BIG", "Held", "Ledger", "Surroundings"]

#: Seconds for which an owner may be without a home before its entries are hidden.
GRACE_SECONDS = 2.0
#: No version or counter reaches this.
BIG = 2**53


class Surroundings(Protocol):
    """What the exchange asks of whoever runs it."""

    def wake(self, neighbour: Neighbour) -> None:
        """There is something to tell a neighbour: ask `Ledger.next_message` when it has room."""

    def later(self, seconds: float, callback: Callable[[], None]) -> Any:
        """Call back in so many seconds; what is returned has a `cancel`."""

    def contested(self, claim: Claim) -> None:
        """Our own claim lost against a greater one."""

    def attached(self, neighbour: Neighbour) -> None:
        """The neighbour is our home: it has accepted our claim."""

    def refused(self, neighbour: Neighbour, what: str, why: str) -> None:
        """A neighbour broke the rules."""


class Held:
    """What is known of an owner here.

    Attributes:
        state: its entries.
        home: the global that speaks for it: this node's own ID, or a neighbour's.
        leaving: the timer of an owner whose home, or whose link to us, was lost.
    """

    __slots__ = ("home", "leaving", "parts", "state")

    def __init__(self, state: OwnerState, home: str) -> None:
        self.state = state
        self.home = home
        self.leaving: Any = None
        self.parts: tuple[int, int, list[Change], int] | None = None

    def stay(self) -> None:
        """It has a home."""
        if self.leaving is not None:
            self.leaving.cancel()
            self.leaving = None


class Ledger:
    """The ledger of one node.

    Args:
        node_id: the node.
        incarnation: its life.
        families: what shall show.
        surroundings: who carries messages and keeps the time.

    Attributes:
        is_global: whether this node is global.
        home: for an ordinary node, the global it is attached to, or asked to be.
        own: the state of this node.
        neighbours: by node ID.
        held: every owner known, by node ID.
    """

    def __init__(
        self, node_id: str, incarnation: str, families: Families, surroundings: Surroundings
    ) -> None:
        self.id = node_id
        self.is_global = False
        self.home: str | None = None
        self.families = families
        self.own = OwnerState(node_id, Claim(incarnation, 0))
        self.neighbours: dict[str, Neighbour] = {}
        self.held: dict[str, Held] = {node_id: Held(self.own, node_id)}
        self._around = surroundings

    # -- own entries -------------------------------------------------------------------------

    def write(self, key: Key, value: Any, size: int = 0) -> None:
        """This node sets an entry, or deletes it (`GONE`)."""
        self.own.write(key, value, size)
        self.families.put(self.id, key, value)
        self._news(self.own)

    def _news(self, state: OwnerState) -> None:
        """Whoever was told of an owner is to be told what is new."""
        owner, version = state.owner, state.version
        for neighbour in self.neighbours.values():
            if neighbour.cursors.get(owner, BIG) < version and owner not in neighbour.dirty:
                neighbour.dirty[owner] = None
                self._around.wake(neighbour)

    def next_message(self, neighbour: Neighbour) -> Message | None:
        """What to tell a neighbour next."""
        return neighbour.next_message(self._spoken_for, self.families)

    def _spoken_for(self, owner: str) -> OwnerState | None:
        held = self.held.get(owner)
        return held.state if held is not None and held.home == self.id else None

    def knows(self, owner: str, key: Key) -> bool:
        """Whether an owner is known here, and has that entry."""
        held = self.held.get(owner)
        return held is not None and key in held.state.entries

    # -- roles and homes ---------------------------------------------------------------------

    def become_global(self) -> None:
        """This node is global from now on, and its own home."""
        self.is_global = True
        self.home = None
        self._claim_anew()
        for neighbour in self.neighbours.values():
            self.begin(neighbour)

    def attach(self, neighbour: Neighbour) -> None:
        """Ask a global neighbour to be our home."""
        before = self.neighbours.get(self.home or "")
        if before is not None and before is not neighbour:
            self.leave(before)
        self.home = neighbour.id
        self._claim_anew()
        neighbour.announce[self.id] = None
        self._around.wake(neighbour)

    def leave(self, neighbour: Neighbour) -> None:
        """A neighbour is our home no more."""
        neighbour.forget_owner(self.id)
        neighbour.control.append(("leave",))
        self._around.wake(neighbour)

    def raise_above(self, claim: Claim) -> None:
        """Claim above a greater claim that was seen, at the next move, or at once if global."""
        self.own.claim = self.own.claim.above(claim)
        if self.is_global:
            for neighbour in self.neighbours.values():
                self._announce(self.id, neighbour)

    def _claim_anew(self) -> None:
        incarnation, attach = self.own.claim
        self.own.claim = Claim(incarnation, attach + 1)

    # -- links -------------------------------------------------------------------------------

    def linked(self, node_id: str) -> Neighbour:
        """A link to a node that speaks the exchange came up."""
        neighbour = self.neighbours[node_id] = Neighbour(node_id)
        self.begin(neighbour)
        return neighbour

    def begin(self, neighbour: Neighbour) -> None:
        """Say hello, and everything after it anew."""
        neighbour.reset(self.families)
        neighbour.control.clear()
        neighbour.control.append(("hello",))  # whoever sends it adds what is true then
        self._announce_all(neighbour)
        self._around.wake(neighbour)

    def lost(self, node_id: str) -> None:
        """The link to a node was lost."""
        neighbour = self.neighbours.pop(node_id, None)
        if neighbour is None:
            return
        neighbour.reset(self.families)
        if neighbour.is_global:
            self._orphan(node_id)
        attached = self.held.get(node_id)
        if attached is not None and attached.home == self.id:
            self._hide_later(attached)
        if self.home == node_id:
            self.home = None

    def _announce_all(self, neighbour: Neighbour) -> None:
        if not neighbour.greeted:
            return
        if self.is_global and neighbour.is_global:
            for owner, held in self.held.items():
                if held.home == self.id:
                    neighbour.announce[owner] = None
        elif self.home == neighbour.id:
            neighbour.announce[self.id] = None

    def _announce(self, owner: str, neighbour: Neighbour) -> None:
        if neighbour.greeted and neighbour.is_global:
            neighbour.forget_owner(owner)
            neighbour.announce[owner] = None
            self._around.wake(neighbour)

    def _orphan(self, home: str) -> None:
        for held in self.held.values():
            if held.home == home and home != self.id:
                self._hide_later(held)

    def _hide_later(self, held: Held) -> None:
        if held.leaving is None:
            held.leaving = self._around.later(GRACE_SECONDS, lambda: self._hide(held))

    def _hide(self, held: Held) -> None:
        """The owner is gone: nobody has claimed it again."""
        owner = held.state.owner
        if not self._drop(held):
            return
        if held.home == self.id:
            for neighbour in self.neighbours.values():
                neighbour.forget_owner(owner)
            self._tell_gone(owner, held.state.claim)

    def _tell_gone(self, owner: str, claim: Claim) -> None:
        """Tell the other globals that nobody speaks for an owner under that claim any more."""
        for neighbour in self.neighbours.values():
            told = neighbour.gone.get(owner)
            if neighbour.greeted and neighbour.is_global and (told is None or told < claim):
                neighbour.gone[owner] = claim
                self._around.wake(neighbour)

    def _drop(self, held: Held) -> bool:
        """Forget an owner; False if that was done already."""
        owner = held.state.owner
        held.stay()
        if self.held.get(owner) is not held:
            return False
        del self.held[owner]
        for key in held.state.entries:
            self.families.put(owner, key, GONE)
        return True

    def _let_go(self, held: Held, winner: Claim) -> None:
        """We are not its home any more; if it believes so, it is told.

        So are globals that have not heard of its next home, when they have had time to.
        """
        owner, claim = held.state.owner, held.state.claim
        self._around.later(GRACE_SECONDS, lambda: self._tell_gone(owner, claim))
        for neighbour in self.neighbours.values():
            neighbour.forget_owner(owner)
        attached = self.neighbours.get(owner)
        if attached is not None and not attached.is_global:
            attached.stale[owner] = winner
            self._around.wake(attached)
