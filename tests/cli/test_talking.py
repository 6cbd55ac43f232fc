"""Commands that look into a network, as processes against the nodes of one, over TCP."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from .conftest import AEMP, SECONDS, Network, end, read_line

Start = Callable[..., "subprocess.Popen[str]"]

TASKS = """
import asyncio
import aemp_core as mp

@mp.exposed
def adder(total="0"):
    total = int(total)
    mp.rcv(mp.current_port(), add=mp.replies(lambda number: total + int(number)))

@mp.exposed
async def nap(seconds):
    await asyncio.sleep(float(seconds))

@mp.exposed
async def fail(text):
    await asyncio.sleep(0)
    raise ValueError(text)

def service():
    port = mp.port(print)
    mp.rcv(port, stop=print)
    mp.every(0.05, "hub", "devnull")
"""


@dataclass
class Trio:
    """A network of three nodes: a hub, and two that have it as seed."""

    network: Network
    seed: str
    processes: dict[str, subprocess.Popen[str]]

    def aemp(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command that knows the seed."""
        return self.network.aemp(*words)

    def failed(self, code: int, *words: str) -> str:
        """The one line that a command fails with."""
        result = self.aemp(*words)
        assert (result.returncode, result.stdout) == (code, "")
        (line,) = result.stderr.splitlines()
        return line


def begin(network: Network, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*AEMP, "run", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=network.path,
        env=network.environment,
    )


@pytest.fixture(scope="module")
def trio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trio]:
    """Started once: no test changes it, but for stopping a node and letting it go on."""
    path: Path = tmp_path_factory.mktemp("trio")
    (path / "tasks.py").write_text(TASKS)
    variables = {"AEMP_SECRET": "a secret of the tests only", "AEMP_LOG_LEVEL": "CRITICAL"}
    network = Network(path, {**os.environ, **variables})
    rules = "rules=[{node='anon/*', allow=['eval']}]"
    processes = {"hub": begin(network, "nodeid=hub", "binds=tcp://127.0.0.1:0", rules)}
    try:
        seed = read_line(processes["hub"], "address ")
        network.environment["AEMP_SEEDS"] = seed
        for name in ("ant", "bee"):
            words = [f"nodeid={name}", "binds=tcp://127.0.0.1:0", "expose=tasks"]
            if name == "ant":
                words.append("services=[['tasks:service']]")
            processes[name] = begin(network, *words)
        for name in ("ant", "bee"):
            read_line(processes[name], "address ")
        # Joined: not merely started.
        for name in ("ant", "bee"):
            assert network.aemp("cal", name, "time").returncode == 0
        yield Trio(network, seed, processes)
    finally:
        for process in processes.values():
            process.kill()
            process.communicate(timeout=SECONDS)


@pytest.fixture
def stopped(trio: Trio) -> Iterator[Trio]:
    """While a test runs, bee does not."""
    trio.processes["bee"].send_signal(signal.SIGSTOP)
    yield trio
    trio.processes["bee"].send_signal(signal.SIGCONT)


def test_nodes_lists_every_node_that_can_be_found(trio: Trio) -> None:
    result = trio.aemp("nodes")
    assert (result.returncode, result.stderr) == (0, "")
    head, *rows = (line.split() for line in result.stdout.splitlines())
    assert head[:4] == ["NODE", "STATE", "UP", "FOR"]
    assert [row[:2] for row in rows] == [["hub", "up"], ["ant", "up"], ["bee", "up"]]
    assert rows[0][-1] == trio.seed
    assert "\x1b" not in result.stdout


def test_nodes_tells_scripts_what_each_node_says_of_itself(trio: Trio) -> None:
    result = trio.aemp("nodes", "--json")
    told = {row["id"]: row for row in map(json.loads, result.stdout.splitlines())}
    assert set(told) == {"hub", "ant", "bee"}
    for name, row in told.items():
        assert row["pid"] == trio.processes[name].pid
        assert (row["state"], row["seed"], row["error"]) == ("up", name == "hub", None)
        assert row["round_trip"] > 0 and row["uptime"] > 0 and row["incarnation"]


def test_a_node_that_does_not_answer_is_silent_and_the_exit_code_says_so(stopped: Trio) -> None:
    result = stopped.aemp("nodes", "--timeout", "1")
    assert result.returncode == 3
    assert ["bee", "silent"] in [line.split()[:2] for line in result.stdout.splitlines()]
    assert result.stderr == "bee: no link to it within 1 s\n"
    result = stopped.aemp("trace", "--timeout", "1")
    assert result.returncode == 3
    assert "bee  tcp  silent: no link to it within 1 s" in result.stdout


def test_no_seed_that_answers_says_why(trio: Trio) -> None:
    line = trio.failed(3, "nodes", "--timeout", "0.5", "--seed", "tcp://127.0.0.1:1")
    assert "gave up after 0.5 s waiting for a seed to answer (seeds: tcp://127.0.0.1:1)" in line
    assert "Connection refused" in line


