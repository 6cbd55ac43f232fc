"""TLS links: they conform; whole nodes over them; what a link tells of its peer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

from tls_kit import Office

from aemp_core.testing import Harness, StandIn
from aemp_core.testing.conformance_pytest import ConformanceTests
from aemp_tls.keeper import Keeper
from aemp_tls.tls import TlsTransport

Run = Callable[[Coroutine[Any, Any, Any]], Any]
SECRET = b"the secret of these tests"


def transport(node: StandIn) -> TlsTransport:
    return TlsTransport(Keeper(node))


class TestTlsConforms(ConformanceTests):
    secret: ClassVar[bytes | None] = SECRET
    office: ClassVar[Office]
    cert: ClassVar[str]

    def make_harness(self, tmp_path: Path) -> AbstractAsyncContextManager[Harness]:
        return self.harness(tmp_path)

    @asynccontextmanager
    async def harness(self, tmp_path: Path) -> AsyncIterator[Harness]:
        cert = Office(tmp_path, "example").cert("*")
        yield Harness(
            transport,
            address=lambda: "tls://127.0.0.1:0",
            nowhere=lambda: "tls://127.9.9.9:9",
            settings={"secret": SECRET, "cert": cert},
        )
