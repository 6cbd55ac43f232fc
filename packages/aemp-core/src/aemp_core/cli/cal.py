"""``aemp cal``: one question to one port, and its answer."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from ..errors import CallTimeout, PortKilled
from ..reason import describe
from .manual import Command
from .options import Visit, as_json, visiting
from .outcome import TIMED_OUT, Failed
from .text import for_people, json_args, message_of, to_json

__all__ = ["command"]


@click.command(
    cls=Command,
    examples=[
        (
            "aemp cal --seed tcp://10.0.0.1:4040 worker#4f.1 status",
            "Ask a port for its status.",
        ),
        (
            """aemp cal --json-args --timeout 60 worker#4f.1 '"add"' 1 2""",
            "Send numbers, and wait longer for the sum.",
        ),
        ("aemp cal --profile seed seed time", "Ask the node 'seed' itself what time it has."),
    ],
    exit_codes={1: "the port died, or its node was lost, before it replied"},
    see_also=["snd", "mon"],
)
@visiting
@as_json
@json_args
@click.argument("port")
@click.argument("message", nargs=-1, required=True)
def command(
    visit: Visit, as_json: bool, json_args: bool, port: str, message: tuple[str, ...]
) -> None:
    """Send MESSAGE and a reply port to PORT, and print what comes back.

    The reply is printed on one line, with --json as a JSON list. A word that begins with a
    dash comes after "--". A node ID is the port ID of its node port, which answers "time".
    """
    reply = asyncio.run(_ask(visit, port, message_of(message, json_args)))
    click.echo(to_json(reply) if as_json else for_people(reply))


async def _ask(visit: Visit, port: str, message: tuple[Any, ...]) -> tuple[Any, ...]:
    async with visit.node() as node:
        await visit.reach(node, port)
        try:
            return tuple(await node.cal(port, *message, timeout=visit.timeout))
        except CallTimeout:
            raise Failed(
                f"gave up after {visit.timeout:g} s waiting for a reply from {port!r}", TIMED_OUT
            ) from None
        except PortKilled as error:
            raise Failed(f"{port}: {describe(error.reason)}") from None
