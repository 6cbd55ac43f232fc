"""A world: processes with event loops of their own, one clock, and what the seed decides."""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
from world_kit import pair, start

import aemp_core as mp
from aemp_core.testing import Deadlock, Process, RealWorldError, World


def noted(scenario: Callable[[World, list[Any]], Any], seed: int) -> list[Any]:
    """What a scenario notes in a world of its own."""
    world = World(seed)
    notes: list[Any] = []
    world.run(scenario(world, notes))
    return notes


def orders(scenario: Callable[[World, list[Any]], Any], seeds: int = 40) -> set[tuple[Any, ...]]:
    """The orders of what it notes that so many seeds come up with."""
    return {tuple(noted(scenario, seed)) for seed in range(seeds)}


# -- processes -------------------------------------------------------------------------------


async def test_processes_have_clocks_of_their_own(aemp_world: World) -> None:
    a, b = aemp_world.process("a"), aemp_world.process("b")
    began = aemp_world.now
    slept: list[float] = []

    async def sleep(seconds: float) -> float:
        loop = asyncio.get_running_loop()
        before = loop.time()
        await asyncio.sleep(seconds)
        slept.append(aemp_world.now - began)
        return loop.time() - before

    assert a.loop.time() != b.loop.time(), "monotonic clocks of machines are not related"
    took = await asyncio.gather(a.call(sleep, 7_200), b.call(sleep, 0.25), sleep(60))
    assert took == [pytest.approx(seconds) for seconds in (7_200, 0.25, 60)]
    assert slept == [pytest.approx(seconds) for seconds in (0.25, 60, 7_200)]
    assert a.wall_clock() == b.wall_clock() == aemp_world.main.wall_clock()
    a.jump(-3_600)
    assert b.wall_clock() - a.wall_clock() == 3_600
    assert a.loop.time() - b.loop.time() == pytest.approx(a.loop.time() - b.loop.time())


async def test_timers_fire_at_their_time_however_late_it_is(aemp_world: World) -> None:
    a = aemp_world.process("a")
    for seconds in (1e-6, 1 / 3, 1e5, 1e9):
        due = aemp_world.now + seconds
        await a.call(asyncio.sleep, seconds)
        assert aemp_world.now == pytest.approx(due, abs=1e-6)


async def test_a_call_gives_the_result_or_the_error(aemp_world: World) -> None:
    a = aemp_world.process("a")

    async def double(number: int) -> int:
        assert asyncio.get_running_loop() is a.loop
        if number < 0:
            raise ValueError("too small")
        return 2 * number

    assert await a.call(double, 21) == 42
    with pytest.raises(ValueError, match="too small"):
        await a.call(double, -1)
    task = a.start(asyncio.sleep(100, "rested"))
    assert await a.finish(task) == "rested"


async def test_a_process_begins_with_nothing_of_the_callers_context(aemp_world: World) -> None:
    variable: ContextVar[str] = ContextVar("variable", default="unset")
    variable.set("set")

    async def look() -> str:
        return variable.get()

    assert await aemp_world.process("a").call(look) == "unset"


async def test_async_generators_end_in_their_process(aemp_world: World) -> None:
    a = aemp_world.process("a")
    ended: list[object] = []

    async def count() -> Any:
        try:
            for number in itertools.count():
                yield number
        finally:
            await asyncio.sleep(1)
            ended.append(asyncio.get_running_loop())

    async def look_once() -> None:
        async for _ in count():
            break

    await a.call(look_once)
    await asyncio.sleep(10)
    assert ended == [a.loop]


async def test_a_killed_process_runs_nothing_any_more(aemp_world: World) -> None:
    a = aemp_world.process("a")
    beats: list[float] = []

    async def beat() -> None:
        try:
            while True:
                beats.append(aemp_world.now)
                await asyncio.sleep(1)
        finally:
            beats.append(-1)

    a.start(beat())
    await asyncio.sleep(5.5)
    a.kill()
    a.kill()
    assert not a.alive
    await asyncio.sleep(100)
    assert len(beats) == 6 and -1 not in beats
    with pytest.raises(RuntimeError, match="<Process a, dead> runs nothing"):
        a.start(beat())
    with pytest.raises(ValueError, match="main process"):
        aemp_world.main.kill()


