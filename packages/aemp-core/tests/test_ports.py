"""Ports: handlers, tags, errors and deaths."""

from __future__ import annotations

import asyncio
import logging

import pytest
from core_kit import Log, Probe, nodes, settle

import aemp_core as mp
from aemp_core.testing.clock import virtual_clock


@virtual_clock
async def test_a_default_handler_gets_all_elements_a_tagged_one_those_after_the_tag():
    async with nodes("a") as (a,):
        log = Log()
        port = a.port(log.named("default"))
        assert a.rcv(port, tag=log.named("tag"), other=log.named("other")) == port
        a.snd(port, "tag", 1, 2)
        a.snd(port, "other")
        a.snd(port, "unknown", 1)
        a.snd(port)
        a.snd(port, 5)
        await settle()
        assert log.events == [
            ("tag", 1, 2), ("other",), ("default", "unknown", 1), ("default",), ("default", 5),
        ]  # fmt: skip


@virtual_clock
async def test_rcv_replaces_and_none_unregisters():
    async with nodes("a") as (a,):
        log = Log()
        port = a.port(log.named("default"))
        a.rcv(port, tag=log.named("old"))
        a.rcv(port, tag=log.named("new"))
        a.snd(port, "tag")
        await settle()
        a.rcv(port, tag=None)
        a.snd(port, "tag", 2)
        await settle()
        a.rcv(port, log.named("second default"))
        a.snd(port, "tag", 3)
        await settle()
        assert log.events == [("new",), ("default", "tag", 2), ("second default", "tag", 3)]
        reasons = []
        a.mon(port, reasons.append)
        a.rcv(port, None)
        a.snd(port, "tag", 4)
        await settle()
        assert reasons == [("die", "no handler for 'tag'")]


@virtual_clock
async def test_rcv_takes_a_mapping_for_tags_that_are_no_identifiers():
    async with nodes("a") as (a,):
        log = Log()
        port = a.port()
        a.rcv(port, {"with space": log.named("space"), "port": log.named("port")})
        a.rcv(port, node=log.named("node"), self=log.named("self"), handler=log.named("handler"))
        for tag in ("with space", "port", "node", "self", "handler"):
            a.snd(port, tag, 1)
        await settle()
        assert [event[0] for event in log.events] == ["space", "port", "node", "self", "handler"]
        a.rcv(port, {"port": None})
        reasons = []
        a.mon(port, reasons.append)
        a.snd(port, "port")
        await settle()
        assert reasons == [("die", "no handler for 'port'")]


@virtual_clock
async def test_rcv_with_a_wrong_handler_among_good_ones_changes_nothing():
    async with nodes("a") as (a,):
        log = Log()
        port = a.port(log.named("default"))
        a.rcv(port, good=log.named("good"))
        with pytest.raises(mp.UsageError):
            a.rcv(port, log.named("other"), good=None, bad=5)
        a.snd(port, "good")
        a.snd(port, "x")
        await settle()
        assert log.events == [("good",), ("default", "x")]


@virtual_clock
async def test_on_is_a_decorator_that_returns_its_function():
    async with nodes("a") as (a,):
        log = Log()
        port = a.port()

        @a.on(port, "one", "two")
        def tagged(number):
            log("tagged", number)

        @a.on(port)
        def default(*message):
            log("default", *message)

        a.snd(port, "one", 1)
        a.snd(port, "two", 2)
        a.snd(port, "three", 3)
        await settle()
        assert log.events == [("tagged", 1), ("tagged", 2), ("default", "three", 3)]
        assert callable(tagged) and callable(default)


@virtual_clock
async def test_an_unmatched_message_without_default_handler_ends_the_port():
    async with nodes("a", "b") as (a, b):
        for sender in (a, b):
            port = a.port()
            a.rcv(port, tag=lambda: None)
            reasons = []
            a.mon(port, reasons.append)
            sender.snd(port, "tag")
            sender.snd(port, "x", 1)
            await settle()
            assert reasons == [("die", "no handler for 'x'")]