def test_a_wrong_node_id_is_told_the_nearest(trio: Trio) -> None:
    line = trio.failed(3, "ports", "--timeout", "0.5", "ant2")
    assert "waiting for a link to node 'ant2'" in line
    assert line.endswith(": did you mean 'ant'?")
    assert "'no id' is no node ID" in trio.failed(2, "ping", "no id")


def test_a_node_that_others_know_and_that_does_not_answer_is_told_as_such(stopped: Trio) -> None:
    line = stopped.failed(3, "spawn", "--timeout", "0.5", "bee", "tasks:adder")
    assert line.endswith(": other nodes know it, but it does not answer")


def test_ports_lists_handlers_and_what_waits(trio: Trio) -> None:
    result = trio.aemp("ports", "ant")
    assert (result.returncode, result.stderr) == (0, "")
    head, row = result.stdout.splitlines()
    assert head.split()[:3] == ["PORT", "KIND", "WAITING"]
    assert row.startswith("ant#") and row.endswith("builtins:print (stop)")
    (told,) = map(json.loads, trio.aemp("ports", "--json", "ant").stdout.splitlines())
    assert (told["kind"], told["tags"], told["waiting"]) == ("plain", ["stop"], 0)


def test_ports_says_when_there_are_more(trio: Trio) -> None:
    made = "[node.port() for _ in range(3)] and None"
    assert trio.aemp("eval", "hub", made).returncode == 0
    result = trio.aemp("ports", "--limit", "2", "--json", "hub")
    assert len(result.stdout.splitlines()) == 2
    assert re.fullmatch(r"2 of \d ports; --limit lists more\n", result.stderr)


def test_eval_prints_the_value_where_a_rule_allows_it(trio: Trio) -> None:
    assert trio.aemp("eval", "hub", "node.id, 1 + 1").stdout == '["hub", 2]\n'
    line = trio.failed(1, "eval", "hub", "1 / 0")
    assert line == "aemp: hub: ZeroDivisionError: division by zero"


def test_eval_reads_a_script(trio: Trio) -> None:
    result = subprocess.run(
        [*AEMP, "eval", "hub", "-"],
        input="def twice(number):\n    return 2 * number\nnode.twice = twice(21)\n",
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env=trio.network.environment,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert trio.aemp("eval", "hub", "node.twice").stdout == "42\n"


def test_eval_without_a_rule_is_refused_and_says_what_is_missing(trio: Trio) -> None:
    line = trio.failed(1, "eval", "ant", "1")
    assert "eval is not allowed here" in line and "'rules' of that node must allow it" in line


def test_spawn_prints_the_port_which_lives_on(trio: Trio) -> None:
    result = trio.aemp("spawn", "ant", "tasks:adder", "5")
    assert (result.returncode, result.stderr) == (0, "")
    port = result.stdout.strip()
    assert trio.aemp("cal", port, "add", "3").stdout == "8\n"
    node, _, name = port.partition("#")
    assert trio.aemp("snd", node, "kil", name).returncode == 0
    assert "no_such_port" in trio.failed(1, "cal", port, "add", "3")


def test_spawn_can_wait_for_the_end(trio: Trio) -> None:
    result = trio.aemp("spawn", "--wait", "--json", "ant", "tasks:nap", "0.1")
    first, second = map(json.loads, result.stdout.splitlines())
    assert (result.returncode, second) == (0, {"port": first["port"], "reason": []})
    result = trio.aemp("spawn", "--wait", "--json-args", "ant", "tasks:fail", '"so sad"')
    assert result.returncode == 1
    assert result.stdout.endswith(": die: ValueError: so sad\n")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("tasks:nothing",), "'tasks:nothing' is not exposed on ant"),
        (("tasks:adder", "x"), "spawn_error: ValueError: invalid literal"),
    ],
)
def test_spawn_tells_what_was_refused_or_failed(
    trio: Trio, words: tuple[str, ...], text: str
) -> None:
    assert text in trio.failed(1, "spawn", "ant", *words)


def test_ping_prints_each_answer_and_the_figures(trio: Trio) -> None:
    result = trio.aemp("ping", "-c", "3", "-i", "0.01", "bee")
    assert (result.returncode, result.stderr) == (0, "")
    head, *answers, title, counts, figures = result.stdout.splitlines()
    assert re.fullmatch(r"PING bee \(tcp://127.0.0.1:\d+\)", head)
    assert [line.split()[0] for line in answers] == ["seq=1", "seq=2", "seq=3"]
    assert title == "--- bee ---"
    assert counts.startswith("3 sent, 3 answered, 0.0% lost, ")
    assert figures.startswith("min / avg / median / p99 / max = ")
    result = trio.aemp("ping", "--json", "-c", "2", "-i", "0.01", "bee")
    first, second, total = map(json.loads, result.stdout.splitlines())
    assert (first["seq"], second["seq"]) == (1, 2)
    assert total["min_ms"] <= total["median_ms"] <= total["max_ms"]
    assert (total["sent"], total["answered"], total["lost"]) == (2, 2, 0)


