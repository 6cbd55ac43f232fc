"""The ``aemp`` command as a process: help, speed of start, one-line errors, exit codes."""

from __future__ import annotations

import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli_kit import aemp, failed

from aemp_core.cli.commands import BUILT_IN


def test_help_lists_every_subcommand_and_the_exit_codes() -> None:
    result = aemp("--help")
    assert result.returncode == 0
    for name in BUILT_IN:
        assert f"  {name} " in result.stdout
    assert "\n  3    something waited for" in result.stdout


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_subcommand_has_help(name: str) -> None:
    result = aemp(name, "--help")
    assert result.returncode == 0
    assert result.stdout.startswith(f"Usage: aemp {name}")


def test_help_is_there_at_once() -> None:
    """Under 0.3 s; on a machine busy with other tests, not much more than click itself takes."""

    def best_of(*words: str) -> float:
        def seconds() -> float:
            begin = time.perf_counter()
            subprocess.run([sys.executable, *words], stdout=subprocess.DEVNULL, timeout=30)
            return time.perf_counter() - begin

        return min(seconds() for _ in range(5))

    taken = best_of("-m", "aemp_core", "--help")
    assert taken < 0.3 or taken < 3 * best_of("-c", "import click")


def test_help_imports_neither_a_subcommand_nor_a_node() -> None:
    """What takes longest to import is left out: asyncio, and everything built on it."""
    result = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "aemp_core", "--help"],
        capture_output=True,
        text=True,
        timeout=30,
    )
    imported = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert {"aemp_core.cli.commands", "aemp_core.plugins"} <= imported
    assert not imported & {"aemp_core.cli.run", "aemp_core.cli.demo", "rich"}
    assert not imported & {"asyncio", "msgpack", "aemp_core.node", "aemp_core.wire"}


def test_the_version_is_that_of_the_distribution() -> None:
    from importlib.metadata import version

    assert aemp("--version").stdout == f"aemp {version('aemp-core')}\n"


def test_a_wrong_subcommand_is_told_the_nearest() -> None:
    line = failed(aemp("snt"), 2)
    assert line == "aemp: unknown command 'snt': did you mean 'snd'? (see 'aemp --help')"


def test_a_missing_argument_is_one_line() -> None:
    assert failed(aemp("cal"), 2).startswith("aemp cal: Missing argument")


def test_a_secret_is_printed() -> None:
    first, second = (aemp("secret", "new").stdout.strip() for _ in range(2))
    assert len(first) >= 43
    assert first != second


def test_a_secret_goes_into_a_file_of_its_owner_and_never_over_another(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    assert aemp("secret", "new", "--output", str(path)).returncode == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_text()
    assert "there is such a file already" in failed(aemp("secret", "new", "--output", str(path)), 2)
    assert path.read_text() == before


def test_a_secret_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("0123456789abcdef\n")
    path.chmod(0o644)
    line = failed(
        aemp("snd", "--seed", "tcp://127.0.0.1:1", "--secret-file", str(path), "a", "b"), 2
    )
    assert f"run 'chmod 600 {path}'" in line


def test_without_a_seed_there_is_no_network_to_join() -> None:
    assert "name one with --seed ADDRESS" in failed(aemp("snd", "bob", "devnull"), 2)


def test_a_wrong_variable_is_one_line() -> None:
    assert "AEMP_SEED: did you mean AEMP_SEEDS?" in failed(aemp("run", AEMP_SEED="x"), 2)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["hearbeat=5"], "unknown setting 'hearbeat': did you mean 'heartbeat'?"),
        (["heartbeat=0"], "heartbeat = 0: 1 to 3600 seconds are needed"),
        (["nodeid=a", "b"], "'b': write KEY=VALUE"),
        (["nobody"], "unknown profile 'nobody'"),
        (["nodeid=a", "services=no_such_module_here"], "no_such_module_here"),
        (["nodeid=a", "binds=carrier-pigeon://roof"], "carrier-pigeon"),
    ],
)
def test_run_refuses_wrong_settings(words: list[str], text: str) -> None:
    assert text in failed(aemp("run", *words), 2)


def test_json_words_that_are_no_json_are_refused() -> None:
    line = failed(aemp("cal", "--seed", "tcp://127.0.0.1:1", "--json-args", "bob", "time"), 2)
    assert "'time' is no JSON" in line


def test_output_nobody_reads_is_no_error() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "aemp_core", "--help"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    process.wait(timeout=30)
