"""The command ``aemp run``: its options, and who does the work."""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
from collections.abc import Callable
from typing import Any

import click

from ...settings import Settings
from ..manual import Command
from ..options import as_json, secret_file
from ..words import WORD
from . import event_loop
from .recipe import Recipe
from .tether import BEAT_SECONDS
from .workers import Place

__all__ = ["command"]

STOP_SECONDS = 30.0
START_SECONDS = 120.0
STALL_SECONDS = 30.0


Function = Callable[..., Any]


def _seconds(
    option: str, default: float, text: str, *, least: float = 0.0
) -> Callable[[Function], Function]:
    return click.option(
        option,
        type=click.FloatRange(min=least, min_open=not least),
        default=default,
        show_default=True,
        metavar="SECONDS",
        help=text,
    )


@click.command(
    cls=Command,
    examples=[
        ("aemp run seed", "Run the node that the profile 'seed' describes."),
        (
            "aemp run nodeid=worker/%u seeds=tcp://10.0.0.1:4040 expose=my_project.tasks",
            "Run a worker that is described here and now.",
        ),
        (
            "aemp run --workers 4 --watchdog seed",
            "Run four nodes, each in a process of its own, and start again what ends.",
        ),
    ],
    exit_codes={
        0: "told to end",
        1: "the node could not start, or did not end in time",
        2: "wrong settings, or a service that cannot be loaded; the node did not start",
    },
    see_also=["secret new", "cal", "mon"],
)
@secret_file
@as_json
@click.option(
    "--workers",
    type=int,
    metavar="N",
    help="Run N nodes ID/1 to ID/N, each in a process of its own; as the setting 'workers'.",
)
@click.option(
    "--watchdog",
    is_flag=True,
    help="Start the node again whenever its process ends or its event loop is stuck.",
)
@_seconds(
    "--stall-timeout",
    STALL_SECONDS,
    "With --watchdog: how long a loop may be stuck.",
    least=2 * BEAT_SECONDS,
)
@_seconds("--start-timeout", START_SECONDS, "With --watchdog: how long a start may take.")
@_seconds("--stop-timeout", STOP_SECONDS, "How long leaving the network may take.")
@click.option(
    "--loop",
    type=click.Choice(event_loop.LOOPS),
    default="auto",
    show_default=True,
    help="The event loop; auto: uvloop if it is installed.",
)
@click.option(
    "--health",
    metavar="ADDRESS",
    help="Answer GET /healthz and /readyz at HOST:PORT or a socket /PATH; as the setting 'health'.",
)
@click.option("--child", hidden=True)
@click.argument("words", nargs=-1, metavar="[PROFILE] [KEY=VALUE]...", type=WORD)
def command(
    secret_file: str | None,
    as_json: bool,
    workers: int | None,
    watchdog: bool,
    stall_timeout: float,
    start_timeout: float,
    stop_timeout: float,
    loop: str,
    health: str | None,
    child: str | None,
    words: tuple[str, ...],
) -> int:
    """Run a node until SIGTERM or Ctrl-C, and print its ID and addresses once it is up.

    Settings come from the words KEY=VALUE, AEMP_* variables, the PROFILE and the top level of
    the configuration file, the first found wins. Lists are separated by commas. Modules named
    by services and expose are also found in the current directory.

    SIGTERM and Ctrl-C leave the network in good order, a second one ends at once. SIGHUP reloads
    the configuration.
    """
    place = None if child is None else Place.of_text(child)
    recipe = Recipe(words, secret_file, workers, health, loop, place)
    settings = recipe.settings()
    tethered = place is not None and place.fd >= 0
    _prepare(settings, named=tethered and settings.workers > 0)
    if not tethered and (settings.workers or watchdog):
        from .overseer import Limits, Overseer

        limits = Limits(start_timeout, stall_timeout, stop_timeout)
        configured = recipe.configured()
        return Overseer(recipe, configured, limits, watchdog=watchdog, as_json=as_json).run()
    return _serve(recipe, settings, as_json, stop_timeout, tethered)


def _prepare(settings: Settings, *, named: bool) -> None:
    # The console script's sys.path begins with its own directory, not with ours.
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())
    who = f" [{settings.nodeid}]" if named else ""
    logging.basicConfig(
        level=settings.log_level,
        format=f"%(asctime)s %(levelname)s{who.replace('%', '%%')} %(name)s: %(message)s",
    )


def _serve(
    recipe: Recipe, settings: Settings, as_json: bool, stop_seconds: float, tethered: bool
) -> int:
    from .serving import Serving

    if tethered:
        # Whoever is ended because its loop is stuck shows where.
        faulthandler.enable()
    serving = Serving(recipe, settings, as_json=as_json, stop_seconds=stop_seconds)
    event_loop.run(serving.run(), recipe.loop)
    if serving.restarting and not tethered:
        serving.again()
    return 0
