"""``aemp nodes``: every node that can be found."""

from __future__ import annotations

import asyncio

import click

from .columns import Column, age, count, lay_out, milliseconds, shown, width
from .manual import Command
from .options import Visit, as_json, visiting
from .outcome import DONE, TIMED_OUT
from .survey import Found, Survey, in_order, surveyed
from .text import printable, to_json

__all__ = ["command"]

COLUMNS = [
    Column("NODE"),
    Column("STATE"),
    Column("UP FOR", right=True, rank=1),
    Column("LINKS", right=True, rank=2),
    Column("PORTS", right=True, rank=3),
    Column("ROUND TRIP", right=True, rank=4),
    Column("VERSION", rank=5),
    Column("HOST", rank=6),
    Column("ADDRESS", rank=7, least=21),
]


@click.command(
    cls=Command,
    examples=[
        ("aemp nodes --seed tcp://10.0.0.1:4040", "List the nodes of the network of that seed."),
        ("aemp nodes --json", "The same for scripts, one JSON object on each line."),
    ],
    exit_codes={0: "every node answered", 3: "some node did not answer"},
    see_also=["trace", "top"],
)
@visiting
@as_json
def command(visit: Visit, as_json: bool) -> int:
    """List the nodes of the network: the seeds, and whom one finds by asking each for its links.

    A node that others tell of and that does not answer within --timeout is "silent"; one whose
    rules do not let it tell is "denied". With --json there is one JSON object on each line.
    """
    survey = asyncio.run(_list(visit))
    rows = sorted(survey.nodes.values(), key=lambda found: (not found.seed, in_order(found.id)))
    if as_json:
        for found in rows:
            click.echo(to_json(found.as_json()))
    else:
        styles = ["" if found.up else "red" for found in rows]
        shown(lay_out(COLUMNS, [_cells(found) for found in rows], width(), styles))
        for found in rows:
            if found.error:
                click.echo(printable(f"{found.id}: {found.error}"), err=True)
    return TIMED_OUT if survey.silent else DONE


async def _list(visit: Visit) -> Survey:
    async with visit.node() as node:
        return await surveyed(visit, node)


def _cells(found: Found) -> list[str]:
    addresses = found.status.get("addresses")
    first = addresses[0] if isinstance(addresses, list) and addresses else "-"
    return [
        found.id,
        found.state,
        age(found.number("uptime")),
        count(len(found.linked)) if found.status else "-",
        count(found.number("ports")),
        milliseconds(found.round_trip),
        found.words("version"),
        found.words("host"),
        printable(str(first)),
    ]
