"""A terminal for tests: a command with a pty of its own, keys typed, and what was shown awaited."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

SECONDS = 40.0
ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07]*\x07|[@-Z\\-_=>])")

#: Makes the pty the controlling terminal of the command, so that Ctrl-C is a signal.
LAUNCH = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)


class Terminal:
    """A command that believes a person sits before it."""

    def __init__(self, words: list[str], cwd: Path, environment: dict[str, str]) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 160, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, *words],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            cwd=cwd,
            env={**environment, "PROMPT_TOOLKIT_NO_CPR": "1"},
        )
        os.close(slave)
        self._shown = ""

    def type(self, keys: str) -> None:
        """Press keys; ``\\r`` is Enter, ``\\x03`` Ctrl-C, ``\\x04`` Ctrl-D."""
        os.write(self._master, keys.encode())

    def read_until(self, pattern: str) -> str:
        """What is shown up to a match of `pattern`, without escape sequences."""
        ends = time.monotonic() + SECONDS
        while True:
            match = re.search(pattern, self._shown)
            if match is not None:
                before, self._shown = self._shown[: match.end()], self._shown[match.end() :]
                return before
            assert time.monotonic() < ends, f"no {pattern!r} in {self._shown!r}"
            if select.select([self._master], [], [], 1.0)[0]:
                try:
                    data = os.read(self._master, 65_536)
                except OSError:  # the last process that had it open has ended
                    data = b""
                assert data, f"it ended without {pattern!r}: {self._shown!r}"
                self._shown += ESCAPES.sub("", data.decode(errors="replace"))

    def end(self) -> int:
        """The exit code, once the command has ended."""
        ends = time.monotonic() + SECONDS
        while self.process.poll() is None:
            assert time.monotonic() < ends, f"it does not end: {self._shown!r}"
            # Else it may wait for room in the pty.
            if select.select([self._master], [], [], 0.05)[0]:
                try:
                    data = os.read(self._master, 65_536)
                except OSError:
                    data = b""
                self._shown += ESCAPES.sub("", data.decode(errors="replace"))
        return self.process.returncode

    @property
    def raw(self) -> bool:
        """Whether keys reach the command one by one."""
        return not termios.tcgetattr(self._master)[3] & termios.ICANON

    @property
    def rest(self) -> str:
        """What was shown and not asked for."""
        return self._shown

    def close(self) -> None:
        """Kill the command, if it has not ended."""
        self.process.kill()
        self.process.wait(timeout=SECONDS)
        os.close(self._master)
