"""The configuration file: its tables, where in it each key is, and everything wrong with it.

`ConfigFile.read` gives the tables of a file that is TOML at all, `ConfigFile.flaws` everything that
is wrong with them, each with its place. `config` takes values from it and refuses what it needs
and finds flawed, ``aemp config check`` shows every flaw, and `config_edit` adds none.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from .errors import ConfigError
from .settings import FILE_KEYS, SECRETS, Settings, check_key, checked, unknown

__all__ = ["ConfigFile", "Flaw", "Place", "parse_toml", "places_in"]

PROFILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./:-]*\Z")


class Place(NamedTuple):
    """Where something is in a file, counted from 1."""

    line: int
    column: int

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}"

    @classmethod
    def after(cls, text: str) -> Place:
        """The place where `text` ends."""
        return cls(text.count("\n") + 1, len(text) - text.rfind("\n"))


@dataclass(frozen=True)
class Flaw:
    """Something wrong with the configuration.

    Attributes:
        text: what is wrong, and what mends it.
        profile: the profile it is in; None: at the top level, or not in the tables at all.
        place: where in the file; None: nowhere in particular.
        of_value: whether one value is wrong, or some together, so that only who uses them need
            care; otherwise the whole file is of no use.
    """

    text: str
    profile: str | None = None
    place: Place | None = None
    of_value: bool = False

    def __str__(self) -> str:
        where = f"[profile.{self.profile}]: " if self.profile is not None else ""
        return f"{where}{self.text}{f' (at {self.place})' if self.place else ''}"


def parse_toml(text: str, origin: str) -> dict[str, Any]:
    """The tables of a TOML text; `ConfigError` with line and column if it is none."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error).replace("at end of document", f"at {Place.after(text)}, the end")
        raise ConfigError(f"{origin}: {message}") from None


