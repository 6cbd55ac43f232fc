"""``aemp demo``: the main job as real processes, with every trouble it must survive."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import SECONDS, Network, end, read_line

Start = Callable[..., "subprocess.Popen[str]"]

FILES = 60

needs_proc = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="looks at processes in /proc"
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Text files, and one of everything that cannot be counted."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(FILES):
        folder = tree / f"folder{number % 7}"
        folder.mkdir(exist_ok=True)
        (folder / f"{number}.txt").write_text("ein Wort più\n" * number, encoding="utf-8")
    (tree / "nul").write_bytes(b"a\0b")
    (tree / "latin").write_bytes("è vero".encode("latin-1"))
    os.mkfifo(tree / "pipe")
    (tree / "vanished").symlink_to(tree / "not there")
    (tree / "loop").symlink_to(tree / "loop")
    with open(os.fsencode(tree / "n\x1bme") + b"\xff", "w") as file:
        file.write("three more words")
    return tree


WORDS = 3 * sum(range(FILES)) + 3


def children(pid: int) -> list[int]:
    """The processes that process `pid` started and that are still there."""
    found = []
    for path in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            if f"\nPPid:\t{pid}\n" in path.read_text():
                found.append(int(path.parent.name))
    return found


def alive(pid: int) -> bool:
    """Whether the process is there, and is more than an exit code nobody fetched."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def wait_for_end(pids: list[int]) -> None:
    """Return when none of the processes is there; the test's own deadline is the last resort."""
    deadline = time.monotonic() + SECONDS
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline, f"still there: {[pid for pid in pids if alive(pid)]}"
        time.sleep(0.02)


def test_a_killed_worker_changes_no_total(network: Network, tree: Path) -> None:
    result = network.aemp("demo", "--json", "--workers", "3", str(tree))
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["equal"] is True
    assert (told["files"], told["words"], told["direct_words"]) == (FILES + 1, WORDS, WORDS)
    assert told["skipped"] == {"binary": 2, "special": 1, "unreadable": 1, "vanished": 1}
    (loss,) = told["losses"]
    assert loss["killed"] is True
    assert loss["reason"][0] == "transport_error"
    assert 0 < loss["noticed_ms"] < 5_000
    assert told["messages"] >= 2 * (FILES + 6)
    assert f"node {loss['node']} is up" in result.stderr
    assert f"node {loss['node']} is down" in result.stderr
    assert f"sending SIGKILL to {loss['node']}" in result.stderr


def test_workers_are_found_in_a_group_where_there_are_groups(network: Network, tree: Path) -> None:
    result = network.aemp("demo", "--json", "--no-kill", "--workers", "2", str(tree))
    assert result.returncode == 0, result.stderr
    groups = importlib.util.find_spec("aemp_global") is not None
    assert ("ports that count are found in the group demo/counters" in result.stderr) is groups
    assert ("ports that count are spawned there" in result.stderr) is not groups


def test_the_report_for_people(network: Network, tree: Path) -> None:
    result = network.aemp("demo", "--workers", "2", str(tree))
    assert result.returncode == 0, result.stderr
    lines = dict(line.split("  ", 1) for line in result.stdout.splitlines() if "  " in line)
    table = {name.strip(): value.strip() for name, value in lines.items()}
    assert table["files counted"] == str(FILES + 1)
    assert table["words"] == table["words, counted directly"] == f"{WORDS:,}"
    assert table["time to notice"].endswith(" ms")
    assert "messages/s" in table
    assert "unreadable: " in result.stdout
    assert "vanished: " in result.stdout
    assert "\x1b" not in result.stdout


def test_without_a_kill_nobody_is_lost(network: Network, tree: Path) -> None:
    result = network.aemp("demo", "--json", "--no-kill", "--workers", "2", str(tree))
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert (told["losses"], told["words"], told["workers"]) == ([], WORDS, 2)


