"""after, every and task: what belongs to a port and ends with it."""

from __future__ import annotations

import asyncio
import logging

import pytest
from core_kit import Log, Probe, nodes, now, settle, timers_left

import aemp_core as mp
from aemp_core.testing.clock import virtual_clock


@virtual_clock
async def test_after_calls_once_with_its_arguments():
    async with nodes("a") as (a,):
        log = Log()
        began = now()
        a.after(5, lambda *words: log(now() - began, *words), "x", 1)
        await settle(4.9)
        assert log.events == []
        await settle(100)
        assert log.events == [(pytest.approx(5), "x", 1)]


@virtual_clock
async def test_after_sends_a_message_to_a_port():
    async with nodes("a", "b") as (a, b):
        here, there = Probe(a), Probe(b)
        a.after(1, here.port, "tick", 1)
        a.after(1, there.port, "tick", 2)
        await settle(0.9)
        assert here.got == there.got == []
        await settle(0.2)
        assert here.got == [("tick", 1)] and there.got == [("tick", 2)]


@virtual_clock
async def test_every_keeps_its_beat_and_leaves_out_what_a_stall_missed():
    async with nodes("a") as (a,):
        beats = []
        began = now()
        guard = a.every(1, lambda: beats.append(round(now() - began, 3)))
        await settle(3.5)
        assert beats == [1, 2, 3]
        asyncio.get_running_loop().stall(10)
        await settle()
        assert len(beats) == 4
        await settle(2)
        assert [beat % 1 for beat in beats[4:]] == [0, 0]
        guard.cancel()
        await settle(10)
        assert len(beats) == 6


@virtual_clock
async def test_cancelled_timers_do_not_fire_and_leave_nothing():
    async with nodes("a") as (a,):
        log = Log()
        before = len(timers_left(a.loop))
        guards = [a.after(1, log, "after"), a.every(1, log, "every"), a.after(1, Probe(a).port)]
        assert len(timers_left(a.loop)) > before
        for guard in guards:
            guard.cancel()
            guard.cancel()
        assert len(timers_left(a.loop)) == before
        await settle(5)
        assert log.events == []


@virtual_clock
async def test_a_timer_cancelled_by_another_due_at_the_same_time_does_not_fire():
    async with nodes("a") as (a,):
        log = Log()
        guards = []
        a.after(1, lambda: guards[0].cancel())
        guards.append(a.after(1, log, "second"))
        await settle(2)
        assert log.events == []


@virtual_clock
async def test_a_repeated_timer_cancels_itself_from_its_callback():
    async with nodes("a") as (a,):
        beats = []

        def beat():
            beats.append(1)
            if len(beats) == 3:
                guard.cancel()

        guard = a.every(1, beat)
        await settle(10)
        assert len(beats) == 3


@virtual_clock
async def test_timers_belong_to_the_port_that_began_them():
    async with nodes("a") as (a,):
        log = Log()
        port = a.port()
        a.peval(port, a.after, 1, lambda: log("after", mp.current_port()))
        a.peval(port, a.every, 1, lambda: log("every", mp.current_port()))
        await settle(1.5)
        assert sorted(log.events) == [("after", port), ("every", port)]
        a.peval(port, a.after, 1, lambda: log("never"))
        a.kil(port)
        await settle(5)
        assert len(log.events) == 2


@virtual_clock
async def test_the_exception_of_a_timer_ends_its_port():
    async with nodes("a") as (a,):
        for start in (a.after, a.every):
            port = a.port()
            ended = []
            a.mon(port, ended.append)
            a.peval(port, start, 1, lambda: 1 / 0)
            await settle(5)
            assert ended == [("die", "ZeroDivisionError: division by zero")]


@virtual_clock
async def test_the_exception_of_a_timer_outside_any_port_is_logged(caplog):
    async with nodes("a") as (a,):
        beats = []

        def beat():
            beats.append(1)
            raise RuntimeError("beat")

        guard = a.every(1, beat)
        await settle(2.5)
        guard.cancel()
        assert len(beats) == 2, "it goes on beating"
        assert caplog.text.count("RuntimeError: beat") >= 2


