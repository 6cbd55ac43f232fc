"""``aemp doctor``: why a node cannot join, and what to do about it."""

from __future__ import annotations

import dataclasses
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from .manual import Command
from .options import as_json, read_secret_file, secret_file
from .outcome import DONE, FAILED
from .text import printable, to_json
from .words import PROFILE

if TYPE_CHECKING:
    from ..finding import Finding

__all__ = ["command"]

COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}


@click.command(
    cls=Command,
    examples=[
        ("aemp doctor worker", "Examine the node that the profile 'worker' describes."),
        (
            "aemp doctor worker --seed tcp://10.0.0.1:4040",
            "Examine whether it could join at this address.",
        ),
        ("aemp doctor --json", "Examine a node without a profile, and print JSON."),
    ],
    exit_codes={
        0: "the node could start and join",
        1: "it could not: a problem is in its way",
    },
    see_also=["config check", "config show", "run"],
)
@click.option(
    "--seed",
    "seeds",
    multiple=True,
    metavar="ADDRESS",
    help="Try this address, instead of the configured seeds; may be repeated.",
)
@secret_file
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for each thing that has to happen.",
)
@as_json
@click.argument("profile", required=False, type=PROFILE)
def command(
    seeds: tuple[str, ...],
    secret_file: str | None,
    timeout: float,
    as_json: bool,
    profile: str | None,
) -> int:
    """Examine why a node of PROFILE cannot start or join, and say what to do about it.

    Looks at the configuration, the secret or the certificate, the addresses to listen on, and, for
    each seed, at its name, the connection, what it greets with, whether both prove themselves, its
    clock, and whether another node has the same ID. Every line is ok, a warning or a problem.

    The node is not started, and one that runs is not disturbed.
    """
    import asyncio

    from .examination import Examination

    # As `aemp run` has it, so that modules are found that it would find.
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())
    words: dict[str, Any] = {}
    if seeds:
        words["seeds"] = seeds
    if secret_file is not None:
        words["secret"] = read_secret_file(secret_file)
    examination = Examination(profile, words, timeout)
    found: list[Finding] = []

    async def examine() -> None:
        async for finding in examination.findings():
            found.append(finding)
            if not as_json:
                _show(finding)

    import logging

    # What transports log about refused connections is what the findings say.
    logging.getLogger("aemp_core").addHandler(logging.NullHandler())
    logging.getLogger("aemp_core").propagate = False
    asyncio.run(examine())
    if as_json:
        told = [dataclasses.asdict(finding) for finding in found]
        click.echo(to_json({"joins": examination.joins, "findings": told}))
    elif examination.joins:
        click.echo("The node could start and join.")
    else:
        click.echo("The node could not start and join.")
    return DONE if examination.joins else FAILED


def _show(finding: Finding) -> None:
    state = click.style(f"{finding.state:<8}", fg=COLOURS[finding.state])
    about = click.style(printable(finding.about), bold=True)
    click.echo(f"{state} {about}: {printable(finding.text)}")
    if finding.remedy:
        click.echo(f"{'':8}   -> {printable(finding.remedy)}")
