"""``aemp config``: what nodes of this user are told, and where each value comes from."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any

import click

from ..config import config_path, parse_text
from ..config_edit import editing
from ..errors import UsageError
from ..settings import FILE_KEYS, SECRETS, check_key
from .manual import Group
from .options import as_json
from .outcome import USAGE
from .text import to_json
from .words import KEY, LIST_KEY, PROFILE, VALUE, is_list

__all__ = ["command"]

profile = click.option(
    "--profile", metavar="NAME", type=PROFILE, help="In this profile, not at the top level."
)
effective = click.option(
    "--profile",
    metavar="NAME",
    type=PROFILE,
    help="As this profile has it; without it, the one that AEMP_PROFILE names.",
)
key = click.argument("key", type=KEY)
list_key = click.argument("key", type=LIST_KEY)
values = click.argument("values", nargs=-1, required=True, metavar="VALUE...", type=VALUE)


@click.group(
    cls=Group,
    examples=[
        ("aemp config show seed", "See what a node of the profile 'seed' would be told."),
        ("aemp config set seeds tcp://10.0.0.1:4040", "Give all profiles a seed."),
        ("aemp config check", "Find everything wrong with the file."),
    ],
    see_also=["profile", "run", "doctor"],
)
def command() -> None:
    """Show and change the configuration: a file of settings, with profiles.

    A setting is looked for in the AEMP_* variables, in the profile, its parent and so on, and at
    the top level of the file: the first found wins. Changes keep the comments in the file.
    """


# -- looking ---------------------------------------------------------------------------------------


@command.command(
    examples=[
        ("aemp config show", "Show every setting, and where its value is from."),
        ("aemp config show seed --json", "As the profile 'seed' has them, as JSON."),
    ],
    see_also=["config get", "config check"],
)
@as_json
@click.argument("profile", required=False, type=PROFILE)
def show(profile: str | None, as_json: bool) -> None:
    """Show every setting of PROFILE, and where its value comes from.

    Of secrets the length is shown. Without PROFILE it is the one that AEMP_PROFILE names, or the
    top level of the file alone.
    """
    from .effective import as_table, of_profile, to_dict

    settings = of_profile(profile)
    if as_json:
        click.echo(to_json(to_dict(settings)))
    else:
        as_table(settings)


@command.command(
    examples=[
        ("aemp config get seeds", "Print the seeds, one to a line."),
        ("aemp config get heartbeat --profile seed --json", "As the profile 'seed' has it."),
    ],
    see_also=["config show", "config set"],
)
@effective
@as_json
@key
def get(profile: str | None, as_json: bool, key: str) -> None:
    """Print the value of the setting KEY, lists with one item to a line.

    It is the value that a node would have, wherever that comes from. What is not set and has no
    default prints nothing. Of a secret the length is printed.
    """
    from .effective import lines_of, of_profile, plain

    check_key(key, FILE_KEYS)
    setting = of_profile(profile).settings[key]
    if as_json:
        click.echo(to_json(plain(key, setting.value)))
    else:
        for line in lines_of(key, setting.value):
            click.echo(line)


@command.command(
    examples=[("aemp config path", "Print the name of the file.")],
    see_also=["config check"],
)
def path() -> None:
    """Print the name of the configuration file, which need not be there.

    It is what AEMP_CONFIG says, or else in the place that the platform has for such files.
    """
    click.echo(config_path())


@command.command(
    examples=[
        ("aemp config check", "Print everything that is wrong, if anything is."),
        ("aemp config check --json", "Print it as JSON."),
    ],
    exit_codes={0: "nothing is wrong", 2: "something is"},
    see_also=["config show", "doctor"],
)
@as_json
def check(as_json: bool) -> int:
    """Check the whole file and every profile, and the AEMP_* variables.

    Each fault is a line FILE:LINE:COLUMN: TEXT.
    """
    from .effective import flaws

    file, found = flaws()
    if as_json:
        told = [
            {
                "text": flaw.text,
                "profile": flaw.profile,
                "line": flaw.place and flaw.place.line,
                "column": flaw.place and flaw.place.column,
            }
            for flaw in found
        ]
        click.echo(to_json({"file": str(config_path()), "flaws": told}))
    else:
        for flaw in found:
            place = f":{flaw.place.line}:{flaw.place.column}" if flaw.place else ""
            where = f"[profile.{flaw.profile}]: " if flaw.profile is not None else ""
            click.echo(f"{config_path()}{place}: {where}{flaw.text}")
        if not found and file is not None:
            click.echo(f"{file.path}: nothing is wrong, profiles: {_names(file.profiles)}")
    return USAGE if found else 0


def _names(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


# -- changing --------------------------------------------------------------------------------------


@command.command(
    "set",
    examples=[
        ("aemp config set heartbeat 5 --profile seed", "Set a number, of one profile."),
        ("aemp config set seeds tcp://10.0.0.1:4040 tcp://10.0.0.2:4040", "Set a list."),
        ("aemp config set secret -", "Read a secret from the standard input, or ask for it."),
        (
            'aemp config set rules \'{node = "ops/*", allow = ["eval"]}\'',
            "Set the rules, each written as in TOML.",
        ),
    ],
    exit_codes={2: "the value is refused, or the file cannot be written; nothing was changed"},
    see_also=["config add", "config unset", "config show"],
)
@profile
@key
@values
def set_(profile: str | None, key: str, values: tuple[str, ...]) -> None:
    """Set KEY to VALUE, or to the list of every VALUE.

    What would make the configuration wrong is refused, and nothing is changed. The value "-" of a
    secret is read from the standard input, where no other user sees it.
    """
    value = _value(key, values)
    with editing() as edit:
        edit.set(profile, key, value)
    variable = f"AEMP_{key.upper()}"
    if variable in os.environ:
        click.echo(f"aemp config set: {variable} is set here, and is stronger", err=True)


@command.command(
    examples=[("aemp config unset heartbeat --profile seed", "Take a setting out of a profile.")],
    exit_codes={2: "it was not set there; nothing was changed"},
    see_also=["config set", "config remove"],
)
@profile
@key
def unset(profile: str | None, key: str) -> None:
    """Take KEY out of the file, so that what is weaker counts: the parent, the top level."""
    with editing() as edit:
        edit.unset(profile, key)


@command.command(
    examples=[
        ("aemp config add expose my_project.tasks", "Have nodes load one more module."),
        ("aemp config add binds tcp://*:4040 --profile seed", "Listen on one more address."),
    ],
    see_also=["config remove", "config set"],
)
@profile
@list_key
@values
def add(profile: str | None, key: str, values: tuple[str, ...]) -> None:
    """Add every VALUE to the list KEY, if it is not in it already.

    Where the list is not set it begins empty: what it has from a parent or the top level is not
    copied.
    """
    items = _items(key, values)
    with editing() as edit:
        edit.add(profile, key, items)


@command.command(
    examples=[("aemp config remove seeds tcp://10.0.0.2:4040", "Dial that seed no more.")],
    exit_codes={2: "a VALUE is not in the list; nothing was changed"},
    see_also=["config add", "config unset"],
)
@profile
@list_key
@values
def remove(profile: str | None, key: str, values: tuple[str, ...]) -> None:
    """Take every VALUE out of the list KEY."""
    items = _items(key, values)
    with editing() as edit:
        edit.remove(profile, key, items)


def _items(key: str, words: tuple[str, ...]) -> list[Any]:
    check_key(key, FILE_KEYS)
    if not is_list(key):
        raise UsageError(f"{key} is no list: use 'aemp config set'")
    return [item for word in words for item in parse_text(key, word)]


def _value(key: str, words: tuple[str, ...]) -> Any:
    check_key(key, FILE_KEYS)
    if is_list(key):
        return _items(key, words)
    if len(words) > 1:
        raise UsageError(f"{key} takes one value, not {len(words)}")
    (word,) = words
    if key in SECRETS and word == "-":
        if sys.stdin.isatty():
            word = click.prompt(key, hide_input=True, confirmation_prompt=True, err=True)
        else:
            word = sys.stdin.readline().rstrip("\r\n")
    return parse_text(key, word)
