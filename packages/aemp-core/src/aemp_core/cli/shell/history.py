"""The history: what was typed in shells, in a file that only its owner can read.

Each text is a line of JSON, whichever library reads the lines. Shells that run at the same time
all append to it.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path

__all__ = ["History", "history_path"]

#: Texts that are kept, characters of one, and bytes at which the file is cut back.
KEPT_TEXTS = 5_000
TEXT_LENGTH = 50_000
FILE_BYTES = 2**20

_FLAGS = os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


def history_path() -> Path:
    """Where it is: ``shell_history`` in AEMP's directory for the state of this user's programs."""
    if sys.platform in ("win32", "darwin"):
        from ...config import config_dir

        return config_dir() / "shell_history"
    base = os.environ.get("XDG_STATE_HOME", "")
    # The XDG rules: a relative path is to be ignored.
    state = Path(base) if base.startswith("/") else Path.home() / ".local" / "state"
    return state / "aemp" / "shell_history"


class History:
    """The texts of former shells, and of this one.

    A history that cannot be read or written is no reason not to work: it is kept in memory then.

    Attributes:
        texts: the oldest first.
        trouble: why it is not kept; empty if it is.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.trouble = ""
        self.texts: list[str] = []
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # It may hold what others must not see, whoever made it readable for them.
            os.close(os.open(path, _FLAGS | os.O_APPEND, 0o600))
            if os.name == "posix":
                path.chmod(0o600)
            self._read()
        except OSError as error:
            self.trouble = f"{path}: {error.strerror or error}"

    def _read(self) -> None:
        data = self._path.read_text(encoding="utf-8", errors="replace")
        for line in data.splitlines():
            with suppress(ValueError):  # cut off, or of another program
                text = json.loads(line)
                if isinstance(text, str):
                    self.texts.append(text)
        del self.texts[:-KEPT_TEXTS]
        if len(data) > FILE_BYTES:
            draft = self._path.with_name(f".{self._path.name}.{os.getpid()}")
            with open(os.open(draft, _FLAGS | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
                for text in self._newest(FILE_BYTES // 2):
                    file.write(json.dumps(text) + "\n")
            draft.replace(self._path)

    def _newest(self, room: int) -> list[str]:
        kept: list[str] = []
        for text in reversed(self.texts):
            room -= len(text)
            if room < 0:
                break
            kept.append(text)
        return kept[::-1]

    def append(self, text: str) -> None:
        """Remember a text, unless it is the last one again."""
        if not text.strip() or len(text) > TEXT_LENGTH or self.texts[-1:] == [text]:
            return
        self.texts.append(text)
        if not self.trouble:
            try:
                with open(os.open(self._path, _FLAGS | os.O_APPEND, 0o600), "ab") as file:
                    file.write(json.dumps(text).encode() + b"\n")
            except OSError as error:
                self.trouble = f"{self._path}: {error.strerror or error}"
