"""What the tests of aemp-tcp share: event loops of both kinds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from aemp_core.testing.conformance_pytest import new_loop

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
