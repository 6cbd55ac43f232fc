"""Words: arguments and options whose values are known beforehand, so that shells complete them.

What is completed is read from the configuration file alone. Where that cannot be read there is
nothing to complete: pressing a key is no occasion for an error.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from ..errors import AempError
from ..settings import FILE_KEYS, LOG_LEVELS, ROLES, TOPOLOGIES, default

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    _Type = click.ParamType[str]
else:
    _Type = click.ParamType

__all__ = ["COMMAND", "KEY", "LEVEL", "LIST_KEY", "PROFILE", "VALUE", "WORD", "is_list"]

#: The settings that are one of several words.
CHOICES = {
    "auth_accept": ("hmac_sha3_512_role", "hmac_sha3_512", "cleartext"),
    "auth_offer": ("hmac_sha3_512_role", "hmac_sha3_512"),
    "framings": ("msgpack", "json"),
    "log_level": LOG_LEVELS,
    "require_tls": ("true", "false"),
    "role": ROLES,
    "topology": TOPOLOGIES,
}


def is_list(key: str) -> bool:
    """Whether the setting `key` holds a list."""
    return isinstance(default(key), tuple)


def profiles() -> list[str]:
    """The names of the profiles; none if the file cannot be read."""
    from ..config import config_file

    try:
        return list(config_file().profiles)
    except (AempError, OSError):
        return []


def _items(words: Iterable[str], incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    return [CompletionItem(word) for word in words if word.startswith(incomplete)]


class Profile(_Type):
    """The name of a profile; whether there is one is for the command to say."""

    name = "profile"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The profiles there are."""
        return _items(profiles(), incomplete)


class Key(_Type):
    """The name of a setting.

    Args:
        lists: only of those that hold lists.
    """

    name = "key"

    def __init__(self, *, lists: bool = False) -> None:
        self._lists = lists

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The settings there are."""
        return _items([key for key in FILE_KEYS if is_list(key) or not self._lists], incomplete)


class Value(_Type):
    """A value of the setting that the argument ``key`` of the command names."""

    name = "value"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The values it may have, if those are some words; for a file, files."""
        return _values(ctx.params.get("key") or "", "", incomplete)


class CommandName(_Type):
    """The name of a subcommand, behind those of the groups that it is in."""

    name = "command"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The subcommands there."""
        found = ctx.find_root()
        for word in ctx.params.get(param.name or "") or ():
            group = found.command
            member = group.get_command(found, word) if isinstance(group, click.Group) else None
            if member is None:
                return []
            found = click.Context(member, parent=found, info_name=word)
        group = found.command
        if not isinstance(group, click.Group) or incomplete.startswith("-"):
            return []
        return group.shell_complete(found, incomplete)


class Level(_Type):
    """A level of log records, by its name or a number."""

    name = "level"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The levels that have names."""
        return _values("log_level", "", incomplete)


class Word(_Type):
    """A word of ``aemp run``: a profile if it is the first one, or ``KEY=VALUE``."""

    name = "word"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Profiles and settings; after the equals sign, values."""
        from click.shell_completion import CompletionItem

        key, equals, text = incomplete.partition("=")
        if equals:
            return _values(key, f"{key}=", text)
        first = not ctx.params.get(param.name or "")
        found = _items(profiles() if first else (), incomplete)
        # The shell shall not go to the next word: the value belongs to this one.
        keys = [f"{key}=" for key in FILE_KEYS]
        return found + [
            CompletionItem(word, nospace=True) for word in keys if word.startswith(incomplete)
        ]


def _values(key: str, prefix: str, incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    if key in ("cert", "cert_key", "cert_trust"):
        return [CompletionItem(incomplete, type="file")]
    words = CHOICES.get(key, ())
    if key in FILE_KEYS and is_list(key):
        # A list is completed at its end.
        before, comma, incomplete = incomplete.rpartition(",")
        prefix += before + comma
    if key == "log_level" and incomplete[:1].islower():
        words = tuple(word.lower() for word in words)
    return [CompletionItem(prefix + item.value) for item in _items(words, incomplete)]


COMMAND = CommandName()
PROFILE = Profile()
KEY = Key()
LEVEL = Level()
LIST_KEY = Key(lists=True)
VALUE = Value()
WORD = Word()
