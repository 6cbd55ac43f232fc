"""A survey: every node that can be found from the seeds, what it says of itself, and its links.

Each node that is found is asked for its links, and leads to the next ones; so many are asked at a
time. What plugins know of the network (see `aemp_core.presence`) leads further, too: beyond a node
whose rules do not let it tell its links, say. A node that is told of and does not answer is
*silent*: its row says why. Nodes that nobody tells of any more when the others have been asked have
left meanwhile, and are no part of it.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import AempError, CallTimeout
from ..presence import Presence
from ..status import DENIED
from .asking import Row, ask, link_rows, number, status, words
from .options import beyond
from .outcome import Failed

if TYPE_CHECKING:
    from ..node import Node
    from .options import Visit

__all__ = ["Found", "Survey", "in_order", "surveyed"]

#: Nodes that are asked at a time.
PARALLEL = 16
#: Links of one node that are looked at.
LINKS = 5_000
#: Seconds that plugins have to tell of nodes, where some node does not tell its links.
PRESENCE_SECONDS = 1.0


@dataclass
class Found:
    """One node of the survey.

    Attributes:
        id: its node ID.
        seed: whether the survey began there.
        status: what it says of itself, see `aemp_core.status`; empty if it did not answer.
        links: a row for each node it knows.
        round_trip: seconds a question takes to it and back, None if it did not answer.
        error: why there is no answer; "" if there is one.
        told_by: the nodes that told of it.
    """

    id: str
    seed: bool = False
    status: Row = field(default_factory=dict)
    links: list[Row] = field(default_factory=list)
    round_trip: float | None = None
    error: str = ""
    told_by: dict[str, None] = field(default_factory=dict)

    @property
    def up(self) -> bool:
        """Whether it answered."""
        return self.round_trip is not None

    @property
    def linked(self) -> list[str]:
        """The nodes it has a link to."""
        return [row["id"] for row in self.links if row.get("state") == "up"]

    @property
    def state(self) -> str:
        """One word for people: up, denied (it is there and tells nothing), or silent."""
        if not self.up:
            return "silent"
        return "denied" if self.error else "up"

    def number(self, key: str) -> float | None:
        """A number out of its status."""
        return number(self.status, key)

    def words(self, key: str) -> str:
        """A text out of its status, fit to be printed."""
        return words(self.status, key)

    def as_json(self) -> Row:
        """For scripts: what it said, and how asking it went."""
        return {
            **self.status,
            "id": self.id,
            "state": self.state,
            "seed": self.seed,
            "error": self.error or None,
            "round_trip": self.round_trip,
        }


class Survey:
    """The nodes found by one visitor.

    Args:
        visit: how long each node may take to answer.
        node: the visitor, which is no part of what is found.
    """

    def __init__(self, visit: Visit, node: Node) -> None:
        self.nodes: dict[str, Found] = {}
        self._timeout = visit.timeout
        self._node = node
        self._room = asyncio.Semaphore(PARALLEL)
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._presence: Presence | None = None

    @property
    def silent(self) -> list[Found]:
        """The nodes that are told of and do not answer."""
        return [each for each in self.nodes.values() if not each.up]

    def is_late(self, found: Found) -> bool:
        """Whether a node still owes the answer to the last question."""
        return found.id in self._asking

    async def walk(self, seeds: list[str]) -> None:
        """Ask every node that can be found from `seeds`."""
        for node_id in seeds:
            self._meet(node_id, seed=True)
        # From now on, also while it is asked again.
        self._presence = Presence(
            self._node, lambda node_id, is_there: self._meet(node_id) if is_there else None
        )
        await self._answers()
        if any(found.state == "denied" for found in self.nodes.values()):
            await asyncio.sleep(PRESENCE_SECONDS)
            await self._answers()
        if self.silent:
            await self._look_again()

    async def _answers(self) -> None:
        while self._asking:
            await asyncio.wait(self._asking.values())

    async def again(self, seconds: float) -> None:
        """Ask all nodes again, and those they tell of; wait so long for their answers.

        A node that has not answered by then is asked no second time before it has.
        """
        for found in list(self.nodes.values()):
            self._start(found)
        ends = self._node.loop.time() + seconds
        while self._asking and (left := ends - self._node.loop.time()) > 0:
            await asyncio.wait(self._asking.values(), timeout=left)
        told = {row["id"] for found in self.nodes.values() if found.up for row in found.links}
        told.update(self._presence or ())
        for found in self.silent:
            if not (found.seed or found.id in told or self.is_late(found)):
                del self.nodes[found.id]

    def _meet(self, node_id: str, *, seed: bool = False, told_by: str | None = None) -> None:
        if node_id == self._node.id:
            return
        found = self.nodes.get(node_id)
        if found is None:
            found = self.nodes[node_id] = Found(node_id, seed)
            self._start(found)
        if told_by is not None:
            found.told_by[told_by] = None

    def _start(self, found: Found) -> None:
        if found.id not in self._asking:
            task = self._asking[found.id] = self._node.task(self._visit(found))
            task.add_done_callback(lambda _: self._asking.pop(found.id, None))

    async def _visit(self, found: Found) -> None:
        async with self._room:
            await self._ask(found)
        for row in found.links:
            self._meet(row["id"], told_by=found.id)

    async def _ask(self, found: Found) -> None:
        node, node_id = self._node, found.id
        round_trip = None
        try:
            await node.up(node_id, timeout=self._timeout)
            asked = node.loop.time()
            await ask(node, node_id, self._timeout, "time")
            round_trip = node.loop.time() - asked
            told = await status(node, node_id, self._timeout)
            _, rows = await link_rows(node, node_id, self._timeout, LINKS)
        except CallTimeout:
            found.error = f"no link to it within {self._timeout:g} s{beyond(node)}"
        except AempError as error:
            found.error = str(error).removeprefix(f"{node_id}: ")
            if found.error == DENIED:
                found.round_trip = round_trip
                return
        else:
            found.status, found.round_trip, found.error = told, round_trip, ""
            found.links = [row for row in rows if is_of_node(row) and row["id"] != node.id]
            return
        # What it said before is true no more.
        found.status, found.links, found.round_trip = {}, [], None

    async def _look_again(self) -> None:
        """Leave out silent nodes that those who told of them do not know any more."""
        tellers = {each for found in self.silent for each in found.told_by}
        known: dict[str, set[str]] = {}
        for teller in tellers:
            try:
                _, rows = await link_rows(self._node, teller, self._timeout, LINKS)
            except Failed:
                continue
            known[teller] = {row["id"] for row in rows if is_of_node(row)}
        for found in self.silent:
            is_told = any(found.id in known.get(teller, ()) for teller in found.told_by)
            if not (found.seed or is_told or found.id in (self._presence or ())):
                del self.nodes[found.id]


def in_order(node_id: str) -> list[Any]:
    """A sort key: numbers in an ID count as numbers, so worker/10 comes after worker/9."""
    parts = re.split(r"([0-9]+)", node_id)
    return [int(part) if place % 2 else part for place, part in enumerate(parts)]


async def surveyed(visit: Visit, node: Node) -> Survey:
    """A survey from the seeds; raises `Failed` if none of them answers."""
    survey = Survey(visit, node)
    await survey.walk(await visit.join(node))
    return survey


def is_of_node(row: dict[str, Any]) -> bool:
    """Whether a row of links names a node."""
    from ..ids import is_node_id

    return isinstance(row.get("id"), str) and is_node_id(row["id"])