@virtual_clock
async def test_a_port_may_unregister_and_register_inside_its_handlers():
    async with nodes("a") as (a,):
        log = Log()

        def first(*message):
            log("first", *message)
            a.rcv(port, second)

        def second(*message):
            log("second", *message)
            a.rcv(port, tag=log.named("tag"))

        port = a.port(first)
        for number in range(3):
            a.snd(port, "tag", number)
        await settle()
        assert log.events == [("first", "tag", 0), ("second", "tag", 1), ("tag", 2)]


@virtual_clock
async def test_an_exception_ends_the_port_with_its_type_and_text():
    async with nodes("a") as (a,):
        seen = []

        def handler(word):
            seen.append(word)
            if word == "bad":
                raise KeyError("what")

        port = a.port(handler)
        reasons = []
        a.mon(port, reasons.append)
        for word in ("good", "bad", "after"):
            a.snd(port, word)
        await settle()
        assert seen == ["good", "bad"]
        assert reasons == [("die", "KeyError: 'what'")]


@virtual_clock
async def test_a_wrong_number_of_elements_ends_the_port():
    async with nodes("a") as (a,):
        port = a.port()
        a.rcv(port, tag=lambda one: None)
        reasons = []
        a.mon(port, reasons.append)
        a.snd(port, "tag", 1, 2)
        await settle()
        assert reasons[0][0] == "die" and reasons[0][1].startswith("TypeError: ")


@virtual_clock
async def test_on_error_keeps_the_port_alive():
    async with nodes("a") as (a,):
        errors, seen = [], []

        def handler(word):
            if word == "bad":
                raise ValueError("no")
            seen.append(word)

        port = a.port(
            handler, on_error=lambda error, message: errors.append((repr(error), message))
        )
        a.rcv(port, tag=lambda *_: 1 / 0)
        a.snd(port, "good")
        a.snd(port, "bad")
        a.snd(port, "tag", 1)
        a.snd(port, "good again")
        await settle()
        assert seen == ["good", "good again"]
        a.rcv(port, None)
        a.snd(port, "nobody")
        await settle()
        a.rcv(port, handler)
        a.snd(port, "still alive")
        await settle()
        assert seen[-1] == "still alive"
        assert ("ZeroDivisionError('division by zero')", ("tag", 1)) in errors
        assert ("ValueError('no')", ("bad",)) in errors
        assert any("no handler for 'nobody'" in text for text, _ in errors)


@virtual_clock
async def test_on_error_for_async_handlers():
    async with nodes("a") as (a,):
        errors, seen = [], []

        async def handler(word):
            await asyncio.sleep(1)
            if word == "bad":
                raise ValueError("no")
            seen.append(word)

        port = a.port(handler, on_error=lambda error, message: errors.append((error, message)))
        for word in ("bad", "good"):
            a.snd(port, word)
        await settle(5)
        assert seen == ["good"]
        assert [(type(error), message) for error, message in errors] == [(ValueError, ("bad",))]


@virtual_clock
async def test_an_error_in_on_error_ends_the_port():
    async with nodes("a") as (a,):

        def on_error(error, message):
            raise RuntimeError("worse")

        port = a.port(lambda *_: 1 / 0, on_error=on_error)
        reasons = []
        a.mon(port, reasons.append)
        a.snd(port, "x")
        await settle()
        assert reasons == [("die", "RuntimeError: worse")]


@virtual_clock
async def test_a_port_that_kills_itself_is_dead_when_its_handler_returns():
    async with nodes("a") as (a,):
        log = Log()

        def handler(word):
            log(word)
            a.kil(port, "enough", 1)
            log("after kil")
            a.snd(port, "to myself")

        port = a.port(handler)
        a.mon(port, log.named("died"))
        a.snd(port, "one")
        a.snd(port, "two")
        await settle()
        assert log.events == ["one", "after kil", ("died", ("enough", 1))]


