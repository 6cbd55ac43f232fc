"""A child: one process that runs a node, as its overseer sees it.

waiting --its time has come--> starting --says it is up--> up
   ^                              |                         |
   +------ its process ended -----+-------------------------+
"""

from __future__ import annotations

import enum
import os
import signal
import socket
import subprocess
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from .tether import Lines

__all__ = ["Child", "State"]

#: Seconds before a process that ended is started again: the first time, and at most.
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 60.0
#: Seconds a node must have been up for the pause to be the first one again.
HEALTHY_SECONDS = 60.0
#: Seconds to wait for a process that was killed to be gone.
KILL_SECONDS = 1.0


class State(enum.Enum):
    """What a child is doing."""

    WAITING = "waiting"
    STARTING = "starting"
    UP = "up"


class Child:
    """One process, and its successors.

    Args:
        node_id: the ID of its node.
        command: makes the command line, given the file descriptor of the tether.

    Attributes:
        node_id: the same.
        state: what it is doing.
        was_up: whether it ever was up.
        due: when to start it, while it is waiting.
        began: when it was started or came up, whatever was last.
        silent: for how long the node has said nothing.
        abort_due: when to kill it, if it was told to end because it is stuck.
        wants_restart: whether it said that it ends in order to be started again.
        reloading: whether it was asked to reload and has not answered.
        reload_wanted: whether it shall reload once it is up.
    """

    def __init__(self, node_id: str, command: Callable[[int], list[str]]) -> None:
        self.node_id = node_id
        self.state = State.WAITING
        self.was_up = False
        self.due = 0.0
        self.began = 0.0
        self.silent = 0.0
        self.abort_due: float | None = None
        self.wants_restart = False
        self.reloading = False
        self.reload_wanted = False
        self._command = command
        self._pause = FIRST_PAUSE
        self._process: subprocess.Popen[bytes] | None = None
        self._lines: Lines | None = None

    @property
    def pid(self) -> int | None:
        """The process ID; None while there is no process."""
        return None if self._process is None else self._process.pid

    @property
    def lines(self) -> Lines | None:
        """What the process says; None while there is none."""
        return self._lines

    def start(self, now: float) -> None:
        """Start the process; `OSError` if the system has no room for one more."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = subprocess.Popen(
                    self._command(theirs.fileno()),
                    stdin=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    # Ctrl-C in a terminal is for us, who pass it on.
                    start_new_session=True,
                )
            except BaseException:
                ours.close()
                raise
        self._lines = Lines(ours)
        self.state = State.STARTING
        self.began = now
        self.silent = 0.0
        self.abort_due = None
        self.wants_restart = self.reloading = self.reload_wanted = False

    def read(self) -> list[list[Any]]:
        """What it said since the last time."""
        return [] if self._lines is None else self._lines.read()

    def came_up(self, now: float) -> None:
        """It says that its node is up."""
        self.state = State.UP
        self.was_up = True
        self.began = now

    def ended(self) -> int | None:
        """The exit code if the process has just ended, negative for a signal; else None."""
        if self._process is None:
            return None
        code = self._process.poll()
        if code is not None:
            self._process = None
        return code

    def close(self) -> None:
        """Listen to the process no more."""
        if self._lines is not None:
            self._lines.close()
            self._lines = None

    def wait(self, now: float) -> float:
        """Wait with the next start, the longer the more often it ended; return the seconds."""
        if self.state is State.UP and now - self.began >= HEALTHY_SECONDS:
            self._pause = FIRST_PAUSE
        pause = 0.0 if self.wants_restart else self._pause
        if not self.wants_restart:
            self._pause = min(self._pause * 2, LONGEST_PAUSE)
        self.state = State.WAITING
        self.due = now + pause
        return pause

    def signal(self, number: int) -> None:
        """Send a signal to the process, if there is one."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    def kill(self) -> None:
        """End the process, and whatever it started in its session, at once."""
        if self._process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):  # the kernel holds it, on a dead disk
                self._process.wait(KILL_SECONDS)
