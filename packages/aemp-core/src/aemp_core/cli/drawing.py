"""Drawings of a network: its nodes, and which of them are linked, as trees and graphs.

A link is told by both of its ends, and drawn once. A tree is drawn breadth first from the seeds, so
each node is where the way to it is shortest; its links to nodes that are elsewhere in the tree are
named behind it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .asking import Row, number, words
from .columns import NAME_WIDTH, Column, age, count, lay_out, milliseconds, size, width
from .survey import Found, Survey, in_order
from .text import printable

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["Pair", "as_dot", "as_json", "as_mermaid", "as_table", "as_tree", "pairs"]

#: Links of a node that are named behind it in a tree; of more only the number is told.
NAMED = 4

COLUMNS = [
    Column("NODE"),
    Column("NODE", least=NAME_WIDTH),
    Column("OVER", rank=1),
    Column("UP FOR", right=True, rank=2),
    Column("SENT", right=True, rank=4),
    Column("RECEIVED", right=True, rank=5),
    Column("WAITING", right=True, rank=3),
    Column("ADDRESS", rank=6, least=21),
]


@dataclass(frozen=True)
class Pair:
    """Two nodes with a link between them.

    Attributes:
        first, second: their IDs; `first` tells the row.
        row: the link, as the first node tells it.
    """

    first: str
    second: str
    row: Row

    @property
    def scheme(self) -> str:
        """The transport of the link: tcp, tls, unix, relay, ..."""
        return words(self.row, "address").partition("://")[0]


def pairs(survey: Survey) -> list[Pair]:
    """Every link of a survey once, told by the end whose ID comes first if both tell it."""
    found: dict[tuple[str, str], Pair] = {}
    for node in sorted(survey.nodes.values(), key=lambda each: in_order(each.id)):
        for row in sorted(node.links, key=lambda row: in_order(row["id"])):
            other = row["id"]
            if row.get("state") == "up" and other in survey.nodes and other != node.id:
                if (other, node.id) not in found:
                    found[node.id, other] = Pair(node.id, other, row)
    return list(found.values())


def as_json(survey: Survey) -> dict[str, Any]:
    """Nodes and links for scripts."""
    return {
        "nodes": [found.as_json() for found in survey.nodes.values()],
        "links": [
            {**pair.row, "from": pair.first, "to": pair.second, "scheme": pair.scheme}
            for pair in pairs(survey)
        ],
    }


def as_table(survey: Survey) -> Text:
    """A row for each link."""
    rows = [
        [
            pair.first,
            pair.second,
            pair.scheme,
            age(number(pair.row, "seconds")),
            count(number(pair.row, "sent")),
            count(number(pair.row, "received")),
            size(number(pair.row, "buffered")),
            words(pair.row, "address"),
        ]
        for pair in pairs(survey)
    ]
    return lay_out(COLUMNS, rows, width())


def as_tree(survey: Survey) -> Text:
    """The nodes as a tree of text."""
    from rich.text import Text

    near = _neighbours(survey)
    children, parent = _spanned(survey, near)
    text = Text(no_wrap=True, overflow="ellipsis")
    # What is drawn before a node, and before those below it; the next one last. A chain of nodes
    # may be longer than functions can call themselves.
    left = [(root, "", "") for root in reversed(children[""])]
    while left:
        node_id, first, rest = left.pop()
        found, above, below = survey.nodes[node_id], parent.get(node_id), children.get(node_id, [])
        drawn = {above, *below}
        others = [each for each in near[node_id] if each not in drawn]
        text.append("\n" if text else "")
        text.append(first, "dim")
        text.append(node_id, "bold" if found.up else "red")
        text.append(f"  {_label(survey, above, found)}", "" if found.up else "red")
        if others:
            named = ", ".join(others) if len(others) <= NAMED else f"{len(others)} more"
            text.append(f"  also linked with {named}", "dim")
        for place, child in enumerate(reversed(below)):
            if place:
                left.append((child, rest + "├── ", rest + "│   "))
            else:
                left.append((child, rest + "└── ", rest + "    "))
    return text


def _label(survey: Survey, parent: str | None, found: Found) -> str:
    parts = []
    if parent is not None:
        for teller, other in ((parent, found.id), (found.id, parent)):
            rows = [row for row in survey.nodes[teller].links if row["id"] == other]
            if rows and rows[0].get("state") == "up":
                parts.append(words(rows[0], "address").partition("://")[0])
                break
    if found.status:
        parts += [f"up {age(found.number('uptime'))}", milliseconds(found.round_trip)]
    if found.error:
        parts.append(f"{found.state}: {printable(found.error)}")
    return "  ".join(parts)


def _neighbours(survey: Survey) -> dict[str, list[str]]:
    near: dict[str, dict[str, None]] = {node_id: {} for node_id in survey.nodes}
    for pair in pairs(survey):
        near[pair.first][pair.second] = None
        near[pair.second][pair.first] = None
    return {node_id: sorted(others, key=in_order) for node_id, others in near.items()}


def _spanned(
    survey: Survey, near: dict[str, list[str]]
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """The children of each node, those of "" being the roots, and the parent of each."""
    roots = sorted(survey.nodes, key=lambda each: (not survey.nodes[each].seed, in_order(each)))
    children: dict[str, list[str]] = {"": []}
    parent: dict[str, str] = {}
    met: set[str] = set()
    for root in roots:
        if root in met:
            continue
        met.add(root)
        children[""].append(root)
        waiting = deque([root])
        while waiting:
            node_id = waiting.popleft()
            for other in near[node_id]:
                if other not in met:
                    met.add(other)
                    parent[other] = node_id
                    children.setdefault(node_id, []).append(other)
                    waiting.append(other)
    return children, parent


def as_dot(survey: Survey) -> Iterable[str]:
    """Lines for Graphviz: ``aemp trace --format dot | dot -Tsvg``. Node IDs need no escapes."""
    yield "graph aemp {"
    yield "  node [shape=box];"
    for found in survey.nodes.values():
        style = "" if found.up else " [color=red, style=dashed]"
        yield f'  "{found.id}"{style};'
    for pair in pairs(survey):
        yield f'  "{pair.first}" -- "{pair.second}" [label="{_plain(pair.scheme)}"];'
    yield "}"


def as_mermaid(survey: Survey) -> Iterable[str]:
    """Lines of a Mermaid flow chart."""
    names = {node_id: f"n{place}" for place, node_id in enumerate(survey.nodes)}
    yield "graph LR"
    for found in survey.nodes.values():
        yield f'  {names[found.id]}["{found.id}"]{"" if found.up else ":::silent"}'
    for pair in pairs(survey):
        yield f"  {names[pair.first]} ---|{_plain(pair.scheme)}| {names[pair.second]}"
    if survey.silent:
        yield "  classDef silent stroke:#c00,stroke-dasharray:4"


def _plain(scheme: str) -> str:
    """A scheme, or what a peer says is one, without what means something to a drawing program."""
    return "".join(char for char in scheme if char.isalnum() or char in "+.-")
