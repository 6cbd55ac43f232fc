"""``aemp snd``: one message to one port."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from ..ids import split_port
from ..reason import NO_SUCH_PORT, TRANSPORT_ERROR, describe
from .asking import ask
from .manual import Command
from .options import Visit, as_json, visiting
from .outcome import Failed
from .text import json_args, message_of, to_json

__all__ = ["command"]


@click.command(
    cls=Command,
    examples=[
        (
            "aemp snd --seed tcp://10.0.0.1:4040 worker#4f.1 resize picture.png",
            "Send a message of two strings.",
        ),
        (
            """aemp snd --json-args worker#4f.1 '"resize"' '{"width": 640}'""",
            "Send a dictionary, to a network whose seeds are configured.",
        ),
    ],
    exit_codes={1: "there is no such port, or its node was lost before it had read the message"},
    see_also=["cal", "mon"],
)
@visiting
@as_json
@json_args
@click.argument("port")
@click.argument("message", nargs=-1, required=True)
def command(
    visit: Visit, as_json: bool, json_args: bool, port: str, message: tuple[str, ...]
) -> None:
    """Send MESSAGE to PORT and end once its node has read it.

    A word that begins with a dash comes after "--". A node ID is the port ID of its node port.
    """
    asyncio.run(_send(visit, port, message_of(message, json_args)))
    if as_json:
        click.echo(to_json({"port": port, "sent": True}))


async def _send(visit: Visit, port: str, message: tuple[Any, ...]) -> None:
    async with visit.node() as node:
        await visit.reach(node, port)
        ends: list[tuple[Any, ...]] = []
        node.mon(port, ends.append)
        node.snd(port, *message)
        # Its node answers in order: after it has read the message, and after it has told of a
        # port that was never there.
        await ask(node, split_port(port)[0], visit.timeout, "time")
        for reason in ends:
            # A port that ends because of the message has got it.
            if reason[:1] in ((NO_SUCH_PORT,), (TRANSPORT_ERROR,)):
                raise Failed(f"{port}: {describe(reason)}")
