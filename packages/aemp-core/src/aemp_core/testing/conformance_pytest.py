"""The conformance kit as pytest tests: subclass, and every check is a test on every event loop.

    class TestMyTransport(ConformanceTests):
        def make_harness(self, tmp_path):
            return my_harness()  # an async context manager, see `conformance`

Needs no pytest plugin: each test runs a loop of its own.
"""

from __future__ import annotations

import asyncio
import importlib.util
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from .bench import Harness
from .clock import VirtualClockLoop
from .conformance import CHECKS, Check, name_of, run_check

__all__ = ["ConformanceTests", "new_loop"]


def new_loop(name: str) -> asyncio.AbstractEventLoop:
    """A fresh event loop: ``asyncio``, ``uvloop`` (skips the test if absent) or ``virtual``."""
    if name == "asyncio":
        return asyncio.new_event_loop()
    if name == "virtual":
        return VirtualClockLoop()
    if importlib.util.find_spec("uvloop") is None:
        pytest.skip("uvloop is not installed")
    import uvloop

    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


class ConformanceTests:
    """Every check of the kit, on each of `loops`.

    Attributes:
        loops: names of the event loops, see `new_loop`.
    """

    loops: ClassVar[tuple[str, ...]] = ("asyncio", "uvloop")

    def make_harness(self, tmp_path: Path) -> AbstractAsyncContextManager[Harness]:
        """The harness of one check; `tmp_path` is a fresh directory."""
        raise NotImplementedError

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run every check on every loop."""
        if "loop_name" in metafunc.fixturenames:
            metafunc.parametrize("loop_name", self.loops)

    @pytest.mark.parametrize("check", CHECKS, ids=name_of)
    def test_conforms(self, check: Check, loop_name: str, tmp_path: Path) -> None:
        """The transport keeps to one sentence of `aemp_core.link`."""
        loop = new_loop(loop_name)
        unhandled: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, context: unhandled.append(context))
        try:
            loop.run_until_complete(run_check(check, lambda: self.make_harness(tmp_path)))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()
        assert not unhandled
