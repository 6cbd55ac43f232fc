"""The relay transport conforms, streams have bounds, and a switchboard passes words on."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from aemp_core.errors import TransportError
from aemp_core.testing import Harness
from aemp_core.testing.conformance_pytest import ConformanceTests
from aemp_global.relay import RelayTransport
from aemp_global.switchboard import Switchboard

numbers = itertools.count(1)


class Exchange:
    """A relaying node without a node: its switchboard, and a turn of the loop for each word."""

    def __init__(self) -> None:
        self.transports: dict[str, RelayTransport] = {}
        self.keys: dict[str, str] = {}
        self.board = Switchboard(self.to_end, lambda asker, target: "", self.new_stream)

    def new_stream(self) -> str:
        return f"s{next(numbers)}"

    def to_end(self, end: str, word: str, stream: str, argument: Any) -> bool:
        for key, transport in self.transports.items():
            if end in transport._doors:
                self.keys[end] = key  # for what follows, also when nobody listens there any more
        key = self.keys.get(end, end)
        if key not in self.transports:
            return False
        heard = self.transports[key].heard
        asyncio.get_running_loop().call_soon(heard, "hub", word, stream, argument)
        return True

    def to_board(self, key: str, word: str, stream: str, argument: Any) -> None:
        if word == "open":
            self.board.open(key, stream, argument)
        for end in (key, *(name for name, its_key in self.keys.items() if its_key == key)):
            if word != "open" and (end, stream) in self.board:
                self.board.heard(end, word, stream, argument)

    def transport(self, node: Any) -> RelayTransport:
        key = f"end/{next(numbers)}"
        exchange = self

        class Carrier:
            def carry(self, via: str, word: str, stream: str, argument: Any) -> bool:
                loop = asyncio.get_running_loop()
                loop.call_soon(exchange.to_board, key, word, stream, argument)
                return True

            async def way_to(self, node_id: str) -> str:
                return "hub"

            def new_stream(self) -> str:
                return exchange.new_stream()

        class OneOfMany(RelayTransport):
            """Names are node IDs: that nobody else has them is not for one node to say."""

            def bind(self, name: str, accept: Any) -> Any:
                if any(name in each._doors for each in exchange.transports.values()):
                    raise TransportError(f"relay://{name} is bound already")
                return super().bind(name, accept)

        transport = self.transports[key] = OneOfMany(node, Carrier())
        return transport


class TestRelay(ConformanceTests):
    loops = ("asyncio", "virtual")

    def make_harness(self, tmp_path: Path) -> AbstractAsyncContextManager[Harness]:
        @asynccontextmanager
        async def harness() -> AsyncIterator[Harness]:
            exchange = Exchange()
            yield Harness(
                exchange.transport,
                address=lambda: f"relay://conformance/{next(numbers)}",
                nowhere=lambda: f"relay://nowhere/{next(numbers)}",
            )
            assert len(exchange.board) == 0

        return harness()
