"""Settings: what a node is told about itself, where each value comes from, and what is refused.

`Settings` is the one checked, immutable record of them; `Node` takes its fields as keywords.
`load` collects them for `configure` and for the ``aemp`` command. First found wins:

1. words of the command line (``aemp run PROFILE KEY=VALUE``),
2. ``AEMP_KEY`` variables: ``AEMP_SECRET``, ``AEMP_BINDS=tcp://*:4040,unix:///run/a.sock``, ...
3. the profile's table ``[profile.NAME]``, then its ``parent``'s, and so on,
4. the top level of the configuration file,
5. what the program gave as defaults: programs give defaults, operators decide,
6. the defaults of `Settings`.

The file is ``aemp/config.toml`` in the platform's configuration directory, or the one that
``AEMP_CONFIG`` names; ``AEMP_PROFILE`` names the profile where the program names none.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .errors import ConfigError
from .settings import (
    FILE_KEYS,
    KEYS,
    SECRETS,
    Settings,
    check_key,
    checked,
    default,
    nearest,
    unknown,
)

__all__ = ["Settings", "config_dir", "config_path", "gather", "load", "parse_text"]


def parse_text(key: str, text: str) -> Any:
    """The value of `key` that a variable or a word ``KEY=VALUE`` means.

    Lists are separated by commas; numbers are as in TOML; services and rules may also be
    written as a TOML list. Raises `ConfigError` for an unknown key or an unreadable value.
    """
    check_key(key, FILE_KEYS)
    usual = default(key)
    if key in ("services", "rules") and (key == "rules" or text.lstrip().startswith("[")):
        return checked(key, _parse_toml(f"value = {text}", f"{key} = {text}").get("value"))
    if isinstance(usual, tuple):
        return checked(key, [part.strip() for part in text.split(",") if part.strip()])
    if isinstance(usual, (int, float)):
        return checked(key, _parse_number(text))
    return checked(key, text)


def _parse_number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text  # to be refused by the check, which says what is needed


# -- the file ----------------------------------------------------------------------------------


def config_dir() -> Path:
    """The directory of AEMP's files of this user; it need not exist."""
    if sys.platform == "win32":
        base = os.environ.get("APPDATA")
        return Path(base) / "aemp" if base else Path.home() / "AppData" / "Roaming" / "aemp"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "aemp"
    base = os.environ.get("XDG_CONFIG_HOME", "")
    # The XDG rules: a relative path is to be ignored.
    return (Path(base) if base.startswith("/") else Path.home() / ".config") / "aemp"


def config_path() -> Path:
    """The configuration file: what ``AEMP_CONFIG`` says, else ``config.toml`` in `config_dir`."""
    named = os.environ.get("AEMP_CONFIG")
    return Path(named) if named else config_dir() / "config.toml"


def _position(text: str) -> str:
    """Where `text` ends, for people."""
    return f"line {text.count(chr(10)) + 1}, column {len(text) - text.rfind(chr(10))}"


def _parse_toml(text: str, origin: str) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error).replace("at end of document", f"at {_position(text)}, the end")
        raise ConfigError(f"{origin}: {message}") from None


def _read(path: Path) -> dict[str, Any]:
    """The tables of the file, keys and profile names checked; empty if there is no file."""
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read()
    except FileNotFoundError:
        if os.environ.get("AEMP_CONFIG"):
            raise ConfigError(f"{path}: there is no such file, but AEMP_CONFIG names it") from None
        return {}
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8")
        raise ConfigError(f"{path}: not UTF-8 (at {_position(before)})") from None
    tables = _parse_toml(text.replace("\r\n", "\n"), str(path))
    profiles = tables.get("profile", {})
    if not isinstance(profiles, dict):
        raise ConfigError(f"{path}: 'profile' is no setting: write a table [profile.NAME]")
    for name, table in profiles.items():
        if not isinstance(table, dict):
            raise ConfigError(f"{path}: profile.{name} is no table: write [profile.{name}]")
        _check_table(table, (*FILE_KEYS, "parent"), f"{path}: [profile.{name}]")
    _check_table(tables, (*FILE_KEYS, "profile"), str(path))
    holds_secret = any(key in table for table in (tables, *profiles.values()) for key in SECRETS)
    if holds_secret and os.name == "posix" and mode & 0o077:
        raise ConfigError(
            f"{path}: holds a secret and others may read it: run 'chmod 600 {path}' "
            "and, if anyone may have seen it, make a new one with 'aemp secret new'"
        )
    return tables


