"""The service: the exchange at work in one node.

It begins with the node, says hello on every link to a node that speaks the exchange, and carries
what the exchange has to tell, as fast as each link takes it. `groups.of` finds that of a node.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aemp_core import reason as reasons
from aemp_core import refusals
from aemp_core.ids import is_node_id
from aemp_core.node_events import NodeWatch
from aemp_core.reason import Reason
from aemp_core.timers import Timer

from .directory import NODES, check_record, record_of, usable
from .entries import GROUPS, Key, snapshot
from .exchange import Exchange
from .families import Families, FamilyWatch
from .following import Following
from .homing import Homing
from .keeper import Keeper
from .ledger import GRACE_SECONDS
from .neighbour import Message, Neighbour
from .owners import Claim
from .passage import Passage
from .seeking import Seeking

if TYPE_CHECKING:
    from aemp_core.node import Node
    from aemp_core.requests import Request

__all__ = ["FEATURE", "REQUEST", "Service"]

log = logging.getLogger("aemp_global.service")

#: The word of our greeting, and the node request the exchange is made of.
FEATURE = "registry"
REQUEST = "registry"
#: Messages for one neighbour before others, and before looking at the room on its link.
BATCH = 32
#: Seconds before an owner whose claim lost claims again: at first, and at most.
FIRST_BACK_OFF, LONGEST_BACK_OFF = 1.0, 60.0
#: Globals one neighbour may name.
GLOBALS = 1_000


class Service:
    """The exchange of one node; `Registry` adds the verbs.

    Args:
        node: the node.

    Attributes:
        families: every entry that shows here.
        exchange: who has registered what.
        following: families asked of the home.
        homing: the search for a home.
        keeper: links that are kept.
        seeking: nodes whose addresses are wanted.
        passage: relay streams, and nodes that are asked to dial back.
        backing_off: whether a claim of ours was lost a short while ago.
    """

    def __init__(self, node: Node) -> None:
        self.node = node
        self.backing_off = False
        self.started = False
        self._back_off = FIRST_BACK_OFF
        self._pumping: dict[Neighbour, None] = {}
        self._mesh: FamilyWatch | None = None
        self.passage = Passage(self)

    def start(self) -> None:
        """Begin, unless that was done: the node is open."""
        if self.started:
            return
        self.started = True
        node = self.node
        self.families = Families(self._tell_soon, self._admits)
        self.exchange = Exchange(node.id, node.incarnation, self.families, self)
        self.following = Following(node.id, self.families, self.ask_home)
        self.keeper = Keeper(node, self._given_up)
        self.homing = Homing(self)
        self.seeking = Seeking(self)
        self.families.listen(NODES, self.seeking.changed)
        NodeWatch(node, None, self._node_event)
        node.watch(node.id, self._closing)
        for node_id in node.up_nodes():
            self._node_event(node_id, True, ())
        self._write_record()
        if self._begins_global():
            self.become_global()
        elif node.settings.topology == "mesh":
            self.following.want(NODES)
        if node.settings.topology == "mesh":
            self._mesh = FamilyWatch(NODES, self._keep_all)
            self.families.watch(self._mesh)
        self.homing.look()

    def _admits(self, owner: str, key: Key) -> bool:
        """Whether the rules let ports of a node be in the group that a key is of."""
        family, port = key
        if not family.startswith(GROUPS):
            return True
        group = family.removeprefix(GROUPS)
        if self.node.rules.allow_group(owner, group):
            return True
        refusals.warn(
            self.node.loop, "group", "%.100s of %s is not shown in the group %.100r by our rules",
            port, owner, group,
        )  # fmt: skip
        return False

    def _begins_global(self) -> bool:
        settings = self.node.settings
        if settings.role != "auto":
            return settings.role == "global"
        mine = {*self.node.addresses, *settings.binds}
        return bool(settings.binds) and (not settings.seeds or bool(mine & set(settings.seeds)))

    def _write_record(self) -> None:
        self.exchange.write((NODES, self.node.id), *snapshot(record_of(self.node)))

    def become_global(self) -> None:
        """Be a global node from now on."""
        if self.exchange.is_global:
            return
        log.info("%s is a global node", self.node.id)
        self.exchange.become_global()
        self.homing.stop()
        self.following.complete()
        # Watchers see no gap: what the home told stays until the other globals have told theirs.
        self.later(GRACE_SECONDS, lambda: self.following.stop(self.exchange.knows))
        for node_id in self.homing.known:
            self.keeper.keep(node_id)

    @property
    def alone(self) -> bool:
        """Whether there is nobody to ask: no home, and no way to find one."""
        nobody = not (self.exchange.home or self.homing.known or self.exchange.neighbours)
        return self.exchange.is_global or (nobody and not self.node.settings.seeds)

    def unsettled(self) -> str:
        """Why this node is not part of its network yet; empty: it is."""
        if self.alone or self.homing.at_home:
            return ""
        return "no global node has accepted this one yet"

    # -- time, and the loop ------------------------------------------------------------------

    def later(self, seconds: float, callback: Callable[[], None]) -> Any:
        """Call back in so many seconds, unless the node closes before."""
        return Timer(self.node, None, seconds, callback, repeat=False)

    def _tell_soon(self) -> None:
        self.node.loop.call_soon(self._tell)

    def _tell(self) -> None:
        if not self.node.closed:
            self.families.tell()

    # -- links -------------------------------------------------------------------------------

    def _node_event(self, node_id: str, is_up: bool, reason: Reason) -> None:
        if self.node.closing:
            return
        if not is_up:
            self._lost(node_id)
            return
        self.keeper.up(node_id)
        self.seeking.found(node_id)
        peer = self.node.peers.get(node_id)
        session = None if peer is None else peer.session
        if session is not None and FEATURE in session.info.features:
            self._watch(self.exchange.linked(node_id))

    def _lost(self, node_id: str) -> None:
        self.keeper.up(node_id)
        self.seeking.lost(node_id)
        self.passage.lost(node_id)
        was_global = False
        neighbour = self.exchange.neighbours.get(node_id)
        if neighbour is not None:
            was_global = neighbour.is_global
            self.exchange.lost(node_id)
            if was_global:
                self._globals_changed()
        self.homing.look()

    def _watch(self, neighbour: Neighbour) -> None:
        """Be told if messages for the neighbour were dropped because it is slow."""

        def dropped(reason: Reason) -> None:
            current = self.exchange.neighbours.get(neighbour.id) is neighbour
            if current and reason and reason[0] == reasons.SEND_LIMIT and not self.node.closing:
                self.passage.lost(neighbour.id)
                self._watch(neighbour)
                self.exchange.begin(neighbour)

        self.node.watch(neighbour.id, dropped)

    def _given_up(self, node_id: str) -> None:
        self.homing.forget(node_id)

    def _keep_all(self, watch: FamilyWatch) -> None:
        """Topology "mesh": have a link to every node."""
        report = watch.report(self.families)
        if report is not None and not self.node.closing:
            for node_id in report[1]:
                if is_node_id(node_id):
                    self.keeper.keep(node_id)
            for node_id in report[3]:
                if node_id not in self.homing.known:
                    self.keeper.drop(node_id)

    def _globals_changed(self) -> None:
        """Tell which globals there are: a global everybody, others only who may not know one."""
        for neighbour in self.exchange.neighbours.values():
            if self.exchange.is_global or not neighbour.is_global:
                neighbour.globals_due = True
                self.wake(neighbour)

    # -- telling -----------------------------------------------------------------------------

    def wake(self, neighbour: Neighbour) -> None:
        """See `Surroundings`."""
        if neighbour not in self._pumping and not self.node.closed:
            self._pumping[neighbour] = None
            self.node.loop.call_soon(self._pump, neighbour)

    def _pump(self, neighbour: Neighbour) -> None:
        """Tell a neighbour what there is to tell, as much as may wait on its link."""
        node = self.node
        for _ in range(BATCH):
            if not self._linked(neighbour):
                break  # the end of the link is told soon
            if node.peers[neighbour.id].buffered() * 2 >= node.settings.send_limit:
                break
            message = self.exchange.next_message(neighbour)
            if message is None:
                self._pumping.pop(neighbour, None)
                return
            if message[0] in ("hello", "globals"):
                message = self._introduction(message[0], neighbour)
            node.call_in(None, node.snd, neighbour.id, REQUEST, *message)
        if self._linked(neighbour) and not node.closing:
            node.own_task(None, self._pump_on(neighbour))
        else:
            self._pumping.pop(neighbour, None)

    def _linked(self, neighbour: Neighbour) -> bool:
        """Whether there is a link to a neighbour, as far as the node knows now."""
        current = self.exchange.neighbours.get(neighbour.id) is neighbour
        return current and not self.node.closed and self.node.node_is_up(neighbour.id)

    async def _pump_on(self, neighbour: Neighbour) -> None:
        try:
            if self.node.node_is_up(neighbour.id):
                await self.node.flush(neighbour.id)
        finally:
            self._pumping.pop(neighbour, None)
        if self.exchange.neighbours.get(neighbour.id) is neighbour and neighbour.waiting:
            self.wake(neighbour)

    def _introduction(self, word: str, neighbour: Neighbour) -> Message:
        """Hello, or which globals there are: what is true when it is sent."""
        near = [
            [each.id, each.record]
            for each in self.exchange.neighbours.values()
            if each.greeted and each.is_global and each.id != neighbour.id
        ]
        neighbour.globals_due = False
        if word == "globals":
            return ("globals", near[:GLOBALS])
        return ("hello", self.exchange.is_global, record_of(self.node), near[:GLOBALS])

    def ask_home(self, verb: str, what: str) -> None:
        """Send the home a word about a family or a node, if this node is at home."""
        home = self.exchange.neighbours.get(self.exchange.home or "")
        if home is not None and self.homing.at_home:
            home.say(verb, what)
            self.wake(home)

    def _closing(self, reason: Reason) -> None:
        """The node closes: say goodbye, so that nobody waits for us to come back."""
        self.keeper.close()
        self.following.close(self.node.id)
        self.passage.close()
        for neighbour in self.exchange.neighbours.values():
            if self.node.node_is_up(neighbour.id):
                self.node.call_in(None, self.node.snd, neighbour.id, REQUEST, "leave")

    # -- being told --------------------------------------------------------------------------

    def request(self, request: Request, verb: Any = None, *arguments: Any) -> None:
        """The node request: a neighbour says something."""
        session = request.session
        if session is None:
            raise PermissionError("it is for other nodes")
        if not session.up or self.node.closing or not self.started:
            return
        neighbour = self.exchange.neighbours.get(session.id)
        if neighbour is None:
            raise PermissionError(f"its greeting did not name the feature {FEATURE!r}")
        if verb == "hello":
            self._greeted(neighbour, session, *arguments)
        elif neighbour.session is not session:
            return  # said on a link of the past, or before its hello
        elif verb in OWN_VERBS:
            try:
                getattr(self, f"_hear_{verb}")(neighbour, *arguments)
            except (TypeError, ValueError) as error:
                self.refused(neighbour, verb, str(error))
        else:
            self.exchange.heard(neighbour, str(verb), arguments)

    def _greeted(
        self, neighbour: Neighbour, session: Any, is_global: Any = None, record: Any = None,
        near: Any = (),
    ) -> None:  # fmt: skip
        check_record(record)
        known = _globals(near)
        is_global = is_global is True and self._may_be_global(neighbour.id)
        self.exchange.greeted(neighbour, session, is_global, record)
        if self.exchange.home == neighbour.id and not neighbour.is_global:
            self.exchange.home = None
        self.passage.greeted(neighbour.id)
        for node_id, its_record in known:
            self.homing.hear_of(node_id, its_record)
        if neighbour.is_global:
            self.homing.hear_of(neighbour.id, record)
            self._globals_changed()
        else:
            self.homing.promote()
        self.homing.look()

    def _may_be_global(self, node_id: str) -> bool:
        """Whether the rules let a node be global; what is said over its links depends on it."""
        if self.node.rules.allow(node_id, "global"):
            return True
        refusals.warn(
            self.node.loop, "global", "%s says that it is global, and may not be by our rules: "
            "it is taken for an ordinary node", node_id,
        )  # fmt: skip
        return False

    def _hear_globals(self, neighbour: Neighbour, near: Any) -> None:
        for node_id, record in _globals(near):
            self.homing.hear_of(node_id, record)

    def _hear_promote(self, neighbour: Neighbour) -> None:
        """A node that has us as a seed asks us to be global."""
        if self.node.settings.role == "auto" and self.node.rules.allow(self.node.id, "global"):
            self.become_global()

    def _hear_family(
        self, neighbour: Neighbour, family: Any, whole: Any, more: Any, rows: Any
    ) -> None:
        if neighbour.id == self.exchange.home:
            self.following.heard(family, whole is True, more, rows)

    def _hear_where(self, neighbour: Neighbour, node_id: Any) -> None:
        self.seeking.asked(neighbour, node_id)

    def _hear_nowhere(self, neighbour: Neighbour, node_id: Any) -> None:
        neighbour.seeks.pop(node_id, None)

    def _hear_at(self, neighbour: Neighbour, node_id: Any, record: Any, home: Any) -> None:
        if neighbour.id == self.exchange.home:
            self.seeking.told(node_id, record, home)

    def _hear_back(self, neighbour: Neighbour, node_id: Any, asker: Any, record: Any) -> None:
        self.passage.asked_back(neighbour, node_id, asker, record)

    # -- what the exchange asks for ----------------------------------------------------------

    def attached(self, neighbour: Neighbour) -> None:
        """See `Surroundings`."""
        self.homing.settled()
        self.following.renew()
        self.seeking.renew()

    def contested(self, claim: Claim) -> None:
        """See `Surroundings`."""
        if self.backing_off:
            return
        if claim.incarnation > self.exchange.own.claim.incarnation:
            log.error(
                "duplicate node ID %s: another node of that ID is known, or the clock of this one "
                "was set back; trying again in %g s", self.node.id, self._back_off,
            )  # fmt: skip
        self.backing_off = True
        if not self.exchange.is_global:
            self.exchange.home = None
            self.homing.look()
        pause = self._back_off * self.node.random.uniform(0.5, 1.0)
        self._back_off = min(LONGEST_BACK_OFF, self._back_off * 2)
        self.later(pause, lambda: self._claim_again(claim))

    def _claim_again(self, claim: Claim) -> None:
        self.backing_off = False
        self.exchange.raise_above(claim)
        self.homing.look()

    def refused(self, neighbour: Neighbour, what: str, why: str) -> None:
        """See `Surroundings`."""
        refusals.warn(self.node.loop, "registry", "%s of %s refused: %s", what, neighbour.id, why)

    # -- addresses ---------------------------------------------------------------------------

    def addresses(self, node_id: str) -> list[str]:
        """Where a node can be dialled, as far as that is known now; more is asked for."""
        if not self.started or self.node.closing:
            return []
        record = self.families.values(NODES).get(node_id) or self.homing.known.get(node_id)
        found = usable(self.node, record)
        self.seeking.seek(node_id)
        return found


OWN_VERBS = frozenset("globals promote family where nowhere at back".split())


def _globals(near: Any) -> list[tuple[str, Any]]:
    if not isinstance(near, (list, tuple)) or len(near) > GLOBALS:
        raise ValueError(f"{near!r:.100} is no list of globals")
    found = []
    for row in near:
        node_id, record = row
        if not isinstance(node_id, str) or not is_node_id(node_id):
            raise ValueError(f"{node_id!r:.100} is no node ID")
        check_record(record)
        found.append((node_id, record))
    return found