@dataclass(frozen=True)
class ConfigFile:
    """A configuration file that could be read, and is TOML.

    Attributes:
        path: its name.
        text: what it holds; "" if there is no such file.
        tables: the same as dictionaries.
        status: owner and permissions; None if there is no such file.
    """

    path: Path
    text: str = field(repr=False)  # which may hold secrets, as may the tables
    tables: Mapping[str, Any] = field(repr=False)
    status: os.stat_result | None = None

    @classmethod
    def read(cls, path: Path, *, must_exist: bool = False) -> ConfigFile:
        """Read a file; one that is not there is empty.

        Raises:
            ConfigError: it cannot be read, is no UTF-8 or no TOML (with line and column), or is
                not there although it must.
        """
        try:
            with open(path, "rb") as file:
                status = os.fstat(file.fileno())
                data = file.read()
        except FileNotFoundError:
            if must_exist:
                raise ConfigError(
                    f"{path}: there is no such file, but AEMP_CONFIG names it"
                ) from None
            return cls(path, "", {})
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror or error}") from None
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            place = Place.after(data[: error.start].decode("utf-8"))
            raise ConfigError(f"{path}: not UTF-8 (at {place})") from None
        return cls.of(path, text, status)

    @classmethod
    def of(cls, path: Path, text: str, status: os.stat_result | None = None) -> ConfigFile:
        """What the file at `path` would be if it held `text`; `ConfigError` as for `read`."""
        return cls(path, text, parse_toml(text.replace("\r\n", "\n"), str(path)), status)

    @property
    def profiles(self) -> Mapping[str, Any]:
        """The tables of the profiles, by name."""
        profiles = self.tables.get("profile", {})
        if not isinstance(profiles, dict):
            return {}
        return {name: table for name, table in profiles.items() if isinstance(table, dict)}

    def table(self, profile: str | None) -> Mapping[str, Any]:
        """The settings of a profile, or those of the top level; unknown: `ConfigError`."""
        if profile is None:
            return {key: value for key, value in self.tables.items() if key != "profile"}
        if profile not in self.profiles:
            raise ConfigError(f"{self.path}: {unknown('profile', profile, self.profiles)}")
        table: Mapping[str, Any] = self.profiles[profile]
        return {key: value for key, value in table.items() if key != "parent"}

    def chain(self, name: str) -> list[str]:
        """Profile `name`, its parent, and so on; `ConfigError` if that leads nowhere."""
        chain = self._chain(name)
        if isinstance(chain, Flaw):
            raise ConfigError(f"{self.path}: {chain}")
        return chain

    def _chain(self, name: str) -> list[str] | Flaw:
        chain: list[str] = []
        while True:
            if name not in self.profiles:
                text = unknown("profile", name, self.profiles)
                by = chain[-1] if chain else None
                place = self.place("profile", by, "parent") if by else None
                return Flaw(text, by, place, of_value=True)
            if name in chain:
                circle = chain[chain.index(name) :]
                first = circle.index(min(circle))
                circle = [*circle[first:], *circle[: first + 1]]
                text = f"profiles are each other's parents: {' -> '.join(circle)}"
                place = self.place("profile", circle[0], "parent")
                return Flaw(text, None, place, of_value=True)
            chain.append(name)
            parent = self.profiles[name].get("parent")
            if parent is None:
                return chain
            if not isinstance(parent, str):
                place = self.place("profile", name, "parent")
                return Flaw(f"parent = {parent!r}: no profile's name", name, place, of_value=True)
            name = parent

    def children(self, name: str) -> list[str]:
        """The profiles whose parent is `name`."""
        return [each for each, table in self.profiles.items() if table.get("parent") == name]

    @property
    def holds_secret(self) -> bool:
        """Whether a secret is in it, so that only its owner may read it."""
        tables = [self.tables, *self.profiles.values()]
        return any(key in table for table in tables for key in SECRETS)

    # -- flaws ---------------------------------------------------------------------------------

    def flaws(self) -> list[Flaw]:
        """Everything wrong with the file and with what its profiles amount to, in its order."""
        found = [*self._keys(), *self._values(), *self._chains()]
        if self.exposed is not None:
            found.append(self.exposed)
        return sorted(dict.fromkeys(found), key=lambda flaw: flaw.place or Place(0, 0))

    def refuse_if_useless(self) -> None:
        """Raise `ConfigError` for the first flaw that is not one of a value alone."""
        for flaw in self._keys():
            raise ConfigError(f"{self.path}: {flaw}")
        self.refuse_if_exposed()

    def refuse_if_exposed(self) -> None:
        """Raise `ConfigError` if others may read a secret that is in the file."""
        if self.exposed is not None:
            raise ConfigError(f"{self.path}: {self.exposed}")

    @property
    def exposed(self) -> Flaw | None:
        """That others may read a secret in the file, if so."""
        if self.status is None or os.name != "posix" or not self.status.st_mode & 0o077:
            return None
        if not self.holds_secret:
            return None
        return Flaw(
            f"holds a secret and others may read it: run 'chmod 600 {self.path}' "
            "and, if anyone may have seen it, make a new one with 'aemp secret new'"
        )

    def _keys(self) -> Iterator[Flaw]:
        profiles = self.tables.get("profile", {})
        if not isinstance(profiles, dict):
            text = "'profile' is no setting: write a table [profile.NAME]"
            yield Flaw(text, place=self.place("profile"))
        for name, table in profiles.items() if isinstance(profiles, dict) else ():
            if not isinstance(table, dict):
                text = f"profile.{name} is no table: write [profile.{name}]"
                yield Flaw(text, place=self.place("profile", name))
                continue
            if not PROFILE_NAME.match(name):
                text = f"{name!r} is no name of a profile: use letters, digits and _ . / : -"
                yield Flaw(text, place=self.place("profile", name))
            for key in table:
                flaw = _flaw_of_key(key, (*FILE_KEYS, "parent"))
                if flaw is not None:
                    yield Flaw(flaw, name, self.place("profile", name, key))
        for key in self.tables:
            flaw = _flaw_of_key(key, (*FILE_KEYS, "profile"))
            if flaw is not None:
                yield Flaw(flaw, place=self.place(key))

    def _values(self) -> Iterator[Flaw]:
        for name, table in ((None, self.tables), *self.profiles.items()):
            for key, value in table.items():
                if key not in FILE_KEYS:
                    continue
                try:
                    checked(key, value)
                except ConfigError as error:
                    yield Flaw(str(error), name, self._place_in(name, key), of_value=True)

    def _chains(self) -> Iterator[Flaw]:
        """What is wrong with the parents, and with what values amount to together."""
        for name in (None, *self.profiles):
            chain = [] if name is None else self._chain(name)
            if isinstance(chain, Flaw):
                yield chain
                continue
            total: dict[str, Any] = {}
            origin: dict[str, str | None] = {}
            for each in (*chain, None):
                for key, value in self.table(each).items():
                    if key not in total and _is_good(key, value):
                        total[key], origin[key] = value, each
            try:
                Settings(**total)
            except ConfigError as error:
                key = str(error).partition(" ")[0]
                # What a parent gives is wrong with the parent already.
                if origin.get(key, name) == name:
                    yield Flaw(str(error), name, self._place_in(name, key), of_value=True)

    # -- places --------------------------------------------------------------------------------

    def place(self, *keys: str) -> Place | None:
        """Where the value of the dotted key is set; of what is inside a value, that value."""
        places = self._places()
        for length in range(len(keys), 0, -1):
            if keys[:length] in places:
                return places[keys[:length]]
        return None

    def _place_in(self, profile: str | None, key: str) -> Place | None:
        return self.place(key) if profile is None else self.place("profile", profile, key)

    def _places(self) -> dict[tuple[str, ...], Place]:
        places: dict[tuple[str, ...], Place] | None = self.__dict__.get("_found")
        if places is None:
            places = places_in(self.text)
            self.__dict__["_found"] = places
        return places


