"""Several nodes and their overseer: ``aemp run --workers`` and ``--watchdog``, as processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import aemp_core as mp

from .conftest import SECRET, Network, end, read_line

Start = Callable[..., "subprocess.Popen[str]"]

SERVICE = """
import os
import time
import aemp_core as mp

@mp.exposed
def pid(reply):
    mp.snd(reply, os.getpid(), os.getppid())

@mp.exposed
def nodes(reply):
    mp.snd(reply, *mp.up_nodes())

@mp.exposed
def crash():
    os._exit(3)

@mp.exposed
def stall():
    print("stalled", flush=True)
    time.sleep(1000)
"""


@pytest.fixture
def service(network: Network) -> str:
    (network.path / "workservice.py").write_text(SERVICE)
    return "expose=workservice"


def read_up(process: subprocess.Popen[str]) -> dict[str, str]:
    """The next line of ``--json``: node, incarnation, addresses."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        assert process.stderr is not None
        raise AssertionError(process.stderr.read())
    told: dict[str, str] = json.loads(line)
    return told


async def next_up(process: subprocess.Popen[str]) -> dict[str, str]:
    return await asyncio.get_running_loop().run_in_executor(None, read_up, process)


def visitor(address: str) -> mp.Node:
    return mp.Node("visitor", seeds=[address], secret=SECRET)


async def asked(node: mp.Node, worker: str, function: str) -> tuple[object, ...]:
    """What an exposed function of a worker answers."""
    return tuple(await node.cal(worker, f"workservice:{function}", timeout=40))


def test_workers_are_nodes_with_addresses_of_their_own_that_are_all_linked(
    start: Start, service: str
) -> None:
    process = start(
        "run", "--json", "--workers", "3", "nodeid=w", "binds=tcp://127.0.0.1:0", service
    )
    ups = {told["node"]: told for told in (read_up(process) for _ in range(3))}
    assert sorted(ups) == ["w/1", "w/2", "w/3"]
    tcp = {told["addresses"][0] for told in ups.values()}
    assert len(tcp) == 3 and all(each.startswith("tcp://127.0.0.1:") for each in tcp)
    directory = Path(ups["w/1"]["addresses"][1].removeprefix("unix://")).parent
    assert directory.stat().st_mode & 0o077 == 0

    async def look() -> None:
        for name, told in ups.items():
            async with visitor(told["addresses"][0]) as node:
                _, parent = await asked(node, name, "pid")
                assert parent == process.pid
                others = set(ups) - {name}
                while not others <= set(await asked(node, name, "nodes")):
                    await asyncio.sleep(0.02)
                _, _, links, _ = await node.cal(name, "links", 0, timeout=40)
                over = {link["id"]: link["address"] for link in links if link["id"] in others}
                assert all("unix://" in address for address in over.values()), over

    asyncio.run(asyncio.wait_for(look(), 40))
    code, output, errors = end(process, signal.SIGTERM)
    assert (code, errors) == (0, "")
    assert not directory.exists()


async def test_a_worker_that_dies_is_started_again_with_the_same_name(
    start: Start, service: str
) -> None:
    process = start(
        "run", "--json", "--workers", "2", "nodeid=w", "binds=tcp://127.0.0.1:0", service
    )
    ups = [read_up(process) for _ in range(2)]
    first, second = sorted(ups, key=lambda told: told["node"])
    async with visitor(first["addresses"][0]) as node:
        node.snd("w/1", "workservice:crash")
        again = await next_up(process)
        assert again["node"] == "w/1" and again["incarnation"] > first["incarnation"]
    async with visitor(second["addresses"][0]) as node:
        while "w/1" not in await asked(node, "w/2", "nodes"):
            await asyncio.sleep(0.02)
    code, _, errors = end(process, signal.SIGINT)
    assert code == 0
    (line,) = errors.splitlines()
    assert line.endswith("node w/1 ended by exit code 3: it is started again in 0.5 s")


