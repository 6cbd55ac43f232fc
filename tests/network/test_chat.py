"""The chat examples, both designs, as processes in which somebody types."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SECONDS = 30


class Program:
    """One terminal."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        assert process.stdin is not None and process.stdout is not None
        self._in, self._out = process.stdin, process.stdout

    @classmethod
    async def start(cls, address: str, name: str, *words: str) -> Program:
        process = await asyncio.create_subprocess_exec(
            sys.executable, EXAMPLES / name, *words,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            env={**os.environ, f"AEMP_{'BINDS' if 'server' in name else 'SEEDS'}": address},
        )  # fmt: skip
        return cls(process)

    def type(self, line: str) -> None:
        self._in.write(line.encode() + b"\n")

    async def shows(self, text: str) -> None:
        """Read until a line has `text` in it."""
        while True:
            line = await asyncio.wait_for(self._out.readline(), SECONDS)
            assert line, f"it ended before it showed {text!r}"
            if text in line.decode():
                return


@asynccontextmanager
async def chat(design: str) -> AsyncIterator[tuple[Program, Program, Program, str]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    programs = [await Program.start(address, f"chat_{design}_server.py")]
    try:
        await programs[0].shows("the chat is open")
        for nick in ("ann", "ben"):
            programs.append(await Program.start(address, f"chat_{design}_client.py", nick))
            for program in programs[1:]:
                await program.shows(f"{nick}: is here")
        yield programs[0], programs[1], programs[2], address
    finally:
        for program in programs:
            if program.process.returncode is None:
                program.process.kill()
            await program.process.wait()


@pytest.mark.parametrize("design", ["group", "spawn"])
async def test_what_one_says_all_hear_and_who_goes_is_missed(design: str) -> None:
    async with chat(design) as (server, ann, ben, _):
        ann.type("hello, who is there?")
        for program in (ann, ben):
            await program.shows("ann: hello, who is there?")
        ben.type("it is me")
        await ann.shows("ben: it is me")
        ben.process.send_signal(signal.SIGKILL)
        await ann.shows("ben: has left")
        ann.type("alone again")
        await ann.shows("ann: alone again")
        server.process.kill()
        await ann.shows("the chat is over")
        assert await asyncio.wait_for(ann.process.wait(), SECONDS) == 0


@pytest.mark.parametrize("design", ["group", "spawn"])
async def test_who_types_no_more_leaves_in_order(design: str) -> None:
    async with chat(design) as (server, ann, ben, _):
        ben.process.stdin.close()  # type: ignore[union-attr]
        await ben.shows("bye")
        assert await asyncio.wait_for(ben.process.wait(), SECONDS) == 0
        await ann.shows("ben: has left")
        server.process.terminate()
        await ann.shows("the chat is over")
        assert await asyncio.wait_for(server.process.wait(), SECONDS) == 0


def test_each_is_short() -> None:
    found = sorted(EXAMPLES.glob("chat_*.py"))
    assert len(found) == 4
    assert all(len(path.read_text().splitlines()) < 60 for path in found)
