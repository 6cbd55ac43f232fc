"""``aemp demo``, the subcommand: its options, its signals and its report."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import secrets
import signal
import sys
from typing import TYPE_CHECKING

import click

from ..manual import Command
from ..options import as_json
from ..outcome import DONE, FAILED, INTERRUPTED, TERMINATED, Failed
from ..text import to_json

if TYPE_CHECKING:
    from .files import Listing
    from .screen import Screen
    from .tally import Tally

__all__ = ["command"]

SECRET_BYTES = 32


@click.command(
    cls=Command,
    examples=[
        ("aemp demo", "Count the words of Python's standard library."),
        ("aemp demo --workers 8 --json texts", "Count those below 'texts', with more workers."),
    ],
    exit_codes={
        0: "the totals equal a direct count of the same bytes",
        1: "they do not, or something else did not work out",
    },
)
@click.option(
    "--workers",
    type=click.IntRange(1, 1000),
    default=3,
    show_default=True,
    metavar="N",
    help="How many worker processes to start.",
)
@click.option("--no-kill", is_flag=True, help="Kill no worker.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=120.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for the words of one file.",
)
@as_json
@click.argument("paths", nargs=-1, type=click.Path(), metavar="[PATH]...")
def command(
    workers: int, no_kill: bool, timeout: float, as_json: bool, paths: tuple[str, ...]
) -> int:
    """Count the words of every text file below PATH on a network of processes.

    Starts N worker processes, joined with this one over TCP on the loopback interface by a fresh
    secret, and hands them the files. Half-way it kills one worker with SIGKILL, tells how long
    it took until that was noticed, and gives the unfinished files to others. Without PATH, the
    files are the standard library of the Python that runs this.

    A word is what stands between white space. Files with NUL bytes or that are not UTF-8 are
    binary: they are skipped and reported, as are files that are unreadable, vanish, or change
    while they are counted. If no worker is left, as with --workers 1, another is started.
    """
    from .files import list_files
    from .tally import Tally

    if importlib.util.find_spec("aemp_tcp") is None:
        raise Failed("the demo needs TCP links: pip install 'aemp-core[tcp]'", FAILED)
    listing = list_files(paths)
    tally = Tally(len(listing.files), workers, folders=listing.unreadable)
    code = asyncio.run(_until_signal(listing, tally, as_json, not no_kill, timeout))
    if code != DONE:
        raise Failed("interrupted; every process of the demo has ended", code)
    _report(tally, as_json)
    if not tally.equal:
        raise Failed(f"the totals differ: {tally.words:,} words, directly {tally.direct_words:,}")
    return DONE


async def _until_signal(
    listing: Listing, tally: Tally, as_json: bool, kill: bool, patience: float
) -> int:
    """Do the work; on SIGINT and SIGTERM end it in good order and return their exit code."""
    from .screen import open_screen

    loop = asyncio.get_running_loop()
    codes: list[int] = []
    with open_screen(as_json) as screen:
        work = asyncio.ensure_future(_work(listing, tally, screen, kill, patience))

        def stop(code: int) -> None:
            codes.append(code)
            work.cancel()

        for number, code in ((signal.SIGINT, INTERRUPTED), (signal.SIGTERM, TERMINATED)):
            with contextlib.suppress(NotImplementedError):  # Windows: KeyboardInterrupt it is
                loop.add_signal_handler(number, stop, code)
        try:
            await work
        except asyncio.CancelledError:
            if not codes:
                raise
    return codes[0] if codes else DONE


async def _work(
    listing: Listing, tally: Tally, screen: Screen, kill: bool, patience: float
) -> None:
    from ...node import Node
    from .driver import Driver

    secret = secrets.token_urlsafe(SECRET_BYTES)
    async with Node("demo/driver", binds=["tcp://127.0.0.1:0"], secret=secret) as node:
        screen.say(f"node {node.id} listens on {', '.join(node.addresses)}")
        screen.say(f"{tally.total:,} files for {tally.workers} workers")
        driver = Driver(node, secret, listing.files, tally, screen, kill=kill, patience=patience)
        try:
            await driver.count(tally.workers)
            await driver.check()
        except BaseException:
            driver.kill_all()
            raise
        finally:
            await driver.end()


def _report(tally: Tally, as_json: bool) -> None:
    if as_json:
        click.echo(to_json(tally.as_json()))
        return
    for remark in tally.remarks():
        click.echo(remark)
    rows = tally.rows()
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(show_header=False)
        table.add_column(style="bold")
        table.add_column()
        for name, value in rows:
            table.add_row(name, Text(value))
        Console().print(table)
        return
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        click.echo(f"{name:<{width}}  {value}")
