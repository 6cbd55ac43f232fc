"""One run of one contestant, in a process of its own that stays on one processor.

`run_once` starts it and returns its figures. A contestant that needs a second process starts it
with `partner`; both use the same processor, or one each, as the run says.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

__all__ = ["Absent", "Figures", "Run", "ended", "memory", "partner", "ready", "run_once", "stay"]

ROOT = Path(__file__).parent.parent
#: Seconds one run may take.
DEADLINE = 300

Figures = dict[str, float]

TEXT = "abcdefghijklmnopqrstuvwxyz012345"
MESSAGES: dict[str, tuple[Any, ...]] = {
    "small": ("tag", 1, TEXT),
    "1 KiB": ("tag", 1, TEXT * 32),
    "nested": ("tag", 1, {"name": TEXT, "place": [1.5, -2.5, True], "tags": ["a", "b", None]}),
}


class Absent(Exception):
    """Something a run needs is not on this machine; the text says what would bring it."""


@dataclass(frozen=True)
class Run:
    """What a contestant is to do.

    Attributes:
        count: how many messages, calls, ports: whatever the workload counts.
        size: what a sweep changes: a backlog, ports there are, peers there are.
        kind: which of `MESSAGES` is sent.
        loop: the event loop, "asyncio" or "uvloop".
        processors: 1 if both processes share one, else 2.
        allowed: the processors there are to choose from, by number; `run_once` looks.
        more: what only one contestant knows.
    """

    count: int
    size: int = 0
    kind: str = "small"
    loop: str = "asyncio"
    processors: int = 2
    allowed: list[int] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def message(self) -> tuple[Any, ...]:
        """What is sent."""
        return MESSAGES[self.kind]


def run_once(where: str, run: Run) -> Figures:
    """Run the contestant ``module:function`` of `benchmarks.contestants` once.

    Raises `Absent` if this machine lacks what it needs.
    """
    if hasattr(os, "sched_getaffinity"):
        # Now: who is on one processor sees that one only, and so do those it starts.
        run = replace(run, allowed=sorted(os.sched_getaffinity(0)))
    with subprocess.Popen(
        _command(where, run, place=0),
        cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            output, _ = process.communicate(timeout=DEADLINE)
        except BaseException:  # the interrupt of a terminal, too: what it started is of its group
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode:
        raise RuntimeError(f"{where} ended with {process.returncode}")
    answer = json.loads(output.splitlines()[-1])
    if "absent" in answer:
        raise Absent(answer["absent"])
    figures: Figures = answer
    return figures


@asynccontextmanager
async def partner(where: str, run: Run, **more: Any) -> AsyncIterator[str]:
    """A second process that runs ``module:function``, which calls `ready` and then `ended`.

    Gives the line it is ready with; on leaving, the process is told to end.
    """
    run = Run(**{**asdict(run), "more": {**run.more, **more}})
    process = await asyncio.create_subprocess_exec(
        *_command(where, run, place=run.processors - 1),
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    try:
        line = await process.stdout.readline()
        if not line:
            raise RuntimeError(f"{where} ended with {await process.wait()}")
        yield line.decode().strip()
    finally:
        process.stdin.close()
        await process.wait()


def ready(line: str) -> None:
    """Called in a partner: tell who started it that it is ready."""
    print(line, flush=True)


async def ended() -> None:
    """Called in a partner: return when the one who started it needs it no more."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    await reader.read()
    transport.close()


def stay(run: Run, place: int) -> None:
    """Have this process stay on the processor that is at `place` among those allowed."""
    if run.allowed:
        os.sched_setaffinity(0, {run.allowed[place % len(run.allowed)]})


def memory() -> int:
    """Bytes of memory this process takes."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def _command(where: str, run: Run, place: int) -> list[str]:
    return [sys.executable, "-m", "benchmarks.process", where, str(place), json.dumps(asdict(run))]


def _main(where: str, place: str, text: str) -> None:
    run = Run(**json.loads(text))
    stay(run, int(place))
    module, _, name = where.partition(":")
    try:
        function: Callable[[Run], Any]
        function = getattr(importlib.import_module(f"benchmarks.contestants.{module}"), name)
        figures = _call(function, run)
    except (ImportError, Absent) as error:
        figures = {"absent": str(error)}
    if figures is not None:
        print(json.dumps(figures))


def _call(function: Callable[[Run], Any], run: Run) -> Any:
    if not inspect.iscoroutinefunction(function):
        return function(run)
    loop: asyncio.AbstractEventLoop
    if run.loop == "uvloop":
        import uvloop

        loop = uvloop.new_event_loop()
    else:
        loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(function(run))
    finally:
        loop.close()


if __name__ == "__main__":
    _main(*sys.argv[1:])
