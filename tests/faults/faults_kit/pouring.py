"""The role of the tests of memory: a sender that does not ask whether anybody reads."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from typing import Any

from .actor import Actor

__all__ = ["Pourer"]

#: Bytes sent before the loop gets its turn.
TURN = 256 * 1024


class Pourer(Actor):
    """A node that sends far more than is taken, and watches what becomes of it."""

    async def open(self, nodeid: str, *, trace: bool, **settings: Any) -> None:
        self.trace = trace
        if trace:
            tracemalloc.start()
        await super().open(nodeid, **settings)
        self.reasons: dict[str, int] = {}

    async def warm(self, port: str, load: int, total: int) -> None:
        """Send `total` bytes and keep pace: what is grown once is grown now."""
        await self._pour(port, load, total, flush=True)
        gc.collect()
        if self.trace:
            self.before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()

    async def pour(self, port: str, load: int, total: int, flush: bool) -> dict[str, Any]:
        """Send `total` bytes in messages of `load`; returns what happened."""
        self._watch(port)
        most = await self._pour(port, load, total, flush)
        peak = tracemalloc.get_traced_memory()[1] - self.before if self.trace else None
        return {"buffered": most, "traced_peak": peak, "reasons": self.reasons}

    async def _pour(self, port: str, load: int, total: int, flush: bool) -> int:
        node = self.node
        data = b"x" * load
        most = turn = 0
        for _ in range(total // load):
            node.snd(port, "load", data)
            turn += load
            if turn >= TURN:
                turn = 0
                most = max(most, node.buffered())
                await asyncio.sleep(0)
                if flush:
                    await node.flush(node.node_of(port))
        return most

    def _watch(self, port: str) -> None:
        self.node.mon(port, lambda reason: self._lost(port, reason))

    def _lost(self, port: str, reason: tuple[Any, ...]) -> None:
        self.reasons[reason[0]] = self.reasons.get(reason[0], 0) + 1
        self._watch(port)