@virtual_clock
async def test_a_killed_port_drops_its_backlog_and_says_nothing_more():
    async with nodes("a") as (a,):
        seen = []

        async def slow(word):
            await asyncio.sleep(1)
            seen.append(word)

        port = a.port(slow)
        for number in range(5):
            a.snd(port, number)
        await settle(2.5)
        a.kil(port)
        await settle(10)
        assert seen == [0, 1]


@virtual_clock
async def test_killing_a_port_with_a_running_async_handler_does_not_wait_for_it():
    """Monitors do not wait for unwinding."""
    async with nodes("a") as (a,):
        log = Log()

        async def handler():
            try:
                await asyncio.sleep(100)
            finally:
                await asyncio.sleep(5)
                log("unwound")

        port = a.port(handler)
        a.mon(port, log.named("died"))
        a.snd(port)
        await settle()
        a.kil(port, "x")
        await settle()
        assert log.events == [("died", ("x",))]
        await settle(10)
        assert log.events == [("died", ("x",)), "unwound"]


@virtual_clock
async def test_sends_to_a_dead_port_are_silently_lost_for_lack_of_a_monitor():
    async with nodes("a", "b") as (a, b):
        port = b.port()
        b.kil(port)
        await settle()
        a.snd(port, "x")
        b.snd(port, "x")
        a.kil(port)
        b.kil(port)
        await settle()
        assert a.node_is_up("b")


@virtual_clock
async def test_a_death_nobody_watches_is_logged_with_its_traceback(caplog):
    async with nodes("a") as (a,):
        watched, unwatched = a.port(lambda *_: 1 / 0), a.port(lambda *_: [][1])
        a.mon(watched, lambda reason: None)
        with caplog.at_level(logging.DEBUG):
            a.snd(watched, "x")
            a.snd(unwatched, "x")
            await settle()
        errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
        assert len(errors) == 1
        assert unwatched in errors[0].getMessage()
        assert "IndexError" in str(errors[0].exc_info)


@virtual_clock
async def test_callables_of_all_kinds_are_handlers():
    async with nodes("a") as (a,):
        seen = []

        class Thing:
            def method(self, word):
                seen.append(("method", word))

            def __call__(self, word):
                seen.append(("call", word))

            @classmethod
            def on_class(cls, word):
                seen.append(("class", word))

        thing = Thing()
        for handler in (thing.method, thing, Thing.on_class, seen.append):
            a.snd(a.port(handler), "x")
        await settle()
        assert seen == [("method", "x"), ("call", "x"), ("class", "x"), "x"]


@virtual_clock
async def test_awaitables_of_all_kinds_are_awaited():
    async with nodes("a") as (a,):
        log = Log()
        loop = asyncio.get_running_loop()

        class Later:
            def __await__(self):
                return asyncio.sleep(1).__await__()

        def future(_):
            made = loop.create_future()
            loop.call_later(1, made.set_result, None)
            return made

        async def coroutine(_):
            await asyncio.sleep(1)

        def task(_):
            return asyncio.ensure_future(asyncio.sleep(1))

        for handler in (lambda _: Later(), future, coroutine, task):
            port = a.port()
            a.rcv(port, go=handler, check=log)
            began = loop.time()
            a.snd(port, "go", 1)
            a.snd(port, "check", "done")
            await settle(0.5)
            assert log.events == []
            await settle(1)
            assert log.events == ["done"]
            assert loop.time() - began < 2
            log.events.clear()


@virtual_clock
async def test_one_long_lived_task_per_port_with_async_handlers():
    async with nodes("a") as (a,):
        tasks = set()

        async def handler(*_):
            tasks.add(asyncio.current_task())
            await asyncio.sleep(0)

        port = a.port(handler)
        for _ in range(50):
            a.snd(port, "x")
        await settle()
        a.snd(port, "again")
        await settle()
        assert len(tasks) == 1


@virtual_clock
async def test_local_messages_go_by_reference():
    async with nodes("a") as (a,):
        probe = Probe(a)
        thing = {"key": [1, 2]}
        a.snd(probe.port, thing)
        await settle()
        assert probe.got[0][0] is thing


