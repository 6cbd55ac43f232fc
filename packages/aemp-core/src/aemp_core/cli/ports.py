"""``aemp ports``: the ports of one node."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from ..ids import check_node_id
from .asking import Row, ask_pages, number, words
from .columns import Column, count, lay_out, shown, size, width
from .manual import Command
from .options import Visit, as_json, visiting
from .text import printable, to_json

__all__ = ["command"]

COLUMNS = [
    Column("PORT"),
    Column("KIND", rank=3),
    Column("WAITING", right=True, rank=1),
    Column("BYTES", right=True, rank=5),
    Column("MONITORS", right=True, rank=4),
    Column("TASKS", right=True, rank=6),
    Column("HANDLER", rank=2, least=12),
]


@click.command(
    cls=Command,
    examples=[
        ("aemp ports --seed tcp://10.0.0.1:4040 worker", "List the ports of the node 'worker'."),
        ("aemp ports --json --limit 100000 worker", "List all of very many, for scripts."),
    ],
    see_also=["nodes", "top"],
)
@visiting
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=1_000,
    show_default=True,
    metavar="COUNT",
    help="List the oldest ports, at most so many.",
)
@as_json
@click.argument("node_id", metavar="NODE")
def command(visit: Visit, limit: int, as_json: bool, node_id: str) -> None:
    """List the ports of NODE, the oldest first.

    Kinds are "plain", "async" (a coroutine receives the messages) and "reply" (of a call that
    waits for its answer); "busy" has an async handler running. WAITING counts messages that have
    arrived and wait for the port. HANDLER names the default handler or the coroutine, and the tags
    that have a handler of their own. With --json there is one JSON object on each line.
    """
    total, rows = asyncio.run(_list(visit, check_node_id(node_id), limit))
    if as_json:
        for row in rows:
            click.echo(to_json(row))
    else:
        shown(lay_out(COLUMNS, [_cells(row) for row in rows], width()))
    if len(rows) < total:
        click.echo(f"{len(rows):,} of {total:,} ports; --limit lists more", err=True)


async def _list(visit: Visit, node_id: str, limit: int) -> tuple[int, list[Row]]:
    async with visit.node() as node:
        await visit.reach(node, node_id)
        return await ask_pages(node, node_id, visit.timeout, "ports", limit)


def _cells(row: Row) -> list[str]:
    kind = words(row, "kind")
    return [
        words(row, "port"),
        f"{kind}, busy" if row.get("busy") is True else kind,
        count(number(row, "waiting")),
        size(number(row, "waiting_bytes")),
        count(number(row, "monitors")),
        count(number(row, "tasks")),
        _handler(row.get("tags"), words(row, "handler", "")),
    ]


def _handler(tags: Any, default: str) -> str:
    names = [printable(str(tag)) for tag in tags] if isinstance(tags, list) else []
    return " ".join(filter(None, [default, f"({', '.join(names)})" if names else ""])) or "-"
