"""Signals: what a process that runs a node is told from outside.

SIGTERM and Ctrl-C ask it to leave the network, and the second time end it at once; SIGHUP asks it
to reload. They are handled by Python itself and not by the event loop, so that a second SIGTERM
ends a process whose loop is stuck, too.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

__all__ = ["HANGUP", "TWICE_SECONDS", "catch"]

#: None on Windows.
HANGUP: int | None = getattr(signal, "SIGHUP", None)
#: Seconds within which a second signal is the same wish: timeout(1), for one, sends each twice.
TWICE_SECONDS = 0.1


def catch(
    loop: asyncio.AbstractEventLoop,
    leave: Callable[[], None],
    reload: Callable[[], None],
    *,
    patient: bool,
) -> None:
    """From now on call `leave` or `reload` in `loop`, which is running in the main thread.

    Args:
        loop: the loop.
        leave: called once.
        reload: called for each SIGHUP.
        patient: a second SIGTERM is ignored, because an overseer decides how long to wait, and a
            service manager may send the signal to both.
    """
    asked: float | None = None

    def call(function: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop is closed: the process is about to end
            loop.call_soon_threadsafe(function)

    def end(number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked is None:
            asked = time.monotonic()
            call(leave)
        elif not patient and time.monotonic() - asked >= TWICE_SECONDS:
            _end_at_once(number)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    if HANGUP is not None:
        signal.signal(HANGUP, lambda _number, _frame: call(reload))


def _end_at_once(number: int) -> None:
    """End the process without any further ado, as the signal would have."""
    with suppress(OSError):
        os.write(sys.stderr.fileno(), b"aemp: ended at once\n")
    os._exit(128 + number)