def _check_table(table: Mapping[str, Any], known: Iterable[str], origin: str) -> None:
    for key in table:
        try:
            check_key(key, known)
        except ConfigError as error:
            raise ConfigError(f"{origin}: {error}") from None


def _chain(profiles: Mapping[str, Any], name: str, path: Path) -> list[str]:
    """Profile `name`, its parent, and so on."""
    chain: list[str] = []
    while True:
        if name not in profiles:
            by = f", the parent of {chain[-1]!r}" if chain else ""
            raise ConfigError(f"{path}: {unknown('profile', name, profiles)}{by}")
        if name in chain:
            circle = " -> ".join([*chain[chain.index(name) :], name])
            raise ConfigError(f"{path}: profiles are each other's parents: {circle}")
        chain.append(name)
        parent = profiles[name].get("parent")
        if parent is None:
            return chain
        if not isinstance(parent, str):
            raise ConfigError(f"{path}: [profile.{name}]: parent = {parent!r}: no profile's name")
        name = parent


# -- all together ------------------------------------------------------------------------------


class Sourced(NamedTuple):
    """A value and where it came from, for people."""

    value: Any
    origin: str


def gather(
    profile: str | None = None,
    defaults: Mapping[str, Any] | None = None,
    words: Mapping[str, Any] | None = None,
) -> dict[str, Sourced]:
    """Every setting that is given somewhere, checked, with its origin; arguments as for `load`."""
    path = config_path()
    tables = _read(path)
    profile = profile or os.environ.get("AEMP_PROFILE") or None

    layers: list[tuple[str, Mapping[str, Any]]] = [("command line", words or {})]
    layers.append(("environment", _environment()))
    profiles = tables.get("profile", {})
    for name in _chain(profiles, profile, path) if profile is not None else ():
        layers.append((f"{path}: [profile.{name}]", profiles[name]))
    layers.append((str(path), tables))
    layers.append(("program", defaults or {}))

    found: dict[str, Sourced] = {}
    for origin, layer in layers:
        for key, value in layer.items():
            if key in ("parent", "profile") and origin.startswith(str(path)):
                continue
            try:
                check_key(key, KEYS)
                value = checked(key, value)
            except ConfigError as error:
                raise ConfigError(f"{origin}: {error}") from None
            found.setdefault(key, Sourced(value, origin))
    return found


def _environment() -> dict[str, Any]:
    values: dict[str, Any] = {}
    for variable, text in sorted(os.environ.items()):
        if not variable.startswith("AEMP_") or variable in ("AEMP_CONFIG", "AEMP_PROFILE"):
            continue
        key = variable[len("AEMP_") :].lower()
        if key in FILE_KEYS:
            try:
                values[key] = parse_text(key, text)
            except ConfigError as error:
                raise ConfigError(f"environment variable {variable}: {error}") from None
            continue
        # Container platforms set variables such as AEMP_SERVICE_HOST for a service named
        # "aemp", so only what looks like a slip of the pen is refused.
        near = nearest(key, FILE_KEYS, cutoff=0.85)
        if near is not None:
            raise ConfigError(
                f"unknown environment variable {variable}: did you mean AEMP_{near.upper()}?"
            )
    return values


def load(
    profile: str | None = None,
    defaults: Mapping[str, Any] | None = None,
    words: Mapping[str, Any] | None = None,
) -> Settings:
    """The settings of `configure` and of the ``aemp`` command.

    Args:
        profile: the table ``[profile.NAME]`` to use; None: the one ``AEMP_PROFILE`` names, if
            any. It must exist.
        defaults: what the program would like, weaker than the file.
        words: what the command line says, stronger than everything.

    Raises:
        ConfigError: a key, a profile or a value is wrong, the file is malformed (with line and
            column), or it holds a secret that others may read. The text names the place.
    """
    found = gather(profile, defaults, words)
    return Settings(**{key: sourced.value for key, sourced in found.items()})
