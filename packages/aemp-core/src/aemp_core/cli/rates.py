"""Rates: messages per second, from counters that nodes tell again and again.

A link has a counter of messages at each end; what it counted between two answers of that end, by
the clock of that end, makes the rate. A counter that is less than before began anew: its link was
lost meanwhile.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .asking import number
from .survey import Found, Survey

__all__ = ["Rate", "Rates"]

Counters = dict[str, tuple[float, float]]


class Rate(NamedTuple):
    """Messages per second, sent and received."""

    sent: float
    received: float

    @property
    def total(self) -> float:
        """Both together."""
        return self.sent + self.received


class Rates:
    """The rates of nodes and links between the last two answers of each node."""

    def __init__(self) -> None:
        self._links: dict[tuple[str, str], Rate] = {}
        self._nodes: dict[str, Rate] = {}
        # By node: which life of it, its uptime at its last answer, and the counters of its links.
        self._last: dict[str, tuple[Any, float, Counters]] = {}

    def of_node(self, node_id: str) -> Rate | None:
        """Of all links of a node; None if it has not answered twice."""
        return self._nodes.get(node_id)

    def of_link(self, node_id: str, other: str) -> Rate | None:
        """Of one link, as `node_id` counts."""
        return self._links.get((node_id, other))

    def take(self, survey: Survey) -> None:
        """Count what came since the last call."""
        for gone in [each for each in self._last if each not in survey.nodes]:
            self._forget(gone)
        for found in survey.nodes.values():
            if found.number("uptime") is None:
                self._forget(found.id)
            else:
                self._take(found)

    def _forget(self, node_id: str) -> None:
        self._last.pop(node_id, None)
        self._nodes.pop(node_id, None)
        self._drop_links(node_id)

    def _drop_links(self, node_id: str) -> None:
        for pair in [pair for pair in self._links if pair[0] == node_id]:
            del self._links[pair]

    def _take(self, found: Found) -> None:
        life, uptime = found.status.get("incarnation"), found.number("uptime") or 0.0
        counters: Counters = {
            row["id"]: (number(row, "sent") or 0, number(row, "received") or 0)
            for row in found.links
        }
        last_life, last_uptime, last = self._last.get(found.id, (None, 0.0, {}))
        if last_life == life and uptime == last_uptime:
            return  # it has not answered since
        self._last[found.id] = (life, uptime, counters)
        self._drop_links(found.id)
        self._nodes.pop(found.id, None)
        if last_life != life or uptime < last_uptime:
            return
        seconds = uptime - last_uptime
        for other, now in counters.items():
            before = last.get(other, (0, 0))
            if now[0] < before[0] or now[1] < before[1]:
                before = (0, 0)
            rate = Rate((now[0] - before[0]) / seconds, (now[1] - before[1]) / seconds)
            self._links[found.id, other] = rate
        rates = [self._links[found.id, other] for other in counters]
        self._nodes[found.id] = Rate(
            sum(rate.sent for rate in rates), sum(rate.received for rate in rates)
        )
