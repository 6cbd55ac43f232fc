"""Async ports: port_async, rcv_async, get, get_cond, messages."""

from __future__ import annotations

import asyncio

import pytest
from core_kit import Log, nodes, now, settle

import aemp_core as mp
from aemp_core.testing.clock import virtual_clock


@virtual_clock
async def test_an_async_port_lives_as_long_as_its_coroutine():
    async with nodes("a") as (a,):
        log = Log()

        async def life(*args):
            log(args, mp.current_port())
            await asyncio.sleep(1)

        port = a.port_async(life, 1, "two")
        a.mon(port, log.named("ended"))
        assert log.events == []
        await settle(0.5)
        assert log.events == [((1, "two"), port)]
        await settle(1)
        assert log.events[1:] == [("ended", ())]


@virtual_clock
async def test_the_exception_of_its_coroutine_ends_the_port():
    async with nodes("a") as (a,):

        async def life():
            await asyncio.sleep(1)
            raise LookupError("lost")

        reasons = []
        a.mon(a.port_async(life), reasons.append)
        await settle(2)
        assert reasons == [("die", "LookupError: lost")]


@virtual_clock
async def test_killing_the_port_cancels_its_coroutine():
    async with nodes("a", "b") as (a, b):
        log = Log()

        async def life():
            try:
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                log("cancelled")
                raise

        port = a.port_async(life)
        a.mon(port, log.named("ended"))
        await settle()
        b.kil(port, "x")
        await settle()
        assert sorted(map(str, log.events)) == sorted(map(str, ["cancelled", ("ended", ("x",))]))


@virtual_clock
async def test_a_coroutine_that_kills_its_own_port():
    async with nodes("a") as (a,):
        log = Log()

        async def life():
            mp.kil(mp.current_port(), "by myself")
            log("after kil")
            await asyncio.sleep(1)
            log("never")

        a.mon(a.port_async(life), log.named("ended"))
        await settle(5)
        assert log.events == ["after kil", ("ended", ("by myself",))]


@virtual_clock
async def test_get_receives_by_tag_and_leaves_the_rest_in_order():
    async with nodes("a", "b") as (a, b):
        log = Log()

        async def life():
            await asyncio.sleep(1)
            log(await mp.get("b"))
            log(await mp.get("b"))
            log(await mp.get("a"))
            async for message in mp.messages():
                log(message)

        port = b.port_async(life)
        for message in (("a", 1), ("b", 1), ("c", 1), ("a", 2), ("b", 2), ("a", 3), (), (5,)):
            a.snd(port, *message)
        await settle(2)
        assert log.events == [(1,), (2,), (1,), ("c", 1), ("a", 2), ("a", 3), (), (5,)]


@virtual_clock
async def test_get_waits_for_its_tag_and_takes_no_other():
    async with nodes("a") as (a,):
        log = Log()

        async def life():
            log.events.append(await mp.get("wanted"))
            log.events.append(await mp.get_cond())

        port = a.port_async(life)
        a.snd(port, "other", 1)
        await settle(1)
        assert log.events == []
        a.snd(port, "wanted", 2)
        await settle()
        assert log.events == [(2,), ("other", 1)]


@virtual_clock
async def test_get_cond_takes_the_oldest_that_fits():
    async with nodes("a") as (a,):
        log = Log()

        async def life():
            await asyncio.sleep(1)
            log.events.append(await mp.get_cond(lambda message: message[0] > 5))
            log.events.append(await mp.get_cond(lambda message: message[0] % 2 == 0))
            log.events.append(await mp.get_cond(lambda message: message[0] > 5))
            while True:
                log.events.append(await mp.get_cond())

        port = a.port_async(life)
        for number in (1, 7, 2, 4, 9):
            a.snd(port, number)
        await settle(2)
        a.snd(port, 3)
        await settle()
        assert log.events == [(7,), (2,), (9,), (1,), (4,), (3,)]


