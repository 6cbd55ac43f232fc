"""``aemp run``: a node as a process, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from typing import Any

import click

from ..config import load, parse_text
from ..errors import AempError, UsageError
from ..reason import describe, text_of
from ..settings import Settings
from .manual import Command
from .options import as_json, read_secret_file, secret_file
from .outcome import USAGE, Failed
from .text import to_json
from .words import WORD

__all__ = ["command"]

log = logging.getLogger("aemp_core.cli")


@click.command(
    cls=Command,
    examples=[
        ("aemp run seed", "Run the node that the profile 'seed' describes."),
        (
            "aemp run nodeid=worker/%u seeds=tcp://10.0.0.1:4040 expose=my_project.tasks",
            "Run a worker that is described here and now.",
        ),
    ],
    exit_codes={
        0: "ended by SIGTERM or Ctrl-C, in good order",
        1: "an address cannot be bound",
        2: "wrong settings, or a service that cannot be loaded; the node did not start",
    },
    see_also=["secret new", "cal", "mon"],
)
@secret_file
@as_json
@click.argument("words", nargs=-1, metavar="[PROFILE] [KEY=VALUE]...", type=WORD)
def command(secret_file: str | None, as_json: bool, words: tuple[str, ...]) -> None:
    """Run a node until SIGTERM or Ctrl-C, and print its ID and addresses once it is up.

    Settings come from the words KEY=VALUE, AEMP_* variables, the PROFILE and the top level of
    the configuration file, the first found wins. Lists are separated by commas. Modules named
    by services and expose are also found in the current directory.
    """
    profile: str | None = None
    if words and "=" not in words[0]:
        profile, *words = words  # type: ignore[assignment]
    given: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals:
            raise UsageError(f"{word!r}: write KEY=VALUE; only the first word may be a profile")
        given[key] = parse_text(key, text)
    if secret_file is not None:
        given["secret"] = read_secret_file(secret_file)
    settings = load(profile, words=given)
    # The console script's sys.path begins with its own directory, not with ours.
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())
    logging.basicConfig(
        level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    asyncio.run(_serve(settings, as_json))


async def _serve(settings: Settings, as_json: bool) -> None:
    from ..node import Node

    node = Node.of(settings)
    try:
        await node.start()
    except (AempError, OSError):
        raise
    except Exception as error:  # of a service or exposed module, which can be anything
        log.debug("the node did not start", exc_info=True)
        raise Failed(
            f"the node did not start: {text_of(error)} (log_level=DEBUG tells more)", USAGE
        ) from None

    def told(peer: str, is_up: bool, reason: tuple[Any, ...]) -> None:
        log.info("node %s is %s", peer, "up" if is_up else f"down: {describe(reason)}")

    node.mon_nodes(told)
    # Before the first line of output: who reads it may send SIGTERM the moment it comes.
    running = asyncio.ensure_future(node.run_forever())
    await asyncio.sleep(0)
    if as_json:
        up = {"node": node.id, "incarnation": node.incarnation, "addresses": node.addresses}
        click.echo(to_json(up))
    else:
        click.echo(f"node {node.id}")
        for address in node.addresses:
            click.echo(f"address {address}")
    await running
