"""What the tests of aemp-tls share: `tls_kit` on the path, event loops of both kinds, a CA."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from aemp_core.testing.conformance_pytest import new_loop

sys.path.insert(0, str(Path(__file__).parent))

from tls_kit import Office

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Runs a coroutine, bounded in time, on a loop of its own; nothing unhandled may happen."""
    loop = new_loop(request.param)
    unhandled: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: unhandled.append(context))

    def run_on_loop(main: Coroutine[Any, Any, Any]) -> Any:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(asyncio.wait_for(main, 30))

    yield run_on_loop
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    asyncio.set_event_loop(None)
    assert not unhandled


@pytest.fixture
def office(tmp_path: Path) -> Office:
    """A CA of the network `example`, and a desk where its certificates lie."""
    return Office(tmp_path, "example")