def _is_good(key: str, value: Any) -> bool:
    try:
        check_key(key, FILE_KEYS)
        checked(key, value)
    except ConfigError:
        return False
    return True


def _flaw_of_key(key: str, known: tuple[str, ...]) -> str | None:
    try:
        check_key(key, known)
    except ConfigError as error:
        return str(error)
    return None


_TOKEN = re.compile(
    r"""
    (?P<string>
        \"{3} (?:[^\\]|\\.)*? \"{3,5}
      | '{3} .*? '{3,5}
      | " (?:[^"\\\n]|\\.)* "
      | ' [^'\n]* '
    )
    | (?P<comment> \#[^\n]* )
    | (?P<open> [\[{] )
    | (?P<close> [\]}] )
    | (?P<end> \n | \Z )
    | (?P<equals> = )
    """,
    re.VERBOSE | re.DOTALL,
)


def places_in(text: str) -> dict[tuple[str, ...], Place]:
    """Where each header and each key of a TOML text is: what TOML parsers do not tell.

    The text is TOML, so it is enough to tell apart statements, and in a statement what is left of
    its first ``=``. Keys inside inline tables are not looked for.
    """
    text = text.replace("\r\n", "\n")
    places: dict[tuple[str, ...], Place] = {}
    header: tuple[str, ...] = ()
    start = depth = 0
    key: str | None = None
    for token in _TOKEN.finditer(text):
        kind = token.lastgroup
        if kind == "open":
            depth += 1
        elif kind == "close":
            depth -= 1
        elif kind == "equals" and depth == 0 and key is None:
            key = text[start : token.start()]
            place = Place.after(text[: start + len(key) - len(key.lstrip())])
            places.setdefault((*header, *_dotted(f"{key} = 0")), place)
        elif kind == "end" and depth == 0:
            statement = text[start : token.start()]
            if key is None and statement.lstrip().startswith("["):
                header = _dotted(statement)
                indent = len(statement) - len(statement.lstrip())
                places.setdefault(header, Place.after(text[: start + indent]))
            start, key = token.end(), None
    return places


def _dotted(statement: str) -> tuple[str, ...]:
    """The names in the key or header that a statement is."""
    names = []
    tables: Any = parse_toml(statement, "")
    while tables and isinstance(tables, (dict, list)):
        if isinstance(tables, list):
            tables = tables[0]
            continue
        ((name, tables),) = tables.items()
        names.append(name)
    return tuple(names)