def test_the_only_worker_is_replaced(network: Network, tree: Path) -> None:
    result = network.aemp("demo", "--json", "--workers", "1", str(tree))
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert (told["words"], told["workers"], len(told["losses"])) == (WORDS, 2, 1)
    assert "no worker is left: starting another" in result.stderr


def test_one_file_is_enough_to_lose_a_worker_over(network: Network, tree: Path) -> None:
    result = network.aemp("demo", "--json", str(tree / "folder5" / "5.txt"))
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert (told["files"], told["words"], len(told["losses"])) == (1, 15, 1)


def test_no_files_are_counted_too(network: Network, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = network.aemp("demo", "--json", "--workers", "1", str(tmp_path / "empty"))
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert (told["files"], told["words"], told["losses"]) == (0, 0, [])


def test_a_path_that_is_not_there_is_refused(network: Network, tmp_path: Path) -> None:
    result = network.aemp("demo", str(tmp_path / "nothing"))
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert "nothing: there is no such file or directory" in line


def test_files_that_change_meanwhile_do_not_make_it_fail(
    network: Network, start: Start, tree: Path
) -> None:
    """Files appended to, removed, made again: whatever the moment, the totals are equal."""
    process = start("demo", "--json", str(tree), stderr=subprocess.DEVNULL)
    victims = sorted(tree.glob("folder*/*.txt"))
    number = 0
    while process.poll() is None:
        victim = victims[number % len(victims)]
        if number % 3:
            with open(victim, "a") as file:
                file.write("more words")
        else:
            victim.unlink(missing_ok=True)
        number += 1
    output, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    told = json.loads(output)
    assert told["equal"] is True
    assert told["words"] == told["direct_words"]
    assert told["differing"] == []


@needs_proc
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_every_process(start: Start, number: signal.Signals, code: int) -> None:
    process = start("demo", "--workers", "2", "--no-kill")
    read_until(process, "is up")
    workers = children(process.pid)
    assert len(workers) == 2
    got, _, errors = end(process, number)
    assert (got, errors) == (code, "aemp: interrupted; every process of the demo has ended\n")
    assert not any(alive(pid) for pid in workers)


@needs_proc
def test_workers_end_when_the_driver_is_killed(start: Start) -> None:
    process = start("demo", "--workers", "2", "--no-kill")
    read_until(process, "is up")
    workers = children(process.pid)
    assert len(workers) == 2
    process.kill()
    wait_for_end(workers)


@needs_proc
def test_a_worker_that_somebody_else_kills_is_survived(
    network: Network, start: Start, tree: Path
) -> None:
    for number in range(2_000):
        (tree / f"{number}.txt").write_text("a few words")
    process = start("demo", "--json", "--workers", "2", "--no-kill", str(tree))
    assert process.stderr is not None
    for line in process.stderr:
        if "files, " in line:
            break
    os.kill(children(process.pid)[0], signal.SIGKILL)
    output, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    told = json.loads(output)
    assert (told["equal"], told["words"]) == (True, WORDS + 6_000)
    assert [loss["killed"] for loss in told["losses"]] in ([False], [])


@needs_proc
def test_the_secret_shows_up_nowhere(start: Start) -> None:
    """Neither in the list of processes nor in what their environment holds."""
    process = start("demo", "--workers", "1", "--no-kill")
    read_until(process, "is up")
    (worker,) = children(process.pid)
    arguments = Path(f"/proc/{worker}/cmdline").read_bytes().split(b"\0")
    assert arguments[1:] == [b"-m", b"aemp_core.cli.demo.worker", b""]
    variables = Path(f"/proc/{worker}/environ").read_bytes()
    assert variables.count(b"AEMP_SECRET=") <= 1  # that of the test itself


def test_a_worker_alone_says_who_starts_it() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "aemp_core.cli.demo.worker"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert result.returncode == 1
    assert result.stderr == (
        "aemp demo worker: started by 'aemp demo', which tells it what to do\n"
    )


def read_until(process: subprocess.Popen[str], text: str) -> None:
    """Read lines until one has `text`."""
    while text not in read_line(process, ""):
        pass
