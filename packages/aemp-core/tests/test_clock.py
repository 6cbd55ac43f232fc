"""The virtual clock: time that jumps, and everything it refuses."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
import time

import pytest

from aemp_core.testing.clock import Deadlock, RealWorldError, VirtualClockLoop, virtual_clock


def test_time_jumps_to_the_next_timer():
    @virtual_clock
    async def main():
        loop = asyncio.get_running_loop()
        began = loop.time()
        order = []
        loop.call_later(7_200, order.append, "late")
        loop.call_later(0.25, order.append, "soon")
        await asyncio.sleep(3_600)
        assert loop.time() == began + 3_600
        assert order == ["soon"]
        return order

    began = time.monotonic()
    assert main() == ["soon"]
    assert time.monotonic() - began < 30


@virtual_clock
async def test_timers_fire_exactly_at_their_time():
    loop = asyncio.get_running_loop()
    for delay in (1e-6, 0.1, 0.3, 1 / 3, 86_400.7, 1e9):
        due = loop.time() + delay
        future = loop.create_future()
        loop.call_at(due, lambda future=future: future.set_result(loop.time()))
        assert await future == due


@virtual_clock
async def test_wait_for_and_timeouts_take_virtual_time():
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(loop.create_future(), 50)
    assert loop.time() - began == pytest.approx(50)
    if sys.version_info >= (3, 11):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.Event().wait()
        assert loop.time() - began == pytest.approx(55)


@virtual_clock
async def test_what_is_ready_runs_before_time_passes():
    loop = asyncio.get_running_loop()
    began = loop.time()
    seen = []
    loop.call_later(0.001, seen.append, "timer")

    def again(count):
        seen.append(count)
        if count:
            loop.call_soon(again, count - 1)

    again(100)
    while seen[-1] != 0:
        await asyncio.sleep(0)
    assert loop.time() == began and "timer" not in seen


@virtual_clock
async def test_a_stall_makes_timers_late_and_runs_nothing_meanwhile():
    loop = asyncio.get_running_loop()
    began = loop.time()
    fired = []
    for delay in (3, 1, 2, 50):
        loop.call_later(delay, lambda delay=delay: fired.append((delay, loop.time() - began)))
    loop.stall(10)
    assert fired == []
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert fired == [(1, 10), (2, 10), (3, 10)]
    await asyncio.sleep(100)
    assert fired[3] == (50, 50)
    with pytest.raises(ValueError, match="backwards"):
        loop.stall(-1)


def test_a_deadlock_names_the_tasks_that_wait():
    @virtual_clock
    async def main():
        async def stuck():
            await asyncio.Event().wait()

        task = asyncio.create_task(stuck(), name="prisoner")
        await task

    with pytest.raises(Deadlock, match=r"(?s)nothing will ever happen.*prisoner in .*test_clock"):
        main()


def test_a_loop_that_spins_without_time_passing_is_a_deadlock(monkeypatch):
    monkeypatch.setattr("aemp_core.testing.clock.MAX_TURNS", 1_000)

    @virtual_clock
    async def main():
        while True:
            await asyncio.sleep(0)

    with pytest.raises(Deadlock, match=r"(?s)1000 turns.*main"):
        main()


def test_after_a_deadlock_everything_is_cleaned_up():
    unwound = []

    @virtual_clock
    async def main():
        try:
            await asyncio.Event().wait()
        finally:
            unwound.append(True)

    with pytest.raises(Deadlock):
        main()
    assert unwound == [True]


@pytest.mark.parametrize(
    "call",
    [
        lambda loop: loop.run_in_executor(None, time.sleep, 0),
        lambda loop: asyncio.to_thread(time.sleep, 0),
        lambda loop: asyncio.open_connection("127.0.0.1", 1),
        lambda loop: asyncio.start_server(print, "127.0.0.1", 0),
        lambda loop: asyncio.create_subprocess_exec("true"),
        lambda loop: loop.getaddrinfo("localhost", 1),
        lambda loop: loop.add_signal_handler(2, print),
    ],
)
@virtual_clock
async def test_the_real_world_is_refused(call):
    loop = asyncio.get_running_loop()
    with pytest.raises(RealWorldError, match="virtual clock"):
        result = call(loop)
        if result is not None:
            await result


@virtual_clock
async def test_real_sockets_are_refused():
    loop = asyncio.get_running_loop()
    left, right = socket.socketpair()
    with left, right:
        left.setblocking(False)
        for call in (
            lambda: loop.sock_recv(left, 1),
            lambda: loop.sock_sendall(left, b"x"),
            lambda: loop.add_reader(left, print),
            lambda: loop.add_writer(left, print),
        ):
            with pytest.raises(RealWorldError):
                call()


@virtual_clock
async def test_other_threads_are_refused():
    loop = asyncio.get_running_loop()
    errors, ran = [], []

    def work():
        try:
            loop.call_soon_threadsafe(ran.append, "from a thread")
        except RealWorldError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    loop.call_soon_threadsafe(ran.append, "from here")
    await asyncio.sleep(1)
    assert len(errors) == 1
    assert ran == ["from here"]


def test_run_gives_the_result_and_the_error_of_main():
    async def good():
        return 42

    async def bad():
        raise KeyError("x")

    loop = VirtualClockLoop()
    assert loop.run(good()) == 42
    assert loop.is_closed()
    with pytest.raises(KeyError):
        VirtualClockLoop().run(bad())


def test_tasks_left_behind_are_cancelled():
    ends = []

    async def straggler():
        try:
            await asyncio.sleep(10)
        finally:
            ends.append("cancelled")

    async def main():
        task = asyncio.create_task(straggler())
        await asyncio.sleep(1)
        return task

    assert VirtualClockLoop().run(main()).cancelled()
    assert ends == ["cancelled"]


def test_errors_nobody_handled_fail_the_run():
    async def main():
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(1)

    with pytest.raises(Exception, match="nobody handled") as caught:
        VirtualClockLoop().run(main())
    assert [type(error) for error in caught.value.exceptions] == [ZeroDivisionError]


@pytest.mark.parametrize("number", [1, 2])
@virtual_clock
async def test_the_decorator_passes_parameters_and_fixtures(number, tmp_path):
    await asyncio.sleep(number)
    assert tmp_path.is_dir()


def test_two_runs_are_the_same():
    def one():
        log = []

        @virtual_clock
        async def main():
            loop = asyncio.get_running_loop()

            async def worker(number):
                for step in range(20):
                    await asyncio.sleep((number * 7 + step * 3) % 5 / 10)
                    log.append((loop.time(), number, step))

            await asyncio.gather(*(worker(number) for number in range(10)))

        main()
        return log

    assert one() == one()