async def test_only_the_stalled_process_stands_still(aemp_world: World) -> None:
    a, b = aemp_world.process("a"), aemp_world.process("b")
    began = aemp_world.now
    seen: dict[str, list[tuple[float, int]]] = {"a": [], "b": []}

    async def timers(name: str) -> None:
        loop = asyncio.get_running_loop()
        for due in (3, 1, 2, 50):
            loop.call_later(due, lambda due=due: seen[name].append((aemp_world.now - began, due)))

    for process in (a, b):
        await process.call(timers, process.name)
    a.stall(10)
    await asyncio.sleep(100)
    assert seen["a"] == [
        (pytest.approx(at), due) for at, due in ((10, 1), (10, 2), (10, 3), (50, 50))
    ]
    assert seen["b"] == [(pytest.approx(due), due) for due in (1, 2, 3, 50)]
    with pytest.raises(ValueError, match="backwards"):
        a.stall(-1)


async def test_a_process_can_stall_itself(aemp_world: World) -> None:
    began = aemp_world.now

    async def work() -> float:
        asyncio.get_running_loop().stall(10)  # type: ignore[attr-defined]
        await asyncio.sleep(0)
        return aemp_world.now - began

    assert await aemp_world.process("a").call(work) == pytest.approx(10)
    aemp_world.main.stall(5)
    await asyncio.sleep(0)
    assert aemp_world.now - began == pytest.approx(15), "the main one, too"


# -- what cannot be ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "forbidden",
    [
        lambda loop: loop.run_in_executor(None, time.sleep, 0),
        lambda loop: asyncio.to_thread(time.sleep, 0),
        lambda loop: asyncio.open_connection("127.0.0.1", 1),
        lambda loop: asyncio.start_server(print, "127.0.0.1", 0),
        lambda loop: asyncio.create_subprocess_exec("true"),
        lambda loop: loop.getaddrinfo("localhost", 1),
    ],
)
async def test_the_real_world_is_refused_in_every_process(
    aemp_world: World, forbidden: Callable[[Any], Any]
) -> None:
    async def ask() -> None:
        with pytest.raises(RealWorldError, match="needs real time"):
            await forbidden(asyncio.get_running_loop())

    await ask()
    await aemp_world.process("a").call(ask)


def test_a_deadlock_names_the_tasks_that_wait_and_where() -> None:
    async def prisoner() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        await asyncio.create_task(prisoner(), name="the prisoner")

    with pytest.raises(
        Deadlock, match=r"(?s)will ever happen.*the prisoner in prisoner \(.*test_w"
    ):
        World().run(main())


def test_a_world_that_spins_is_a_deadlock_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aemp_core.testing.world.MAX_STEPS", 1_000)
    world = World()
    unwound: list[bool] = []

    async def spin() -> None:
        while True:
            await asyncio.sleep(0)

    async def main() -> None:
        try:
            await world.process("spinner").call(spin)
        finally:
            unwound.append(True)

    with pytest.raises(Deadlock, match=r"1000 turns .* passed in no time"):
        world.run(main())
    assert unwound == [True]


def test_errors_nobody_handled_fail_the_run_wherever_they_come_from() -> None:
    world = World()

    async def main() -> None:
        world.process("a").loop.call_soon(lambda: 1 / 0)
        await asyncio.sleep(1)

    with pytest.raises(Exception, match="nobody handled") as caught:
        world.run(main())
    assert [type(error) for error in caught.value.exceptions] == [ZeroDivisionError]


def test_when_main_ends_the_world_ends() -> None:
    world = World()
    told: list[str] = []

    async def straggler(name: str) -> None:
        try:
            await asyncio.sleep(1_000)
        finally:
            told.append(name)

    async def main() -> int:
        asyncio.get_running_loop().create_task(straggler("main"))
        world.process("a").start(straggler("a"))
        await asyncio.sleep(1)
        return 42

    assert world.run(main()) == 42
    assert told == ["main", "a"], "everything is unwound, one way or the other"
    assert world.main.loop.is_closed()
    World().close()  # one that never ran can be ended, too


# -- what the seed decides -----------------------------------------------------------------------


def test_timers_due_together_come_in_any_order_others_in_theirs() -> None:
    async def scenario(world: World, notes: list[Any]) -> None:
        loop = asyncio.get_running_loop()
        together = loop.time() + 1
        for name in "abc":
            loop.call_at(together, notes.append, name)
        loop.call_at(together + 1e-6, notes.append, "later")
        loop.stall(5)  # type: ignore[attr-defined]  # so that all are late
        await asyncio.sleep(10)

    assert orders(scenario) == {(*each, "later") for each in itertools.permutations("abc")}


