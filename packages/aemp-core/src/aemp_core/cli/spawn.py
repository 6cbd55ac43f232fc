"""``aemp spawn``: a new port on another node, which lives on when the command has ended."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from ..ids import check_node_id
from ..reason import SPAWN_ERROR, describe
from .asking import ask
from .manual import Command
from .options import Visit, as_json, visiting
from .outcome import DONE, FAILED, Failed
from .text import json_args, message_of, printable, to_json

if TYPE_CHECKING:
    pass

__all__ = ["command"]


@click.command(
    cls=Command,
    examples=[
        (
            "aemp spawn --seed tcp://10.0.0.1:4040 worker tasks:resize picture.png",
            "Have a node run a function in a new port.",
        ),
        (
            "aemp spawn --wait --json-args worker tasks:count '{\"files\": 3}'",
            "The same, and wait until the port ends.",
        ),
    ],
    exit_codes={
        0: "the function runs, or has ended normally",
        1: "it was refused, or the port died",
    },
    see_also=["eval", "mon"],
)
@visiting
@click.option("--wait", is_flag=True, help="Stay until the port ends, and print why it did.")
@as_json
@json_args
@click.argument("node_id", metavar="NODE")
@click.argument("function", metavar="MODULE:FUNCTION")
@click.argument("arguments", nargs=-1, metavar="[ARGUMENT]...")
def command(
    visit: Visit,
    wait: bool,
    as_json: bool,
    json_args: bool,
    node_id: str,
    function: str,
    arguments: tuple[str, ...],
) -> int:
    """Create a port on NODE, run an exposed function there, in it, and print the port's ID.

    The port does not depend on this command: it lives until it ends itself, is killed, or its node
    ends. With --wait the command stays until then and prints the reason; Ctrl-C ends the command
    alone. To kill the port PORT with the ID NODE#NAME: aemp snd NODE kil NAME.

    The function must be @exposed in a module that NODE was told to load (setting expose), and the
    rules of NODE must let this visitor, anon/..., spawn.
    """
    words = message_of(arguments, json_args)
    return asyncio.run(_spawn(visit, wait, as_json, check_node_id(node_id), function, words))


async def _spawn(
    visit: Visit, wait: bool, as_json: bool, node_id: str, function: str, words: tuple[Any, ...]
) -> int:
    async with visit.node() as node:
        await visit.reach(node, node_id)
        port = node.spawn(node_id, function, *words)
        ended: asyncio.Future[tuple[Any, ...]] = node.loop.create_future()
        node.mon(port, lambda reason: None if ended.done() else ended.set_result(reason))
        # It answers in order: after it has read the request, and told of a refusal or of a function
        # that raised at once.
        await ask(node, node_id, visit.timeout, "time")
        reason = ended.result() if ended.done() else ()
        if reason and (reason[0] == SPAWN_ERROR or not wait):
            raise Failed(f"{port}: {describe(reason)}")
        click.echo(to_json({"port": port}) if as_json else port)
        if not wait:
            return DONE
        reason = await ended
    if as_json:
        click.echo(to_json({"port": port, "reason": reason}))
    else:
        click.echo(printable(f"{port}: {describe(reason)}"))
    return FAILED if reason else DONE
