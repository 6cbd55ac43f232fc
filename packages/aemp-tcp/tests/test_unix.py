"""Unix sockets: they conform."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from aemp_core.testing import Harness
from aemp_core.testing.conformance_pytest import ConformanceTests
from aemp_tcp.unix import UnixTransport

_numbers = itertools.count()


@asynccontextmanager
async def unix(directory: Path) -> AsyncIterator[Harness]:
    yield Harness(
        UnixTransport,
        address=lambda: f"unix://{directory}/{next(_numbers)}.socket",
        nowhere=lambda: f"unix://{directory}/nobody.socket",
    )


class TestUnixConforms(ConformanceTests):
    def make_harness(self, tmp_path: Path) -> AbstractAsyncContextManager[Harness]:
        return unix(tmp_path)