@virtual_clock
async def test_selective_receives_of_all_kinds_mixed():
    """Whatever the mix, each message is received once, and each receive takes the oldest it may."""
    async with nodes("a") as (a,):
        taken = []
        left = [(tag, number) for number in range(200) for tag in "abc"]
        expected = list(left)

        def oldest(fits):
            found = next(message for message in expected if fits(message))
            expected.remove(found)
            return found

        async def life():
            await asyncio.sleep(1)
            for step in range(600):
                if step % 4 == 0 and any(message[0] == "b" for message in expected):
                    assert ("b", *await mp.get("b")) == oldest(lambda message: message[0] == "b")
                elif step % 4 == 1 and any(message[1] % 3 == 0 for message in expected):

                    def third(message):
                        return message[1] % 3 == 0

                    assert await mp.get_cond(third) == oldest(third)
                elif step % 4 == 2 and any(message[0] == "c" for message in expected):
                    assert ("c", *await mp.get("c")) == oldest(lambda message: message[0] == "c")
                else:
                    assert await mp.get_cond() == oldest(lambda message: True)
                taken.append(step)

        port = a.port_async(life)
        reasons = []
        a.mon(port, reasons.append)
        for message in left:
            a.snd(port, *message)
        await settle(2)
        assert reasons == [()]
        assert len(taken) == 600 and expected == []


@virtual_clock
async def test_receives_time_out():
    async with nodes("a") as (a,):
        log = Log()

        async def life():
            began = now()
            with pytest.raises(mp.CallTimeout, match=r"'tag'.*2"):
                await mp.get("tag", timeout=2)
            log(now() - began)
            with pytest.raises(TimeoutError):
                await mp.get_cond(lambda message: False, timeout=3)
            log(now() - began)
            with pytest.raises(mp.CallTimeout, match="0 s"):
                await mp.get_cond(timeout=0)
            log(await mp.get_cond())
            log(now() - began)

        port = a.port_async(life)
        reasons = []
        a.mon(port, reasons.append)
        await settle(6)
        assert reasons == []
        a.snd(port, "other")
        await settle()
        assert reasons == [()]
        two, five, message, six = log.events
        assert (two, five, six) == (pytest.approx(2), pytest.approx(5), pytest.approx(6, abs=0.1))
        assert message == ("other",)


@virtual_clock
async def test_a_message_that_comes_at_the_time_out_is_not_lost():
    async with nodes("a") as (a,):
        log = Log()

        async def life():
            try:
                log.events.append(await mp.get("tag", timeout=2))
            except mp.CallTimeout:
                log("timeout")
            log.events.append(("next", await mp.get("tag", timeout=5)))

        port = a.port_async(life)
        loop = asyncio.get_running_loop()
        await settle()
        loop.stall(3)  # the message and the alarm are due together
        a.snd(port, "tag", 1)
        await settle()
        a.snd(port, "tag", 2)
        await settle(1)
        assert log.events in ([(1,), ("next", (2,))], ["timeout", ("next", (1,))])


@pytest.mark.parametrize("turns", range(5))
@virtual_clock
async def test_a_cancelled_receive_loses_no_message(turns):
    """Cancelled before, while or after the message arrives: the next receive gets it, unless the
    cancelled one had it already."""
    async with nodes("a") as (a,):
        got = []

        async def life():
            waiting = asyncio.ensure_future(mp.get("tag"))
            cancel.append(waiting)
            try:
                got.append(await waiting)
            except asyncio.CancelledError:
                pass
            while True:
                got.append(await mp.get("tag"))

        cancel = []
        port = a.port_async(life)
        await settle()
        a.snd(port, "tag", 1)
        a.snd(port, "tag", 2)
        for _ in range(turns):
            await asyncio.sleep(0)
        cancel[0].cancel()
        await settle()
        a.snd(port, "tag", 3)
        await settle()
        assert got == [(1,), (2,), (3,)]


