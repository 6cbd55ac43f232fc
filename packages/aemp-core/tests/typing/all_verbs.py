"""Every verb of the API, as a program that must pass ``mypy --strict`` and must run.

Each verb is used as a function and as a method of the node, with every form of its arguments.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import aemp_core as mp

SECRET = "a secret for this program"


@mp.exposed
def greeter(greeting: str) -> None:
    def greet(name: str) -> str:
        return f"{greeting}, {name}"

    mp.rcv(mp.current_port(), greet=mp.replies(greet))


@mp.exposed(name="all_verbs.echo")
async def echo(times: int) -> None:
    for _ in range(times):
        *words, reply = await mp.get_cond()
        mp.snd(reply, *words)


@mp.exposed
def note(word: str) -> None:
    noted.append(word)


noted: list[str] = []


class Resource:
    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


async def ports(alice: mp.Node) -> None:
    seen: list[tuple[Any, ...]] = []

    def default(*message: Any) -> None:
        seen.append(message)

    def failed(error: BaseException, message: tuple[Any, ...]) -> None:
        seen.append(("failed", str(error), *message))

    one: mp.PortID = mp.port(default)
    two: mp.PortID = alice.port(on_error=failed)
    name: str = one
    assert mp.node_of(name) == alice.node_of(two) == alice.id
    assert mp.port_is_local(one) and alice.port_is_local(two)

    again: mp.PortID = mp.rcv(two, default, tag=default, gone=None)
    alice.rcv(again, {"with space": default, "gone": None})
    alice.rcv(two, None)

    @mp.on(two, "sum")
    def add(x: int, y: int) -> int:
        return x + y

    @alice.on(two)
    async def anything(*message: Any) -> None:
        seen.append(("anything", *message))

    assert add(1, 2) == 3
    mp.snd(one, "hello", 1, None, True, 1.5, b"bytes", [1], {"key": ("tuple",)})
    alice.snd(two, "whatever")
    mp.snd_on(alice.id, one, "by way of the node")
    alice.snd_on(alice.id, one)
    await asyncio.sleep(0.01)
    assert seen[0] == ("hello", 1, None, True, 1.5, b"bytes", [1], {"key": ("tuple",)})
    assert ("anything", "whatever") in seen and ("by way of the node",) in seen
    mp.kil(one)
    alice.kil(two, "reason", 1)


async def monitors(alice: mp.Node) -> None:
    reasons: list[mp.Reason] = []
    port, other, third = mp.port(), mp.port(), mp.port(lambda *message: None)
    by_callback: mp.Guard = mp.mon(port, reasons.append)
    by_port: mp.Guard = alice.mon(port, other)
    by_message: mp.Guard = mp.mon(port, third, "ended", 1)
    resource = Resource()
    timer = mp.after(60, print)
    guarded: mp.Guard = mp.mon_guard(port, resource, timer, reasons.clear)
    alice.mon_guard(port, resource)

    def in_port() -> None:
        mine: mp.Guard = mp.mon(port)
        mine.cancel()
        alice.mon(port)

    mp.peval(other, in_port)
    events: list[tuple[str, bool, mp.Reason]] = []

    def node_event(node_id: str, is_up: bool, reason: mp.Reason) -> None:
        events.append((node_id, is_up, reason))

    mp.mon_nodes(node_event).cancel()
    nodes_guard: mp.Guard = alice.mon_nodes(node_event)
    for guard in (by_port, by_message, guarded, nodes_guard):
        guard.cancel()
    end = asyncio.ensure_future(mp.killed(other))
    await asyncio.sleep(0)
    mp.kil(port, "x")
    reason: mp.Reason = await end
    assert reason == ("x",) and reasons == [("x",)] and resource.closed
    assert by_callback is not None
    assert (await alice.killed(port))[0] == "no_such_port"


async def contexts(alice: mp.Node) -> None:
    port = mp.port()

    def who(word: str, *, times: int = 1) -> str:
        return f"{mp.current_port()} {word * times}"

    answer: str | None = mp.peval(port, who, "x", times=2)
    assert answer == f"{port} xx"
    also: str | None = alice.peval(port, who, "y")
    assert also == f"{port} y"

    def later() -> Callable[[str], str | None]:
        alice.psub(who)
        return mp.psub(who)

    code = alice.peval(port, later)
    assert code is not None and code("z") == f"{port} z"
    with alice.current() as node:
        assert mp.current_node() is node is alice
    ticks: list[int] = []
    for guard in (
        mp.after(0, ticks.append, 1), alice.after(0, port, "message"),
        mp.every(0.001, ticks.append, 2), alice.every(10, port, "message"),
    ):  # fmt: skip
        ended: mp.Guard = guard
        assert ended is guard
    mp.rcv(port, lambda *message: None)

    async def work(number: int) -> int:
        return number

    task: asyncio.Task[int] = mp.task(work(1), name="work")
    number: int = await task + await alice.task(work(2))
    assert number == 3
    await asyncio.sleep(0.01)
    assert 1 in ticks and 2 in ticks


async def async_ports(alice: mp.Node) -> None:
    got: list[object] = []

    async def life(count: int) -> None:
        tagged: tuple[Any, ...] = await mp.get("tag")
        got.append(tagged)
        got.append(await alice.get("tag", timeout=5))
        got.append(await mp.get_cond(lambda message: message[0] == "wanted", timeout=5))
        got.append(await alice.get_cond())
        stream: AsyncIterator[tuple[Any, ...]] = mp.messages()
        async for message in stream:
            match message:
                case ("stop", int(code)):
                    got.append(code + count)
                    return
                case _:
                    got.append(mp.current_sender() + mp.current_identity())
                    assert alice.messages() is not None

    port = mp.port_async(life, 10)
    for message in (("other",), ("wanted", 1), ("tag", 1), ("tag", 2), ("x",), ("stop", 5)):
        mp.snd(port, *message)
    assert await mp.killed(port) == ()
    assert got == [(1,), (2,), ("wanted", 1), ("other",), alice.id, 15]

    async def short() -> None:
        return

    alice.port_async(short)
    mp.rcv_async(mp.port(), short)
    alice.rcv_async(alice.port(), short)


async def calls(alice: mp.Node, bob: mp.Node) -> None:
    port = bob.port(mp.replies(lambda *words: words))
    answer: tuple[Any, ...] = await mp.cal(port, "x", 1)
    assert answer == ("x", 1)
    assert await alice.cal(port, timeout=5) == ()
    spawned: mp.PortID = mp.spawn(bob.id, greeter, "Hello")
    assert await mp.cal(spawned, "greet", "Ada", timeout=5) == ("Hello, Ada",)
    assert await alice.cal(alice.spawn(port, "all_verbs.echo", 1), "echo") == ("echo",)
    try:
        await mp.cal(bob.port(lambda *_: None), timeout=0)
    except mp.CallTimeout as error:
        assert isinstance(error, TimeoutError)
    try:
        await mp.cal(f"{alice.id}#gone")
    except mp.PortKilled as error:
        reason: mp.Reason = error.reason
        assert reason[0] == "no_such_port"
    mp.snd_to_func(bob.id, note, "function")
    alice.snd_to_func(bob.id, note, "method")
    value: Any = await mp.eval_on(bob.id, "1 + 1")
    assert value == await alice.eval_on(bob.id, "2") == 2
    await mp.flush(bob.id)
    await alice.flush(port)
    await asyncio.sleep(0.01)
    assert noted == ["function", "method"]


async def network(alice: mp.Node, bob: mp.Node) -> None:
    await mp.up(bob.id)
    await alice.up(bob.id, timeout=5)
    known: list[str] = mp.known_nodes()
    up: list[str] = mp.up_nodes()
    assert sorted(known) == sorted(alice.known_nodes()) == [alice.id, bob.id]
    assert up == alice.up_nodes() == [bob.id]
    assert mp.node_is_known(bob.id) and alice.node_is_known(bob.id)
    assert mp.node_is_up(bob.id) and alice.node_is_up(bob.id)
    addresses: list[str] = bob.addresses
    alice.learn(bob.id, *addresses)
    incarnation: str = alice.incarnation
    assert len(incarnation) == 14


async def supervision(alice: mp.Node) -> None:
    async def start_later() -> mp.PortID:
        return mp.port()

    supervisor = mp.Supervisor("rest_for_one", intensity=5, period=1.0, backoff=(0, 1.5))
    supervisor.child("sync", mp.port).child("async", start_later, restart="transient")
    mp.Supervisor(node=alice)
    await asyncio.sleep(0.01)
    child: mp.PortID | None = supervisor.which("sync")
    port: mp.PortID = supervisor.port
    assert child is not None and port != child
    mp.kil(port)


async def threads(alice: mp.Node) -> None:
    port = alice.port(mp.replies(lambda word: word))
    quiet = alice.port(lambda *message: None)

    def elsewhere() -> tuple[Any, ...]:
        alice.snd_threadsafe(quiet, "x")
        return alice.cal_threadsafe(port, "from a thread", timeout=5).result(5)

    assert await asyncio.to_thread(elsewhere) == ("from a thread",)


def without_asyncio() -> None:
    with mp.blocking("carol", secret=SECRET) as carol:
        port: mp.PortID = carol.port(mp.replies(lambda word: word))
        answer: tuple[Any, ...] = carol.cal(port, "x", timeout=5)
        assert answer == ("x",)
        carol.snd(port, "x", carol.port(lambda *message: None))
        node_id: str = carol.call(lambda: mp.current_node().id)
        assert node_id == carol.id == "carol"
        carol.kil(port, "done")
        reason: mp.Reason = carol.killed(port)
        assert reason


async def main() -> None:
    rules = [{"node": "alice", "allow": ["eval"]}]
    async with (
        mp.Node("bob", binds=["memory://bob"], secret=SECRET, rules=rules) as bob,
        mp.Node("alice", seeds=["memory://bob"], secret=SECRET) as alice,
    ):
        await alice.up("bob")
        with alice.current():
            await ports(alice)
            await monitors(alice)
            await contexts(alice)
            await async_ports(alice)
            await calls(alice, bob)
            await network(alice, bob)
            await supervision(alice)
            await threads(alice)
    async with mp.configure(nodeid="configured", secret=SECRET) as node:
        assert (await mp.configure(nodeid="configured", secret=SECRET)) is node
        asyncio.get_running_loop().call_later(0.01, lambda: asyncio.ensure_future(node.close()))
        await node.run_forever()


if __name__ == "__main__":
    asyncio.run(main())
    without_asyncio()
    print("every verb ran")
