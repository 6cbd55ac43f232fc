"""Erlang/OTP: processes of one node, and of two on 127.0.0.1; `peer_erlang.erl` does the work.

Both nodes know of one port, so that they need no epmd, and of a cookie that is of this run alone.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from ..peers import program
from ..process import Absent, Figures, Run, ended, partner, ready
from .pace import BURST

SOURCE = Path(__file__).with_suffix(".erl")
LISTENER = "listener@127.0.0.1"


@asynccontextmanager
async def _home() -> AsyncIterator[Path]:
    """A home for nodes: with the compiled module and a cookie."""
    erlc = program("erlc")
    if erlc is None:
        raise Absent("apt-get install erlang-base")
    with tempfile.TemporaryDirectory(prefix="aemp-bench-") as directory:
        home = Path(directory)
        cookie = home / ".erlang.cookie"
        cookie.touch(0o600)
        cookie.write_text(secrets.token_hex(16))
        compiler = await asyncio.create_subprocess_exec(erlc, "-o", home, SOURCE, env=_env(home))
        if await compiler.wait():
            raise RuntimeError(f"erlc does not compile {SOURCE}")
        yield home


def _env(home: Path) -> dict[str, str]:
    return {**os.environ, "HOME": str(home), "ERL_CRASH_DUMP_SECONDS": "0"}


async def _node(home: Path, function: str, *flags: str) -> Process:
    """Start a node that calls a function of the module."""
    path = program("erl")
    if path is None:
        raise Absent("apt-get install erlang-base")
    return await asyncio.create_subprocess_exec(
        path, "-noshell", *flags, "-pa", home, "-s", "peer_erlang", function,
        env=_env(home), stdin=PIPE, stdout=PIPE,
    )  # fmt: skip


def _distributed(name: str, port: int) -> tuple[str, ...]:
    """The flags of a node that meets another of this machine at a port."""
    return (
        "-name", name, "-start_epmd", "false", "-erl_epmd_port", str(port),
        "-kernel", "inet_dist_use_interface", "{127,0,0,1}",
    )  # fmt: skip


async def listener(run: Run) -> None:
    """The partner: a node that does what the client asks for."""
    flags = _distributed(LISTENER, run.more["port"])
    node = await _node(Path(run.more["home"]), "listener", *flags)
    assert node.stdin is not None and node.stdout is not None
    try:
        ready((await node.stdout.readline()).decode().strip())
        await ended()
    finally:
        node.stdin.close()  # which ends it
        await node.wait()


async def _figures(home: Path, run: Run, work: str, *flags: str) -> Figures:
    """Have a node do the work; what it prints are figures."""
    told = {"work": work, "count": run.count, "burst": run.size or BURST, "size": run.size}
    more = [word for name, value in told.items() for word in (f"-{name}", str(value))]
    node = await _node(home, "main", *more, *flags)
    output, _ = await node.communicate()
    if node.returncode:
        raise RuntimeError(f"the node ended with {node.returncode}: {output.decode()}")
    return {name: float(figure) for name, figure in map(str.split, output.decode().splitlines())}


async def _local(run: Run, work: str) -> Figures:
    async with _home() as home:
        return await _figures(home, run, work)


async def _remote(run: Run, work: str) -> Figures:
    async with _home() as home:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        async with partner("peer_erlang:listener", run, home=str(home), port=port) as line:
            assert line == "ready", line
            flags = (*_distributed("client@127.0.0.1", port), "-dist_listen", "false")
            return await _figures(home, run, work, *flags, "-peer", LISTENER)


async def paced(run: Run) -> Figures:
    """From one process to another, 50 sends before the sender yields."""
    return await _local(run, "paced")


async def burst(run: Run) -> Figures:
    """The same, all at once."""
    return await _local(run, "burst")


async def fan_out(run: Run) -> Figures:
    """To one process after the other of `size`."""
    return await _local(run, "fan_out")


async def processes(run: Run) -> Figures:
    """Spawn processes, then kill them."""
    return await _local(run, "processes")


async def bursts(run: Run) -> Figures:
    """One-way between nodes, so many sends before the sender yields."""
    return await _remote(run, "bursts")


async def ping_pong(run: Run) -> Figures:
    """One message there and back, again and again, after a tenth as many unmeasured."""
    return await _remote(run, "ping_pong")


async def calls(run: Run) -> Figures:
    """`gen_server:call` by 100 processes."""
    return await _remote(run, "calls")


async def blobs(run: Run) -> Figures:
    """Binaries of 1 MiB."""
    return await _remote(run, "blobs")
