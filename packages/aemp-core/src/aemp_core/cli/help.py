"""``aemp help``: the manual of a command, a page at a time on a terminal."""

from __future__ import annotations

import click

from ..settings import unknown
from .manual import Command, page
from .words import COMMAND

__all__ = ["command"]


@click.command(
    cls=Command,
    examples=[
        ("aemp help run", "Read the manual of 'aemp run'."),
        ("aemp help secret new", "Read that of a command inside a group."),
        ("aemp help", "Read that of the whole command."),
    ],
)
@click.argument("words", nargs=-1, metavar="[COMMAND]...", type=COMMAND)
@click.pass_context
def command(ctx: click.Context, words: tuple[str, ...]) -> None:
    """Read the manual of a command: what it does, its options, examples and exit codes.

    On a terminal it is shown by the program that PAGER names, 'less' if there is none.
    """
    click.echo_via_pager(page(_named(ctx, words)) + "\n")


def _named(ctx: click.Context, words: tuple[str, ...]) -> click.Context:
    """The context of the command that `words` name, as if it had been called."""
    found = ctx.find_root()
    for word in words:
        group = found.command
        member = group.get_command(found, word) if isinstance(group, click.Group) else None
        if member is None:
            known = group.list_commands(found) if isinstance(group, click.Group) else []
            kind = "command" if found.parent is None else f"command of '{found.command_path}'"
            ctx.fail(unknown(kind, word, known))
        found = click.Context(member, parent=found, info_name=word)
    return found
