"""Outcomes: the exit codes of the ``aemp`` command, and the errors that stand for them.

===== ==========================================================================
code  meaning
===== ==========================================================================
0     done; for ``mon``: the port ended normally
1     it did not work out: a port died, a node was lost, totals differ
2     wrong use or wrong configuration; nothing was done
3     something waited for did not happen within the timeout
130   ended by Ctrl-C (``run`` ends with 0)
143   ended by SIGTERM (``run`` ends with 0)
===== ==========================================================================
"""

from __future__ import annotations

from ..errors import AempError, CallTimeout, UsageError

__all__ = ["Failed", "exit_code"]

DONE = 0
FAILED = 1
USAGE = 2
TIMED_OUT = 3
INTERRUPTED = 130
TERMINATED = 143


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