def test_ping_sums_up_on_ctrl_c(trio: Trio, start: Start, network: Network) -> None:
    network.environment.update(trio.network.environment)
    process = start("ping", "-i", "0.01", "bee")
    read_line(process, "seq=2 ")
    code, output, errors = end(process, signal.SIGINT)
    assert (code, errors) == (0, "")
    assert "--- bee ---" in output and "min / avg" in output


def test_ping_of_a_node_that_stops_loses_what_is_under_way(
    trio: Trio, start: Start, network: Network
) -> None:
    network.environment.update(trio.network.environment)
    process = start("ping", "-i", "0.2", "--timeout", "0.5", "--json", "bee")
    read_line(process, '{"seq": 1')
    trio.processes["bee"].send_signal(signal.SIGSTOP)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if "error" in line:
                break
        assert "gave up after 0.5 s waiting for node 'bee' to answer 'time'" in line
    finally:
        trio.processes["bee"].send_signal(signal.SIGCONT)
    code, output, _ = end(process, signal.SIGINT)
    assert code == 0
    assert json.loads(output.splitlines()[-1])["lost"] >= 1


def test_trace_draws_the_network(trio: Trio) -> None:
    result = trio.aemp("trace")
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert [re.split(r"  up \d", line)[0] for line in lines] == [
        "hub",
        "├── ant  tcp",
        "└── bee  tcp",
    ]
    told = json.loads(trio.aemp("trace", "--json").stdout)
    assert [(link["from"], link["to"], link["scheme"]) for link in told["links"]] == [
        ("ant", "hub", "tcp"),
        ("bee", "hub", "tcp"),
    ]


def test_trace_has_other_forms(trio: Trio) -> None:
    result = trio.aemp("trace", "--format", "table")
    assert result.returncode == 0
    assert [line.split()[:3] for line in result.stdout.splitlines()[1:]] == [
        ["ant", "hub", "tcp"],
        ["bee", "hub", "tcp"],
    ]


def test_top_prints_one_picture_under_the_other(trio: Trio) -> None:
    result = trio.aemp("top", "-n", "2", "-i", "0.3", "--sort", "name")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.count("3 nodes, 3 up, 2 links, ") == 2
    rows = [line.split() for line in result.stdout.splitlines() if line.startswith("ant")]
    assert [row[1] for row in rows] == ["up", "-", "up", "-"], "as a node, and in a link"
    assert "\x1b" not in result.stdout


def test_top_tells_scripts_the_rates_until_ctrl_c(
    trio: Trio, start: Start, network: Network
) -> None:
    network.environment.update(trio.network.environment)
    process = start("top", "--json", "-i", "0.5")
    told = json.loads("{" + read_line(process, "{"))
    rows = {row["id"]: row for row in told["nodes"]}
    assert rows["ant"]["sent_per_second"] > 2, "its service sends something twenty times a second"
    assert rows["hub"]["received_per_second"] > 2
    assert (told["links"][0]["from"], told["links"][0]["to"]) == ("ant", "hub")
    assert rows["hub"]["lag"] is not None
    code, _, errors = end(process, signal.SIGINT)
    assert (code, errors) == (0, "")


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, trio: Trio, *words: str) -> None:
        self._master, slave = pty.openpty()
        environment = {
            **trio.network.environment, "TERM": "xterm", "COLUMNS": "80", "LINES": "24",
        }  # fmt: skip
        self.process = subprocess.Popen(
            [*AEMP, *words], stdin=slave, stdout=slave, stderr=slave, env=environment
        )
        os.close(slave)
        self._seen = ""

    def until(self, text: str) -> str:
        """Read until `text` was written; everything that was, since the last call."""
        deadline = time.monotonic() + SECONDS
        while text not in self._seen:
            assert time.monotonic() < deadline, self._seen
            if select.select([self._master], [], [], 1)[0]:
                try:
                    self._seen += os.read(self._master, 65_536).decode(errors="replace")
                except OSError:  # it has ended
                    assert text in self._seen, self._seen
        seen, _, self._seen = self._seen.partition(text)
        return seen

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def close(self) -> None:
        self.process.kill()
        self.process.wait(timeout=SECONDS)
        os.close(self._master)


def test_top_fills_a_terminal_and_takes_keys(trio: Trio) -> None:
    terminal = Terminal(trio, "top", "-i", "30", "--sort", "links")
    try:
        terminal.until("\x1b[?1049h")  # the other screen, which leaves the old text alone
        assert "hub" in terminal.until("sorted by links")
        terminal.press("s")
        terminal.until("sorted by rate")
        terminal.press("q")
        terminal.until("\x1b[?1049l")
        assert terminal.process.wait(timeout=SECONDS) == 0
    finally:
        terminal.close()


def test_top_leaves_the_terminal_as_it_was_also_on_sigterm(trio: Trio) -> None:
    terminal = Terminal(trio, "top", "-i", "30")
    try:
        terminal.until("sorted by rate")
        terminal.process.send_signal(signal.SIGTERM)
        terminal.until("\x1b[?1049l")
        assert terminal.process.wait(timeout=SECONDS) == 143
    finally:
        terminal.close()
