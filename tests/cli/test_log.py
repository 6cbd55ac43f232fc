"""``aemp log`` and the nodes whose records it shows, as processes over TCP."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator

import pytest

from .conftest import Network, end, read_line

Start = Callable[..., "subprocess.Popen[str]"]

SERVICE = """
import logging
import aemp_core as mp

log = logging.getLogger("shop.till")

def beat(seconds=0.05, count=1, text="sold"):
    number = 0

    def tell():
        nonlocal number
        for _ in range(count):
            number += 1
            log.info("%s %d", text, number)

    mp.every(seconds, tell)
"""


def beating(seconds: float = 0.05, count: int = 1, text: str = "sold") -> str:
    return f"services=[['beatservice:beat', {seconds}, {count}, '{text}']]"


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    path = tmp_path_factory.mktemp("log")
    (path / "beatservice.py").write_text(SERVICE)
    secret = "a secret of the tests only"
    return Network(path, {**os.environ, "AEMP_SECRET": secret, "AEMP_LOG_LEVEL": "INFO"})


@pytest.fixture(scope="module")
def seed(network: Network) -> Iterator[str]:
    """The address of a node that logs a beat, for all tests of this file."""
    with network.seed(beating()) as address:
        yield address


def worker(start: Start, seed: str, name: str, *words: str) -> subprocess.Popen[str]:
    process = start(
        "run", f"nodeid={name}", f"seeds={seed}", *(words or (beating(),)),
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert read_line(process, "node ") == name
    return process


def records(catcher: subprocess.Popen[str], node: str, text: str) -> dict[str, str]:
    """The next record of a node whose text begins so; the test's own timeout ends waiting."""
    assert catcher.stdout is not None
    for line in catcher.stdout:
        record: dict[str, str] = json.loads(line)
        if record["node"] == node and record["text"].startswith(text):
            return record
    raise AssertionError(f"no record {text!r} of {node}")


def test_nodes_that_are_there_that_join_and_that_are_killed(seed: str, start: Start) -> None:
    first = worker(start, seed, "worker/1")
    catcher = start("log", "--json", "--seed", seed)
    record = records(catcher, "seed", "sold")
    assert (record["level"], record["logger"]) == ("INFO", "shop.till")
    assert record["time"].endswith("+00:00")
    records(catcher, "worker/1", "sold")
    worker(start, seed, "worker/2")
    records(catcher, "worker/2", "sold")
    first.kill()
    records(catcher, "seed", "node worker/1 is down")
    records(catcher, "worker/2", "sold")
    code, _, errors = end(catcher, signal.SIGINT)
    assert code == 0
    told = errors.splitlines()
    for node in ("seed", "worker/1", "worker/2"):
        assert f"{node}: caught; it logs from INFO on" in told
    assert any(line.startswith("worker/1: lost: transport_error") for line in told)
    assert "Traceback" not in errors


def test_lines_for_people_and_an_end(network: Network, seed: str) -> None:
    result = network.aemp("log", "--seed", seed, "--for", "0.7", "see*")
    assert (result.returncode, result.stderr) == (0, "seed: caught; it logs from INFO on\n")
    lines = result.stdout.splitlines()
    assert lines
    for line in lines:
        time, node, level, logger, text = line.split("  ", 3)[:2] + line.split("  ", 2)[2].split(
            None, 2
        )
        assert (len(time), node, level, logger) == (12, "seed", "INFO", "shop.till")
        assert text.startswith("sold ")


def test_a_flood_on_one_node_hides_no_other(seed: str, start: Start) -> None:
    worker(start, seed, "worker/1", beating(0.02, 200, "noise"))
    catcher = start("log", "--json", "--seed", seed, stderr=subprocess.DEVNULL)
    text = records(catcher, "worker/1", "")["text"]
    while "left out" not in text:
        text = records(catcher, "worker/1", "")["text"]
    assert text.endswith(" INFO")
    for _ in range(5):
        records(catcher, "seed", "sold")


def test_a_catcher_that_nobody_reads_is_no_burden(
    network: Network, seed: str, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its output stands still for longer than any silence is tolerated; its node does not."""
    monkeypatch.setitem(network.environment, "AEMP_HEARTBEAT", "1")
    texts = beating(0.02, 20, "x" * 500)
    worker(start, seed, "worker/1", texts)
    catcher = start("log", "--json", "--seed", seed, stderr=subprocess.DEVNULL)
    watch = start("mon", "--seed", seed, "--for", "2", "worker/1")
    records(catcher, "seed", "sold")
    # For as long as this takes nobody reads.
    output, _ = watch.communicate(timeout=40)
    assert (watch.returncode, output) == (3, "")
    text = records(catcher, "worker/1", "")["text"]
    while "left out" not in text:
        text = records(catcher, "worker/1", "")["text"]
    records(catcher, "seed", "sold")
    # Still nobody reads, and it ends at once.
    code, _, _ = end(catcher, signal.SIGINT)
    assert code == 0


def test_a_reader_that_has_seen_enough_ends_it(seed: str, start: Start) -> None:
    catcher = start("log", "--seed", seed)
    assert catcher.stdout is not None and catcher.stderr is not None
    catcher.stdout.readline()
    catcher.stdout.close()
    assert catcher.wait(timeout=40) == 1
    assert catcher.stderr.read() == "seed: caught; it logs from INFO on\n"
    catcher.stdout = open(os.devnull)  # what ends it reads it


def test_a_node_that_refuses_says_how_to_allow_it(network: Network, start: Start) -> None:
    process = start(
        "run", "nodeid=seed", "binds=tcp://127.0.0.1:0", "rules=[{node = '*', deny = ['log']}]"
    )
    address = read_line(process, "address ")
    result = network.aemp("log", "--seed", address, "--for", "1")
    assert (result.returncode, result.stdout) == (0, "")
    assert result.stderr.startswith("seed: refused: anon/")
    assert 'allow = ["log"] }], in the configuration of seed' in result.stderr


def test_the_service_collects_them_in_one_log(network: Network, seed: str, start: Start) -> None:
    collector = start("run", "nodeid=collector", f"seeds={seed}", "services=aemp_core.services.log")
    assert collector.stderr is not None
    for line in collector.stderr:
        if "aemp_core.services.log: seed shop.till: sold" in line:
            break
    else:
        raise AssertionError("no record of seed")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--level", "LOUD"], "'LOUD' is no level: use one of DEBUG, INFO"),
        (["no node"], "'no node' is no node ID and no pattern of node IDs"),
    ],
)
def test_wrong_words_are_one_line(network: Network, words: list[str], text: str) -> None:
    result = network.aemp("log", "--seed", "tcp://127.0.0.1:1", *words)
    assert (result.returncode, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert text in line


def test_a_network_that_is_not_there_is_given_up(network: Network) -> None:
    result = network.aemp("log", "--seed", "tcp://127.0.0.1:1", "--timeout", "0.5")
    assert result.returncode == 3
    assert (
        "gave up after 0.5 s waiting for a seed to answer (seeds: tcp://127.0.0.1:1)"
        in result.stderr
    )
