"""The exchange: how nodes tell each other who has registered what. Without any I/O.

Every entry belongs to one *owner*, the node that wrote it. Nodes are *global* or ordinary. Globals
are linked pairwise and hold everything; an ordinary node is attached to one global, its *home*, and
holds its own entries and the families it follows. A global is its own home.

What is said between two linked nodes, each as a request ``registry`` to the node port of the other:

``hello is_global record globals``
    First on every link, from both sides, and again if what was said may be lost. Whoever hears it
    forgets what it told this neighbour and what the neighbour asked for, and begins anew. `record`
    says where the speaker can be dialled, `globals` which globals it is linked with.
``claim [[owner, incarnation, attach, version]...]``
    "I am the home of these owners." From a global, of itself and all that are attached to it, at
    link-up and when one is added; from an ordinary node, of itself alone: so it attaches.
``want [[owner, have]...]``
    The answer to claims that are accepted: the version that is here already, or 0.
``state owner incarnation attach base version more changes``
    The answer to that, and whenever the owner changes something: the changes from version `base` to
    `version`, or (`base` 0) the whole map, in as many messages as it takes; each change a family, a
    key and the value, or these two alone: deleted. Of a value with bytes in it the message has the
    packed form, and then True.
``stale [[owner, incarnation, attach]...]``
    The other answer: a greater claim is known. Who claimed in vain lets go of the owner, and tells
    it, with the same message.
``gone [[owner, incarnation, attach]...]``
    The owner left, or its link to its home was lost for longer than `GRACE_SECONDS`.
``follow family``, ``unfollow family``; ``family name whole more rows``
    An ordinary node follows a family at its home: first the whole, then the keys that change, each
    row a key, the owner that shows and its value as above, or the key alone: deleted.
``leave``
    An ordinary node has another home now, or closes: what it claimed and followed here is over.
``promote``, ``globals globals``, ``where node``, ``nowhere node``, ``at node record home``,
``back node asker record``
    Beside the registry: a seed is asked to be global; which globals there are; where is a node, and
    no matter any more; there, or unknown; a node is asked to dial back.

**Only the home of an owner sends on what the owner wrote**, so nothing is ever told second hand and
no tombstone is needed: what a global holds of an owner came over one link, and goes when that link
does, after `GRACE_SECONDS`, unless it is claimed again. A claim is (incarnation, attach), *attach*
counting the owner's moves; the greater claim always wins, and the equal one only over the link it
came from. So an owner that moves is handed over without ever being gone; a node that came back
under its ID replaces its past; and globals that were cut off from each other agree as soon as they
have exchanged claims, whichever was told first.

An owner that hears of a greater claim to its own ID runs twice, or its clock was set back. It says
so in the log and claims above that, with a back-off that grows: two nodes of one ID never agree,
but they do not fill the network with their quarrel either.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from aemp_core.ids import is_incarnation, is_node_id

from .entries import GONE, OWNER_BYTES, OWNER_ENTRIES, check_change
from .ledger import BIG, Held, Ledger
from .neighbour import Follow, Neighbour
from .owners import ATTACH_LIMIT, Claim, OwnerState

__all__ = ["Exchange"]

log = logging.getLogger("aemp_global.exchange")

#: Owners a network may have.
OWNER_LIMIT = 100_000
#: Families one ordinary node may follow.
FOLLOW_LIMIT = 10_000


class Exchange(Ledger):
    """The exchange of one node: what it makes of what its neighbours say."""

    def heard(self, neighbour: Neighbour, verb: str, arguments: Sequence[Any]) -> None:
        """A neighbour said something other than hello; whatever is wrong with it is refused."""
        if not neighbour.greeted or neighbour.banned:
            return
        method = getattr(self, f"_hear_{verb}", None) if verb in VERBS else None
        try:
            if method is None:
                raise ValueError("no such word")
            method(neighbour, *arguments)
        except (TypeError, ValueError) as error:
            self._around.refused(neighbour, verb, str(error))

    def greeted(self, neighbour: Neighbour, session: Any, is_global: bool, record: Any) -> None:
        """A neighbour said hello: begin anew with it."""
        neighbour.reset(self.families)
        neighbour.session = session
        neighbour.greeted = True
        if neighbour.is_global or is_global:
            self._orphan(neighbour.id)
        neighbour.is_global = is_global
        neighbour.record = record if is_global else None
        self._announce_all(neighbour)
        self._around.wake(neighbour)

    def _hear_claim(self, neighbour: Neighbour, rows: Any) -> None:
        refused = None
        for owner, claim in [(row[0], _claim(row)) for row in _rows(rows, 4)]:
            try:
                if owner == self.id:
                    self._rival(neighbour, claim)
                elif self.is_global and self._may_claim(neighbour, owner):
                    self._claimed(neighbour, owner, claim)
            except ValueError as error:
                refused = error  # the others may be right
        self._around.wake(neighbour)
        if refused is not None:
            raise refused

    def _may_claim(self, neighbour: Neighbour, owner: str) -> bool:
        if owner == neighbour.id:
            return True
        if not neighbour.is_global:
            raise ValueError(f"it claims the entries of {owner}, and is no global node")
        other = self.neighbours.get(owner)
        if other is not None and other.is_global:
            raise ValueError(f"it claims the entries of {owner}, which speaks for itself")
        return True

    def _rival(self, neighbour: Neighbour, claim: Claim) -> None:
        """Somebody else is home to a node of our own ID."""
        if claim > self.own.claim:
            self._around.contested(claim)
        else:
            neighbour.stale[self.id] = self.own.claim

    def _claimed(self, neighbour: Neighbour, owner: str, claim: Claim) -> None:
        home = neighbour.id if neighbour.is_global else self.id
        held = self.held.get(owner)
        if held is not None:
            same_way = held.home == home or held.leaving is not None
            if claim < held.state.claim or (claim == held.state.claim and not same_way):
                neighbour.stale[owner] = held.state.claim
                return
            if held.home == self.id and home != self.id:
                self._let_go(held, claim)
            if claim.incarnation != held.state.claim.incarnation:
                # Another life: nothing the former one registered is true any more.
                held.home = home
                self._hide(held)
                held = None
        if held is None:
            if len(self.held) >= OWNER_LIMIT:
                raise ValueError(f"{len(self.held)} owners are known, no more are taken")
            held = self.held[owner] = Held(OwnerState(owner, claim), home)
        held.stay()
        held.home, held.parts = home, None
        held.state.claim = claim
        neighbour.wants[owner] = held.state.version
        if home == self.id:
            for other in self.neighbours.values():
                self._announce(owner, other)

    def _hear_want(self, neighbour: Neighbour, rows: Any) -> None:
        for row in _rows(rows, 2):
            owner, have = row[0], _count(row[1])
            state = self._spoken_for(owner)
            if state is None or (not self.is_global and neighbour.id != self.home):
                continue
            if state is self.own and have > state.version:
                state.leap(have)
                self._news(state)
            neighbour.cursors[owner] = have
            if state.version > have:
                neighbour.dirty[owner] = None
            if not self.is_global:
                self._around.attached(neighbour)
        self._around.wake(neighbour)

    def _hear_state(
        self, neighbour: Neighbour, owner: Any, incarnation: Any, attach: Any, base: Any,
        version: Any, more: Any, changes: Any,
    ) -> None:  # fmt: skip
        claim = _claim([owner, incarnation, attach])
        _count(base), _count(version)
        held = self.held.get(owner)
        home = neighbour.id if neighbour.is_global else self.id
        if not neighbour.is_global and owner != neighbour.id:
            raise ValueError(f"it tells the entries of {owner}, and is no global node")
        if held is None or held.home != home or held.state.claim != claim or owner == self.id:
            return  # said before it heard who is home now
        state = held.state
        if version == state.version:
            return  # asked for twice
        if version < state.version:
            held.parts = None
            raise ValueError(f"the version of {owner} went from {state.version} to {version}")
        checked = [check_change(item) for item in _list(changes)]
        before, size = ([], 0) if held.parts is None or held.parts[:2] != (base, version) else (
            held.parts[2], held.parts[3]
        )  # fmt: skip
        size += sum(cost for _, _, cost in checked)
        before.extend(checked)
        if size > OWNER_BYTES or len(before) > 2 * OWNER_ENTRIES:
            self._flooded(neighbour, held)
        held.parts = (base, version, before, size)
        if more is True:
            return
        held.parts = None
        if base not in (0, state.version):
            neighbour.wants[owner] = state.version
            self._around.wake(neighbour)
            return
        for key in state.apply(base, version, before):
            self.families.put(owner, key, state.entries.get(key, (GONE, 0))[0])
        if len(state.entries) > OWNER_ENTRIES or state.size > OWNER_BYTES:
            self._flooded(neighbour, held)
        if home == self.id:
            self._news(state)

    def _flooded(self, neighbour: Neighbour, held: Held) -> None:
        """More than one node may have: that owner has nothing any more."""
        self._hide(held)
        if not neighbour.is_global:
            neighbour.banned = True
            neighbour.control.append(("full",))
            self._around.wake(neighbour)
        raise ValueError(f"{held.state.owner} has more entries than one node may have")

    def _hear_full(self, neighbour: Neighbour) -> None:
        if neighbour.id == self.home:
            log.error("%s refused the entries of this node: there are too many", neighbour.id)

    def _hear_stale(self, neighbour: Neighbour, rows: Any) -> None:
        for row in _rows(rows, 3):
            owner, claim = row[0], _claim(row)
            held = self.held.get(owner)
            if owner == self.id:
                if claim > self.own.claim and (self.is_global or neighbour.id == self.home):
                    self._around.contested(claim)
            elif held is not None and held.home == self.id and claim >= held.state.claim:
                self._let_go(held, claim)
                self._drop(held)

    def _hear_gone(self, neighbour: Neighbour, rows: Any) -> None:
        for row in _rows(rows, 3):
            held = self.held.get(row[0])
            if held is not None and held.home == neighbour.id and held.state.claim <= _claim(row):
                self._hide(held)

    def _hear_leave(self, neighbour: Neighbour) -> None:
        held = self.held.get(neighbour.id)
        if held is not None and held.home in (self.id, neighbour.id):
            self._hide(held)
        neighbour.reset(self.families)

    def _hear_follow(self, neighbour: Neighbour, family: Any) -> None:
        if not self.is_global or not isinstance(family, str) or family in neighbour.follows:
            return
        if len(neighbour.follows) >= FOLLOW_LIMIT:
            raise ValueError(f"it follows {FOLLOW_LIMIT} families already")

        def listener(key: str) -> None:
            follow.dirty[key] = None
            self._around.wake(neighbour)

        follow = neighbour.follows[family] = Follow(listener)
        self.families.listen(family, listener)
        self._around.wake(neighbour)

    def _hear_unfollow(self, neighbour: Neighbour, family: Any) -> None:
        if isinstance(family, str):
            neighbour.unfollow(family, self.families)


VERBS = frozenset("claim want state stale gone leave follow unfollow full".split())


def _list(value: Any) -> Sequence[Any]:
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{value!r:.100} is no list")
    return value


def _rows(rows: Any, width: int) -> Sequence[Any]:
    """A list of lists that begin with a node ID, each of so many elements."""
    for row in _list(rows):
        if len(_list(row)) != width or not isinstance(row[0], str) or not is_node_id(row[0]):
            raise ValueError(f"{row!r:.100} is no row of {width}")
    return _list(rows)


def _claim(row: Sequence[Any]) -> Claim:
    """Incarnation and attach of a row."""
    if not isinstance(row[1], str) or not is_incarnation(row[1]):
        raise ValueError(f"{row[1]!r:.100} is no incarnation")
    if _count(row[2]) >= ATTACH_LIMIT:
        raise ValueError(f"nobody has moved {row[2]} times")
    return Claim(row[1], row[2])


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < BIG:
        raise ValueError(f"{value!r:.100} is no count")
    return value
