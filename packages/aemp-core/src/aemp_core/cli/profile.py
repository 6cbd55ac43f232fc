"""``aemp profile``: the profiles of the configuration file, and which takes after which."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from ..config import config_file, parse_text
from ..config_edit import editing
from ..errors import ConfigError, UsageError
from .manual import Group
from .options import as_json
from .text import printable, to_json
from .words import PROFILE, WORD

__all__ = ["command"]

name = click.argument("name", type=PROFILE)


@click.group(
    cls=Group,
    examples=[
        ("aemp profile new worker --parent base", "Make a profile that takes after another."),
        ("aemp profile list", "See which there are."),
    ],
    see_also=["config", "run"],
)
def command() -> None:
    """List, make and delete profiles: named settings, for 'aemp run NAME' and configure().

    A profile has what its parent has, unless it says otherwise, and so on; what none of them says
    is at the top level of the file.
    """


@command.command(
    "list",
    examples=[
        ("aemp profile list", "Print a table."),
        ("aemp profile list --json", "Print JSON."),
    ],
    see_also=["config show"],
)
@as_json
def list_(as_json: bool) -> None:
    """List the profiles, with their parents and what they set."""
    file = config_file()
    tables = {each: table for each, table in file.profiles.items() if isinstance(table, dict)}
    if as_json:
        click.echo(to_json([_row(each, table) for each, table in tables.items()]))
        return
    if not tables:
        click.echo(f"no profiles in {file.path}: 'aemp profile new NAME' makes one", err=True)
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=box.SIMPLE_HEAD)
    for column in ("profile", "parent", "sets"):
        shown.add_column(column, overflow="fold")
    for each, table in tables.items():
        row = _row(each, table)
        texts = (each, str(row["parent"] or "-"), ", ".join(row["settings"]) or "-")
        shown.add_row(*(Text(printable(text)) for text in texts))
    Console(highlight=False).print(shown)


def _row(name: str, table: Mapping[str, Any]) -> dict[str, Any]:
    settings = [key for key in table if key != "parent"]
    return {"name": name, "parent": table.get("parent"), "settings": settings}


@command.command(
    examples=[
        ("aemp profile new seed nodeid=seed binds=tcp://*:4040", "Make one with two settings."),
        ("aemp profile new worker --parent base", "Make one that takes after another."),
    ],
    exit_codes={2: "there is one already, or it would be wrong; nothing was changed"},
    see_also=["profile delete", "config set"],
)
@click.option("--parent", metavar="NAME", type=PROFILE, help="Take after this profile.")
@click.argument("name")
@click.argument("settings", nargs=-1, metavar="[KEY=VALUE]...", type=WORD)
def new(parent: str | None, name: str, settings: tuple[str, ...]) -> None:
    """Make the profile NAME, with what KEY=VALUE words say."""
    given: dict[str, Any] = {}
    for word in settings:
        key, equals, text = word.partition("=")
        if not equals:
            raise UsageError(f"{word!r}: write KEY=VALUE")
        given[key] = parse_text(key, text)
    with editing() as edit:
        edit.new_profile(name, parent)
        for key, value in given.items():
            edit.set(name, key, value)


@command.command(
    examples=[
        ("aemp profile delete worker", "Delete a profile that is nobody's parent."),
        ("aemp profile delete base --reparent", "Give its children its own parent first."),
    ],
    exit_codes={2: "there is none, or others take after it; nothing was changed"},
    see_also=["profile new", "profile parent"],
)
@click.option(
    "--reparent",
    is_flag=True,
    help="If it is the parent of others: they get its own parent, or none if it has none.",
)
@name
def delete(reparent: bool, name: str) -> None:
    """Delete the profile NAME with its settings, unless it is the parent of another."""
    with editing() as edit:
        children = edit.file.children(name)
        if children and not reparent:
            raise ConfigError(
                f"profile {name!r} is the parent of {', '.join(children)}: give them another "
                "with 'aemp profile parent', or add --reparent"
            )
        if children:
            parent = edit.file.profiles[name].get("parent")
            for child in children:
                edit.set_parent(child, parent)
        edit.delete_profile(name)


@command.command(
    examples=[
        ("aemp profile parent worker", "Print the parent of a profile."),
        ("aemp profile parent worker base", "Give it another."),
        ("aemp profile parent worker --none", "Take it away."),
    ],
    exit_codes={2: "a profile is unknown, or would be its own ancestor; nothing was changed"},
    see_also=["profile list"],
)
@click.option("--none", "no_parent", is_flag=True, help="Take the parent away.")
@name
@click.argument("parent", required=False, type=PROFILE)
def parent(no_parent: bool, name: str, parent: str | None) -> None:
    """Print the parent of the profile NAME, or make PARENT its parent."""
    if no_parent and parent is not None:
        raise UsageError("give a parent, or --none, not both")
    if parent is None and not no_parent:
        file = config_file()
        file.table(name)
        has = file.profiles[name].get("parent")
        if has is not None:
            click.echo(printable(str(has)))
        return
    with editing() as edit:
        edit.set_parent(name, parent)
