"""Running the ``aemp`` command as real processes, none of which outlives its test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

AEMP = [sys.executable, "-m", "aemp_core"]
SECONDS = 40
SECRET = "a secret of the tests only"


@dataclass
class Network:
    """A directory to run commands in, and the secret they share.

    Attributes:
        path: the directory.
        environment: what the processes see.
    """

    path: Path
    environment: dict[str, str]

    def aemp(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [*AEMP, *words],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            cwd=self.path,
            env=self.environment,
        )

    @contextmanager
    def seed(self, *words: str) -> Iterator[str]:
        """The address of a node that runs as long as the block does."""
        process = subprocess.Popen(
            [*AEMP, "run", "nodeid=seed", "binds=tcp://127.0.0.1:0", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=self.path,
            env=self.environment,
        )
        yield read_line(process, "address ")
        process.kill()
        process.communicate(timeout=SECONDS)


@pytest.fixture
def network(tmp_path: Path) -> Network:
    return Network(tmp_path, {**os.environ, "AEMP_SECRET": SECRET, "AEMP_LOG_LEVEL": "ERROR"})


@pytest.fixture
def start(network: Network) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a command and leave it running; it is killed when the test ends."""
    processes: list[subprocess.Popen[str]] = []

    def begin(*words: str, stderr: int = subprocess.PIPE) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*AEMP, *words],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            cwd=network.path,
            env=network.environment,
        )
        processes.append(process)
        return process

    yield begin
    for process in processes:
        process.kill()
        process.communicate(timeout=SECONDS)


def read_line(process: subprocess.Popen[str], begins: str) -> str:
    """The rest of the next line of output that begins so; the test's own timeout ends waiting."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(begins):
            return line.removeprefix(begins).strip()
    assert process.stderr is not None
    raise AssertionError(f"no line {begins!r}; it said: {process.stderr.read()}")


def end(process: subprocess.Popen[str], number: signal.Signals) -> tuple[int, str, str]:
    """Send a signal and return exit code, output and error output."""
    process.send_signal(number)
    output, errors = process.communicate(timeout=SECONDS)
    return process.returncode, output, errors
