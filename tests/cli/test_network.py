"""``aemp run``, ``snd``, ``cal`` and ``mon`` against each other, as processes over TCP."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from .conftest import Network, end, read_line

Start = Callable[..., "subprocess.Popen[str]"]

SERVICE = """
import sys
import aemp_core as mp

port = mp.port()

@mp.on(port, "add")
@mp.replies
def add(*numbers):
    return sum(numbers)

@mp.on(port, "echo")
@mp.replies
def echo(*values):
    return values

@mp.on(port, "binary")
@mp.replies
def binary():
    return b"\\x00\\xff", "red \\x1b[31m"

@mp.on(port, "print")
def show(*words):
    print("got", *words, flush=True)

@mp.on(port, "end")
def end(*reason):
    mp.kil(mp.current_port(), *reason)

@mp.on(port, "silence")
def silence(reply):
    pass

print("port", port, flush=True)
"""


@dataclass
class Seed:
    """A running node with a service, and how to reach it."""

    process: subprocess.Popen[str]
    address: str
    port: str


@pytest.fixture
def seed(network: Network, start: Start) -> Seed:
    (network.path / "testservice.py").write_text(
        "import aemp_core as mp\n\ndef start():\n    "
        + SERVICE.strip().replace("\n", "\n    ")
        + "\n"
    )
    process = start(
        "run", "nodeid=seed", "binds=tcp://127.0.0.1:0", "services=[['testservice:start']]"
    )
    port = read_line(process, "port ")
    assert read_line(process, "node ") == "seed"
    return Seed(process, read_line(process, "address "), port)


def test_cal_prints_the_reply(network: Network, seed: Seed) -> None:
    result = network.aemp("cal", "--seed", seed.address, seed.port, "echo", "hello", "world")
    assert (result.returncode, result.stdout, result.stderr) == (0, "hello world\n", "")


def test_cal_of_a_node_port_asks_the_node(network: Network, seed: Seed) -> None:
    result = network.aemp("cal", "--seed", seed.address, "seed", "time")
    assert result.returncode == 0
    assert abs(float(result.stdout) - time.time()) < 60


def test_json_words_and_a_json_reply(network: Network, seed: Seed) -> None:
    words = ('"echo"', "1", "true", "null", '{"a": [1.5]}')
    result = network.aemp("cal", "--seed", seed.address, "--json", "--json-args", seed.port, *words)
    assert json.loads(result.stdout) == [1, True, None, {"a": [1.5]}]
    result = network.aemp(
        "cal", "--seed", seed.address, "--json-args", seed.port, '"add"', "1", "2"
    )
    assert result.stdout == "3\n"


def test_words_that_begin_with_a_dash_come_after_two(network: Network, seed: Seed) -> None:
    result = network.aemp("cal", "--seed", seed.address, "--", seed.port, "echo", "--json", "-1")
    assert result.stdout == "--json -1\n"


def test_bytes_and_control_characters_do_not_reach_the_terminal(
    network: Network, seed: Seed
) -> None:
    result = network.aemp("cal", "--seed", seed.address, seed.port, "binary")
    assert result.stdout == '{"base64": "AP8="} red \\x1b[31m\n'


def test_cal_that_gets_no_answer_says_what_it_waited_for(network: Network, seed: Seed) -> None:
    result = network.aemp("cal", "--seed", seed.address, "--timeout", "1", seed.port, "silence")
    assert result.returncode == 3
    assert result.stderr == f"aemp: gave up after 1 s waiting for a reply from '{seed.port}'\n"


def test_cal_of_a_port_that_is_not_there(network: Network, seed: Seed) -> None:
    result = network.aemp("cal", "--seed", seed.address, "seed#nobody", "x")
    assert result.returncode == 1
    assert "no_such_port" in result.stderr


def test_snd_ends_when_the_message_was_read(network: Network, seed: Seed) -> None:
    result = network.aemp("snd", "--seed", seed.address, seed.port, "print", "one", "two")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert read_line(seed.process, "got ") == "one two"
    result = network.aemp("snd", "--json", "--seed", seed.address, seed.port, "print", "x")
    assert json.loads(result.stdout) == {"port": seed.port, "sent": True}


def test_snd_to_a_port_that_is_not_there(network: Network, seed: Seed) -> None:
    result = network.aemp("snd", "--seed", seed.address, "seed#nobody", "x")
    assert result.returncode == 1
    assert result.stderr.startswith("aemp: seed#nobody: no_such_port")


@pytest.mark.parametrize(
    ("reason", "text", "code"), [((), "normal end", 0), (("tired", "of it"), "tired: of it", 1)]
)
def test_mon_tells_how_a_port_ended(
    network: Network, seed: Seed, start: Start, reason: tuple[str, ...], text: str, code: int
) -> None:
    watch = start("mon", "--seed", seed.address, seed.port)
    assert watch.stderr is not None
    assert watch.stderr.readline() == f"watching port {seed.port}, Ctrl-C ends\n"
    network.aemp("snd", "--seed", seed.address, seed.port, "end", *reason)
    output, _ = watch.communicate(timeout=40)
    assert (output, watch.returncode) == (f"{seed.port}: {text}\n", code)


def test_mon_of_a_node_that_is_killed(seed: Seed, start: Start) -> None:
    watch = start("mon", "--json", "--seed", seed.address, "seed")
    assert watch.stderr is not None
    assert watch.stderr.readline() == "watching node seed, Ctrl-C ends\n"
    seed.process.kill()
    output, _ = watch.communicate(timeout=40)
    assert watch.returncode == 1
    end = json.loads(output)
    assert (end["port"], end["reason"][0]) == ("seed", "transport_error")


def test_mon_watches_no_longer_than_told(network: Network, seed: Seed) -> None:
    result = network.aemp("mon", "--seed", seed.address, "--for", "0.5", seed.port)
    assert result.returncode == 3
    assert f"gave up after 0.5 s waiting for the end of '{seed.port}'" in result.stderr


def test_mon_ends_on_ctrl_c(seed: Seed, start: Start) -> None:
    watch = start("mon", "--seed", seed.address, seed.port)
    assert watch.stderr is not None
    watch.stderr.readline()
    code, _, errors = end(watch, signal.SIGINT)
    assert (code, errors.strip()) == (130, "aemp: interrupted")


def test_a_node_that_is_not_there_is_given_up(network: Network, seed: Seed) -> None:
    result = network.aemp("snd", "--seed", seed.address, "--timeout", "1", "nobody#1", "x")
    assert result.returncode == 3
    assert result.stderr == (
        f"aemp: gave up after 1 s waiting for a link to node 'nobody' (seeds: {seed.address})\n"
    )


def test_a_wrong_secret_gets_no_link(network: Network, seed: Seed) -> None:
    network.environment["AEMP_SECRET"] = "quite another secret"
    result = network.aemp("cal", "--seed", seed.address, "--timeout", "2", "seed", "time")
    assert result.returncode == 3
    assert "a link to node 'seed'" in result.stderr


def test_a_text_that_is_no_port_is_refused(network: Network, seed: Seed) -> None:
    result = network.aemp("snd", "--seed", seed.address, "no port", "x")
    assert result.returncode == 2
    assert "'no port' is no port ID" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_ends_in_good_order_on_a_signal(seed: Seed, number: signal.Signals) -> None:
    assert end(seed.process, number) == (0, "", "")


def test_run_tells_scripts_where_it_is(start: Start) -> None:
    process = start("run", "--json", "nodeid=n/%u", "binds=tcp://127.0.0.1:0")
    assert process.stdout is not None
    told = json.loads(process.stdout.readline())
    assert told["node"].startswith("n/")
    assert told["addresses"][0].startswith("tcp://127.0.0.1:")


def test_run_uses_a_profile(network: Network, start: Start) -> None:
    path = network.path / "aemp.toml"
    path.write_text("[profile.base]\nnodeid = 'of-base'\n[profile.child]\nparent = 'base'\n")
    network.environment["AEMP_CONFIG"] = str(path)
    assert read_line(start("run", "child"), "node ") == "of-base"


def test_a_service_that_raises_stops_the_start_and_says_why(network: Network) -> None:
    (network.path / "brokenservice.py").write_text("raise RuntimeError('no database')\n")
    result = network.aemp("run", "nodeid=x", "services=brokenservice")
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert "RuntimeError: no database" in line


def test_an_address_in_use_stops_the_start_and_says_why(network: Network, seed: Seed) -> None:
    result = network.aemp("run", "nodeid=x", f"binds={seed.address}")
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert seed.address.removeprefix("tcp://") in line
    assert "stop what listens there, or bind another port" in line


def test_a_profile_gives_secret_and_seeds_to_visits(network: Network, seed: Seed) -> None:
    secret = network.environment.pop("AEMP_SECRET")
    path = network.path / "aemp.toml"
    path.touch(0o600)
    path.write_text(
        f"[profile.seed]\nnodeid = 'seed'\nbinds = ['tcp://127.0.0.1:1']\n"
        f"secret = '{secret}'\nseeds = ['{seed.address}']\n"
    )
    network.environment["AEMP_CONFIG"] = str(path)
    result = network.aemp("cal", "--profile", "seed", seed.port, "echo", "hi")
    assert (result.returncode, result.stdout) == (0, "hi\n")


def test_a_secret_file_made_by_the_command_is_good(network: Network, start: Start) -> None:
    del network.environment["AEMP_SECRET"]
    assert network.aemp("secret", "new", "--output", "network.secret").returncode == 0
    process = start(
        "run", "--secret-file", "network.secret", "nodeid=seed", "binds=tcp://127.0.0.1:0"
    )
    address = read_line(process, "address ")
    words = ("--secret-file", "network.secret", "--seed", address, "seed", "time")
    assert network.aemp("cal", *words).returncode == 0
    assert os.stat(network.path / "network.secret").st_mode & 0o077 == 0
