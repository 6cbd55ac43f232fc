"""The memory transport: it conforms, and names are those of one loop."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from aemp_core.errors import AddressError, TransportError
from aemp_core.link import Candidate
from aemp_core.memory import MemoryNetwork, MemoryTransport
from aemp_core.stream import Stream
from aemp_core.testing import Harness, StandIn
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


async def test_a_network_of_ones_own_takes_the_place_of_the_loops() -> None:
    loop = asyncio.get_running_loop()
    network = MemoryNetwork()
    network.install(loop)
    assert MemoryNetwork.of(loop) is network
    node = StandIn("listening")
    listener = await MemoryTransport(node).listen("memory://here", lambda candidate: None)
    with pytest.raises(TransportError, match="memory://here is bound already"):
        network.bind("here", Stream)  # type: ignore[arg-type]
    MemoryNetwork().install(loop)
    with pytest.raises(TransportError, match="memory://here: nobody listens there"):
        await MemoryTransport(StandIn("dialling")).dial("memory://here")
    await listener.close()


async def test_nodes_without_a_secret_share_that_of_their_network() -> None:
    came: asyncio.Queue[Candidate] = asyncio.Queue()
    listener = await MemoryTransport(StandIn("one")).listen("memory://one", came.put_nowait)
    dialled = await MemoryTransport(StandIn("other")).dial("memory://one")
    accepted = await came.get()
    dialled.confirm()
    await accepted.proved()
    stranger = StandIn("stranger", secret=b"configured, not shared")
    refused = await MemoryTransport(stranger).dial("memory://one")
    refused.confirm()
    with pytest.raises(TransportError):
        await refused.proved()
    dialled.abort()
    await listener.close()


def test_names_are_those_of_one_loop() -> None:
    async def listen() -> None:
        await MemoryTransport(StandIn("node")).listen("memory://name", lambda candidate: None)

    for _ in range(2):  # not closed, and bound again on another loop
        asyncio.run(listen())


@pytest.mark.parametrize(
    "address", ["memory://", "memory://a b", "memory://a;b", "name", "tcp://x"]
)
async def test_a_name_is_made_of_what_node_ids_are_made_of(address: str) -> None:
    with pytest.raises(AddressError, match="memory://NAME"):
        MemoryTransport(StandIn("node")).check(address)
