"""Editing the configuration file: what people wrote in it stays, comments, order and all.

`editing` reads the file, takes the changes, and writes it as a whole or not at all. What would be
wrong afterwards and was not before is refused before anything is written, and so is an edit that
came out otherwise than it was meant. A lock is held from reading to writing, so that of two edits
at the same moment the later one sees what the earlier one did.
"""

from __future__ import annotations

import copy
import os
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .config import config_path
from .config_file import PROFILE_NAME, ConfigFile, parse_toml, places_in
from .errors import ConfigError
from .settings import FILE_KEYS, Rule, check_key, checked, unknown
from .whole_file import write_whole

__all__ = ["Edit", "editing"]

#: Seconds another edit may take.
LOCK_SECONDS = 10.0
LOCK_PAUSE = 0.02
#: Longer arrays are written one item to a line.
WIDTH = 88


class Edit:
    """Changes to one configuration file, which is written when `editing` ends.

    Attributes:
        file: what it was.
    """

    def __init__(self, file: ConfigFile) -> None:
        self.file = file
        self._text = file.text
        # The same changes are made to plain dictionaries: what tomlkit writes must mean just that.
        self._plain: dict[str, Any] = copy.deepcopy(dict(file.tables))

    # -- settings ------------------------------------------------------------------------------

    def set(self, profile: str | None, key: str, value: Any) -> None:
        """Give a setting a value; `ConfigError` if it cannot have that."""
        check_key(key, FILE_KEYS)
        value = _plain(checked(key, value))
        with self._table(profile) as (plain, table):
            plain[key] = value
            _put(table, key, _item(value))

    def unset(self, profile: str | None, key: str) -> None:
        """Take a setting out of a table; `ConfigError` if it is not there."""
        with self._table(profile) as (plain, table):
            # One that is no setting, and got in by hand, may be taken out like others.
            if key in ("parent", "profile") or key not in plain:
                check_key(key, FILE_KEYS)
                raise ConfigError(f"{self._where(profile)}: {key} is not set there")
            del plain[key], table[key]

    def add(self, profile: str | None, key: str, values: list[Any]) -> None:
        """Append to a list what is not in it; it is made if it is not set there."""
        had = self._list(profile, key)
        news = []
        for value in _plain(checked(key, values)):
            if _frozen(value) not in had:
                had.append(_frozen(value))
                news.append(value)
        with self._table(profile) as (plain, table):
            there = plain.get(key)
            if isinstance(there, list):
                plain[key] = [*there, *news]
                for value in news:
                    table[key].append(_inline(value))
            else:  # not there, or a text, which is a list of one
                plain[key] = [*([] if there is None else [there]), *news]
                _put(table, key, _item(plain[key]))

    def remove(self, profile: str | None, key: str, values: list[Any]) -> None:
        """Take values out of a list; `ConfigError` naming one that is not in it."""
        had = self._list(profile, key)
        gone = [_frozen(value) for value in _plain(checked(key, values))]
        for value, shown in zip(gone, values, strict=True):
            if value not in had:
                raise ConfigError(f"{self._where(profile)}: {shown!r} is not in {key}")
        with self._table(profile) as (plain, table):
            if not isinstance(plain[key], list):  # a text, which is a list of one
                plain[key] = table[key] = []
            for index in reversed(range(len(plain[key]))):
                if had[index] in gone:
                    del plain[key][index], table[key][index]

    def _list(self, profile: str | None, key: str) -> list[Any]:
        """The items of a list, as they compare; [] if it is not set there."""
        check_key(key, FILE_KEYS)
        value = self._plain_table(profile).get(key, [])
        return [_frozen(item) for item in _plain(checked(key, value))]

    # -- profiles ------------------------------------------------------------------------------

    def new_profile(self, name: str, parent: str | None = None) -> None:
        """Make an empty profile; `ConfigError` if there is one, or the name is none."""
        import tomlkit

        if not PROFILE_NAME.match(name):
            raise ConfigError(
                f"{name!r} is no name of a profile: use letters, digits and _ . / : -, "
                "and begin with a letter, a digit or _"
            )
        header = f"[profile.{tomlkit.key(name).as_string()}]\n"
        longer = f"{self._text.rstrip()}\n\n{header}".lstrip()
        with self._table(None) as (plain, document):
            if name in plain.setdefault("profile", {}):
                raise ConfigError(f"{self.file.path}: there is a profile {name!r} already")
            plain["profile"][name] = {}
            if "profile" not in document:
                document["profile"] = tomlkit.table(is_super_table=True)
            document["profile"][name] = tomlkit.table()
        if _means(longer, self._plain):
            self._text = longer
        if parent is not None:
            self.set_parent(name, parent)

    def delete_profile(self, name: str) -> None:
        """Take a profile away, with its settings; unknown: `ConfigError`."""
        self._plain_table(name)
        shorter = _without_table(self._text, ("profile", name))
        with self._table(None) as both:
            for tables in both:
                del tables["profile"][name]
                if not tables["profile"]:
                    del tables["profile"]
        if _means(shorter, self._plain):
            self._text = shorter

    def set_parent(self, name: str, parent: str | None) -> None:
        """Give a profile a parent, or none; unknown: `ConfigError`."""
        if parent is not None:
            self._plain_table(parent)
        with self._table(name) as both:
            for table in both:
                if parent is not None:
                    _put(table, "parent", parent)
                elif "parent" in table:
                    del table["parent"]

    # -- both sides ----------------------------------------------------------------------------

    @contextmanager
    def _table(self, profile: str | None) -> Iterator[tuple[dict[str, Any], Any]]:
        """A table as plain dictionary and in a document of tomlkit, both to be changed."""
        import tomlkit

        plain = self._plain_table(profile)
        document: Any = tomlkit.parse(self._text)
        yield plain, document if profile is None else document["profile"][profile]
        self._text = document.as_string()

    def _plain_table(self, profile: str | None) -> dict[str, Any]:
        if profile is None:
            return self._plain
        profiles = self._plain.get("profile", {})
        if not isinstance(profiles, dict) or not isinstance(profiles.get(profile), dict):
            known = profiles if isinstance(profiles, dict) else {}
            raise ConfigError(f"{self.file.path}: {unknown('profile', profile, known)}")
        table: dict[str, Any] = profiles[profile]
        return table

    def _where(self, profile: str | None) -> str:
        return f"{self.file.path}" + ("" if profile is None else f": [profile.{profile}]")

    def result(self) -> ConfigFile:
        """The file as it would be; `ConfigError` if it were wrong where it was right before."""
        after = ConfigFile.of(self.file.path, self._text)
        if after.tables != self._plain:
            raise ConfigError(
                f"{self.file.path}: cannot be edited without changing more than was asked for: "
                "edit it by hand"
            )
        known = {(flaw.profile, flaw.text) for flaw in self.file.flaws()}
        for flaw in after.flaws():
            if (flaw.profile, flaw.text) not in known:
                raise ConfigError(f"refused, {self.file.path} would be wrong: {flaw}")
        return after


