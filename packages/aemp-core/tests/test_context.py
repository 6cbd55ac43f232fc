"""The current node, the current port, and the context each port's code runs in."""

from __future__ import annotations

import asyncio
import contextvars
import sys

import pytest
from core_kit import SECRET, Log, nodes, settle

import aemp_core as mp
from aemp_core.testing.clock import VirtualClockLoop, virtual_clock

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="default")


@virtual_clock
async def test_the_only_open_node_is_the_current_one():
    async with nodes("a") as (a,):
        assert mp.current_node() is a
        port = mp.port()
        assert mp.node_of(port) == "a"


@virtual_clock
async def test_several_open_nodes_are_ambiguous():
    async with nodes("a", "b") as (a, b):
        with pytest.raises(mp.AmbiguousNodeError, match="a, b"):
            mp.port()
        with a.current() as current:
            assert current is a and mp.current_node() is a
            with b.current():
                assert mp.current_node() is b
            assert mp.current_node() is a
        with pytest.raises(mp.AmbiguousNodeError, match=r"node\.current\(\)"):
            mp.current_node()


@virtual_clock
async def test_the_running_ports_node_comes_first():
    async with nodes("a", "b") as (a, b):
        log = Log()
        port = a.port(lambda *_: log(mp.current_node().id))
        with b.current():
            a.snd(port)
            await settle()
            assert a.peval(port, lambda: mp.current_node().id) == "a"
        assert log.events == ["a"]


@virtual_clock
async def test_without_any_node_an_anonymous_one_is_made():
    port = mp.port()
    node = mp.current_node()
    try:
        assert node.id.startswith("anon/")
        assert mp.node_of(port) == node.id
        seen = []
        mp.rcv(port, seen.append)
        mp.snd(port, "x")
        await settle()
        assert seen == ["x"]
        assert mp.current_node() is node, "the same one from then on"
    finally:
        await node.close()


def test_without_a_running_loop_there_is_no_current_node():
    with pytest.raises(RuntimeError, match="no running event loop"):
        mp.port()


def test_nodes_are_never_shared_between_loops():
    seen = []

    async def one_loop():
        async with mp.Node("same", secret=SECRET):
            seen.append(mp.current_node())

    for _ in range(2):
        VirtualClockLoop().run(one_loop())
    assert seen[0] is not seen[1]


@virtual_clock
async def test_a_node_that_closed_is_current_no_more():
    async with nodes("a", "b") as (a, b):
        await a.close()
        assert mp.current_node() is b
        with a.current():
            assert mp.current_node() is b


@virtual_clock
async def test_the_current_node_does_not_need_our_context_variables():
    """Web frameworks run handlers in contexts that never saw them."""
    async with nodes("a") as (a,):
        assert contextvars.Context().run(mp.current_node) is a


@virtual_clock
async def test_each_port_has_a_context_of_its_own():
    async with nodes("a") as (a,):
        log = Log()
        variable.set("outside")

        def handler(word):
            log(variable.get())
            variable.set(word)

        one, two = a.port(handler), a.port(handler)
        for port, word in ((one, "1"), (two, "2"), (one, "3"), (two, "4")):
            a.snd(port, word)
        await settle()
        assert log.events == ["default", "default", "1", "2"]
        assert variable.get() == "outside"


@virtual_clock
async def test_all_code_of_a_port_runs_in_its_context():
    async with nodes("a") as (a,):
        log = Log()
        watched = a.port()
        port = a.port(lambda word: variable.set(word))
        a.snd(port, "mine")
        await settle()

        async def task():
            log("task", variable.get())

        def setup():
            log("peval", variable.get())
            a.after(1, lambda: log("timer", variable.get()))
            a.mon(watched, lambda reason: log("monitor", variable.get()))
            a.mon_nodes(lambda *_: log("node", variable.get()))
            a.task(task())
            return a.psub(lambda: log("psub", variable.get()))

        code = a.peval(port, setup)
        code()
        a.kil(watched)
        await settle(2)
        assert sorted(log.events) == [
            ("monitor", "mine"), ("peval", "mine"), ("psub", "mine"), ("task", "mine"),
            ("timer", "mine"),
        ]  # fmt: skip


