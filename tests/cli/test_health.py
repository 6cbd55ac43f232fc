"""The health endpoint of ``aemp run``, asked over real sockets."""

from __future__ import annotations

import asyncio
import http.client
import json
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest

import aemp_core as mp

from .conftest import SECRET, Network, end, read_line

Start = Callable[..., "subprocess.Popen[str]"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def ask(port: int, path: str, method: str = "GET") -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=40)
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, json.loads(body) if body else None


def until_ready(port: int) -> None:
    deadline = time.monotonic() + 40
    while ask(port, "/readyz")[0] != 200:
        assert time.monotonic() < deadline
        time.sleep(0.02)


async def told(port: int, path: str) -> tuple[int, Any]:
    return await asyncio.get_running_loop().run_in_executor(None, ask, port, path)


@pytest.mark.parametrize("network_wide", [True, False], ids=["with aemp-global", "core alone"])
async def test_a_node_is_ready_while_it_is_part_of_its_network(
    network: Network, start: Start, network_wide: bool
) -> None:
    if not network_wide:
        # As if aemp-global were not installed.
        (network.path / "sitecustomize.py").write_text(
            "import aemp_core.plugins as plugins\nmanager = plugins.plugin_manager()\n"
            "manager.unregister(name='global')\n"
        )
        network.environment["PYTHONPATH"] = str(network.path)
    port, seed_port = free_port(), free_port()
    seed = f"tcp://127.0.0.1:{seed_port}"
    process = start("run", "--health", f"127.0.0.1:{port}", "nodeid=x", f"seeds={seed}")
    assert read_line(process, "node ") == "x"
    assert await told(port, "/healthz") == (200, {"node": "x", "alive": True})
    status, answer = await told(port, "/readyz")
    assert (status, answer["ready"]) == (503, False)
    assert ("global" in answer["why"]) is network_wide
    async with mp.Node("seed", binds=[seed], secret=SECRET):
        while (await told(port, "/readyz"))[0] != 200:
            await asyncio.sleep(0.02)
        assert await told(port, "/readyz") == (200, {"node": "x", "ready": True})
    while (await told(port, "/readyz"))[0] != 503:
        await asyncio.sleep(0.02)
    assert end(process, signal.SIGTERM) == (0, "", "")


def test_a_node_is_alive_and_not_ready_while_it_starts_and_workers_count_up(
    network: Network, start: Start
) -> None:
    (network.path / "waits.py").write_text(
        "import asyncio, os\n"
        "async def start():\n"
        "    while not os.path.exists('go'):\n        await asyncio.sleep(0.02)\n"
    )
    port = free_port()
    process = start(
        "run", "--workers", "1", "nodeid=x", f"health=:{port}", "services=[['waits:start']]"
    )
    while True:
        try:
            status, told = ask(port, "/readyz")
        except ConnectionRefusedError:
            time.sleep(0.02)
        else:
            break
    assert (status, told["why"]) == (503, "the node is starting")
    assert ask(port, "/healthz") == (200, {"node": "x/1", "alive": True})
    (network.path / "go").touch()
    assert read_line(process, "node ") == "x/1"
    until_ready(port)
    assert end(process, signal.SIGTERM)[0] == 0


def test_a_health_address_that_is_none_is_refused(network: Network) -> None:
    result = network.aemp("run", "--health", "somewhere", "nodeid=x")
    assert result.returncode == 2
    assert "health = 'somewhere': HOST:PORT is needed, or the /PATH of a unix" in result.stderr
