"""Whole nodes over real sockets: on asyncio and uvloop, over TCP and unix, and a killed process."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

import aemp_core as mp
from aemp_core.testing.conformance_pytest import new_loop

SECRET = b"a secret of the tests only"
SECONDS = 30

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Runs a coroutine on a loop of its own, within a generous time."""
    loop = new_loop(request.param)
    yield lambda main: loop.run_until_complete(asyncio.wait_for(main, SECONDS))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


@pytest.fixture(params=["tcp", "unix"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "tcp":
        return "tcp://127.0.0.1:0"
    tmp_path.chmod(0o700)
    return f"unix://{tmp_path}/a.sock"


def test_messages_calls_spawns_and_monitors(run: Run, address: str) -> None:
    async def main() -> None:
        async with (
            mp.Node("alice", binds=[address], secret=SECRET) as alice,
            mp.Node("bob", seeds=alice.addresses, secret=SECRET) as bob,
        ):
            got: list[Any] = []
            port = alice.port(lambda *message: got.append(message))
            payload = [None, True, -(2**63), 2**64 - 1, 1.5, "täxt", b"\x00\xff", {"k": [1]}]
            for number in range(2_000):
                bob.snd(port, number, payload)
            bob.snd(port, "long", b"x" * (8 * 2**20))
            await bob.flush(port)
            assert [message[0] for message in got] == [*range(2_000), "long"]
            assert got[0][1] == payload
            assert len(got[-1][1]) == 8 * 2**20
            echo = alice.port(mp.replies(lambda *words: words))
            answers = await asyncio.gather(*(bob.cal(echo, n) for n in range(200)))
            assert answers == [(n,) for n in range(200)]
            alice.kil(echo, "enough")
            assert (await bob.killed(echo))[0] in ("enough", "no_such_port")
            assert (await bob.killed(bob.spawn("alice", "no.such:function")))[0] == "spawn_error"

    run(main())


def test_two_nodes_that_dial_each_other_over_two_addresses_have_one_link(run: Run) -> None:
    async def main() -> None:
        events: list[Any] = []
        async with (
            mp.Node("alice", binds=["tcp://127.0.0.1:0"] * 2, secret=SECRET) as alice,
            mp.Node("bob", binds=["tcp://127.0.0.1:0"] * 2, secret=SECRET) as bob,
        ):
            for node in (alice, bob):
                node.mon_nodes(lambda *event, of=node.id: events.append((of, *event[:2])))
            alice.learn("bob", *bob.addresses)
            bob.learn("alice", *alice.addresses)
            here = [node.port(mp.replies(lambda number: number + 1)) for node in (alice, bob)]
            calls = (alice.cal(here[1], 1), bob.cal(here[0], 2))  # both sides dial at once
            assert await asyncio.gather(*calls) == [(2,), (3,)]
            await asyncio.gather(*(alice.cal(here[1], n) for n in range(50)))
            assert sorted(events) == [("alice", "bob", True), ("bob", "alice", True)]

    run(main())


def test_a_slow_reader_costs_the_sender_bounded_memory(run: Run) -> None:
    """The reader's loop does not run; `flush` holds the sender back; nothing is lost."""

    async def main() -> None:
        reader = await asyncio.create_subprocess_exec(
            sys.executable, "-c", READER, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert reader.stdout is not None
        address = (await reader.stdout.readline()).decode().split()[-1]
        limit = 2 * 2**20
        async with mp.Node("b", seeds=[address], secret=SECRET, send_limit=limit) as node:
            await node.up("reader")
            (port,) = await node.cal("reader", READER_PORT)
            reader.send_signal(signal.SIGSTOP)
            lost: list[Any] = []
            guard = node.mon(port, lost.append)
            sent = 0
            while node.peers["reader"].buffered() < limit // 2:
                node.snd(port, b"x" * 100_000)
                sent += 1
                await asyncio.sleep(0)
            waiting = asyncio.ensure_future(node.flush("reader"))
            await asyncio.wait({waiting}, timeout=0.2)
            assert not waiting.done()
            reader.send_signal(signal.SIGCONT)
            await waiting
            assert await node.cal(port, "how many") == (sent,)
            assert not lost
            guard.cancel()
            reader.kill()
            assert (await node.killed(port))[0] == "transport_error"
        await reader.wait()

    run(main())


READER_PORT = "reader:port"
READER = f"""
import asyncio, aemp_core as mp

count = 0

def take(*message):
    global count
    if message[0] == "how many":
        mp.snd(message[1], count)
    else:
        count += 1

async def main():
    async with mp.Node("reader", binds=["tcp://127.0.0.1:0"], secret={SECRET!r}) as node:
        port = node.port(take)

        @mp.exposed(name={READER_PORT!r})
        def tell(reply):
            node.snd(reply, port)

        print("ready", *node.addresses, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def test_a_killed_process_is_noticed_by_its_monitor(run: Run) -> None:
    async def main() -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", READER, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        address = (await process.stdout.readline()).decode().split()[-1]
        async with mp.Node("watcher", seeds=[address], secret=SECRET) as node:
            await node.up("reader")
            (port,) = await node.cal("reader", READER_PORT)
            ends = asyncio.ensure_future(node.killed(port))
            await node.cal(port, "how many")
            process.kill()
            begin = node.loop.time()
            assert (await ends)[0] == "transport_error"
            assert node.loop.time() - begin < 8  # by the broken connection, not by its silence
            assert not node.node_is_up("reader")
        await process.wait()

    run(main())


def test_another_secret_and_no_loopback_are_refused(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with mp.Node("alice", binds=["tcp://127.0.0.1:0"], secret=SECRET) as alice:
            other = b"some other secret altogether"
            async with mp.Node("mallory", seeds=alice.addresses, secret=other) as mallory:
                with pytest.raises(mp.CallTimeout):
                    await mallory.up("alice", timeout=1)
                assert alice.known_nodes() == ["alice"]
        with pytest.raises(mp.TransportError, match="no secret is configured"):
            await mp.Node("carol", binds=["tcp://*:0"]).start()

    run(main())
    assert "it has another secret" in caplog.text
