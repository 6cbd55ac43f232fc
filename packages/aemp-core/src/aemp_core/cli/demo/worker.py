"""A worker process: a node with the counter service, for as long as its standard input is open.

The first line of the standard input is a JSON object: ``nodeid``, ``seeds`` and ``secret``. So
the secret shows up neither in the list of processes nor in the environment, and when the driver
is gone, however it ended, the input ends and the worker with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import threading
import time
from typing import Any

__all__: list[str] = []

GRACE_SECONDS = 2.0


def _until_input_ends(loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    # os.read, not sys.stdin: a daemon thread inside a buffered reader holds its lock, and
    # the interpreter aborts if it must take that lock at exit.
    with contextlib.suppress(OSError):  # some systems tell of a dead driver by an error
        while os.read(0, 4096):
            pass
    with contextlib.suppress(RuntimeError):  # the loop is closed already
        loop.call_soon_threadsafe(ended.set)
    time.sleep(GRACE_SECONDS)
    os._exit(1)


async def _work(settings: dict[str, Any]) -> None:
    from ...node import Node
    from .counter import FUNCTION
    from .roll import enrol

    ended = asyncio.Event()
    watch = threading.Thread(
        target=_until_input_ends, args=(asyncio.get_running_loop(), ended), daemon=True
    )
    watch.start()
    async with Node(
        settings["nodeid"],
        seeds=settings["seeds"],
        secret=settings["secret"],
        expose=[FUNCTION.partition(":")[0]],
    ) as node:
        enrol(node)
        await ended.wait()


def main() -> None:
    """Run the worker; started by the driver as a process of its own."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            sys.exit("aemp demo worker: started by 'aemp demo', which tells it what to do")
        line += byte
    asyncio.run(_work(json.loads(line)))


if __name__ == "__main__":
    main()
