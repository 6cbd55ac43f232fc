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
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .config_file import ConfigFile, Place, parse_toml
from .errors import ConfigError
from .settings import FILE_KEYS, KEYS, Settings, check_key, checked, default, nearest

__all__ = ["Settings", "config_dir", "config_path", "gather", "load", "parse_text"]


def parse_text(key: str, text: str) -> Any:
    """The value of `key` that a variable or a word ``KEY=VALUE`` means.

    Lists are separated by commas; numbers are as in TOML. Rules and services with arguments are
    written as in TOML, one of them or a list. Raises `ConfigError` for an unknown key or an
    unreadable value.
    """
    check_key(key, FILE_KEYS)
    usual = default(key)
    if key in ("services", "rules") and (key == "rules" or text.lstrip().startswith("[")):
        value = parse_toml(f"value = {text}", f"{key} = {text}").get("value")
        return checked(key, [value] if _is_one(value) else value)
    if isinstance(usual, tuple):
        return checked(key, [part.strip() for part in text.split(",") if part.strip()])
    if isinstance(usual, (int, float)):
        return checked(key, _parse_number(text))
    return checked(key, text)


def _is_one(value: Any) -> bool:
    """Whether a value is one rule, or one service with arguments, and not a list of them."""
    if isinstance(value, list):
        return bool(value) and isinstance(value[0], str) and ":" in value[0]
    return isinstance(value, dict)


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


# -- all together ------------------------------------------------------------------------------


class Sourced(NamedTuple):
    """A value and where it came from, for people.

    Attributes:
        value: the value, checked.
        origin: ``command line``, ``environment``, ``program``, or the file and the table in it.
        place: where in the file.
    """

    value: Any
    origin: str
    place: Place | None = None


def config_file() -> ConfigFile:
    """The configuration file as it is now; see `ConfigFile.read`."""
    return ConfigFile.read(config_path(), must_exist=bool(os.environ.get("AEMP_CONFIG")))


def gather(
    profile: str | None = None,
    defaults: Mapping[str, Any] | None = None,
    words: Mapping[str, Any] | None = None,
) -> dict[str, Sourced]:
    """Every setting that is given somewhere, checked, with its origin; arguments as for `load`."""
    file = config_file()
    file.refuse_if_useless()
    profile = profile or os.environ.get("AEMP_PROFILE") or None

    layers: list[tuple[str, tuple[str, ...] | None, Mapping[str, Any]]] = [
        ("command line", None, words or {}),
        ("environment", None, environment()),
    ]
    for name in file.chain(profile) if profile is not None else ():
        layers.append((f"{file.path}: [profile.{name}]", ("profile", name), file.table(name)))
    layers.append((str(file.path), (), file.table(None)))
    layers.append(("program", None, defaults or {}))

    found: dict[str, Sourced] = {}
    for origin, table, layer in layers:
        for key, value in layer.items():
            try:
                check_key(key, KEYS)
                value = checked(key, value)
            except ConfigError as error:
                place = None if table is None else file.place(*table, key)
                at = f" (at {place})" if place else ""
                raise ConfigError(f"{origin}: {error}{at}") from None
            if key not in found:
                place = None if table is None else file.place(*table, key)
                found[key] = Sourced(value, origin, place)
    return found


def environment() -> dict[str, Any]:
    """The settings that ``AEMP_*`` variables give; `ConfigError` naming one that is wrong."""
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
