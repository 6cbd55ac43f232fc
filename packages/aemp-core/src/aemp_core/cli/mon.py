"""``aemp mon``: watch a port or node until it ends."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from ..ids import split_port
from ..reason import describe
from .manual import Command
from .options import Visit, as_json, visiting, within
from .outcome import DONE, FAILED
from .text import printable, to_json

__all__ = ["command"]


@click.command(
    cls=Command,
    examples=[
        (
            "aemp mon --seed tcp://10.0.0.1:4040 worker#4f.1",
            "Wait for the end of a port; with && another command follows a normal end.",
        ),
        ("aemp mon --for 60 --json worker", "Watch a node for a minute, and print JSON."),
    ],
    exit_codes={
        0: "the port ended normally",
        1: "it died, its node was lost, or it was never there",
        3: "no link came about within --timeout, or no end within --for",
    },
    see_also=["cal", "snd"],
)
@visiting
@click.option(
    "--for",
    "watch",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Watch no longer than this (exit code 3); without it, until the end.",
)
@as_json
@click.argument("port_or_node")
def command(visit: Visit, watch: float | None, as_json: bool, port_or_node: str) -> int:
    """Wait until PORT_OR_NODE ends and print the reason."""
    reason = asyncio.run(_watch(visit, watch, port_or_node))
    if as_json:
        click.echo(to_json({"port": port_or_node, "reason": reason}))
    else:
        click.echo(printable(f"{port_or_node}: {describe(reason)}"))
    return FAILED if reason else DONE


async def _watch(visit: Visit, watch: float | None, target: str) -> tuple[Any, ...]:
    async with visit.node() as node:
        await visit.reach(node, target)
        ended: asyncio.Future[tuple[Any, ...]] = node.loop.create_future()

        def end(reason: tuple[Any, ...]) -> None:
            if not ended.done():
                ended.set_result(tuple(reason))

        node.mon(target, end)
        kind = "port" if split_port(target)[1] else "node"
        click.echo(f"watching {kind} {target}, Ctrl-C ends", err=True)
        if watch is None:
            return await ended
        return await within(watch, f"the end of {target!r}", _result(ended))


async def _result(future: asyncio.Future[tuple[Any, ...]]) -> tuple[Any, ...]:
    return await future
