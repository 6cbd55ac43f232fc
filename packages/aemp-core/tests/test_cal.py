"""cal: a question and its answer, ending exactly once."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from typing import NamedTuple

import pytest
from core_kit import Network, Probe, crash, nodes, now, settle, tasks_left, timers_left

import aemp_core as mp
from aemp_core.testing.clock import virtual_clock


@virtual_clock
async def test_the_answer_is_what_was_sent_to_the_reply_port():
    async with nodes("a", "b") as (a, b):
        for target in (a, b):
            port = target.port(lambda *message, t=target: t.snd(message[-1], *message[:-1], "end"))
            assert await a.cal(port, "x", 1) == ("x", 1, "end")
            assert await a.cal(port) == ("end",)


@virtual_clock
async def test_replies_takes_the_reply_port_off_and_sends_what_is_returned():
    async with nodes("a", "b") as (a, b):
        port = b.port()

        async def later(word):
            await asyncio.sleep(1)
            return word, "later"

        b.rcv(
            port,
            one=mp.replies(lambda word: word),
            many=mp.replies(lambda *words: words),
            none=mp.replies(lambda: None),
            listing=mp.replies(lambda: [1, 2]),
            later=mp.replies(later),
        )
        assert await a.cal(port, "one", "x") == ("x",)
        assert await a.cal(port, "many", 1, 2) == (1, 2)
        assert await a.cal(port, "none") == ()
        assert await a.cal(port, "listing") == ([1, 2],)
        assert await a.cal(port, "later", "x") == ("x", "later")


@virtual_clock
async def test_a_message_without_a_reply_port_ends_a_port_of_replies_and_says_why():
    async with nodes("a") as (a,):
        port, ended = a.port(mp.replies(lambda: "never")), []
        a.mon(port, ended.append)
        a.snd(port)
        await settle()
        assert "reply port" in ended[0][1] and "cal" in ended[0][1]


@virtual_clock
async def test_a_reply_port_is_a_port_for_who_knows_it_but_has_no_handlers():
    async with nodes("a") as (a,):
        port, other, released, ended = a.port(), a.port(), [], []

        def asked(reply):
            with pytest.raises(mp.PortError, match="reply port of a call"):
                a.rcv(reply, print)
            a.mon(reply, ended.append)
            a.mon_guard(reply, lambda: released.append(True))
            a.mon(other, reply, "the other has ended")

        a.rcv(port, ask=asked)
        asking = asyncio.ensure_future(a.cal(port, "ask"))
        await settle()
        assert not ended and not released
        a.kil(other, "bye")
        assert await asking == ("the other has ended", "bye")
        await settle()
        assert ended == [()] and released == [True]


class Vector(NamedTuple):
    """A tuple that adds in a way of its own, also to what is no vector."""

    x: int
    y: int

    def __add__(self, other):
        return Vector(*(ours + theirs for ours, theirs in zip(self, other, strict=True)))

    __radd__ = __add__


@virtual_clock
async def test_a_tuple_of_another_kind_is_an_answer_like_any():
    async with nodes("a", "b") as (a, b):

        async def later():
            return Vector(1, 2)

        for handler in (lambda: Vector(1, 2), later):
            port = a.port(mp.replies(handler))
            for node in (a, b):
                assert await node.cal(port, timeout=5) == (1, 2)


@virtual_clock
async def test_a_failing_handler_of_replies_ends_the_port_and_the_call():
    async with nodes("a", "b") as (a, b):
        for handler in (lambda: 1 / 0, _fails_later):
            port = b.port(mp.replies(handler))
            with pytest.raises(mp.PortKilled) as caught:
                await a.cal(port)
            assert caught.value.reason == ("die", "ZeroDivisionError: division by zero")
            assert str(caught.value) == "die: ZeroDivisionError: division by zero"


async def _fails_later():
    await asyncio.sleep(1)
    return 1 / 0


@virtual_clock
async def test_the_end_of_the_port_ends_the_call():
    async with nodes("a", "b") as (a, b):
        for target in (a, b):
            for reason in ((), ("gone", 1)):
                port = target.port(lambda *_: None)
                call = asyncio.ensure_future(a.cal(port, "question"))
                await settle()
                target.kil(port, *reason)
                with pytest.raises(mp.PortKilled) as caught:
                    await call
                assert caught.value.reason == reason


@virtual_clock
async def test_the_end_of_the_port_ends_all_calls_of_it():
    """They share one monitor: not with one that begins when the first of them was told."""
    async with nodes("a", "b") as (a, b):
        for target in (a, b):

            def answer(word, reply, target=target):
                if word == "answer":
                    target.snd(reply, word)

            port = target.port(answer)
            ends = []

            async def call(word, timeout=None, port=port, ends=ends):
                try:
                    ends.append(await a.cal(port, word, timeout=timeout))
                except mp.CallTimeout:
                    ends.append("timeout")
                except mp.PortKilled as error:
                    ends.append(error.reason[0])
                    if error.reason == ("gone",):
                        with pytest.raises(mp.PortKilled, match="no_such_port"):
                            await a.cal(port, "again")

            calls = [asyncio.ensure_future(call("question", 0.001)) for _ in range(2)]
            calls += [asyncio.ensure_future(call("question")) for _ in range(3)]
            await call("answer")
            await settle(0.01)
            assert ends == [("answer",), "timeout", "timeout"]
            target.kil(port, "gone")
            await asyncio.wait_for(asyncio.gather(*calls), 5)
            assert ends[3:] == ["gone"] * 3
            assert not a.callees


@virtual_clock
async def test_questions_and_answers_wait_for_nothing():
    """What is sent while something is read is written at once, not with what is sent next."""
    async with nodes("a", "b") as (a, b):
        port, began = b.port(mp.replies(lambda word: word)), now()
        for number in range(10):
            assert await a.cal(port, number) == (number,)
        assert now() == began


@virtual_clock
async def test_a_missing_port_ends_the_call():
    async with nodes("a", "b") as (a, b):
        for node in (a, b):
            port = node.port()
            node.kil(port)
            await settle()
            with pytest.raises(mp.PortKilled) as caught:
                await a.cal(port, "question")
            assert caught.value.reason[0] == "no_such_port"


@virtual_clock
async def test_the_loss_of_the_node_ends_the_call():
    network = Network.here()
    async with nodes("a", "b") as (a, b):
        port = b.port(lambda *_: None)
        call = asyncio.ensure_future(a.cal(port, "question"))
        await settle()
        await crash(network, b)
        with pytest.raises(mp.PortKilled) as caught:
            await call
        assert caught.value.reason[0] == "transport_error"


@virtual_clock
async def test_a_timeout_ends_the_call():
    async with nodes("a", "b") as (a, b):
        port = b.port(lambda *_: None)
        began = now()
        with pytest.raises(mp.CallTimeout, match=r"no answer from b#.* within 3 s"):
            await a.cal(port, "question", timeout=3)
        assert now() - began == pytest.approx(3)
        with pytest.raises(TimeoutError):
            await a.cal(port, "question", timeout=0.5)


@virtual_clock
async def test_a_call_leaves_nothing_behind_however_it_ends():
    network = Network.here()
    async with nodes("a", "b") as (a, b):
        silent, answering = b.port(lambda *_: None), b.port(mp.replies(lambda: 1))
        await settle()
        ports, timers, tasks = set(a.ports), len(timers_left(a.loop)), len(tasks_left())
        await a.cal(answering, timeout=50)
        with pytest.raises(mp.CallTimeout):
            await a.cal(silent, timeout=1)
        cancelled = asyncio.ensure_future(a.cal(silent, timeout=50))
        await settle()
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        with pytest.raises(mp.UnsendableError):
            await a.cal(silent, object(), timeout=50)
        with pytest.raises(mp.PortError):
            await a.cal("no port#at#all", timeout=50)
        await settle()
        assert set(a.ports) == ports
        assert len(timers_left(a.loop)) == timers and len(tasks_left()) == tasks
        assert not b.ports[silent].watches and not b.ports[answering].watches
        # One that is killed takes its reply port with it, too.
        call = asyncio.ensure_future(a.cal(silent))
        await settle()
        network.reset("a", "b")
        with pytest.raises(mp.PortKilled):
            await call
        await settle()
        assert set(a.ports) == ports


@virtual_clock
async def test_answers_are_not_kept():
    """Not by the link they came over either, which knows the ports its peer has sent to."""
    async with nodes("a", "b") as (a, b):
        port = b.port(mp.replies(lambda: b"x" * 100_000))
        await a.cal(port)
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(100):
            await a.cal(port)
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert after - before < 1_000_000


@virtual_clock
async def test_every_call_ends_exactly_once_in_a_storm():
    """Calls in flight, answers, deaths, resets and time-outs: each call has one end."""
    network = Network.here()
    async with nodes("a", "b") as (a, b):
        ends = []

        async def serve():
            count = 0
            async for *_, reply in mp.messages():
                count += 1
                if count % 7 == 0:
                    await asyncio.sleep(0.3)
                if count % 5:
                    mp.snd(reply, "answer")
                    mp.snd(reply, "answer")

        ports = [b.port_async(serve) for _ in range(5)]

        async def caller(number):
            await asyncio.sleep(number * 0.01)
            try:
                ends.append((number, await a.cal(ports[number % 5], number, timeout=0.25)))
            except (mp.PortKilled, mp.CallTimeout) as error:
                ends.append((number, type(error).__name__))

        calls = [asyncio.ensure_future(caller(number)) for number in range(300)]
        for step in range(6):
            await settle(0.4)
            if step % 2:
                network.reset("a", "b")
            else:
                b.kil(ports[step], "chaos")
        await asyncio.wait_for(asyncio.gather(*calls), 20)
        assert sorted(number for number, _ in ends) == list(range(300))
        kinds = {end if isinstance(end, str) else "answer" for _, end in ends}
        assert kinds == {"answer", "PortKilled", "CallTimeout"}


@virtual_clock
async def test_many_calls_in_flight_are_not_mixed_up():
    async with nodes("a", "b") as (a, b):

        async def serve(number):
            await asyncio.sleep((number * 7 % 10) / 10)
            return number

        ports = [b.port(mp.replies(serve)) for _ in range(20)]
        answers = await asyncio.gather(*(a.cal(ports[n % 20], n) for n in range(200)))
        assert answers == [(number,) for number in range(200)]


@virtual_clock
async def test_a_call_of_a_port_within_its_own_async_handler_times_out():
    """It waits for itself; only the time-out ends that."""
    async with nodes("a") as (a,):
        ends = []

        async def handler(*_):
            try:
                await a.cal(port, "inner", timeout=1)
            except mp.CallTimeout:
                ends.append("timeout")

        port = a.port(handler)
        a.snd(port, "outer")
        await settle(1.5)
        assert ends == ["timeout"]
        await a.close()


@virtual_clock
async def test_a_call_to_a_node_port():
    async with nodes("a", "b") as (a, b):
        assert await a.cal("b", "info") == ("b",)
        assert await a.cal("a", "info") == ("a",)
        (seconds,) = await a.cal("b", "time")
        assert seconds == pytest.approx(b.wall_clock(), abs=60)


@virtual_clock
async def test_calls_as_module_functions_in_a_port():
    async with nodes("a", "b") as (a, b):
        server = b.port(mp.replies(lambda word: word * 2))
        probe = Probe(a)

        async def handler(word):
            mp.snd(probe.port, *await mp.cal(server, word))

        a.snd(a.port(handler), "ab")
        await settle()
        assert probe.got == [("abab",)]


@virtual_clock
async def test_answers_after_the_first_are_ignored(caplog):
    """Also one that comes in the same moment: the call has ended, its reply port not yet."""
    async with nodes("a", "b") as (a, b):

        def twice(*message):
            b.snd(message[-1], 1)
            b.snd(message[-1], 2)

        for caller in (a, b):
            assert await caller.cal(b.port(twice), "question") == (1,)
            await settle()
        assert not caplog.records