def test_call_soon_keeps_its_order() -> None:
    async def scenario(world: World, notes: list[Any]) -> None:
        loop = asyncio.get_running_loop()
        for name in range(10):
            loop.call_soon(notes.append, name)
        a = world.process("a")
        for name in range(10, 20):
            a.loop.call_soon(notes.append, name)
        await asyncio.sleep(1)

    seen = orders(scenario)
    assert len(seen) > 1, "two processes have no order"
    for notes in seen:
        assert [each for each in notes if each < 10] == list(range(10))
        assert [each for each in notes if each >= 10] == list(range(10, 20))


def test_arrivals_of_one_poll_come_in_any_order_and_before_or_after_timers() -> None:
    async def scenario(world: World, notes: list[Any]) -> None:
        loop = world.main.loop
        loop.call_at(loop.time() + 1, notes.append, "timer")
        for name in ("io 1", "io 2"):
            loop.io(world.now + 1, notes.append, name)
        loop.stall(5)
        await asyncio.sleep(10)

    ios = [("io 1", "io 2"), ("io 2", "io 1")]
    assert orders(scenario) == {("timer", *io) for io in ios} | {(*io, "timer") for io in ios}


def test_any_process_that_could_go_on_may_be_the_next() -> None:
    async def scenario(world: World, notes: list[Any]) -> None:
        for name in "abc":
            world.process(name).loop.call_soon(notes.append, name)
        await asyncio.sleep(1)

    assert orders(scenario) == set(itertools.permutations("abc"))


# -- the same for the same seed --------------------------------------------------------------------


async def busy(world: World) -> None:
    """Nodes that talk, lose each other, and come back; some are left as they are."""
    network = world.network
    network.default.latency, network.default.jitter = 0.01, 0.02
    network.default.chop = 0.5
    a, b, alice, bob = await pair(world, heartbeat=2)
    here = await network.node("here", heartbeat=2)
    port = alice.port(lambda *message: world.history.note("got", *message))
    for node in (bob, here):
        node.mon(port, lambda reason: world.history.note("fired", reason[0]))
    for number in range(20):
        for process, node in ((b, bob), (world.main, here)):
            process.loop.call_soon(node.snd, port, node.id, number)
        await asyncio.sleep(0.01)
    network.partition(a, b)
    await asyncio.sleep(5)
    network.heal()
    network.reset(here)
    a.stall(1)
    await asyncio.sleep(5)
    a.kill()
    await start(world.process("a"), "a", heartbeat=2)
    await b.call(bob.up, "a")
    await here.up("a")
    for _ in range(5):
        asyncio.get_running_loop().create_task(asyncio.sleep(100))


def digest(seed: int) -> str:
    """What became of a busy world."""
    world = World(seed)
    world.run(busy(world))
    assert len(world.history) > 100
    return world.history.digest()


def test_the_same_seed_gives_the_same_history_another_one_another() -> None:
    digests = [digest(seed) for seed in (1, 2, 3)]
    assert len(set(digests)) == 3
    assert digest(2) == digests[1]


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_the_same_seed_gives_the_same_history_in_any_process(hash_seed: str) -> None:
    here = Path(__file__)
    script = "from aemp_core.plugins import plugin_manager; plugin_manager().set_blocked('global')"
    script += f"; import sys; sys.path.insert(0, {str(here.parent)!r}); import {here.stem}"
    answer = subprocess.run(
        [sys.executable, "-c", f"{script}; print({here.stem}.digest(7))"],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    )
    assert answer.stdout.strip() == digest(7)


# -- size ------------------------------------------------------------------------------------------


async def test_a_thousand_nodes_join_a_hub(aemp_world: World) -> None:
    """Each in a process of its own, within some seconds of theirs."""
    count = 1_000
    network = aemp_world.network
    network.default.latency, network.default.jitter = 0.01, 0.01
    hub = await start(aemp_world.process("hub"), "hub")
    joining = [
        network_of(aemp_world.process(f"node/{number}"), f"node/{number}")
        for number in range(count)
    ]
    began = aemp_world.now
    await asyncio.gather(*joining)
    while len(hub.up_nodes()) < count:
        await asyncio.sleep(0.1)
    assert aemp_world.now - began < 10


async def network_of(process: Process, name: str) -> mp.Node:
    return await start(process, name, seeds=["memory://hub"], binds=[])
