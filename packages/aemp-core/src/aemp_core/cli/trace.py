"""``aemp trace``: the shape of the network."""

from __future__ import annotations

import asyncio

import click

from . import drawing
from .columns import shown
from .manual import Command
from .options import Visit, as_json, visiting
from .outcome import DONE, TIMED_OUT
from .survey import Survey, surveyed
from .text import printable, to_json

__all__ = ["command"]

FORMATS = ("tree", "table", "json", "dot", "mermaid")


@click.command(
    cls=Command,
    examples=[
        ("aemp trace --seed tcp://10.0.0.1:4040", "Draw which nodes are linked, as a tree."),
        ("aemp trace --format dot", "The same for Graphviz."),
    ],
    exit_codes={0: "every node answered", 3: "some node did not answer"},
    see_also=["nodes", "top"],
)
@visiting
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="tree",
    show_default=True,
    help="How to draw it.",
)
@as_json
def command(visit: Visit, form: str, as_json: bool) -> int:
    """Walk the network from the seeds, asking each node for its links, and draw what was found.

    Formats: "tree", from the seeds; "table", a row for each link; "json", which --json is short
    for; "dot" for Graphviz; "mermaid" for Markdown pages. Each node has --timeout to answer, and 16
    are asked at a time. Nodes that others tell of and that do not answer are drawn as such. This
    visitor itself is left out.
    """
    survey = asyncio.run(_walk(visit))
    form = "json" if as_json else form
    if form == "tree":
        shown(drawing.as_tree(survey))
    elif form == "table":
        shown(drawing.as_table(survey))
    elif form == "json":
        click.echo(to_json(drawing.as_json(survey)))
    else:
        draw = drawing.as_dot if form == "dot" else drawing.as_mermaid
        for line in draw(survey):
            click.echo(line)
    if form not in ("tree", "json"):
        for found in survey.silent:
            click.echo(printable(f"{found.id}: {found.error}"), err=True)
    return TIMED_OUT if survey.silent else DONE


async def _walk(visit: Visit) -> Survey:
    async with visit.node() as node:
        return await surveyed(visit, node)
