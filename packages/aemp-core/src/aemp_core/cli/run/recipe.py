"""The recipe of a run: how its settings are found, as often as they are asked for.

They are asked for at the start, after SIGHUP, and by each process of several.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from ...config import load, parse_text
from ...errors import UsageError
from ...settings import Settings
from ..options import read_secret_file
from .workers import Place

__all__ = ["Recipe"]


@dataclass(frozen=True)
class Recipe:
    """What the command line says.

    Attributes:
        words: ``[PROFILE] [KEY=VALUE ...]``.
        secret_file: the file to read the secret from, instead of the configured one.
        workers: how many nodes to run, instead of the configured number.
        health: where to answer questions about health, instead of the configured address.
        loop: the event loop to use.
        place: which of several nodes this process runs; None: the only one.
    """

    words: tuple[str, ...]
    secret_file: str | None
    workers: int | None
    health: str | None
    loop: str
    place: Place | None

    def configured(self) -> Settings:
        """The settings as they are configured now; raises `ConfigError` or `UsageError`."""
        words = self.words
        profile: str | None = None
        if words and "=" not in words[0]:
            profile, *words = words  # type: ignore[assignment]
        given: dict[str, Any] = {}
        for word in words:
            key, equals, text = word.partition("=")
            if not equals:
                raise UsageError(f"{word!r}: write KEY=VALUE; only the first word may be a profile")
            given[key] = parse_text(key, text)
        if self.secret_file is not None:
            given["secret"] = read_secret_file(self.secret_file)
        if self.workers is not None:
            given["workers"] = self.workers
        if self.health is not None:
            given["health"] = parse_text("health", self.health)
        return load(profile, words=given)

    def settings(self) -> Settings:
        """Those of the node that this process runs."""
        configured = self.configured()
        return configured if self.place is None else self.place.settings(configured)

    def command(self, place: Place, *options: str) -> list[str]:
        """The command line of a process that runs the node of `place` by this recipe."""
        given = ["--child", place.to_text(), "--loop", self.loop, *options]
        for option, value in (("--secret-file", self.secret_file), ("--health", self.health)):
            if value is not None:
                given += [option, value]
        # What came before the arguments: flags of the interpreter, and what it runs.
        head = sys.orig_argv[1 : len(sys.orig_argv) - len(sys.argv) + 1]
        flags = head[:-2] if head[-2:] == ["-m", "aemp_core"] else []
        return [sys.executable, *flags, "-m", "aemp_core", "run", *given, "--", *self.words]
