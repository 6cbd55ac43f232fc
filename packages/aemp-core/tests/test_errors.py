"""Errors: which end a port, which leave the loop, and what their texts say."""

from __future__ import annotations

import asyncio

import pytest
from core_kit import SECRET, Probe, nodes, settle

import aemp_core as mp
from aemp_core import errors, reason
from aemp_core.testing.clock import VirtualClockLoop, virtual_clock


@pytest.mark.parametrize("fatal", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("where", ["handler", "monitor", "timer", "on_error", "psub"])
def test_fatal_errors_leave_the_loop_after_the_queue_is_re_armed(fatal, where):
    """The loop may be run again, and then everything goes on where it stopped."""
    loop = VirtualClockLoop()
    seen = []

    async def setup():
        node = await mp.Node("a", secret=b"x" * 16).start()

        def strike(*_):
            raise fatal("now")

        after = node.port(seen.append)
        loop.call_later(0.5, begin, node, after, strike)
        return node, after

    def begin(node, after, strike):
        if where == "handler":
            node.snd(node.port(strike))
        elif where == "monitor":
            node.mon("a#gone", strike)
        elif where == "timer":
            node.peval(node.port(), node.after, 0, strike)
        elif where == "on_error":
            node.snd(node.port(lambda: 1 / 0, on_error=strike))
        else:
            port = node.port()
            loop.call_soon(node.peval(port, lambda: mp.psub(strike)))
        for number in range(600):
            node.snd(after, number)

    node, after = loop.run_until_complete(setup())
    with pytest.raises(fatal):
        loop.run_until_complete(asyncio.sleep(1))
    assert len(seen) < 600
    loop.run_until_complete(asyncio.sleep(1))
    assert seen == list(range(600))
    node.snd(after, "still works")
    loop.run_until_complete(asyncio.sleep(1))
    assert seen[-1] == "still works"
    loop.run_until_complete(node.close())
    loop.close()


@pytest.mark.parametrize("fatal", [SystemExit, KeyboardInterrupt])
def test_fatal_errors_leave_what_is_queued_for_the_same_port(fatal):
    """Messages in a row to one port are handled together: those behind the error are not lost."""
    loop = VirtualClockLoop()
    seen = []

    def handler(number):
        if number == 3:
            raise fatal("now")
        seen.append(number)

    async def setup():
        node = await mp.Node("a", secret=SECRET).start()
        port = node.port(handler)
        for number in range(600):
            node.snd(port, number)
        await asyncio.sleep(1)
        return node

    starting = loop.create_task(setup())
    with pytest.raises(fatal):
        loop.run_until_complete(starting)
    assert seen == [0, 1, 2]
    node = loop.run_until_complete(starting)
    assert seen == [number for number in range(600) if number != 3]
    loop.run_until_complete(node.close())
    loop.close()


@pytest.mark.parametrize("fatal", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("where", ["handler", "on_error", "release"])
@pytest.mark.parametrize("behind", [0, 1, 99])
def test_fatal_errors_leave_the_loop_and_the_rest_of_what_was_read(fatal, where, behind):
    """What came in together is handled at once, where the loop reads: none of it is lost."""
    loop = VirtualClockLoop()
    seen, left = [], []

    def strike(*_):
        raise fatal("now")

    async def setup():
        a = await mp.Node("a", secret=SECRET, binds=["memory://a"]).start()
        b = await mp.Node("b", secret=SECRET, seeds=["memory://a"]).start()
        await b.up("a")
        after = b.port(seen.append)

        def handler(word):
            if word == "strike" and where == "handler":
                strike()
            elif word == "strike" and where == "on_error":
                raise ValueError(word)
            elif word == "strike":
                b.kil(port)
            else:
                left.append(word)

        port = b.port(handler, on_error=strike if where == "on_error" else None)
        if where == "release":
            b.mon_guard(port, strike)
        for each in (port, after):  # so that the link knows them
            a.snd(each, "known")
        await settle()
        loop.call_later(0.5, send, a, port, after)
        return a, b

    def send(node, port, after):
        node.snd(port, "strike")
        for number in range(behind):
            node.snd(after, number)
        if behind:
            node.snd(port, "rest")

    a, b = loop.run_until_complete(setup())
    with pytest.raises(fatal):
        loop.run_until_complete(asyncio.sleep(1))
    assert seen == ["known"] and left == ["known"]
    loop.run_until_complete(asyncio.sleep(1))
    assert seen == ["known", *range(behind)]
    assert left == ["known"] + ["rest"] * bool(behind and where != "release")
    for node in (a, b):
        loop.run_until_complete(node.close())
    loop.close()


@pytest.mark.parametrize(
    "error",
    [
        Exception("x"), BaseException("x"), asyncio.CancelledError("x"), GeneratorExit("x"),
        StopIteration("x"), StopAsyncIteration("x"), RecursionError("x"), MemoryError("x"),
        asyncio.TimeoutError("x"), AssertionError("x"),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
@pytest.mark.parametrize("how", ["sync", "async", "life", "task", "timer", "monitor", "psub"])
@virtual_clock
async def test_any_other_error_ends_the_port_and_nothing_else(error, how):
    async with nodes("a") as (a,):
        probe = Probe(a)

        def strike(*_):
            raise error

        async def strike_later(*_):
            await asyncio.sleep(0)
            raise error

        if how == "life":
            port = a.port_async(strike_later)
        else:
            port = a.port(strike_later if how == "async" else strike)
        ended = []
        a.mon(port, ended.append)
        if how in ("sync", "async"):
            a.snd(port)
        elif how == "task":
            a.peval(port, lambda: a.task(strike_later()) and None)
        elif how == "timer":
            a.peval(port, lambda: a.after(0, strike) and None)
        elif how == "monitor":
            watched = a.port()
            a.peval(port, lambda: a.mon(watched, strike) and None)
            a.kil(watched)
        elif how == "psub":
            a.peval(port, lambda: mp.psub(strike))()
        a.snd(probe.port, "goes on")
        await settle()
        name = type(error).__name__
        if isinstance(error, asyncio.CancelledError) and how == "task":
            assert ended == [], "a cancelled task is no error"
        elif isinstance(error, (StopIteration, StopAsyncIteration)) and how in (
            "async", "life", "task",
        ):  # fmt: skip
            assert ended[0][0] == "die"  # Python makes a RuntimeError of it in a coroutine
            assert "RuntimeError" in ended[0][1] or name in ended[0][1]
        else:
            assert ended == [("die", f"{name}: x")]
        assert probe.got == [("goes on",)]
        assert asyncio.current_task() is not None


@virtual_clock
async def test_texts_of_errors_are_short_and_sendable():
    async with nodes("a", "b") as (a, b):

        class Nasty(Exception):
            def __str__(self):
                raise RuntimeError("no text for you")

        for error, text in (
            (ValueError("x" * 5_000), "ValueError: " + "x" * 988),
            (ValueError("\ud800"), "ValueError: ?"),
            (ValueError(), "ValueError"),
            (Nasty(), "Nasty: <no text>"),
        ):

            def strike(error=error):
                raise error

            port = b.port(strike)
            ended = []
            a.mon(port, ended.append)
            await settle()
            a.snd(port)
            await settle()
            assert ended == [("die", text)]
            assert len(text) <= 1_000


def test_the_tree_in_the_module_is_the_tree_of_the_classes():
    lines = errors.__doc__.split("\n\n")[1].splitlines()
    stack = []
    found = {}
    for line in lines:
        name = line.replace("|", " ").replace("+--", "   ").split()[0]
        depth = (len(line) - len(line.lstrip(" |+-"))) // 4
        del stack[depth - 1 :]
        found[name] = stack[-1] if stack else "Exception"
        stack.append(name)
    classes = {
        name: value
        for name, value in vars(errors).items()
        if isinstance(value, type) and value.__module__ == errors.__name__
    }
    assert set(found) == set(classes)
    for name, parent in found.items():
        assert parent in [base.__name__ for base in classes[name].__bases__], name
        assert name in errors.__all__ and hasattr(mp, name)


def test_errors_are_also_the_errors_of_the_language_they_stand_for():
    for ours, theirs in (
        (mp.CallTimeout, TimeoutError), (mp.UnsendableError, TypeError), (mp.PortError, ValueError),
        (mp.AddressError, ValueError), (mp.ConfigError, ValueError), (mp.TransportError, OSError),
        (mp.WrongThread, RuntimeError),
    ):  # fmt: skip
        assert issubclass(ours, theirs)


def test_reasons_as_text():
    assert str(mp.PortKilled(())) == "the port ended normally"
    assert str(mp.PortKilled(("die", "ValueError: x"))) == "die: ValueError: x"
    assert mp.PortKilled(("x", 1)).reason == ("x", 1)
    assert reason.describe(()) == "normal end"
    assert reason.describe(("closed", "a")) == "closed: a"


def test_errors_survive_pickling():
    """They cross process pools and log queues."""
    import pickle

    for error in (mp.PortKilled(("die", "x")), mp.CallTimeout("t"), mp.UsageError("u")):
        copy = pickle.loads(pickle.dumps(error))
        assert type(copy) is type(error) and str(copy) == str(error)
        assert getattr(copy, "reason", None) == getattr(error, "reason", None)
