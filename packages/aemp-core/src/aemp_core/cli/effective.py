"""Effective settings: what a node of a profile would be told, from where, and how that is shown."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..config import Sourced, config_file, config_path, environment, gather
from ..config_file import ConfigFile, Flaw, Place
from ..errors import ConfigError
from ..ids import expand_node_id, new_incarnation
from ..settings import FILE_KEYS, SECRETS, Rule, Settings, default

__all__ = ["Effective", "as_table", "flaws", "lines_of", "of_profile", "plain", "to_dict"]

DEFAULT = "default"


@dataclass(frozen=True)
class Effective:
    """Every setting of a profile.

    Attributes:
        profile: its name; None: the top level of the file alone.
        settings: by key, with origins; those that are nowhere set have ``default``.
        node_id: what the setting ``nodeid`` becomes here.
        unique: whether it becomes something else each time.
    """

    profile: str | None
    settings: dict[str, Sourced]
    node_id: str
    unique: bool


def of_profile(profile: str | None) -> Effective:
    """The settings of a profile; `ConfigError` as for `config.load`."""
    found = gather(profile)
    Settings(**{key: sourced.value for key, sourced in found.items()})
    settings = {key: found.get(key, Sourced(default(key), DEFAULT)) for key in FILE_KEYS}
    drawn: list[str] = []

    def unique() -> str:
        drawn.append(new_incarnation(time.time(), os.urandom(8)))
        return drawn[-1]

    node_id = expand_node_id(settings["nodeid"].value, unique)
    name = profile or os.environ.get("AEMP_PROFILE") or None
    return Effective(name, settings, node_id, bool(drawn))


# -- values as text --------------------------------------------------------------------------------


def plain(key: str, value: Any) -> Any:
    """A value as JSON has it; of a secret, that it is set and its length."""
    if key in SECRETS:
        return None if value is None else {"set": True, "bytes": len(_encoded(value))}
    if isinstance(value, Rule):
        return value.table()
    if isinstance(value, tuple):
        return [plain(key, item) for item in value]
    return value


def _encoded(secret: str | bytes) -> bytes:
    return secret if isinstance(secret, bytes) else secret.encode()


def lines_of(key: str, value: Any) -> list[str]:
    """A value as people write it, lists with one item to a line."""
    from .text import printable, to_json

    if value is None:
        return []
    if key in SECRETS:
        return [f"(set, {len(_encoded(value))} bytes)"]
    if isinstance(value, tuple):
        items = [plain(key, item) for item in value]
        return [printable(item) if isinstance(item, str) else to_json(item) for item in items]
    if isinstance(value, bool):
        return [str(value).lower()]
    return [f"{value:g}" if isinstance(value, float) else printable(str(value))]


def _origin(key: str, sourced: Sourced) -> str:
    """Where a value is from, short enough for a table."""
    if sourced.origin == "environment":
        return f"AEMP_{key.upper()}"
    if sourced.place is None:
        return sourced.origin
    table = sourced.origin.removeprefix(str(config_path())).removeprefix(": ")
    return f"{table or 'top level'}, line {sourced.place.line}"


def to_dict(effective: Effective) -> dict[str, Any]:
    """All of it for scripts."""
    return {
        "file": str(config_path()),
        "profile": effective.profile,
        "node_id": effective.node_id,
        "unique": effective.unique,
        "settings": {
            key: {
                "value": plain(key, sourced.value),
                "origin": sourced.origin,
                "line": sourced.place and sourced.place.line,
                "column": sourced.place and sourced.place.column,
            }
            for key, sourced in effective.settings.items()
        },
    }


def as_table(effective: Effective) -> None:
    """Print all of it for people."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # Wide enough for addresses also where the output is no terminal.
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    there = "" if config_path().exists() else ", which is not there"
    console.print(f"file {config_path()}{there}", soft_wrap=True, markup=False)
    if effective.profile is not None:
        console.print(f"profile {effective.profile}", soft_wrap=True, markup=False)
    again = ", and something else each time" if effective.unique else ""
    console.print(f"node {effective.node_id}{again}", soft_wrap=True, markup=False)
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("setting", "value", "from"):
        table.add_column(column, overflow="fold")
    for key, sourced in effective.settings.items():
        style = "dim" if sourced.origin == DEFAULT else ""
        value = "\n".join(lines_of(key, sourced.value)) or "-"
        table.add_row(key, Text(value), Text(_origin(key, sourced)), style=style)
    console.print(table)


# -- what is wrong ---------------------------------------------------------------------------------


def flaws() -> tuple[ConfigFile | None, list[Flaw]]:
    """The file, if it can be read, and everything wrong with it and with the variables."""
    found: list[Flaw] = []
    file = None
    try:
        file = config_file()
        found += file.flaws()
    except ConfigError as error:
        found.append(_flaw_of(error))
    found += _variables(file)
    return file, found


def _flaw_of(error: ConfigError) -> Flaw:
    """A file that cannot be read, or is no TOML, as a flaw: its text ends with the place."""
    text = str(error).removeprefix(f"{config_path()}: ")
    match = re.search(r" \(at line (\d+), column (\d+)(, the end)?\)\Z", text)
    if match is None:
        return Flaw(text)
    return Flaw(text[: match.start()] + (match[3] or ""), None, Place(int(match[1]), int(match[2])))


def _variables(file: ConfigFile | None) -> Iterator[Flaw]:
    try:
        environment()
    except ConfigError as error:
        yield Flaw(str(error))
    name = os.environ.get("AEMP_PROFILE")
    if name and file is not None and name not in file.profiles:
        try:
            file.table(name)
        except ConfigError as error:
            yield Flaw(f"AEMP_PROFILE: {str(error).removeprefix(f'{file.path}: ')}")
