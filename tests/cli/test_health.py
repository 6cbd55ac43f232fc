"""The health endpoint of ``aemp run``, asked over real sockets."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest

from .conftest import Network, end, read_line

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


@pytest.mark.parametrize("network_wide", [True, False], ids=["with aemp-global", "core alone"])
def test_a_node_is_ready_while_it_is_part_of_its_network(
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
    words = ("nodeid=x", f"seeds=tcp://127.0.0.1:{seed_port}")
    process = start("run", "--health", f"127.0.0.1:{port}", *words)
    assert read_line(process, "node ") == "x"
    assert ask(port, "/healthz") == (200, {"node": "x", "alive": True})
    status, told = ask(port, "/readyz")
    assert (status, told["ready"]) == (503, False)
    assert ("global" in told["why"]) is network_wide
    seed = start("run", "nodeid=seed", f"binds=tcp://127.0.0.1:{seed_port}")
    read_line(seed, "node ")
    until_ready(port)
    assert ask(port, "/readyz") == (200, {"node": "x", "ready": True})
    assert ask(port, "/readyz", "HEAD") == (200, None)
    end(seed, signal.SIGTERM)
    while ask(port, "/readyz")[0] != 503:
        time.sleep(0.02)
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


def raw(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 40) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := connection.recv(4096):
            answer += chunk
        return answer


def test_requests_are_bounded_and_wrong_ones_are_told(start: Start) -> None:
    port = free_port()
    process = start("run", "--health", f":{port}", "nodeid=x")
    read_line(process, "node ")
    assert ask(port, "/")[0] == 404
    assert ask(port, "/healthz?verbose=1")[0] == 200
    assert ask(port, "/healthz", "POST")[0] == 405
    assert raw(port, b"hello\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert raw(port, b"GET /healthz HTTP/1.1\r\nX: " + b"x" * 8_000).startswith(b"HTTP/1.1 431 ")
    assert raw(port, b"GET /healthz HTTP/1.1\r\n") == b""
    # Whoever holds all connections has five seconds.
    idle = [socket.create_connection(("127.0.0.1", port), 40) for _ in range(40)]
    assert any(each.recv(1) == b"" for each in reversed(idle))
    for each in idle:
        each.close()
    while True:  # until all are gone
        try:
            assert ask(port, "/healthz")[0] == 200
        except (ConnectionError, http.client.HTTPException):
            time.sleep(0.02)
        else:
            break
    assert end(process, signal.SIGTERM) == (0, "", "")


def test_a_unix_socket_is_its_owners_and_replaced_when_it_is_dead(
    network: Network, start: Start
) -> None:
    path = network.path / "health"
    words = ("run", "--health", str(path), "nodeid=x")
    process = start(*words)
    read_line(process, "node ")
    assert path.stat().st_mode & 0o777 == 0o600
    refused = network.aemp(*words)
    assert refused.returncode == 1
    assert refused.stderr == (
        f"aemp: health: {path}: is in use: end what listens there, or use another address\n"
    )
    process.kill()
    process.wait(timeout=40)
    process = start(*words)
    read_line(process, "node ")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(40)
        connection.connect(str(path))
        connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
    assert end(process, signal.SIGTERM) == (0, "", "")
    assert not path.exists()


def test_a_health_address_that_is_none_is_refused(network: Network) -> None:
    result = network.aemp("run", "--health", "somewhere", "nodeid=x")
    assert result.returncode == 2
    assert "health = 'somewhere': HOST:PORT is needed, or the /PATH of a unix" in result.stderr
