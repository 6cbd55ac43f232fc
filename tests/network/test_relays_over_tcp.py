"""Relays over real sockets, on asyncio and uvloop: nodes that only dial, and a global."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

import aemp_core as mp
import aemp_global as gl
from aemp_core.testing.conformance_pytest import new_loop

SECRET = b"a secret of the tests only"
SECONDS = 40

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Runs a coroutine on a loop of its own, within a generous time."""
    loop = new_loop(request.param)
    yield lambda main: loop.run_until_complete(asyncio.wait_for(main, SECONDS))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def test_much_and_long_messages_go_through_in_order(run: Run) -> None:
    async def main() -> None:
        async with mp.Node("hub", binds=["tcp://127.0.0.1:0"], secret=SECRET) as hub:
            seeds = list(hub.addresses)
            async with (
                mp.Node("one", seeds=seeds, secret=SECRET) as one,
                mp.Node("two", seeds=seeds, secret=SECRET) as two,
            ):
                got: list[Any] = []
                port = two.port(lambda *message: got.append(message))
                gl.of(two).grp_reg("sinks", port)
                assert await gl.of(one).grp_wait("sinks") == [port]
                for number in range(5_000):
                    one.snd(port, number, "x" * 200)
                one.snd(port, "long", b"x" * (8 * 2**20))
                await one.flush(port)
                while len(got) < 5_001:
                    await asyncio.sleep(0.01)
                assert [message[0] for message in got] == [*range(5_000), "long"]
                assert len(got[-1][1]) == 8 * 2**20
                assert "relay" in one.peers["two"].session.info.origin  # type: ignore[union-attr]
                ended = asyncio.ensure_future(one.killed(port))
                await asyncio.sleep(0)
                await one.flush(port)
                two.kil(port, "enough")
                assert await ended == ("enough",)

    run(main())


def test_it_is_the_secret_of_the_ends_that_counts(run: Run) -> None:
    """A node that knows another secret gets no link, through whomever it is brought along."""

    async def main() -> None:
        async with mp.Node("hub", binds=["tcp://127.0.0.1:0"], secret=SECRET) as hub:
            async with (
                mp.Node("one", seeds=hub.addresses, secret=SECRET) as one,
                mp.Node("two", seeds=hub.addresses, secret=SECRET) as two,
            ):
                for node in (one, two):
                    await node.up("hub", 20)
                gl.of(two).passage.transport._secret = lambda: b"another secret of 16 bytes"  # type: ignore[method-assign]
                with pytest.raises(mp.CallTimeout):
                    await one.up("two", 2)
                assert not two.node_is_up("one")

    run(main())
