"""Hangup: SIGHUP has nodes look at their certificates at once.

Only where the signal would end the process otherwise: who handles or ignores it has a reason. Of
several nodes on one loop all look, and the signal is what it was when the last of them is closed.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aemp_core.node import Node

__all__ = ["Hangup"]

#: Who listens, by loop.
_listening: dict[asyncio.AbstractEventLoop, dict[Hangup, None]] = {}


class Hangup:
    """One node that listens to SIGHUP; a job of the node, and so ended with it.

    Args:
        node: the node, whose loop is running.
        look: what to call.
    """

    def __init__(self, node: Node, look: Callable[[], None]) -> None:
        self._node = node
        self._look = look
        loop = node.loop
        # Not on Windows, and not outside the main thread.
        with suppress(AttributeError, NotImplementedError, RuntimeError, ValueError):
            if loop not in _listening:
                if signal.getsignal(signal.SIGHUP) is not signal.SIG_DFL:
                    return
                loop.add_signal_handler(signal.SIGHUP, _heard, loop)
                _listening[loop] = {}
            _listening[loop][self] = None
            node.add_job(None, self)

    def cancel(self) -> None:
        """Listen no more."""
        loop = self._node.loop
        self._node.drop_job(None, self)
        if _listening.get(loop, {}).pop(self, self) is None and not _listening[loop]:
            del _listening[loop]
            loop.remove_signal_handler(signal.SIGHUP)

    def look(self) -> None:
        """Have the node look."""
        self._node.call_in(None, self._look)


def _heard(loop: asyncio.AbstractEventLoop) -> None:
    for hangup in list(_listening.get(loop, ())):
        hangup.look()
