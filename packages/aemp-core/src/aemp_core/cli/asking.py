"""Asking: what other nodes tell of themselves, as the commands need it.

`aemp_core.status` says what is asked. What comes back is a peer's: nothing of it is believed to be
of the right type, and it is printed without control characters. A node whose version does not know
these requests is asked for the IDs of its links alone, as the AEMP protocol has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import CallTimeout, PortKilled
from ..reason import describe
from .outcome import TIMED_OUT, Failed
from .text import printable

if TYPE_CHECKING:
    from ..node import Node

__all__ = ["ask", "ask_pages", "link_rows", "number", "status", "words"]

FEATURE = "status"
Row = dict[str, Any]


async def ask(node: Node, node_id: str, timeout: float, *request: Any) -> tuple[Any, ...]:
    """The answer of a node to a request; raises `Failed` saying who did not answer, and what."""
    try:
        return await node.cal(node_id, *request, timeout=timeout)
    except CallTimeout:
        raise Failed(
            f"gave up after {timeout:g} s waiting for node {node_id!r} to answer {request[0]!r}",
            TIMED_OUT,
        ) from None
    except PortKilled as error:
        raise Failed(f"{node_id}: {describe(error.reason)}") from None


async def status(node: Node, node_id: str, timeout: float) -> Row:
    """What a node says of itself; of an old one only what its greeting says."""
    if not _tells(node, node_id):
        session = node.peers[node_id].session if node_id in node.peers else None
        version = "" if session is None else session.info.provider
        return {"id": node_id, "version": version or "unknown"}
    told = _checked(node_id, await ask(node, node_id, timeout, "status"))
    if not told or not isinstance(told[0], dict):
        raise Failed(f"{node_id}: its status is none")
    return told[0]


async def link_rows(node: Node, node_id: str, timeout: float, limit: int) -> tuple[int, list[Row]]:
    """How many nodes a node knows, and a row for each, at most `limit`."""
    if _tells(node, node_id):
        return await ask_pages(node, node_id, timeout, "links", limit)
    names = [each for each in await ask(node, node_id, timeout, "up_nodes") if type(each) is str]
    return len(names), [{"id": each, "state": "up"} for each in names[:limit]]


async def ask_pages(
    node: Node, node_id: str, timeout: float, request: str, limit: int, *arguments: Any
) -> tuple[int, list[Row]]:
    """A list that comes in pages: how long it is, and its first `limit` rows."""
    if not _tells(node, node_id):
        raise Failed(f"{node_id}: its version does not tell its {request}")
    rows: list[Row] = []
    after = 0
    while True:
        told = _checked(node_id, await ask(node, node_id, timeout, request, *arguments, after))
        if len(told) != 3 or type(told[0]) is not int or not isinstance(told[1], list):
            raise Failed(f"{node_id}: its {request} are no list")
        total, page, after = told
        rows += [row for row in page if isinstance(row, dict)]
        # A page that leads nowhere is the last one, whatever its node says.
        if not page or type(after) is not int or after <= 0 or len(rows) >= limit:
            return total, rows[:limit]


def _tells(node: Node, node_id: str) -> bool:
    """Whether a node knows the requests; of one that is not linked we shall see."""
    peer = node.peers.get(node_id)
    return peer is None or peer.session is None or FEATURE in peer.session.info.features


def _checked(node_id: str, answer: tuple[Any, ...]) -> tuple[Any, ...]:
    if not answer or answer[0] != "":
        why = str(answer[0]) if answer else "an empty answer"
        raise Failed(f"{node_id}: {why}")
    return answer[1:]


def number(row: Row, key: str) -> float | None:
    """A number that a node told, None if it did not."""
    value = row.get(key)
    return value if type(value) in (int, float) else None


def words(row: Row, key: str, default: str = "-") -> str:
    """A text that a node told, fit to be printed; `default` if it did not."""
    value = row.get(key)
    return printable(value) if isinstance(value, str) and value else default
