"""Homing: how an ordinary node finds a global to attach to, and another when that is lost.

    homeless --a linked neighbour is global--> asking --it wants our state--> at home
        |  ^                                     |                              |
        |  +---- no answer, or the link lost ----+------------------------------+
        +--> nobody linked is global: dial one more known global and one more seed, every STEP

Once at home the seeds rest: a node keeps one link to a global, and others only as it talks. Seeds
that are no globals are asked to become ones; they do, unless their settings say otherwise.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from .neighbour import Neighbour

if TYPE_CHECKING:
    from .service import Service

__all__ = ["Homing"]

log = logging.getLogger("aemp_global.homing")

#: Seconds between two steps of the search, each of which dials one more.
STEP = 0.25
#: Seconds a global may take to accept us.
ATTACH_SECONDS = 5.0


class Homing:
    """The search for a home of one node.

    Args:
        service: of that node.

    Attributes:
        known: the globals heard of, and their records.
        at_home: whether the home has accepted our claim.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._node = service.node
        self._exchange = service.exchange
        self.known: dict[str, Any] = {}
        self.at_home = False
        self._seeds: list[str] = []
        self._steps = 0
        self._searching = False
        self._tried: dict[str, None] = {}
        self._failed: dict[str, None] = {}
        self._timer: Any = None
        self._patience: Any = None
        self._waiting: list[asyncio.Future[None]] = []

    def hear_of(self, node_id: str, record: Any) -> None:
        """A global, and where it can be dialled."""
        if node_id != self._node.id and self._node.rules.allow(node_id, "global"):
            self.known[node_id] = record
            if self._exchange.is_global:
                self._service.keeper.keep(node_id)

    def forget(self, node_id: str) -> None:
        """A global that cannot be reached."""
        self.known.pop(node_id, None)

    # -- the search --------------------------------------------------------------------------

    def look(self) -> None:
        """See whether a home is needed, and begin to search, or settle."""
        exchange = self._exchange
        if exchange.is_global or self._node.closing:
            self.stop()
            return
        if exchange.home is None:
            self.at_home = False
            self._give_up_waiting()
            near = [each for each in exchange.neighbours.values() if self._will_do(each)]
            if near:
                self._settle(self._node.random.choice(near))
            elif self._timer is None and not self._service.backing_off:
                if not self._searching:
                    self._searching = True
                    self._seeds = list(self._node.settings.seeds)
                    self._node.random.shuffle(self._seeds)
                    self._steps = 0
                self._step()

    def _will_do(self, neighbour: Neighbour) -> bool:
        return (
            neighbour.greeted and neighbour.is_global and not neighbour.banned
            and neighbour.id not in self._failed and not self._service.backing_off
        )  # fmt: skip

    def _settle(self, neighbour: Neighbour) -> None:
        self._searching = False
        self._stop_stepping()
        self._rest(self._node.settings.seeds)
        self._exchange.attach(neighbour)
        self._patience = self._service.later(ATTACH_SECONDS, lambda: self._unanswered(neighbour))

    def _unanswered(self, neighbour: Neighbour) -> None:
        if self._exchange.home == neighbour.id and not self.at_home:
            log.warning("%s does not accept %s: trying another home", neighbour.id, self._node.id)
            self._failed[neighbour.id] = None
            self._exchange.leave(neighbour)
            self._exchange.home = None
            self.look()

    def settled(self) -> None:
        """The home has accepted us."""
        self.at_home = True
        self._failed.clear()
        self._give_up_waiting()
        for node_id in self._tried:
            self._service.keeper.drop(node_id)
        self._tried.clear()
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    async def found(self) -> str:
        """Wait until this node is at home, and return its home; `NodeClosed` if it closes before.

        For nodes that are not global: those never have a home.
        """
        while not self.at_home:
            waiter: asyncio.Future[None] = self._node.loop.create_future()
            self._waiting.append(waiter)
            self._service.following.until_closed(waiter)
            await waiter
        return str(self._exchange.home)

    def _step(self) -> None:
        """Dial one more."""
        self._timer = None
        if self._exchange.home is not None or self._exchange.is_global or self._node.closing:
            return
        self.promote()
        fresh = [each for each in self.known if each not in self._tried]
        if fresh:
            chosen = self._node.random.choice(fresh)
            self._tried[chosen] = None
            self._service.keeper.keep(chosen)
        # A seed has twice the time to answer: at the start all nodes may be busy starting.
        self._steps += 1
        if self._seeds and self._steps % 2 and not (fresh and self._steps == 1):
            self._seeds.pop()
        self._rest(self._seeds)
        if not fresh and not self._seeds:
            self._failed.clear()  # all are being dialled: whoever answers first is welcome
            self._service.following.complete()  # nobody shall wait for what may not come
            self._timer = self._service.later(4 * STEP, self._step_again)
        else:
            self._timer = self._service.later(STEP, self._step)

    def _step_again(self) -> None:
        self._timer = None
        self.look()

    def _rest(self, seeds: Any) -> None:
        if self._node.settings.seeds:
            self._node.rest_seeds(*seeds)

    def promote(self) -> None:
        """Ask linked seeds that are no globals to become ones."""
        seeds = self._node.dialler.seed_ids()
        for neighbour in self._exchange.neighbours.values():
            if neighbour.greeted and not neighbour.is_global and neighbour.id in seeds:
                neighbour.say("promote")
                self._service.wake(neighbour)

    def _give_up_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _stop_stepping(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def stop(self) -> None:
        """No home is needed any more."""
        self._searching = False
        self._stop_stepping()
        self._give_up_waiting()
        self._rest(())
