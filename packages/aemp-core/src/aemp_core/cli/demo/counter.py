"""The service of a worker: a function other nodes may spawn, whose ports count words.

    ("count", path, reply port)  ->  ("counted", words, bytes, digest)
                                 or  ("skipped", kind, text)

Paths travel as bytes: file names need not be UTF-8, and texts in messages are.
"""

from __future__ import annotations

import asyncio
from typing import Any

import aemp_core as mp

from .wordcount import Skipped, count_words

__all__ = ["FUNCTION", "start"]

#: What the driver spawns.
FUNCTION = f"{__name__}:start"


@mp.exposed
def start() -> None:
    """Make the port that runs this a counter."""
    mp.rcv(mp.current_port(), count=mp.replies(_count))


async def _count(path: bytes) -> tuple[Any, ...]:
    try:
        # In a thread, so that a long file does not keep the node from answering heartbeats.
        return ("counted", *await asyncio.to_thread(count_words, path))
    except Skipped as skipped:
        return ("skipped", skipped.kind, skipped.text)
