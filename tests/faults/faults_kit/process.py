"""A node in a process of its own, as the test sees it: orders go in, answers and reports come out.

Both are lines of JSON, over the standard input and output of the process; what the process does
with them is told in `actor`. It is killed when the test ends, however it ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from .machine import PATH, Host, owned

__all__ = ["Process", "processes"]

#: Seconds an answer or a report may take, unless more is said.
SECONDS = 30.0
#: Where such a process finds the kit.
MODULES = os.pathsep.join(
    filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")])
)
LINE_LIMIT = 64 * 2**20


class OrderFailed(Exception):
    """The process could not do what it was told; its traceback is the text."""


class Process:
    """One process on one host, playing one role."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self.pid = process.pid
        self._process = process
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._reports: dict[str, asyncio.Queue[dict[str, Any]]] = defaultdict(asyncio.Queue)
        self._reader = asyncio.ensure_future(self._read())
        self._count = 0

    @classmethod
    async def start(cls, host: Host, role: str, **settings: Any) -> Process:
        """Start a process on `host` that plays `role`, ``module:class`` of the kit."""
        process = await asyncio.create_subprocess_exec(
            *owned(*host.command(sys.executable, "-m", "faults_kit.actor", role)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PATH": PATH, "PYTHONPATH": MODULES},
            limit=LINE_LIMIT,
        )
        self = cls(f"{role} on {host.name}", process)
        try:
            await self.ask("open", **settings)
        except BaseException:
            await self.kill()
            raise
        return self

    async def ask(self, order: str, /, *, within: float = SECONDS, **arguments: Any) -> Any:
        """Have the method `order` of the role called there; return what it returns."""
        self._count += 1
        number = self._count
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        line = json.dumps({"order": order, "number": number, "arguments": arguments})
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        try:
            return await asyncio.wait_for(answer, within)
        except asyncio.TimeoutError:
            raise TimeoutError(f"{self.name}: no answer to {order} in {within:g} s") from None

    async def report(self, kind: str, seconds: float = SECONDS) -> dict[str, Any]:
        """The next report of a kind."""
        try:
            return await asyncio.wait_for(self._reports[kind].get(), seconds)
        except asyncio.TimeoutError:
            raise TimeoutError(f"{self.name}: no {kind!r} within {seconds:g} s") from None

    def reports(self, kind: str) -> list[dict[str, Any]]:
        """The reports of a kind that came and were not taken yet."""
        queue = self._reports[kind]
        return [queue.get_nowait() for _ in range(queue.qsize())]

    def signal(self, number: int) -> float:
        """Send a signal; returns when, on the clock all processes share."""
        when = time.monotonic()
        os.kill(self.pid, number)
        return when

    async def kill(self) -> None:
        """End it by SIGKILL, and wait for its end. Idempotent."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._reader
        assert self._process.stdin is not None
        self._process.stdin.close()

    async def stop(self) -> None:
        """Have it close its node and end by itself."""
        assert self._process.stdin is not None
        await self.ask("close")
        self._process.stdin.close()
        await asyncio.wait_for(self._process.wait(), SECONDS)
        await self.kill()

    def memory(self) -> dict[str, int]:
        """Resident bytes as the kernel counts them: now, and the most since `forget_peak`."""
        found = {}
        with open(f"/proc/{self.pid}/status", encoding="ascii") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name in ("VmRSS", "VmHWM"):
                    found[{"VmRSS": "now", "VmHWM": "peak"}[name]] = int(value.split()[0]) * 1024
        return found

    def cpu_seconds(self) -> float:
        """The time it had a processor to itself, since its start."""
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def forget_peak(self) -> None:
        """Have the kernel count the peak from here."""
        with open(f"/proc/{self.pid}/clear_refs", "w", encoding="ascii") as file:
            file.write("5")

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            message = json.loads(line)
            if "report" in message:
                self._reports[message.pop("report")].put_nowait(message)
                continue
            answer = self._answers.pop(message["number"])
            if answer.done():
                continue
            if "error" in message:
                answer.set_exception(OrderFailed(f"{self.name}: {message['error']}"))
            else:
                answer.set_result(message["result"])
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(OrderFailed(f"{self.name} has ended"))


class Cast:
    """The processes of one test."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack

    async def start(self, host: Host, role: str, **settings: Any) -> Process:
        """See `Process.start`; it is killed at the end."""
        process = await Process.start(host, role, **settings)
        self._stack.push_async_callback(process.kill)
        return process


@asynccontextmanager
async def processes() -> AsyncIterator[Cast]:
    """Starts processes that end with the block."""
    async with AsyncExitStack() as stack:
        yield Cast(stack)
