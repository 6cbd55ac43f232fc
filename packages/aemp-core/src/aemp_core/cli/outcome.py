"""Outcomes: the exit codes of the ``aemp`` command, and the errors that stand for them.

Signals end ``run`` in good order, with 0; for ``mon`` and others a command's manual says what is
special about a code of it.
"""

from __future__ import annotations

from ..errors import AempError, CallTimeout, UsageError

__all__ = ["MEANINGS", "Failed", "exit_code"]

DONE = 0
FAILED = 1
USAGE = 2
TIMED_OUT = 3
INTERRUPTED = 130
TERMINATED = 143

#: Exit code -> what it means.
MEANINGS = {
    DONE: "done",
    FAILED: "it did not work out",
    USAGE: "wrong use or configuration; nothing was done",
    TIMED_OUT: "something waited for did not happen within the timeout",
    INTERRUPTED: "ended by Ctrl-C",
    TERMINATED: "ended by SIGTERM",
}


class Failed(AempError):
    """It did not work out; the text is what the user is told, `code` the exit code."""

    def __init__(self, text: str, code: int = FAILED) -> None:
        super().__init__(text)
        self.code = code


def exit_code(error: AempError) -> int:
    """The exit code that stands for `error`."""
    if isinstance(error, Failed):
        return error.code
    if isinstance(error, CallTimeout):
        return TIMED_OUT
    return USAGE if isinstance(error, UsageError) else FAILED
