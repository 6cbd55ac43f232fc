"""What the tests of real faults share: who runs them, in which size, and what becomes of figures.

They need root, minutes and a machine that is not busy, so they run when asked for by path only:
``pytest tests/faults`` is the quick size, ``pytest tests/faults --full`` the one whose figures
stand in docs/reliability.md. ``--figures FILE`` keeps the figures, one JSON object per line.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # makes `faults_kit` importable

#: Seconds a test may take; the stacks of all threads are printed then, and the run ends.
TIMEOUT = {"quick": 120, "full": 1_800}

lines = pytest.StashKey[list[dict[str, Any]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("faults", "real faults")
    group.addoption("--full", action="store_true", help="as often and as long as it takes to know")
    group.addoption("--figures", metavar="FILE", help="append what was measured, as JSON lines")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[lines] = []
    config.addinivalue_line("markers", "full_only: left out of the quick size")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what is in here unless an argument of the command line names it."""
    start = config.invocation_params.dir
    for argument in config.args:
        asked = (start / argument.partition("::")[0]).resolve()
        if asked == HERE or HERE in asked.parents:
            return None
    return True


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    quick = size_of(config) == "quick"
    left_out = [item for item in items if quick and item.get_closest_marker("full_only")]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.timeout(TIMEOUT[size_of(config)]))


def size_of(config: pytest.Config) -> str:
    return "full" if config.getoption("--full", default=False) else "quick"


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    measured = config.stash.get(lines, [])
    if not measured:
        return
    terminalreporter.section("figures")
    for each in measured:
        terminalreporter.write_line(json.dumps(each))
    if config.getoption("--figures", default=None):
        with open(config.getoption("--figures"), "a", encoding="utf-8") as file:
            file.writelines(json.dumps(each) + "\n" for each in measured)


@pytest.fixture
def size(request: pytest.FixtureRequest) -> Callable[[Any, Any], Any]:
    """``size(QUICK, FULL)``: the one of both that counts in this run."""
    full = size_of(request.config) == "full"
    return lambda quick, many: many if full else quick


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Callable[..., None]:
    """``figures(name=value, ...)`` notes what was measured, also of a test that then fails."""

    def note(**values: Any) -> None:
        line = {"test": request.node.name, "size": size_of(request.config), **values}
        request.config.stash[lines].append(line)

    return note


@pytest.fixture(scope="session")
def machine() -> None:
    """This machine can make networks; else the test is skipped with what is missing."""
    from faults_kit.machine import missing

    reason = missing()
    if reason is not None:
        pytest.skip(reason)
