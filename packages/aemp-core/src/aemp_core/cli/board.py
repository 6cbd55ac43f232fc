"""The board of ``aemp top``: one picture of a network, for a screen of any size.

Above one line about the whole, then a row for each node, then the busiest links. What has no room
is left out from the end of the lists, and the picture says how much that is.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from .asking import number, words
from .columns import Column, age, count, lay_out, milliseconds, size
from .drawing import Pair, pairs
from .rates import Rates
from .survey import Found, Survey, in_order

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["SORT_KEYS", "Board"]

NODE_COLUMNS = [
    Column("NODE"),
    Column("STATE", rank=1),
    Column("UP FOR", right=True, rank=6),
    Column("LINKS", right=True, rank=7),
    Column("PORTS", right=True, rank=8),
    Column("QUEUE", right=True, rank=3),
    Column("BUFFERED", right=True, rank=4),
    Column("IN/S", right=True, rank=1),
    Column("OUT/S", right=True, rank=1),
    Column("LAG", right=True, rank=2),
    Column("MEMORY", right=True, rank=5),
    Column("ROUND TRIP", right=True, rank=9),
]
LINK_COLUMNS = [
    Column("LINK"),
    Column("OVER", rank=3),
    Column("UP FOR", right=True, rank=4),
    Column("BUFFERED", right=True, rank=2),
    Column("->/S", right=True, rank=1),
    Column("<-/S", right=True, rank=1),
]
#: Lines that are neither a node nor a link: the first one, both heads, what separates them.
LINES = 6
#: Links that are shown beside however many nodes.
LEAST_LINKS = 5


def _of(key: str) -> Any:
    return lambda board, found: -(found.number(key) or 0)


#: What nodes can be sorted by: the greatest first.
SORT_KEYS: dict[str, Any] = {
    "rate": lambda board, found: -board.rate(found),
    "name": lambda board, found: 0,
    "queue": _of("queue"),
    "buffered": _of("buffered"),
    "lag": _of("lag"),
    "memory": _of("memory"),
    "ports": _of("ports"),
    "links": lambda board, found: -len(found.linked),
}


class Board:
    """Pictures of one survey.

    Args:
        survey: the nodes.
        rates: what goes over their links.
        sort: one of `SORT_KEYS`; may be set anew.
    """

    def __init__(self, survey: Survey, rates: Rates, sort: str) -> None:
        self.sort = sort
        self._survey = survey
        self._rates = rates

    def rate(self, found: Found) -> float:
        """Messages per second, in and out."""
        rate = self._rates.of_node(found.id)
        return 0.0 if rate is None else rate.total

    def next_sort(self) -> None:
        """Sort by the next key."""
        keys = list(SORT_KEYS)
        self.sort = keys[(keys.index(self.sort) + 1) % len(keys)]

    def as_json(self) -> dict[str, Any]:
        """The same for scripts."""
        return {
            "time": round(time.time(), 3),
            "nodes": [
                {
                    **found.as_json(),
                    "late": self._survey.is_late(found),
                    **_told(self._rates.of_node(found.id)),
                }
                for found in self._nodes()
            ],
            "links": [
                {
                    **pair.row,
                    "from": pair.first,
                    "to": pair.second,
                    **_told(self._rates.of_link(pair.first, pair.second)),
                }
                for pair in self._links()
            ],
        }

    def picture(self, room: int | None, height: int | None, foot: str = "") -> RenderableType:
        """The whole; None for as much room as it takes."""
        from rich.console import Group
        from rich.text import Text

        nodes, links = self._nodes(), self._links()
        shown_nodes, shown_links = len(nodes), len(links)
        if height is not None:
            lines = max(2, height - LINES - bool(foot))
            least = min(len(links), LEAST_LINKS, lines // 3)
            shown_nodes = min(len(nodes), lines - least)
            shown_links = min(len(links), max(0, lines - shown_nodes))
        rows = [self._node_cells(found) for found in nodes[:shown_nodes]]
        styles = [self._style(found) for found in nodes[:shown_nodes]]
        parts: list[RenderableType] = [
            Text(self._title(len(links)), "bold", no_wrap=True, overflow="ellipsis"),
            Text(""),
            lay_out(NODE_COLUMNS, rows, room, styles),
            Text(_rest(len(nodes) - shown_nodes, "nodes"), "dim"),
        ]
        if shown_links:
            cells = [self._link_cells(pair) for pair in links[:shown_links]]
            parts += [
                lay_out(LINK_COLUMNS, cells, room),
                Text(_rest(len(links) - shown_links, "links"), "dim"),
            ]
        if foot:
            parts.append(Text(foot, "dim", no_wrap=True, overflow="ellipsis"))
        return Group(*parts)

    def _nodes(self) -> list[Found]:
        key = SORT_KEYS[self.sort]
        return sorted(
            self._survey.nodes.values(), key=lambda found: (key(self, found), in_order(found.id))
        )

    def _links(self) -> list[Pair]:
        def busy(pair: Pair) -> tuple[Any, ...]:
            rate = self._rates.of_link(pair.first, pair.second)
            return (
                0.0 if rate is None else -rate.total,
                in_order(pair.first),
                in_order(pair.second),
            )

        return sorted(pairs(self._survey), key=busy)

    def _title(self, links: int) -> str:
        nodes = self._survey.nodes.values()
        up = sum(found.up for found in nodes)
        # What one node sends another receives: counted once.
        passed = sum(self.rate(found) for found in nodes) / 2
        return (
            f"aemp top  {time.strftime('%H:%M:%S')}  {len(nodes)} nodes, {up} up, {links} links, "
            f"{passed:,.0f} messages/s"
        )

    def _style(self, found: Found) -> str:
        if not found.up:
            return "red"
        return "yellow" if self._survey.is_late(found) or found.error else ""

    def _node_cells(self, found: Found) -> list[str]:
        rate = self._rates.of_node(found.id)
        return [
            found.id,
            "late" if found.up and self._survey.is_late(found) else found.state,
            age(found.number("uptime")),
            count(len(found.linked)) if found.status else "-",
            count(found.number("ports")),
            count(found.number("queue")),
            size(found.number("buffered")),
            count(None if rate is None else rate.received),
            count(None if rate is None else rate.sent),
            milliseconds(found.number("lag")),
            size(found.number("memory")),
            milliseconds(found.round_trip),
        ]

    def _link_cells(self, pair: Pair) -> list[str]:
        rate = self._rates.of_link(pair.first, pair.second)
        return [
            f"{pair.first} - {pair.second}",
            words({"scheme": pair.scheme}, "scheme"),
            age(number(pair.row, "seconds")),
            size(number(pair.row, "buffered")),
            count(None if rate is None else rate.sent),
            count(None if rate is None else rate.received),
        ]


def _rest(left: int, what: str) -> str:
    return f"... {left} more {what}" if left else ""


def _told(rate: Any) -> dict[str, float | None]:
    return {
        "sent_per_second": None if rate is None else round(rate.sent, 3),
        "received_per_second": None if rate is None else round(rate.received, 3),
    }