@virtual_clock
async def test_async_handlers_keep_their_port_across_awaits():
    async with nodes("a") as (a,):
        log = Log()

        async def handler(word):
            variable.set(word)
            await asyncio.sleep(1)
            log(mp.current_port(), variable.get(), word)

        ports = [a.port(handler) for _ in range(3)]
        for port in ports:
            a.snd(port, f"word for {port}")
        await settle(2)
        assert log.events == [(port, f"word for {port}", f"word for {port}") for port in ports]


@virtual_clock
async def test_psub_calls_in_the_port_it_was_made_in():
    async with nodes("a") as (a,):
        log = Log()

        def setup():
            def code(*words, key=None):
                log(mp.current_port(), words, key)
                return "result"

            return mp.psub(code)

        port = a.port()
        code = a.peval(port, setup)
        assert code.__name__ == "code"
        with pytest.raises(mp.NoCurrentPort):
            mp.current_port()
        assert code(1, 2, key=3) == "result"
        asyncio.get_running_loop().call_soon(code, 4)
        await settle()
        assert log.events == [(port, (1, 2), 3), (port, (4,), None)]


@virtual_clock
async def test_an_exception_in_psub_and_peval_ends_the_port_and_not_the_caller():
    async with nodes("a") as (a,):
        for how in ("psub", "peval"):
            port = a.port()
            ended = []
            a.mon(port, ended.append)
            if how == "psub":
                code = a.peval(port, lambda: mp.psub(lambda: 1 / 0))
                assert code() is None
            else:
                assert a.peval(port, lambda: 1 / 0) is None
            await settle()
            assert ended == [("die", "ZeroDivisionError: division by zero")]


@virtual_clock
async def test_psub_of_a_dead_port_does_nothing():
    async with nodes("a") as (a,):
        log = Log()
        port = a.port()
        code = a.peval(port, lambda: mp.psub(log))
        a.kil(port)
        await settle()
        assert code("x") is None
        assert log.events == []


@virtual_clock
async def test_peval_into_a_context_that_is_entered_already():
    """Handler of one, peval into two, and from there back into one and two: no deadlock, no
    RuntimeError of contextvars, and the right current port at each step."""
    async with nodes("a") as (a,):
        log = Log()
        one, two = a.port(), a.port()

        def deepest():
            log("deepest", mp.current_port())

        def back():
            log("back", mp.current_port())
            a.peval(two, deepest)
            a.peval(one, deepest)

        def outer(*_):
            log("outer", mp.current_port())
            a.peval(two, lambda: (log("inner", mp.current_port()), a.peval(one, back)))
            a.peval(one, deepest)
            log("after", mp.current_port())

        a.rcv(one, outer)
        ended = []
        a.mon(one, ended.append)
        a.mon(two, ended.append)
        a.snd(one)
        await settle()
        assert log.events == [
            ("outer", one), ("inner", two), ("back", one), ("deepest", two), ("deepest", one),
            ("deepest", one), ("after", one),
        ]  # fmt: skip
        assert ended == []


@virtual_clock
async def test_kil_of_the_own_port_from_nested_code_of_another():
    async with nodes("a") as (a,):
        log = Log()
        one, two = a.port(), a.port()

        def handler(*_):
            a.peval(two, lambda: a.kil(two, "nested"))
            log("still", mp.current_port())
            a.kil(one, "own")
            log("handler ends")

        a.rcv(one, handler)
        a.mon(one, log.named("one"))
        a.mon(two, log.named("two"))
        a.snd(one)
        await settle()
        assert log.events[:2] == [("still", one), "handler ends"]
        assert sorted(log.events[2:]) == [("one", ("own",)), ("two", ("nested",))]


