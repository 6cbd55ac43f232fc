"""Thirty processes on this machine: they join, find each other, lose a third, and agree again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

import aemp_core as mp
import aemp_global as gl

PROGRAM = Path(__file__).with_name("member.py")
SECRET = "a secret of thirty processes"
GLOBALS = ["g1", "g2", "g3"]
ORDINARY = [f"n{number}" for number in range(27)]
#: Generous: the machine may be busy with other tests.
SECONDS = 40


async def agreed(node: mp.Node, count: int) -> float:
    """Wait until so many members all see the same, this node too; how long it took."""
    began = time.monotonic()
    while time.monotonic() - began < SECONDS:
        ports = sorted(gl.of(node).grp_get("crowd"))
        if len(ports) == count:
            calls = [node.cal(port, "see", timeout=5) for port in ports]
            seen = await asyncio.gather(*calls, return_exceptions=True)
            if all(answer == (ports,) for answer in seen):
                return time.monotonic() - began
        await asyncio.sleep(0.05)
    raise AssertionError(f"{count} members do not agree within {SECONDS} s")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes of the crowd are forked")
async def test_thirty_processes_lose_a_third_and_agree_again(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    zygote = await asyncio.create_subprocess_exec(
        sys.executable, PROGRAM, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert zygote.stdin is not None and zygote.stdout is not None
    told = {"directory": str(tmp_path), "secret": SECRET, "globals": GLOBALS,
            "nodes": [*GLOBALS, *ORDINARY]}  # fmt: skip
    zygote.stdin.write(json.dumps(told).encode() + b"\n")
    pids = json.loads(await zygote.stdout.readline())
    try:
        seeds = [f"unix://{tmp_path}/{each}" for each in GLOBALS]
        watcher = mp.Node("watcher", seeds=seeds, secret=SECRET, heartbeat=2, role="ordinary")
        async with watcher:
            gl.of(watcher).grp_get("crowd")
            joined = await agreed(watcher, 30)
            ports = sorted(gl.of(watcher).grp_get("crowd"))
            # Each finds its neighbour in the list, by nothing but the port.
            pairs = list(zip(ports, ports[1:] + ports[:1], strict=True))
            met = await asyncio.gather(
                *(watcher.cal(one, "meet", other, timeout=20) for one, other in pairs)
            )
            assert met == [(mp.node_of(other),) for _, other in pairs]
            # One link to the watcher, one to each of two neighbours, one to a global; or to two, if
            # the first that was dialled took half a second to answer.
            for port in ports:
                if mp.node_of(port) in ORDINARY:
                    (links,) = await watcher.cal(port, "links", timeout=20)
                    assert len(set(links) - {"watcher"}) <= 4
            victims = ["g2", *ORDINARY[::3]]
            assert len(victims) == 10
            for victim in victims:
                os.kill(pids[victim], signal.SIGKILL)
            again = await agreed(watcher, 20)
            left = {mp.node_of(port) for port in gl.of(watcher).grp_get("crowd")}
            assert left == set(pids) - set(victims)
            print(f"joined in {joined:.2f} s, agreed again in {again:.2f} s")
    finally:
        zygote.stdin.close()
        await asyncio.wait_for(zygote.wait(), SECONDS)
