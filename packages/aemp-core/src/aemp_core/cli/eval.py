"""``aemp eval``: Python text that another node runs, where its rules allow that."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import click

from ..errors import EvalFailed, PortKilled
from ..ids import check_node_id
from ..reason import describe
from .manual import Command
from .options import Visit, as_json, visiting, within
from .outcome import Failed
from .text import for_people, to_json

__all__ = ["command"]

#: How a node says that its rules do not allow it, and what to do about it.
REFUSED = "eval is not allowed here"
REMEDY = ": the setting 'rules' of that node must allow it ('aemp eval --help' shows such a rule)"


@click.command(
    cls=Command,
    examples=[
        (
            "aemp eval --seed tcp://10.0.0.1:4040 worker 'len(node.ports)'",
            "Ask a node how many ports it has.",
        ),
        ("aemp eval worker -", "Have it run what comes in on the standard input."),
    ],
    exit_codes={1: "the node refused, or the text raised an error"},
    see_also=["shell", "spawn"],
)
@visiting
@as_json
@click.argument("node_id", metavar="NODE")
@click.argument("text")
def command(visit: Visit, as_json: bool, node_id: str, text: str) -> None:
    """Have NODE run the Python TEXT, and print the value; TEXT "-" is read from standard input.

    TEXT is an expression, or statements, which have no value. The name "node" in it is the node
    itself. It runs in that node's event loop, which waits for it.

    The rules of NODE must allow it. Who may eval can do whatever the process of NODE can. Rules
    are about node IDs, and visitors like this one are called anon/...; with a shared secret, others
    can call themselves so, too:

    \b
      rules = [{ node = "anon/*", allow = ["eval"] }]
    """
    if text == "-":
        text = sys.stdin.read()
    value = asyncio.run(_eval(visit, check_node_id(node_id), text))
    if as_json:
        click.echo(to_json(value))
    elif value is not None:
        click.echo(for_people([value]))


async def _eval(visit: Visit, node_id: str, text: str) -> Any:
    async with visit.node() as node:
        await visit.reach(node, node_id)
        what = f"node {node_id!r} to evaluate the text"
        try:
            return await within(visit.timeout, what, node.eval_on(node_id, text))
        except EvalFailed as error:
            raise Failed(f"{error}{REMEDY if str(error).endswith(REFUSED) else ''}") from None
        except PortKilled as error:
            raise Failed(f"{node_id}: {describe(error.reason)}") from None