@virtual_clock
async def test_peval_with_arguments_results_and_coroutines():
    async with nodes("a") as (a,):
        port = a.port()
        assert a.peval(port, lambda x, *, y: (x, y, mp.current_port()), 1, y=2) == (1, 2, port)

        async def work(word):
            await asyncio.sleep(1)
            return word, mp.current_port()

        assert await a.peval(port, work, "w") == ("w", port)


@virtual_clock
async def test_tasks_are_created_outside_entered_contexts():
    """With an eager task factory (3.12) a task starts inside create_task: it must not find the
    port's context entered, or every later handler of the port fails."""
    loop = asyncio.get_running_loop()
    if sys.version_info >= (3, 12):
        loop.set_task_factory(asyncio.eager_task_factory)
    async with nodes("a", "b") as (a, b):
        log = Log()

        async def quick(word):
            log("task", word, mp.current_port())

        async def handler(word):
            mp.task(quick(word))
            log("begin", word)
            await asyncio.sleep(0.1)
            log("end", word)

        def sync_handler(word):
            mp.task(quick(word))
            mp.after(0, lambda: log("timer", word))

        one, two = a.port(handler), b.port(sync_handler)
        for word in ("x", "y"):
            a.snd(one, word)
            a.snd(two, word)
        ended = []
        a.mon(one, ended.append)
        a.mon(two, ended.append)
        await settle(2)
        assert ended == []
        for word in ("x", "y"):
            for event in (
                ("task", word, one), ("begin", word), ("end", word),
                ("task", word, two), ("timer", word),
            ):  # fmt: skip
                assert event in log.events, event
        assert await a.cal(b.port(mp.replies(lambda: "ok"))) == ("ok",)

        async def life():
            log("life", await mp.get("tag"))

        port = a.port_async(life)
        a.snd(port, "tag", 1)
        await settle()
        assert ("life", (1,)) in log.events


@virtual_clock
async def test_nothing_of_the_senders_context_leaks_into_handlers():
    async with nodes("a") as (a,):
        log = Log()
        variable.set("of the sender")
        port = a.port(lambda *_: log(variable.get()))
        a.mon(port, lambda reason: log(variable.get()))
        a.after(0, lambda: log(variable.get()))
        a.snd(port)
        await settle()
        a.kil(port)
        await settle()
        assert log.events == ["default"] * 3


@virtual_clock
async def test_a_port_of_one_node_does_not_own_what_it_starts_on_another():
    """A timer or task made on another node's methods belongs to no port there."""
    async with nodes("a", "b") as (a, b):
        port = a.port()
        log = Log()
        a.peval(port, b.after, 1, lambda: log("b's timer"))
        a.kil(port)
        await settle(2)
        assert log.events == ["b's timer"]


@virtual_clock
async def test_configure_gives_the_same_node_for_the_same_settings():
    async with mp.configure(nodeid="conf", secret=SECRET) as node:
        assert node.id == "conf"
        again = await mp.configure(nodeid="conf", secret=SECRET)
        assert again is node
        with pytest.raises(mp.AlreadyConfigured, match=__file__.rpartition("/")[2]):
            await mp.configure(nodeid="other", secret=SECRET)
    assert node.closed
    other = await mp.configure(nodeid="other", secret=SECRET)
    assert other.id == "other"
    await other.close()


@virtual_clock
async def test_code_of_no_port_knows_its_node_among_several():
    """Timers and callbacks that no port owns act on the node they were asked of."""
    async with nodes("a", "b") as (a, b):
        seen = []
        for node in (a, b):
            node.after(1, lambda: seen.append(mp.current_node().id))
        b.mon(a.port_async(asyncio.sleep, 2), lambda _: seen.append(mp.current_node().id))
        await settle(3)
        assert seen == ["a", "b", "b"]
