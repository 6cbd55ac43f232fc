"""Threads and real time: *_threadsafe, blocking, WrongThread."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time

import pytest
from core_kit import SECRET

import aemp_core as mp

DEADLINE = 30


def in_thread(function):
    """Run `function` in a thread; return its result or raise its exception."""
    outcome = []

    def run():
        try:
            outcome.append((function(), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=run)
    thread.start()
    return thread, outcome


async def joined(thread, outcome):
    deadline = time.monotonic() + DEADLINE
    while thread.is_alive():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    result, error = outcome[0]
    if error is not None:
        raise error
    return result


async def test_snd_threadsafe_delivers_in_order_from_each_thread():
    async with mp.Node("a", secret=SECRET) as a:
        seen = []
        done = asyncio.Event()

        def handler(thread, number):
            seen.append((thread, number))
            if len(seen) == 4_000:
                done.set()

        port = a.port(handler)

        def work(thread):
            for number in range(1_000):
                a.snd_threadsafe(port, thread, number)

        runs = [in_thread(lambda n=n: work(n)) for n in range(4)]
        for run in runs:
            await joined(*run)
        await asyncio.wait_for(done.wait(), DEADLINE)
        for thread in range(4):
            assert [n for t, n in seen if t == thread] == list(range(1_000))


async def test_cal_threadsafe_gives_a_concurrent_future():
    async with mp.Node("a", secret=SECRET) as a:
        port = a.port(mp.replies(lambda word: word.upper()))
        deaf = a.port(lambda *_: None)

        def work():
            answers = [a.cal_threadsafe(port, word).result(DEADLINE) for word in ("x", "y")]
            with pytest.raises(mp.CallTimeout):
                a.cal_threadsafe(deaf, timeout=0.01).result(DEADLINE)
            return answers

        assert await joined(*in_thread(work)) == [("X",), ("Y",)]


async def test_verbs_of_another_thread_raise_and_do_nothing():
    async with mp.Node("a", secret=SECRET) as a:
        seen = []
        port = a.port(lambda *message: seen.append(message))
        doomed = a.port(lambda *_: None)
        verbs = {
            "snd": lambda: a.snd(port, "wrong"),
            "snd remote": lambda: a.snd("b#x", "wrong"),
            "kil": lambda: a.kil(doomed),
            "kil remote": lambda: a.kil("b#x"),
            "mon": lambda: a.mon(port, seen.append),
            "mon remote": lambda: a.mon("b#x", seen.append),
            "after": lambda: a.after(0, seen.append, "wrong"),
            "every": lambda: a.every(1, seen.append, "wrong"),
            "spawn": lambda: a.spawn("a", "x:y"),
            "spawn remote": lambda: a.spawn("b", "x:y"),
        }
        wrong = []

        def work():
            for name, verb in verbs.items():
                try:
                    verb()
                except mp.WrongThread as error:
                    assert "threadsafe" in str(error)
                else:
                    wrong.append(name)

        await joined(*in_thread(work))
        assert wrong == []
        a.snd(port, "right")
        await asyncio.sleep(0.05)
        assert seen == [("right",)]
        assert doomed in a.ports


async def test_a_busy_node_refuses_other_threads_too():
    """Two threads that queue at the same moment could have mixed up whose message is whose."""
    listening = {"secret": SECRET, "binds": ["memory://a"]}
    joining = {"secret": SECRET, "seeds": ["memory://a"]}
    async with mp.Node("a", **listening) as a, mp.Node("b", **joining) as b:
        await b.up("a")
        seen = []
        port = a.port(lambda *message: seen.append(message))
        refused = []

        def handler():
            # What runs in a thread for a port has its context, and finds its node.
            def work():
                for snd in (mp.snd, a.snd, b.snd):
                    with pytest.raises(mp.WrongThread):
                        snd(port, "wrong")
                refused.append(True)

            a.snd(port, "busy")  # the queues are armed
            b.snd(port, "remote")
            b.snd(port, "remote, and on its way")
            context = contextvars.copy_context()
            thread = threading.Thread(target=lambda: context.run(work))
            thread.start()
            thread.join(DEADLINE)

        a.snd(a.port(handler))
        deadline = time.monotonic() + DEADLINE
        while len(seen) < 3:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        assert refused == [True]
        assert [words[0][:4] for words in seen] == ["busy", "remo", "remo"]


async def test_threadsafe_verbs_check_their_values_at_the_caller():
    async with mp.Node("a", secret=SECRET) as a:
        port = a.port()
        with pytest.raises(mp.UnsendableError):
            a.snd_threadsafe(port, object())
        with pytest.raises(mp.PortError):
            a.snd_threadsafe("no#port#id", 1)


def test_blocking_runs_a_node_for_programs_without_asyncio():
    seen = []
    arrived = threading.Event()

    def handler(*message):
        seen.append((message, threading.current_thread()))
        arrived.set()

    with mp.blocking("a", secret=SECRET) as node:
        assert node.id == "a"
        port = node.port(handler)
        node.snd(port, "hello")
        assert arrived.wait(DEADLINE)
        message, thread = seen[0]
        assert message == ("hello",) and thread is not threading.current_thread()
        server = node.port(mp.replies(lambda word: word * 2))
        assert node.cal(server, "ab") == ("abab",)
        with pytest.raises(mp.CallTimeout):
            node.cal(port, timeout=0.01)
        node.kil(server, "done")
        assert node.killed(server)[0] in ("done", "no_such_port")
        with pytest.raises(mp.PortError):
            node.snd("not#a#port")
        assert node.call(mp.current_node).id == "a"
    with pytest.raises(mp.NodeClosed):
        node.snd(port, "late")
    assert not any(thread.name == "aemp node" for thread in threading.enumerate())


def test_blocking_may_be_used_from_several_threads():
    with mp.blocking("a", secret=SECRET) as node:
        port = node.port(mp.replies(lambda number: number + 1))
        outcomes = [in_thread(lambda n=n: node.cal(port, n, timeout=DEADLINE)) for n in range(8)]
        for thread, _ in outcomes:
            thread.join(DEADLINE)
        assert [outcome[0] for _, outcome in outcomes] == [((n + 1,), None) for n in range(8)]


def test_blocking_refuses_to_wait_in_its_own_thread():
    errors = []
    done = threading.Event()

    def handler(*_):
        try:
            node.cal(port, "would wait for itself")
        except mp.WrongThread as error:
            errors.append(error)
        done.set()

    with mp.blocking("a", secret=SECRET) as node:
        port = node.port(handler)
        node.snd(port)
        assert done.wait(DEADLINE)
    assert len(errors) == 1


def test_blocking_reports_wrong_settings_and_leaves_no_thread():
    with pytest.raises(mp.ConfigError), mp.blocking("a", hartbeat=3):
        pass
    with pytest.raises(mp.AempError), mp.blocking("a", secret=SECRET, binds=["nonsense://x"]):
        pass
    assert not any(thread.name == "aemp node" for thread in threading.enumerate())