async def test_a_node_whose_loop_is_stuck_is_started_again(start: Start, service: str) -> None:
    process = start(
        "run", "--json", "--watchdog", "--stall-timeout", "2", "nodeid=x/%u",
        "binds=tcp://127.0.0.1:0", service,
    )  # fmt: skip
    before = read_up(process)
    async with visitor(before["addresses"][0]) as node:
        node.snd(before["node"], "workservice:stall")
        await asyncio.get_running_loop().run_in_executor(None, read_line, process, "stalled")
        again = await next_up(process)
    assert again["node"] == before["node"]
    code, _, errors = end(process, signal.SIGTERM)
    assert code == 0
    assert f"node {before['node']} is stuck: its event loop did nothing for 2" in errors
    assert "workservice.py" in errors  # where it was stuck
    assert "ended by SIGABRT: it is started again in 0.5 s" in errors


def test_a_wrong_configuration_is_not_tried_again(network: Network) -> None:
    (network.path / "broken.py").write_text("raise RuntimeError('no database')\n")
    result = network.aemp("run", "--watchdog", "--workers", "2", "nodeid=x", "services=broken")
    assert result.returncode == 2
    assert "services: broken cannot be loaded: RuntimeError: no database" in result.stderr
    assert "ended by exit code 2: a wrong configuration" in result.stderr
    assert "started again" not in result.stderr


@pytest.fixture
def taken() -> Iterator[socket.socket]:
    """A socket that listens at a port."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other


def test_workers_that_cannot_start_end_the_run(network: Network, taken: socket.socket) -> None:
    port = taken.getsockname()[1]
    result = network.aemp("run", "--workers", "1", "nodeid=x", f"binds=tcp://127.0.0.1:{port}")
    assert result.returncode == 1
    assert "is in use" in result.stderr
    assert "node x/1 ended by exit code 1 before it was up" in result.stderr


def test_a_watchdog_tries_again_until_the_address_is_free(
    start: Start, taken: socket.socket
) -> None:
    port = taken.getsockname()[1]
    process = start("run", "--watchdog", "nodeid=x", f"binds=tcp://127.0.0.1:{port}")
    assert process.stderr is not None
    while "it is started again in" not in process.stderr.readline():
        pass
    taken.close()
    assert read_line(process, "node ") == "x"
    assert end(process, signal.SIGTERM)[0] == 0


async def test_nodes_whose_overseer_is_killed_leave_the_network(start: Start, service: str) -> None:
    process = start("run", "--json", "--watchdog", "nodeid=x", "binds=tcp://127.0.0.1:0", service)
    address = read_up(process)["addresses"][0]
    async with visitor(address) as node:
        await node.up("x", timeout=40)
        killed = asyncio.ensure_future(node.killed("x"))
        await node.cal("x", "time", timeout=40)
        process.kill()
        assert await asyncio.wait_for(killed, 40) == ("closed", "x")


async def test_a_second_signal_kills_nodes_that_are_stuck(start: Start, service: str) -> None:
    process = start(
        "run", "--json", "--workers", "1", "nodeid=x", "binds=tcp://127.0.0.1:0", service
    )
    told = read_up(process)
    async with visitor(told["addresses"][0]) as node:
        child, _ = await asked(node, "x/1", "pid")
        node.snd("x/1", "workservice:stall")
        await asyncio.get_running_loop().run_in_executor(None, read_line, process, "stalled")
    process.send_signal(signal.SIGTERM)
    while True:
        try:
            process.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)
        else:
            break
    assert process.returncode == 143
    assert not Path(told["addresses"][1].removeprefix("unix://")).parent.exists()
    assert isinstance(child, int)
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_ports_that_count_up_too_far_are_refused(network: Network) -> None:
    result = network.aemp("run", "--workers", "3", "nodeid=x", "binds=tcp://127.0.0.1:65534")
    assert result.returncode == 2
    assert result.stderr == (
        "aemp: tcp://127.0.0.1:65534: worker 3 would get port 65536: use a lower one\n"
    )