@pytest.mark.parametrize("error", [TypeError, RuntimeError])
@virtual_clock
async def test_a_first_element_that_has_no_hash_is_no_tag(error):
    """It may be anything in a local message: a proxy, say, that stands for nothing just now."""

    class Proxy:
        def __hash__(self):
            raise error("stands for nothing")

    async with nodes("a") as (a,):
        got = []

        async def slow():
            await asyncio.sleep(1)

        port = a.port(lambda *message: got.append(message))
        a.rcv(port, slow=slow)
        proxy = Proxy()
        a.snd(port, proxy, 0)  # alone
        await settle()
        a.snd(port, proxy, 1)
        a.snd(port, "slow")
        a.snd(port, proxy, 2)  # waits meanwhile
        await settle(2)
        assert got == [(proxy, 0), (proxy, 1), (proxy, 2)]


@virtual_clock
async def test_a_strict_node_copies_and_checks_local_messages():
    async with nodes("a", strict=True) as (a,):
        probe = Probe(a)
        thing = {"key": (1, 2)}
        a.snd(probe.port, thing)
        thing["key"] = None
        with pytest.raises(mp.UnsendableError, match=r"message\[1\]"):
            a.snd(probe.port, "x", object())
        await settle()
        assert probe.got == [({"key": [1, 2]},)]


@pytest.mark.parametrize(
    "value",
    [
        None, True, False, 0, -1, 2**64 - 1, -(2**63), 1.5, -0.0, 1e308, "", "text",
        "ünïcödé \U0001f600",
        b"", b"\x00\xff", [], [1, [2, [3]]], {}, {"a": {"b": [None]}}, "x" * 70_000, b"y" * 70_000,
        list(range(70_000)), "\x00",
    ],
    ids=lambda value: repr(value)[:20],
)  # fmt: skip
@virtual_clock
async def test_plain_values_arrive_as_they_were_sent(value):
    async with nodes("a", "b") as (a, b):
        probe = Probe(b)
        a.snd(probe.port, "tag", value)
        await settle()
        assert probe.got == [("tag", value)]
        assert type(probe.got[0][1]) is type(value)


@virtual_clock
async def test_tuples_arrive_as_lists_and_messages_as_tuples():
    async with nodes("a", "b") as (a, b):
        seen = []
        port = b.port(lambda *message: seen.append(message))
        a.snd(port, (1, (2,)), {"k": (3,)})
        await settle()
        assert seen == [([1, [2]], {"k": [3]})]


@virtual_clock
async def test_a_remote_message_is_packed_when_it_is_sent():
    """What the sender changes afterwards does not matter, dialling or not."""
    async with nodes("a", "b") as (a, b):
        probe = Probe(b)
        thing = [1]
        a.snd(probe.port, thing)
        thing.append(2)
        await settle()
        assert probe.got == [([1],)]


@virtual_clock
async def test_current_port_and_sender_inside_a_handler():
    async with nodes("a", "b") as (a, b):
        seen = []
        port = b.port(lambda *_: seen.append((mp.current_port(), mp.current_sender())))
        a.snd(port)
        b.snd(port)
        await settle()
        assert sorted(seen) == [(port, "a"), (port, "b")]


@virtual_clock
async def test_snd_on_has_a_node_relay_and_node_of_names_it():
    async with nodes("a", "b") as (a, b):
        probe = Probe(b)
        a.snd_on("b", probe.port, "relayed")
        a.snd_on(probe.port, probe.port, "by port")
        await settle()
        assert probe.got == [("relayed",), ("by port",)]
        assert mp.node_of(probe.port) == "b" and a.node_of("b") == "b"


@virtual_clock
async def test_known_and_up_nodes():
    async with nodes("a", "b") as (a, b):
        assert a.node_is_up("b") and a.node_is_known("b")
        assert a.node_is_up("a") and a.node_is_known("a")
        assert not a.node_is_up("c") and not a.node_is_known("c")
        assert a.up_nodes() == ["b"] and b.up_nodes() == ["a"]
        assert sorted(a.known_nodes()) == ["a", "b"]
