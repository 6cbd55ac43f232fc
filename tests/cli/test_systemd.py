"""What ``aemp run`` tells a service manager, over a real socket."""

from __future__ import annotations

import configparser
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .conftest import Network, read_line

Start = Callable[..., "subprocess.Popen[str]"]

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no unix sockets")


class Manager:
    """A service manager that only listens."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.settimeout(40)

    def next(self) -> dict[str, str]:
        """The next datagram."""
        text = self._socket.recv(4096).decode()
        return dict(line.split("=", 1) for line in text.split("\n"))

    def until(self, key: str) -> dict[str, str]:
        """The next datagram that tells `key`."""
        while key not in (told := self.next()):
            pass
        return told

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(request: pytest.FixtureRequest, network: Network, tmp_path: Path) -> Iterator[Manager]:
    """One that listens at a path, or, with the parameter "abstract", at an abstract name."""
    if getattr(request, "param", "path") == "path":
        address = name = str(tmp_path / "notify")
    elif sys.platform == "linux":
        name = f"@aemp-test-{secrets.token_hex(8)}"
        address = f"\0{name[1:]}"
    else:
        pytest.skip("abstract names are Linux's")
    network.environment["NOTIFY_SOCKET"] = name
    listening = Manager(address)
    yield listening
    listening.close()


@pytest.mark.parametrize("manager", ["path", "abstract"], indirect=True)
def test_a_node_tells_how_it_is(network: Network, start: Start, manager: Manager) -> None:
    network.environment["WATCHDOG_USEC"] = "200000"
    process = start("run", "nodeid=x")
    assert manager.until("READY") == {"READY": "1", "STATUS": "node x is up"}
    assert manager.until("WATCHDOG") == {"WATCHDOG": "1"}
    assert manager.until("WATCHDOG") == {"WATCHDOG": "1"}
    before = time.monotonic_ns() // 1000
    process.send_signal(signal.SIGHUP)
    reloading = manager.until("RELOADING")
    assert before <= int(reloading["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
    assert manager.until("READY")["READY"] == "1"
    process.send_signal(signal.SIGTERM)
    assert manager.until("STOPPING")["STOPPING"] == "1"
    assert process.wait(timeout=40) == 0


def test_the_unit_file_of_the_documentation_is_right(
    network: Network, start: Start, manager: Manager
) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "running.md").read_text()
    unit = configparser.ConfigParser()
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(page.split("```text\n# /etc/systemd/system/aemp.service\n")[1].split("```")[0])
    service = unit["Service"]
    program, *words = service["ExecStart"].split()
    assert program.endswith("/bin/aemp")
    (network.path / "aemp.toml").write_text("[profile.shop]\nnodeid = 'shop'\n")
    network.environment["AEMP_CONFIG"] = str(network.path / "aemp.toml")
    network.environment["WATCHDOG_USEC"] = str(int(service["WatchdogSec"]) * 1_000_000)
    process = start(*words)
    assert manager.until("READY") == {"READY": "1", "STATUS": "1 of 1 nodes up"}
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    process.send_signal(signal.SIGHUP)
    manager.until("RELOADING")
    manager.until("READY")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=int(service["TimeoutStopSec"])) == 0


def test_workers_are_ready_when_all_are_up(
    network: Network, start: Start, manager: Manager
) -> None:
    """And they tell it through their overseer."""
    network.environment["WATCHDOG_USEC"] = "200000"
    (network.path / "shows.py").write_text(
        "import os\nfor name in ('NOTIFY_SOCKET', 'WATCHDOG_USEC'):\n"
        "    print('shown', name in os.environ, flush=True)\n"
    )
    process = start("run", "--workers", "2", "nodeid=x", "services=shows")
    assert manager.until("READY") == {"READY": "1", "STATUS": "2 of 2 nodes up"}
    assert manager.until("WATCHDOG") == {"WATCHDOG": "1"}
    assert [read_line(process, "shown ") for _ in range(4)] == ["False"] * 4
    process.send_signal(signal.SIGHUP)
    assert "MONOTONIC_USEC" in manager.until("RELOADING")
    assert manager.until("READY") == {"READY": "1", "STATUS": "2 of 2 nodes up"}
    process.send_signal(signal.SIGTERM)
    assert manager.until("STOPPING")["STOPPING"] == "1"
    assert process.wait(timeout=40) == 0