@contextmanager
def editing(path: Path | None = None) -> Iterator[Edit]:
    """Edit the configuration file: it is written when the block ends, unless that raises.

    Args:
        path: its name, which may be a symbolic link; None: `config_path`. A file that is not
            there is made, for its owner alone.

    Raises:
        ConfigError: the file is not good enough to be edited, a change cannot be made or would
            make it wrong, another edit takes too long, or the file cannot be written: a full
            disk, say. Nothing was changed.
    """
    path = Path(os.path.realpath(config_path() if path is None else path))
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(path):
            edit = Edit(ConfigFile.read(path))
            edit.file.refuse_if_exposed()
            yield edit
            after = edit.result()
            if after.text != edit.file.text:
                _write(after, edit.file.status)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be written, and is as it was before: {error.strerror or error}"
        ) from None


def _write(file: ConfigFile, status: os.stat_result | None) -> None:
    mode = 0o600 if status is None else stat.S_IMODE(status.st_mode)
    if file.holds_secret:
        mode &= ~0o077
    write_whole(file.path, file.text.encode(), mode=mode, replace=True, like=status)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Be the only one who edits the file. The lock is on a file of its own, since that one is
    replaced by its edits; it stays, since removing it would let in two at a time."""
    name = path.with_name(f".{path.name}.lock")
    handle = os.open(name, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        if os.name == "posix" and os.geteuid() == 0:
            # So that the owner can open it, too, after root was the first to edit.
            owner = (path if path.exists() else path.parent).stat()
            os.fchown(handle, owner.st_uid, owner.st_gid)
        _lock(path, handle)
        yield
    finally:
        os.close(handle)  # and with it the lock


def _lock(path: Path, handle: int) -> None:
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            if sys.platform == "win32":
                import msvcrt

                msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except (BlockingIOError, PermissionError):
            if time.monotonic() > deadline:
                raise ConfigError(
                    f"{path}: gave up after {LOCK_SECONDS:g} s waiting for another edit to end"
                ) from None
            time.sleep(LOCK_PAUSE)


# -- the document ----------------------------------------------------------------------------------


def _without_table(text: str, table: tuple[str, ...]) -> str:
    """The text without a table, if that is written in one piece under a header.

    The comment directly above its header goes with it. tomlkit would keep that, and take away the
    one above the next header instead.
    """
    places = places_in(text)
    if table not in places:
        return text
    lines = [f"{line}\n" for line in text.removesuffix("\n").split("\n")]
    begin = places[table].line - 1
    others = (at.line - 1 for keys, at in places.items() if keys[: len(table)] != table)
    end = min((line for line in others if line > begin), default=len(lines))
    begin = _above(lines, begin)
    if end < len(lines):
        end = _above(lines, end)
    else:
        while begin and not lines[begin - 1].strip():
            begin -= 1
    return "".join([*lines[:begin], *lines[end:]])


def _above(lines: list[str], index: int) -> int:
    """Where the comment begins that is directly above a line; that line if there is none."""
    while index and lines[index - 1].lstrip().startswith("#"):
        index -= 1
    return index


def _means(text: str, tables: Mapping[str, Any]) -> bool:
    try:
        return parse_toml(text, "") == tables
    except ConfigError:
        return False


def _put(table: Any, key: str, value: Any) -> None:
    """Give a key of a table a value: a new key comes after those that are there.

    Just appended it would come after the comment that belongs to the next table.
    """
    from tomlkit.container import Container
    from tomlkit.items import AoT, Comment, Table, Whitespace

    container = table.value if isinstance(table, Table) else table
    # What is no container is a plain dictionary, or tables that are out of order.
    if key in table or not isinstance(container, Container):
        table[key] = value
        return
    body = container.body
    place = 0
    for index, (each, item) in enumerate(body):
        if each is not None and not isinstance(item, (Table, AoT)):
            place = index + 1
    if place == 0 and container is table:
        # The comment at the head of the file, if it is one on its own.
        while place < len(body) and isinstance(body[place][1], Comment):
            place += 1
        if place < len(body) and not isinstance(body[place][1], Whitespace):
            place = 0
    if place < len(body):
        container._insert_at(place, key, value)
    else:
        table[key] = value


# -- values ----------------------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    """A checked value as TOML has it."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Rule):
        return value.table()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _frozen(value: Any) -> Any:
    """A plain value as one that compares and hashes."""
    if isinstance(value, Mapping):
        return tuple(sorted((key, _frozen(item)) for key, item in value.items()))
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _inline(value: Any) -> Any:
    """A value as tomlkit writes it inside an array: tables on one line."""
    import tomlkit

    if isinstance(value, Mapping):
        table = tomlkit.inline_table()
        table.update(value)
        return table
    return tomlkit.item(value)


def _item(value: Any) -> Any:
    """A value as tomlkit writes it behind a key."""
    import tomlkit

    if not isinstance(value, list):
        return tomlkit.item(value)
    array = tomlkit.array()
    for item in value:
        array.append(_inline(item))
    array.multiline(len(array.as_string()) > WIDTH)
    return array
