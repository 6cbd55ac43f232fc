"""What holds for every test: the right distributions are installed, and no one's home is touched.

The tox environments say which of our distributions they expect and which they forbid. Without
that check an environment whose installation is broken could pass by collecting nothing, and one
that is meant to prove that aemp-core stands alone could quietly use its siblings.
"""

from __future__ import annotations

import importlib.util
import os
import signal
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest


def pytest_configure() -> None:
    # Shells start background jobs with SIGINT ignored, `nohup` ignores SIGHUP, and processes hand
    # that on; the programs that tests interrupt must hear it.
    for number, usual in (
        (signal.SIGINT, signal.default_int_handler),
        (getattr(signal, "SIGHUP", signal.SIGINT), signal.SIG_DFL),
    ):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)
    for name in os.environ.get("EXPECT_DISTRIBUTIONS", "").split():
        if not _installed(name) or not _importable(name):
            raise pytest.UsageError(f"{name} should be installed in this environment, and is not")
    for name in os.environ.get("FORBID_DISTRIBUTIONS", "").split():
        if _installed(name) or _importable(name):
            raise pytest.UsageError(f"{name} should be absent from this environment, and is here")


def _installed(distribution: str) -> bool:
    return any(True for _ in metadata.distributions(name=distribution))


def _importable(distribution: str) -> bool:
    return importlib.util.find_spec(distribution.replace("-", "_")) is not None


@pytest.fixture(scope="session", autouse=True)
def home_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty home directory and no AEMP variables, here and in the processes tests start.

    So no test reads the configuration or the secret of whoever runs it, or writes one.
    """
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for variable in list(os.environ):
            if variable.startswith(("AEMP_", "XDG_")):
                patch.delenv(variable)
        patch.setenv("HOME", str(home))
        yield home