@virtual_clock
async def test_an_async_timer_callback_is_a_task_of_its_port():
    async with nodes("a") as (a,):
        log = Log()

        async def callback():
            await asyncio.sleep(1)
            log(mp.current_port())
            raise ValueError("late")

        port = a.port()
        ended = []
        a.mon(port, ended.append)
        a.peval(port, a.after, 1, callback)
        await settle(3)
        assert log.events == [port]
        assert ended == [("die", "ValueError: late")]


@virtual_clock
async def test_a_task_belongs_to_the_current_port_and_is_cancelled_with_it():
    async with nodes("a") as (a,):
        log = Log()

        async def work():
            log(mp.current_port())
            try:
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                log("cancelled")
                raise

        port = a.port()
        task = a.peval(port, lambda: a.task(work(), name="worker"))
        assert isinstance(task, asyncio.Task) and task.get_name() == "worker"
        await settle()
        a.kil(port)
        await settle()
        assert log.events == [port, "cancelled"]
        assert task.cancelled()


@virtual_clock
async def test_the_exception_of_a_task_ends_its_port():
    async with nodes("a") as (a,):

        async def work():
            await asyncio.sleep(1)
            raise OSError(5, "no luck")

        port = a.port()
        ended = []
        a.mon(port, ended.append)
        a.peval(port, lambda: a.task(work()) and None)
        await settle(2)
        assert ended == [("die", "OSError: [Errno 5] no luck")]


@virtual_clock
async def test_the_result_of_a_task_can_be_awaited():
    async with nodes("a") as (a,):

        async def work():
            await asyncio.sleep(1)
            return 42

        assert await a.task(work()) == 42
        with a.current():
            assert await mp.task(work()) == 42


@virtual_clock
async def test_a_cancelled_task_does_not_end_its_port():
    async with nodes("a") as (a,):
        port = a.port(lambda *_: None)
        ended = []
        a.mon(port, ended.append)
        tasks = []
        a.peval(port, lambda: tasks.append(a.task(asyncio.sleep(100))))
        await settle()
        tasks[0].cancel()
        await settle()
        assert ended == []


@virtual_clock
async def test_the_exception_of_a_task_outside_any_port_is_logged(caplog):
    async with nodes("a") as (a,):

        async def work():
            raise RuntimeError("nobody waits")

        with caplog.at_level(logging.ERROR):
            a.task(work(), name="loner")
            await settle()
        assert "RuntimeError: nobody waits" in caplog.text and "loner" in caplog.text


@virtual_clock
async def test_an_exception_group_is_flattened_in_the_reason():
    async with nodes("a") as (a,):
        from aemp_core.reason import text_of

        class Group(Exception):
            pass

        try:
            group = ExceptionGroup("all", [ValueError("1"), ExceptionGroup("in", [KeyError(2)])])
        except NameError:
            pytest.importorskip("exceptiongroup")
            from exceptiongroup import ExceptionGroup as Backport

            group = Backport("all", [ValueError("1"), Backport("in", [KeyError(2)])])

        def handler():
            raise group

        port = a.port(handler)
        ended = []
        a.mon(port, ended.append)
        a.snd(port)
        await settle()
        assert ended == [("die", "ValueError: 1; KeyError: 2")]
        assert text_of(Group()) == "Group"


@virtual_clock
async def test_tasks_started_by_tasks_and_timers_keep_their_port():
    async with nodes("a") as (a,):
        log, started = Log(), []

        async def inner():
            log(mp.current_port())

        async def outer():
            await asyncio.sleep(1)
            mp.task(inner())
            a.after(1, lambda: mp.task(inner()))
            asyncio.get_running_loop().call_later(1, lambda: log(mp.current_port()))
            started.append(asyncio.ensure_future(inner()))

        port = a.port()
        a.peval(port, lambda: a.task(outer()) and None)
        await settle(5)
        assert log.events == [port] * 4
