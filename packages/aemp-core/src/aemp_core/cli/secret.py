"""``aemp secret``: what the nodes of a network share."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import UsageError
from ..secret import new_secret, write_secret
from .manual import Group

__all__ = ["command"]


@click.group(
    cls=Group,
    examples=[("aemp secret new", "Print a new secret.")],
    see_also=["run"],
)
def command() -> None:
    """Make the secret that the nodes of a network share."""


@command.command(
    examples=[
        ("aemp secret new --output network.secret", "Write a new secret to a file."),
        ("aemp secret new", "Print one."),
    ],
    see_also=["run"],
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write it to FILE, which only you may read, instead of printing it.",
)
def new(output: Path | None) -> None:
    """Make a new secret: 32 random bytes as text.

    Give it to every node: as AEMP_SECRET, as --secret-file, or as 'secret' in the configuration.
    An existing FILE is never overwritten.
    """
    if output is None:
        click.echo(new_secret())
        return
    try:
        write_secret(output, new_secret())
    except FileExistsError:
        raise UsageError(f"{output}: there is such a file already; remove it first") from None
