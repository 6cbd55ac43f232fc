"""``aemp restart``: have a running node leave the network and come back as a new life."""

from __future__ import annotations

import asyncio

import click

from ..errors import TransportError
from .asking import ask
from .manual import Command
from .options import Visit, as_json, visiting, within
from .outcome import Failed
from .text import printable, to_json

__all__ = ["command"]


@click.command(
    cls=Command,
    examples=[
        (
            "aemp restart --seed tcp://10.0.0.1:4040 shop/2",
            "Restart the second worker of the node 'shop'.",
        ),
    ],
    exit_codes={1: "the node refused, was lost, or did not come back"},
    see_also=["run"],
)
@visiting
@as_json
@click.argument("node")
def command(visit: Visit, as_json: bool, node: str) -> None:
    """Restart NODE and end once it is back.

    It leaves the network in good order and starts again as the same command, with the
    configuration and the code as they are now. Only a node run by 'aemp run' can do so, and only
    if its rules let this one ask: {node = "anon/*", allow = ["restart"]}. Of several workers the
    one that is named restarts.
    """
    asyncio.run(_restart(visit, node))
    click.echo(to_json({"node": node, "restarted": True}) if as_json else f"{node} is back")


async def _restart(visit: Visit, name: str) -> None:
    async with visit.node() as node:
        await visit.reach(node, name)
        left = asyncio.ensure_future(node.killed(name))
        await asyncio.sleep(0)  # it watches now
        (error,) = await ask(node, name, visit.timeout, "restart")
        if error:
            raise Failed(f"{name}: {printable(str(error))}")
        await within(visit.timeout, f"node {name!r} to leave", _done(left))
        try:
            await within(visit.timeout, f"node {name!r} to be back", node.up(name))
        except TransportError as failure:
            raise Failed(f"{name} left and is not back: {failure}") from None


async def _done(left: asyncio.Future[tuple[object, ...]]) -> None:
    await left
