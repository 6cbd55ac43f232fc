"""``aemp run`` as a process: signals, leaving in good order, the event loop, services."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import aemp_core as mp

from .conftest import SECRET, Network, end, read_line

Start = Callable[..., "subprocess.Popen[str]"]

SERVICE = """
import asyncio
import time
import aemp_core as mp

async def start():
    port = mp.port()

    print("loop", type(asyncio.get_running_loop()).__module__.split(".")[0])
    print("port", port, flush=True)

def stall():
    def stuck():
        print("stalled", flush=True)
        while True:
            time.sleep(1)

    mp.after(0.01, stuck)

def close():
    node = mp.current_node()
    node.after(0.01, lambda: asyncio.ensure_future(node.close()))
"""


@pytest.fixture
def service(network: Network) -> str:
    """The word that has a node run the service, which prints its port."""
    (network.path / "runservice.py").write_text(SERVICE)
    return "services=[['runservice:start']]"


def seed_words(service: str) -> tuple[str, ...]:
    return ("nodeid=seed", "binds=tcp://127.0.0.1:0", service)


@pytest.mark.parametrize("loop", ["asyncio", "auto"])
def test_the_loop_is_the_one_that_was_asked_for(
    network: Network, start: Start, service: str, loop: str
) -> None:
    process = start("run", "--loop", loop, *seed_words(service))
    best = "uvloop" if importlib.util.find_spec("uvloop") else "asyncio"
    assert read_line(process, "loop ") == (best if loop == "auto" else loop)
    read_line(process, "address ")
    assert end(process, signal.SIGTERM) == (0, "", "")


async def test_peers_are_told_that_a_node_leaves(start: Start, service: str) -> None:
    """And not that its connection broke."""
    process = start("run", *seed_words(service))
    port, address = read_line(process, "port "), read_line(process, "address ")
    async with mp.Node("peer", seeds=[address], secret=SECRET) as node:
        reasons = [asyncio.ensure_future(node.killed(target)) for target in ("seed", port)]
        await asyncio.sleep(0)
        await node.cal("seed", "time", timeout=40)  # it watches now
        process.send_signal(signal.SIGTERM)
        assert await asyncio.gather(*reasons) == [("closed", "seed"), ("closed", "seed")]
        assert "seed" not in node.up_nodes()
    assert process.wait(timeout=40) == 0


@pytest.mark.parametrize(("number", "loop"), [(signal.SIGTERM, "auto"), (signal.SIGINT, "asyncio")])
def test_a_second_signal_ends_a_node_whose_loop_is_stuck(
    start: Start, service: str, loop: str, number: signal.Signals
) -> None:
    process = start("run", "--loop", loop, "nodeid=seed", "services=[['runservice:stall']]")
    read_line(process, "stalled")
    process.send_signal(number)  # the loop will not hear of this one
    while True:
        try:
            process.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            process.send_signal(number)
        else:
            break
    assert process.stderr is not None
    assert (process.returncode, process.stderr.read()) == (128 + number, "aemp: ended at once\n")


def test_a_node_that_does_not_leave_in_time_is_ended(start: Start, network: Network) -> None:
    (network.path / "stubborn.py").write_text(
        "import asyncio, time\nimport aemp_core as mp\n"
        "async def stay():\n"
        "    try:\n        await asyncio.sleep(1000)\n"
        "    finally:\n        time.sleep(1000)\n"
        "def start():\n    mp.task(stay())\n"
    )
    process = start("run", "--stop-timeout", "0.5", "nodeid=x", "services=[['stubborn:start']]")
    assert read_line(process, "node ") == "x"
    code, _, errors = end(process, signal.SIGTERM)
    assert code == 1
    assert errors.endswith("the node did not leave within 0.5 s: the process ends now\n")


@pytest.mark.parametrize("more", [(), ("--workers", "1")], ids=["single", "workers"])
async def test_a_node_goes_on_when_nobody_reads_its_output(
    start: Start, more: tuple[str, ...]
) -> None:
    async with mp.Node("seed", binds=["tcp://127.0.0.1:0"], secret=SECRET) as node:
        process = start("run", *more, "nodeid=x", f"seeds={node.addresses[0]}")
        assert process.stdout is not None
        process.stdout.close()
        await node.up("x/1" if more else "x", timeout=40)
        # It has printed by now, or is about to: what it answers comes after that.
        assert await node.cal("x/1" if more else "x", "info", timeout=40)
        process.send_signal(signal.SIGTERM)
        assert await node.loop.run_in_executor(None, process.wait, 40) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_a_service_may_end_the_node(start: Start, service: str) -> None:
    process = start("run", "nodeid=seed", "services=[['runservice:close']]")
    output, errors = process.communicate(timeout=40)
    assert (process.returncode, output, errors) == (0, "node seed\n", "")


def test_a_start_that_takes_long_can_be_ended(network: Network, start: Start) -> None:
    (network.path / "slowservice.py").write_text(
        "import asyncio\nasync def start():\n"
        "    print('started', flush=True)\n    await asyncio.sleep(1000)\n"
    )
    process = start("run", "nodeid=x", "services=[['slowservice:start']]")
    read_line(process, "started")
    assert end(process, signal.SIGTERM) == (0, "", "")


def test_a_loop_that_is_not_there_is_told(network: Network, tmp_path: Path) -> None:
    (network.path / "uvloop.py").write_text("raise ImportError('not for this test')\n")
    result = network.aemp("run", "--loop", "uvloop", "nodeid=x")
    assert result.returncode == 2
    assert "pip install 'aemp-core[uvloop]'" in result.stderr
    (line,) = result.stderr.splitlines()


def test_an_error_of_a_service_is_one_line_with_its_place(network: Network) -> None:
    (network.path / "brokenservice.py").write_text(
        "import json\n\ndef start(*arguments):\n    json.loads(arguments[0])\n"
    )
    result = network.aemp("run", "nodeid=x", "services=[['brokenservice:start', '{']]")
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("aemp: services: brokenservice:start failed: JSONDecodeError: ")
    assert line.endswith(f"({os.path.join(os.path.realpath(network.path), 'brokenservice.py')}:4)")


def test_a_node_that_does_not_get_into_its_network_says_why(start: Start, network: Network) -> None:
    """Whoever refuses a duplicate tells it nothing: it finds out."""
    network.environment["AEMP_LOG_LEVEL"] = "WARNING"
    lonely = start("run", "nodeid=lonely", "seeds=tcp://127.0.0.1:1")
    seed = start("run", "nodeid=seed", "binds=tcp://127.0.0.1:0")
    address = read_line(seed, "address ")
    first = start("run", "nodeid=x", f"seeds={address}", "log_level=INFO")
    assert first.stderr is not None
    while "node seed is up" not in first.stderr.readline():
        pass
    second = start("run", "nodeid=x", f"seeds={address}")
    assert second.stderr is not None and lonely.stderr is not None
    line = lonely.stderr.readline()
    assert "node lonely has no link to its seed tcp://127.0.0.1:1: " in line
    assert "does a node listen there?" in line
    line = second.stderr.readline()
    assert f"duplicate node ID: seed, at {address}, has a link to another node x: end that" in line
    for process in (second, lonely):
        assert end(process, signal.SIGTERM)[0] == 0
