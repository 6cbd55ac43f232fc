"""The memory transport: it conforms, and names are those of one loop."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from aemp_core.memory import MemoryTransport
from aemp_core.testing import Harness
from aemp_core.testing.conformance_pytest import ConformanceTests

_numbers = itertools.count()


@asynccontextmanager
async def memory() -> AsyncIterator[Harness]:
    yield Harness(
        MemoryTransport,
        address=lambda: f"memory://node/{next(_numbers)}",
        nowhere=lambda: f"memory://nowhere/{next(_numbers)}",
    )


class TestMemoryConforms(ConformanceTests):
    loops = ("asyncio", "uvloop", "virtual")

    def make_harness(self, tmp_path: Path) -> AbstractAsyncContextManager[Harness]:
        return memory()
