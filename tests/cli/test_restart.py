"""``aemp restart``: a node is asked over the network, and comes back as a new life."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from collections.abc import Callable

import pytest

import aemp_core as mp

from .conftest import SECRET, Network, end, read_line

Start = Callable[..., "subprocess.Popen[str]"]

ALLOWED = "rules=[{node = 'anon/*', allow = ['restart']}]"


def told_up(process: subprocess.Popen[str]) -> dict[str, str]:
    assert process.stdout is not None
    told: dict[str, str] = json.loads(process.stdout.readline())
    return told


async def line_of(process: subprocess.Popen[str], begins: str) -> str:
    return await asyncio.get_running_loop().run_in_executor(None, read_line, process, begins)


async def test_a_single_node_becomes_the_same_command_again(network: Network, start: Start) -> None:
    """With the same ID, process ID and directory, as often as it is asked."""
    (network.path / "moves.py").write_text(
        "import os\nimport aemp_core as mp\n"
        "print('moves', os.getpid(), 'MOVED' in os.environ, flush=True)\n"
        "os.chdir('/')\nos.environ['MOVED'] = '1'\n"
    )
    async with mp.Node("first", binds=["tcp://127.0.0.1:0"], secret=SECRET) as first:
        seed = first.addresses[0]
        words = ("nodeid=x/%u", "services=moves", "binds=tcp://127.0.0.1:0", f"seeds={seed}")
        process = start("run", *words, "rules=[{node = '*', allow = ['restart']}]")
        assert await line_of(process, "moves ") == f"{process.pid} False"
        name = await line_of(process, "node ")
        visit = start("restart", "--seed", seed, "--timeout", "40", name)
        assert await line_of(visit, f"{name} is ") == "back"
        assert await line_of(process, "moves ") == f"{process.pid} False"
        assert await line_of(process, "node ") == name
        assert await first.cal(name, "restart", timeout=40) == ("",)
        assert await line_of(process, "moves ") == f"{process.pid} False"
        assert await line_of(process, "node ") == name
        process.send_signal(signal.SIGTERM)
        assert await first.loop.run_in_executor(None, process.wait, 40) == 0


def test_a_worker_is_started_again_by_its_overseer_at_once(network: Network, start: Start) -> None:
    network.environment["AEMP_LOG_LEVEL"] = "INFO"
    process = start(
        "run", "--json", "--workers", "2", "nodeid=x", "binds=tcp://127.0.0.1:0", ALLOWED
    )
    ups = {told["node"]: told for told in (told_up(process) for _ in range(2))}
    seed = ups["x/1"]["addresses"][0]
    result = network.aemp("restart", "--json", "--seed", seed, "--timeout", "40", "x/2")
    assert (result.returncode, json.loads(result.stdout)) == (0, {"node": "x/2", "restarted": True})
    assert told_up(process)["node"] == "x/2"
    code, _, errors = end(process, signal.SIGTERM)
    assert code == 0
    assert "node x/2 ended by exit code 0, as it was asked to: it is started again\n" in errors


@pytest.mark.parametrize(
    ("rules", "text"),
    [
        ([], "restarting is not allowed here: that needs the rule 'restart'"),
        (
            [{"node": "anon/*", "allow": ["restart"]}],
            "this node was not started by 'aemp run', and cannot restart",
        ),
    ],
)
async def test_it_takes_a_rule_and_the_command(
    start: Start, rules: list[dict[str, object]], text: str
) -> None:
    async with mp.Node("x", binds=["tcp://127.0.0.1:0"], secret=SECRET, rules=rules) as node:
        visit = start("restart", "--seed", node.addresses[0], "x")
        _, errors = await node.loop.run_in_executor(None, visit.communicate)
        assert (visit.returncode, errors) == (1, f"aemp: x: {text}\n")
        assert not node.closing
