"""Worker processes as the driver sees them: started, killed, and never left behind."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from typing import IO

__all__ = ["WorkerProcess"]

EXIT_SECONDS = 5.0


class WorkerProcess:
    """One process that runs `aemp_core.cli.demo.worker`.

    It ends when we close its standard input, which the operating system does for us if we die.
    """

    def __init__(self, process: asyncio.subprocess.Process, errors: IO[bytes]) -> None:
        self._process = process
        self._errors = errors
        self.pid = process.pid

    @classmethod
    async def start(cls, node_id: str, seeds: Sequence[str], secret: str) -> WorkerProcess:
        """Start the process of node `node_id`; it is a link only some time later."""
        errors = tempfile.TemporaryFile()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "aemp_core.cli.demo.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=errors,
            # Ctrl-C goes to the whole foreground group; ending the workers is the driver's job.
            start_new_session=os.name == "posix",
        )
        worker = cls(process, errors)
        told = {"nodeid": node_id, "seeds": list(seeds), "secret": secret}
        assert process.stdin is not None
        process.stdin.write(json.dumps(told).encode() + b"\n")
        return worker

    @property
    def running(self) -> bool:
        """Whether the process was running when the loop last looked."""
        return self._process.returncode is None

    def kill(self) -> None:
        """End the process at once, with SIGKILL: it has no chance to say good-bye."""
        if self.running:
            self._process.kill()

    async def wait(self) -> None:
        """Return when the process has ended."""
        await self._process.wait()

    def last_words(self) -> str:
        """The last line the process wrote to its standard error output."""
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "it said nothing")

    async def end(self) -> None:
        """Let the process end; kill it if it does not within a few seconds."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), EXIT_SECONDS)
        except asyncio.TimeoutError:
            self.kill()
            await self._process.wait()
        self._errors.close()