@virtual_clock
async def test_several_coroutines_of_one_port_receive_side_by_side():
    async with nodes("a") as (a,):
        log = Log()

        async def taker(tag):
            while True:
                log((tag, *await mp.get(tag)))

        async def life():
            mp.task(taker("x"))
            mp.task(taker("y"))
            await asyncio.sleep(100)

        port = a.port_async(life)
        await settle()
        for number in range(50):
            a.snd(port, "x" if number % 2 else "y", number)
        await settle()
        assert sorted(event[1] for event in log.events) == list(range(50))
        assert [n for tag, n in log.events if tag == "x"] == list(range(1, 50, 2))


@virtual_clock
async def test_tagged_handlers_of_an_async_port_take_their_messages():
    async with nodes("a") as (a,):
        log = Log()

        async def life():
            async for message in mp.messages():
                log.events.append(("mailbox", *message))

        port = a.port_async(life)
        a.rcv(port, stats=log.named("handler"))
        for message in (("x", 1), ("stats", 2), ("y", 3)):
            a.snd(port, *message)
        await settle()
        assert sorted(log.events) == [("handler", 2), ("mailbox", "x", 1), ("mailbox", "y", 3)]


@virtual_clock
async def test_rcv_async_attaches_to_a_port_that_exists():
    async with nodes("a") as (a,):
        log = Log()

        async def life(word):
            log.events.append((word, await mp.get("tag")))

        port = a.port()
        assert a.rcv_async(port, life, "hello") == port
        a.mon(port, log.named("ended"))
        a.snd(port, "tag", 1)
        await settle()
        assert log.events == [("hello", (1,)), ("ended", ())]


@virtual_clock
async def test_messages_of_before_the_first_receive_wait():
    async with nodes("a") as (a,):
        log = Log()

        async def life():
            await asyncio.sleep(5)
            async for message in mp.messages():
                log(*message)

        port = a.port_async(life)
        a.snd(port, "early")
        await settle(6)
        assert log.events == ["early"]


@virtual_clock
async def test_an_async_spawn_is_an_async_port():
    async with nodes("a", "b") as (a, b):
        port = a.spawn("b", echo_twice)
        ended = []
        a.mon(port, ended.append)
        assert await a.cal(port, "one") == ("one", "b")
        assert await a.cal(port, "two") == ("two", "b")
        await settle()
        assert ended == [()]


@mp.exposed(name="async_ports:echo_twice")
async def echo_twice():
    for _ in range(2):
        *message, reply = await mp.get_cond()
        mp.snd(reply, *message, mp.current_node().id)


@virtual_clock
async def test_match_on_messages():
    async with nodes("a") as (a,):
        log = Log()

        async def life():
            async for message in mp.messages():
                match message:
                    case ("add", int(x), int(y)):
                        log(x + y)
                    case ("stop",):
                        return

        port = a.port_async(life)
        ended = []
        a.mon(port, ended.append)
        a.snd(port, "add", 1, 2)
        a.snd(port, "stop")
        await settle()
        assert log.events == [3] and ended == [()]


@virtual_clock
async def test_current_sender_is_that_of_the_message_received_last():
    async with nodes("a", "b") as (a, b):
        log = Log()

        async def life():
            await asyncio.sleep(1)
            async for _ in mp.messages():
                log(mp.current_sender())

        port = a.port_async(life)
        b.snd(port, "x")
        await settle()
        a.snd(port, "x")
        await settle(2)
        assert log.events == ["b", "a"]


@virtual_clock
async def test_a_port_kept_busy_does_not_starve_the_loop():
    """A reader that never has to wait still lets the loop turn."""
    async with nodes("a") as (a,):

        async def life():
            async for _ in mp.messages():
                pass

        port = a.port_async(life)
        for _ in range(20_000):
            a.snd(port, "x")
        turns = 0
        while a.queue.items:
            await asyncio.sleep(0)
            turns += 1
        assert turns > 20
