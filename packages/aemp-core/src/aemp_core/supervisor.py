"""Supervision: ports that are started again when they end, in the manner of Erlang/OTP.

A `Supervisor` is a port that starts children and monitors them. What happens when a child ends
depends on two words. The child's *restart*: a ``permanent`` one is always started again, a
``transient`` one only if it ended abnormally (its reason is not ``()``), a ``temporary`` one
never; it is forgotten. And the supervisor's *strategy*, which says who else is started again:

    one_for_one   nobody else
    one_for_all   all children
    rest_for_one  those added after it

Those others are first killed, last added first, each once the one before it is dead; then all
start in the order they were added, temporary ones excepted. Children that want more restarts
than `intensity` within `period` seconds are beyond help: the supervisor's port dies, and its own
supervisor decides. Whenever it dies, for whatever reason, it takes its children with it, last
added first.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from .errors import NodeClosed, PortError, UsageError
from .ids import PortID, check_port_id
from .reason import MAX_TEXT, Reason, describe, die
from .verbs import current_node

if TYPE_CHECKING:
    from .monitor import Guard
    from .node import Node

__all__ = ["Supervisor"]

STRATEGIES = ("one_for_one", "one_for_all", "rest_for_one")
RESTARTS = ("permanent", "transient", "temporary")
#: The first word of the reason a supervisor ends with, and ends its children with.
SHUTDOWN = "shutdown"

Start = Callable[[], "str | Awaitable[str]"]


class Child:
    """One child: how to start it, and the port it has now.

    Attributes:
        port: its port while it lives.
        guard: takes back the monitor on that port.
        starting: its `start` was called and has not returned yet.
        wanted: it shall run; false once a transient child ended normally.
        stale: the port it has, or is about to get, shall die, because the strategy says so.
        pause: seconds its last restart was held back, 0 after a quiet period.
        since: when it was last started.
    """

    def __init__(self, name: str, start: Start, restart: str) -> None:
        self.name = name
        self.start = start
        self.restart = restart
        self.port: PortID | None = None
        self.guard: Guard | None = None
        self.starting = False
        self.wanted = True
        self.stale = False
        self.pause = 0.0
        self.since = 0.0


class Brood:
    """Children that are restarted together, in order, and the task that sees to it.

    With ``one_for_one`` each child is a brood of its own. `mend` brings what is into line with
    what is wanted, one step at a time, and looks at everything anew after each: while it waits
    for a death, a pause or an async start, further children may end.
    """

    def __init__(self) -> None:
        self.children: list[Child] = []
        self.due = 0.0
        self.mending = False
        self.changed = asyncio.Event()


class Supervisor:
    """Starts children and keeps them running; see the module's text for the rules.

    Args:
        strategy: who is restarted with a child that ended: "one_for_one", "one_for_all" or
            "rest_for_one".
        intensity: so many restarts within `period` are borne; one more ends the supervisor.
        period: seconds.
        backoff: seconds before a restart: the first figure, doubled with each further restart of
            the same child up to the second, and back to the first after the child has lived for
            `period` seconds.
        node: the node the supervisor's port is on; the current node if not given.

    Raises:
        UsageError: a word or figure that cannot be.
        NodeClosed: the node takes no new work.
    """

    def __init__(
        self,
        strategy: str = "one_for_one",
        *,
        intensity: int = 3,
        period: float = 5.0,
        backoff: tuple[float, float] = (0.1, 30.0),
        node: Node | None = None,
    ) -> None:
        _check_word("strategy", strategy, STRATEGIES)
        if isinstance(intensity, bool) or not isinstance(intensity, int) or intensity < 0:
            raise UsageError(f"intensity={intensity!r}: give a number of restarts, 0 or more")
        if not period > 0:
            raise UsageError(f"period={period!r}: give seconds, more than 0")
        try:
            first, longest = backoff
            right = 0 <= first <= longest
        except (TypeError, ValueError):
            right = False
        if not right:
            raise UsageError(f"backoff={backoff!r}: give (first, longest) pause in seconds")
        self._strategy = strategy
        self._intensity = intensity
        self._period = period
        self._backoff = (first, longest)
        self._node = current_node() if node is None else node
        self._broods: list[Brood] = []
        self._restarts: deque[float] = deque()
        self._beyond_help = False
        self._ended: Reason | None = None
        self._orphans: list[PortID] = []
        self._port = self._node.port()
        self._node.peval(self._port, self._node.mon, self._port, self._died)

    @property
    def port(self) -> PortID:
        """The supervisor's port: monitor it to learn that it gave up, kill it to end everything."""
        return self._port

    def child(self, name: str, start: Start, restart: str = "permanent") -> Supervisor:
        """Add a child and have it started, after those added before.

        Args:
            name: what `which` finds it by.
            start: called without arguments whenever the child is to start, with the supervisor's
                port as the current port; returns the child's port ID, which may be on any node.
                It may be async. An exception in it counts as a death of the child.
            restart: "permanent", "transient" or "temporary".

        Returns:
            The supervisor, so that calls can be chained.

        Raises:
            UsageError: a name that is taken, or anything else that cannot be.
            NodeClosed: the node takes no new work.
        """
        _check_word("restart", restart, RESTARTS)
        if not callable(start):
            raise UsageError(f"start={start!r} for child {name!r}: give a function that returns "
                             "a port ID")  # fmt: skip
        if self._find(name) is not None:
            raise UsageError(f"there is a child {name!r} already: names are used once")
        if self._ended is not None:
            raise UsageError(
                f"the supervisor {self._port} has ended ({describe(self._ended)}): make a new one"
            )
        if self._strategy == "one_for_one" or not self._broods:
            self._broods.append(Brood())
        brood = self._broods[-1]
        brood.children.append(Child(name, start, restart))
        try:
            self._see_to(brood)
        except BaseException:
            brood.children.pop()
            raise
        return self

    def which(self, name: str) -> PortID | None:
        """The port of child `name`; None if it is not running, or not a child."""
        child = self._find(name)
        return None if child is None else child.port

    def _find(self, name: str) -> Child | None:
        for brood in self._broods:
            for child in brood.children:
                if child.name == name:
                    return child
        return None

    # -- mending -----------------------------------------------------------------------------

    def _see_to(self, brood: Brood) -> None:
        """Have `brood` mended; its task belongs to the supervisor's port."""
        brood.changed.set()
        if not brood.mending:
            self._node.peval(self._port, self._begin, brood)

    def _begin(self, brood: Brood) -> None:
        brood.mending = True  # first: an eager task may end before `task` returns
        try:
            self._node.task(self._mend(brood), name=f"supervisor {self._port}")
        except NodeClosed:
            brood.mending = False
            raise

    async def _mend(self, brood: Brood) -> None:
        try:
            while not self._beyond_help and await self._step(brood):
                pass
        except NodeClosed:
            pass  # the node is closing: there is nothing left to keep running
        finally:
            brood.mending = False

    async def _step(self, brood: Brood) -> bool:
        """Do one thing that is to be done; False if there is none."""
        children = brood.children
        brood.changed.clear()
        stale = next((child for child in reversed(children) if child.stale), None)
        if stale is not None:
            assert stale.port is not None
            self._node.kil(stale.port, SHUTDOWN, "restarted with its siblings")
            while stale.stale:
                await brood.changed.wait()
                brood.changed.clear()
            return True
        missing = next((child for child in children if child.wanted and child.port is None), None)
        if missing is None:
            return False
        pause = brood.due - self._node.loop.time()
        if pause > 0:
            alarm = self._node.after(pause, brood.changed.set)
            await brood.changed.wait()
            alarm.cancel()
        else:
            await self._start(brood, missing)
        return True

    async def _start(self, brood: Brood, child: Child) -> None:
        node = self._node
        child.starting = True
        try:
            started = child.start()
            port = await started if inspect.isawaitable(started) else started
            check_port_id(port)
        except NodeClosed:
            raise
        except Exception as error:
            child.starting = child.stale = False
            self._failed(brood, child, die(error))
            await asyncio.sleep(0)  # without a pause to wait for, the loop still gets its turn
            return
        child.starting = False
        child.port = PortID(port)
        child.since = node.loop.time()
        child.guard = node.mon(port, lambda reason: self._child_died(brood, child, reason))

    # -- dying -------------------------------------------------------------------------------

    def _child_died(self, brood: Brood, child: Child, reason: Reason) -> None:
        child.port = child.guard = None
        stale, child.stale = child.stale, False
        if child.restart == "temporary":
            self._forget(brood, child)
        elif child.restart == "transient" and not reason and not stale:
            child.wanted = False
        elif not stale:
            try:
                self._failed(brood, child, reason)
            except (NodeClosed, PortError):
                pass  # the supervisor died in the same moment: `_died` is on its way
        brood.changed.set()

    def _forget(self, brood: Brood, child: Child) -> None:
        brood.children.remove(child)
        if not brood.children:
            self._broods.remove(brood)

    def _failed(self, brood: Brood, child: Child, reason: Reason) -> None:
        """`child` ended and is to run: have it restarted, with whom the strategy names."""
        if child.restart == "temporary":
            self._forget(brood, child)
            return
        now = self._node.loop.time()
        restarts = self._restarts
        restarts.append(now)
        while restarts[0] < now - self._period:
            restarts.popleft()
        if len(restarts) > self._intensity:
            text = (
                f"child {child.name!r} wanted restart number {len(restarts)} within "
                f"{self._period:g} s and {self._intensity} are borne; it ended with: "
            )
            self._beyond_help = True
            self._node.kil(self._port, SHUTDOWN, (text + describe(reason))[:MAX_TEXT])
            return
        first, longest = self._backoff
        if child.pause == 0 or (child.since and now - child.since >= self._period):
            child.pause = first
        else:
            child.pause = min(child.pause * 2, longest)
        child.since = 0.0
        brood.due = max(brood.due, now + child.pause)
        begin = brood.children.index(child) if self._strategy == "rest_for_one" else 0
        for other in brood.children[begin:]:
            if other.port is not None or other.starting:
                other.stale = True
                other.wanted = other.restart != "temporary"
            elif other.restart != "temporary":
                other.wanted = True  # a transient child that ended normally starts with the rest
        self._see_to(brood)

    def _died(self, reason: Reason) -> None:
        """The supervisor's port is dead, its tasks are cancelled: the children follow it."""
        self._ended = reason
        for brood in self._broods:
            for child in brood.children:
                if child.port is not None and child.guard is not None:
                    child.guard.cancel()
                    self._orphans.append(child.port)
                    child.port = child.guard = None
        self._end_next()

    def _end_next(self, reason: Reason = ()) -> None:
        """Kill the orphan added last, and the one before it when that one is dead."""
        if self._orphans:
            port = self._orphans.pop()
            try:
                self._node.mon(port, self._end_next)
                self._node.kil(port, SHUTDOWN, f"its supervisor {self._port} ended")
            except NodeClosed:
                self._orphans.clear()  # the node ends its ports itself


def _check_word(what: str, word: object, known: tuple[str, ...]) -> None:
    if word not in known:
        raise UsageError(f"{what}={word!r}: use one of {', '.join(known)}")
