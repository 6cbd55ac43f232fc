"""Refusals: what was refused and from where, in the log, without letting a peer fill the disk.

Whoever can reach a node can be refused as often as they like. So lines are counted by *kind*, a
fixed word of ours that no peer chooses: of each kind a few lines per window are written, the
rest is counted, and the first line of a later window says how many there were.
"""

from __future__ import annotations

import asyncio
import logging
from weakref import WeakKeyDictionary

__all__ = ["LINES", "WINDOW_SECONDS", "warn"]

log = logging.getLogger("aemp_core.refusals")

#: Lines of one kind written in one window.
LINES = 10
WINDOW_SECONDS = 10.0


class Tally:
    """The lines of one kind on one loop."""

    __slots__ = ("began", "count")

    def __init__(self) -> None:
        self.began = float("-inf")
        self.count = 0


_tallies: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Tally]] = WeakKeyDictionary()


def warn(loop: asyncio.AbstractEventLoop, kind: str, text: str, *args: object) -> None:
    """Log a refusal, unless `LINES` of its kind were logged in the present window.

    Args:
        loop: whose clock counts the windows, and whose lines are counted together.
        kind: a fixed word for what was refused.
        text: the line, with ``%`` places for `args` as in `logging`.
    """
    tallies = _tallies.get(loop)
    if tallies is None:
        tallies = _tallies[loop] = {}
    tally = tallies.get(kind)
    if tally is None:
        tally = tallies[kind] = Tally()
    now = loop.time()
    missed = 0
    if now - tally.began >= WINDOW_SECONDS:
        missed = max(0, tally.count - LINES)
        tally.began, tally.count = now, 0
    tally.count += 1
    if tally.count > LINES:
        return
    if missed:
        log.warning(text + " (and %d more refusals of this kind before)", *args, missed)
    else:
        log.warning(text, *args)
