"""Commands: the ``aemp`` group, which knows its subcommands without importing them.

A built-in subcommand is a line of the table below: its module is imported when it is used, and
``aemp --help`` imports none. Plugins add subcommands by the hook `aemp_commands`; they are loaded
for ``aemp --help`` and for a name that is not built in, never for a built-in subcommand.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

import click

from .manual import Group
from .outcome import MEANINGS

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["aemp"]

#: Name -> what the list of subcommands says of it. The command is `cli.NAME.command`.
BUILT_IN = {
    "cal": "Send a message to a port and print the reply.",
    "completion": "Have a shell complete commands, profiles and settings.",
    "config": "Show and change the configuration.",
    "demo": "Count words on a network of processes, one of which is killed.",
    "doctor": "Examine why a node cannot join, and say what to do.",
    "eval": "Have a node run Python text, and print the value.",
    "help": "Read the manual of a command.",
    "log": "Show the log records of all nodes as they happen.",
    "mon": "Wait for the end of a port or node and print why it ended.",
    "nodes": "List the nodes of the network.",
    "ping": "Measure how long a question to a node takes.",
    "ports": "List the ports of a node.",
    "profile": "List, make and delete profiles of the configuration.",
    "restart": "Have a running node leave the network and come back.",
    "run": "Run a node until SIGTERM or Ctrl-C.",
    "secret": "Make the secret that the nodes of a network share.",
    "shell": "Evaluate Python, line by line, in a node of the network.",
    "snd": "Send a message to a port.",
    "spawn": "Create a port on a node, running an exposed function.",
    "top": "Watch nodes, links, queues and rates.",
    "trace": "Show which nodes are linked with which.",
}


class Commands(Group):
    """A group whose members are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all subcommands, those of plugins too."""
        return sorted({*BUILT_IN, *self._of_plugins()})

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The subcommand `name`, imported now; None if there is none."""
        if name in BUILT_IN:
            module = importlib.import_module(f".{name}", __package__)
            command: click.Command = module.command
            command.short_help = BUILT_IN[name]
            return command
        return self._of_plugins().get(name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of subcommands from the table, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(self._rows())

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """What a word may become, from the table, without importing subcommands."""
        from click.shell_completion import CompletionItem

        rows = [row for row in self._rows() if row[0].startswith(incomplete)]
        items = [CompletionItem(name, help=text) for name, text in rows]
        return [*items, *click.Command.shell_complete(self, ctx, incomplete)]

    def _rows(self) -> list[tuple[str, str]]:
        """The subcommands, and what the list of them says of each."""
        rows = dict(BUILT_IN)
        for name, command in self._of_plugins().items():
            if not command.hidden:
                rows.setdefault(name, command.get_short_help_str(limit=200))
        return sorted(rows.items())

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples and what exit codes mean."""
        super().format_epilog(ctx, formatter)
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code), meaning) for code, meaning in MEANINGS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, but a wrong name is told its nearest."""
        name = args[0]
        known = ctx.resilient_parsing or name.startswith("-")
        if not known and self.get_command(ctx, name) is None:
            from ..settings import unknown

            ctx.fail(unknown("command", name, self.list_commands(ctx)))
        return super().resolve_command(ctx, args)

    def _of_plugins(self) -> dict[str, click.Command]:
        commands: dict[str, click.Command] | None = self.__dict__.get("_loaded")
        if commands is None:
            commands = {}
            try:
                from ..plugins import plugin_manager

                for provided in plugin_manager().hook.aemp_commands():
                    for command in provided:
                        commands.setdefault(command.name or "", command)
            except Exception as error:  # a broken plugin must not take `aemp --help` away
                print(f"aemp: plugins: {type(error).__name__}: {error}", file=sys.stderr)
            self.__dict__["_loaded"] = commands
        return commands


def _version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        click.echo(f"aemp {version('aemp-core')}")
        ctx.exit()


@click.group(
    cls=Commands,
    examples=[
        ("aemp run seed", "Run the node that the profile 'seed' describes."),
        ("aemp help run", "Read the manual of a command."),
    ],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Version."
)
def aemp(**_: Any) -> None:
    """Talk to a network of AEMP nodes, and run them."""
