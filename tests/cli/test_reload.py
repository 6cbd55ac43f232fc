"""SIGHUP: what can be changed while a node is up is changed, the rest is named, errors refused."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import aemp_core as mp

from .conftest import SECRET, Network, end, read_line

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def configuration(network: Network) -> Path:
    path = network.path / "aemp.toml"
    network.environment["AEMP_CONFIG"] = str(path)
    del network.environment["AEMP_LOG_LEVEL"]
    return path


def hang_up(process: subprocess.Popen[str], until: str) -> str:
    """Send SIGHUP and return the next line of the log that holds a text."""
    process.send_signal(signal.SIGHUP)
    return read_log(process, until)


def read_log(process: subprocess.Popen[str], until: str) -> str:
    assert process.stderr is not None
    for line in process.stderr:
        if until in line:
            return line
    raise AssertionError(f"no line with {until!r}")


async def test_rules_levels_and_seeds_are_changed_without_losing_a_link(
    start: Start, configuration: Path
) -> None:
    base = "nodeid = 'x'\nbinds = ['tcp://127.0.0.1:0']\n"
    configuration.write_text(base + "log_level = 'INFO'\n")
    process = start("run")
    address = read_line(process, "address ")
    seed = start("run", "nodeid=seed", "binds=tcp://127.0.0.1:0", "seeds=")
    seed_address = read_line(seed, "address ")
    async with mp.Node("ops/1", seeds=[address], secret=SECRET) as node:
        with pytest.raises(mp.EvalFailed):
            await asyncio.wait_for(node.eval_on("x", "1 + 1"), 40)
        downs: list[str] = []
        node.mon_nodes(lambda name, is_up, reason: None if is_up else downs.append(name))
        configuration.write_text(
            base + f"log_level = 'DEBUG'\nseeds = ['{seed_address}']\n"
            "rules = [{node = 'ops/*', allow = ['eval']}]\n"
        )
        line = hang_up(process, "reloaded")
        for key in ("seeds", "rules", "log_level"):
            assert key in line
        assert await asyncio.wait_for(node.eval_on("x", "1 + 1"), 40) == 2
        text = "__import__('logging').getLogger().level"
        assert await asyncio.wait_for(node.eval_on("x", text), 40) == 10
        while "seed" not in await asyncio.wait_for(node.eval_on("x", "node.up_nodes()"), 40):
            await asyncio.sleep(0.02)
        assert downs == []
    assert end(process, signal.SIGTERM)[0] == 0


def test_what_takes_a_restart_is_named_until_it_is_restarted(
    start: Start, configuration: Path
) -> None:
    configuration.write_text("nodeid = 'x'\n")
    process = start("run")
    read_line(process, "node ")
    configuration.write_text("nodeid = 'y'\nheartbeat = 5\nmonitor_timeout = 60\n")
    for _ in range(2):
        line = hang_up(process, "it takes a restart")
        assert line.endswith("takes a restart: nodeid, heartbeat\n")
    assert end(process, signal.SIGTERM)[0] == 0


WRONG = {
    "nodeid = 'x'\nheartbeet = 5\n": "unknown setting 'heartbeet': did you mean 'heartbeat'?",
    "nodeid = \n": "(at line 1, column 10)",
    "rules = [{node = 'a', allow = ['evil']}]\n": "did you mean 'eval'?",
    "seeds = ['carrier://pigeon']\nlog_level = 'DEBUG'\n": "no transport for carrier://",
}


def test_a_wrong_configuration_is_refused_and_the_old_one_goes_on(
    network: Network, start: Start, configuration: Path
) -> None:
    configuration.write_text("nodeid = 'x'\nbinds = ['tcp://127.0.0.1:0']\n")
    process = start("run")
    address = read_line(process, "address ")
    for wrong, text in WRONG.items():
        configuration.write_text(wrong)
        assert text in hang_up(process, "goes on with its former configuration")
    configuration.write_text("")
    assert network.aemp("cal", "--seed", address, "x", "info").stdout == "x\n"
    code, _, errors = end(process, signal.SIGTERM)
    assert (code, errors) == (0, "")  # nothing of it was used: DEBUG would have much to say


def test_workers_reload_together(start: Start, configuration: Path) -> None:
    configuration.write_text("nodeid = 'x'\nworkers = 2\n")
    process = start("run", "--json")
    assert process.stdout is not None
    names = {json.loads(process.stdout.readline())["node"] for _ in range(2)}
    assert names == {"x/1", "x/2"}
    configuration.write_text("nodeid = 'x'\nworkers = 3\nlog_level = 'INFO'\n")
    assert hang_up(process, "it takes a restart").endswith(": workers\n")
    lines = {read_log(process, "reloaded").split(": ")[1] for _ in range(2)}
    assert lines == {"node x/1", "node x/2"}
    assert end(process, signal.SIGTERM)[0] == 0


def test_a_signal_that_comes_during_the_start_is_not_lost(
    network: Network, start: Start, configuration: Path
) -> None:
    (network.path / "waits.py").write_text(
        "import asyncio, os\n"
        "async def start():\n"
        "    print('started', flush=True)\n"
        "    while not os.path.exists('go'):\n        await asyncio.sleep(0.02)\n"
    )
    services = "services = [['waits:start']]\n"
    configuration.write_text("nodeid = 'x'\n" + services)
    process = start("run")
    read_line(process, "started")
    configuration.write_text("nodeid = 'x'\nlog_level = 'INFO'\n" + services)
    process.send_signal(signal.SIGHUP)
    (network.path / "go").touch()
    assert read_log(process, "node x: reloaded").endswith("changed: log_level\n")
    assert end(process, signal.SIGTERM)[0] == 0
