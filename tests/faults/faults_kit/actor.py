"""An actor: a process that holds nodes and does as the test says.

``python -m faults_kit.actor MODULE:CLASS`` makes one object of the class. Each line of standard
input is an order, ``{"order": METHOD, "number": N, "arguments": {...}}``; the method is called
and its result written as ``{"number": N, "result": ...}``. Between orders the object reports what
happens, ``{"report": KIND, "at": SECONDS, ...}``, the seconds being those of the monotonic clock
that all processes of a machine share. The end of the input ends the process.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import inspect
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import aemp_core as mp
from aemp_core.lobby import Lobby
from aemp_core.session import Session

__all__ = ["PORT", "SECRET", "Actor", "heard_at", "notice_bytes"]

SECRET = "a secret of the tests only"
PORT = 4040


class Actor:
    """A role; the public methods of its subclasses are the orders it takes."""

    node: mp.Node

    async def open(self, nodeid: str, **settings: Any) -> None:
        """Start the node."""
        self.node = await mp.Node(nodeid, **{"secret": SECRET, **settings}).start()

    async def close(self) -> None:
        """Close the node."""
        await self.node.close()

    async def up(self, node: str, seconds: float = 20.0) -> float:
        """Wait for a link; returns when it was there."""
        await self.node.up(node, timeout=seconds)
        return time.monotonic()

    def tell(self, kind: str, **values: Any) -> None:
        """Report something to the test."""
        write({"report": kind, "at": time.monotonic(), **values})

    def crowd(self) -> dict[str, int]:
        """How many files are open, and how many strangers wait; takes next to no time."""
        return {
            "files": len(os.listdir("/proc/self/fd")),
            "strangers": len(Lobby.of(self.node)),  # type: ignore[arg-type]
        }

    def census(self) -> dict[str, int]:
        """How much of everything there is in this process, rubbish collected first."""
        gc.collect()
        with open("/proc/self/statm", encoding="ascii") as file:
            pages = int(file.read().split()[1])
        return {
            **self.crowd(),
            "tasks": len(asyncio.all_tasks()),
            "rss": pages * os.sysconf("SC_PAGESIZE"),
            "peers": len(self.node.peers),
            "ports": len(self.node.ports),
            "objects": len(gc.get_objects()),
        }


def write(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


#: When bytes last came in over the link from each node; the handshake's count.
heard_at: dict[str, float] = {}


def notice_bytes(then: Callable[[str, float], None] | None = None) -> None:
    """Have `heard_at` filled, and ``then(node, seconds of silence)`` called with each chunk."""
    begin, receive = Session.__init__, Session.received

    def begun(self: Session, *arguments: Any) -> None:
        begin(self, *arguments)
        heard_at[self.id] = time.monotonic()

    def received(self: Session, messages: Any, size: int) -> None:
        now = time.monotonic()
        if then is not None:
            then(self.id, now - heard_at[self.id])
        heard_at[self.id] = now
        receive(self, messages, size)

    Session.__init__ = begun  # type: ignore[method-assign]
    Session.received = received  # type: ignore[method-assign]


async def obey(actor: Actor, order: dict[str, Any]) -> None:
    """Do one order and answer."""
    try:
        result = getattr(actor, order["order"])(**order["arguments"])
        if inspect.isawaitable(result):
            result = await result
        write({"number": order["number"], "result": result})
    except Exception:
        write({"number": order["number"], "error": traceback.format_exc()})


async def main(role: str) -> None:
    """Take orders until the input ends."""
    module, _, name = role.partition(":")
    actor: Actor = getattr(importlib.import_module(module), name)()
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    doing = set()
    while line := await reader.readline():
        task = asyncio.ensure_future(obey(actor, json.loads(line)))
        doing.add(task)
        task.add_done_callback(doing.discard)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
