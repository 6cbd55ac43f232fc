"""A world: processes, each with an event loop of its own, on one virtual clock.

A `Process` stands for a program on a machine. Its loop runs unmodified asyncio and aemp code; what
differs is how it waits: the `World` runs one process at a time, for one turn of its loop, and sets
the clock to the next timer or arrival when none has anything to do. So thousands of seconds of a
thousand nodes take little real time, and everything comes out the same for the same seed.

What the seed decides is what no program may rely on: which of the processes that could go on
goes on, in which order a loop meets I/O of one poll, timers due together, and timers against I/O.
Never the order of `call_soon`, which asyncio promises.

The first process, `World.main`, is the program that runs the others: `World.run` runs a coroutine
there. It takes part like the others, so awaiting something lets the world go on.
"""

from __future__ import annotations

import asyncio
import heapq
import inspect
import math
import random
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from .. import context as contexts
from .clock import Deadlock, VirtualClockLoop
from .history import History
from .network import SimulatedNetwork

__all__ = ["Process", "ProcessLoop", "World"]

T = TypeVar("T")

NEVER = float("inf")
#: Seconds since the epoch at which the worlds begin.
EPOCH = 1_000_000_000.0
#: Steps of processes without any time passing, after which something must be spinning.
MAX_STEPS = 1_000_000


class ProcessLoop(VirtualClockLoop):
    """The event loop of one process; the world says when it goes on."""

    # Of the base class, in every Python supported; typeshed does not know them.
    _ready: deque[asyncio.Handle]
    _timer_cancelled_count: int

    def __init__(self, process: Process, offset: float) -> None:
        # Before the base class, which asks for the time.
        self.process = process
        self._world = process.world
        self._offset = offset
        self._arrivals: list[tuple[float, int, asyncio.Handle]] = []
        self._context = Context()  # of what the kernel calls
        self._tasks: WeakKeyDictionary[asyncio.Task[Any], None] = WeakKeyDictionary()
        super().__init__()

    def time(self) -> float:
        """Seconds on this process's own monotonic clock."""
        return self._world.now + self._offset

    def is_running(self) -> bool:
        """Whether it is this loop's turn: the others of the thread stand still meanwhile."""
        return asyncio._get_running_loop() is self

    def stall(self, seconds: float) -> None:
        """Have this process not run for a while, once the running turn of its loop is over."""
        self.process.stall(seconds)

    def call_soon(  # type: ignore[override]  # typeshed ties args to callback
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """As in asyncio; code of another process may call it, too."""
        if self._world.running is not self.process:
            self._world.wake(self.process, self._world.now)
        return super().call_soon(callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:  # fmt: skip
        """As in asyncio; code of another process may call it, too."""
        if self._world.running is not self.process:
            self._world.wake(self.process, when - self._offset)
        return super().call_at(when, callback, *args, context=context)

    def create_task(self, *args: Any, **kwargs: Any) -> asyncio.Task[Any]:
        """As in asyncio."""
        task = super().create_task(*args, **kwargs)
        self._tasks[task] = None
        return task

    def io(self, when: float, callback: Callable[..., object], *args: Any) -> None:
        """Have the poll that follows the world's time `when` call back, as for a ready socket."""
        handle = asyncio.Handle(callback, args, self, self._context)
        heapq.heappush(self._arrivals, (when, self._world.serial(), handle))
        self._world.wake(self.process, when)

    def next_due(self) -> float:
        """The world's time of the earliest thing to do here."""
        if self._ready:
            return self._world.now
        timers = self._scheduled
        while timers and timers[0].cancelled():
            self._timer_cancelled_count -= 1
            heapq.heappop(timers)._scheduled = False  # type: ignore[attr-defined]
        due = timers[0].when() - self._offset if timers else NEVER
        if self._arrivals and self._arrivals[0][0] < due:
            due = self._arrivals[0][0]
        return max(due, self._world.now)

    # -- called by the base class ------------------------------------------------------------

    def select(self, timeout: float | None) -> list[Any]:
        """What is ready now; in the main process, after the others had their turns."""
        if self.process is self._world.main:
            self._world.take_turns()
        return self._collect()

    def _process_events(self, events: list[Any]) -> None:
        self._ready.extend(events)

    def _collect(self) -> list[Any]:
        """Arrivals and timers that are due, in an order that the seed chose."""
        chance = self._world.random
        now = self._world.now
        arrivals = self._arrivals
        arrived = []
        while arrivals and arrivals[0][0] <= now:
            arrived.append(heapq.heappop(arrivals)[2])
        if len(arrived) > 1:
            chance.shuffle(arrived)
        here = self.time()
        # Clocks of different offsets: a sum may miss the time of its timer by a rounding error.
        ends = here + max(self._clock_resolution, 4 * math.ulp(here))
        due: list[asyncio.TimerHandle] = []
        together = 0  # index of the first timer that is due at the time of the last one
        while self._scheduled and self._scheduled[0].when() < ends:
            timer = heapq.heappop(self._scheduled)
            timer._scheduled = False  # type: ignore[attr-defined]
            if due and timer.when() == due[-1].when():
                due.insert(chance.randint(together, len(due)), timer)
            else:
                together = len(due)
                due.append(timer)
        if arrived and due and chance.random() < 0.5:
            return due + arrived  # as uvloop does it
        return arrived + due  # as asyncio does it

    # -- ending ------------------------------------------------------------------------------

    def abandon(self) -> None:
        """Forget everything; what was suspended is closed, and heard by nobody."""
        self._arrivals.clear()
        contexts.forget(self)
        # Closed first: async generators that end now have no loop to end on.
        self.close()
        # The loop of a killed process holds tasks for ever; nobody is to be told of them.
        for task in list(self._tasks):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            _end_quietly(task.get_coro())


def _end_quietly(coroutine: Any) -> None:
    """Close a coroutine of a killed process, which has no say any more."""
    try:
        if inspect.iscoroutine(coroutine):
            if inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED:
                # It would not be blamed for what it was to await, but the loop would.
                for value in inspect.getcoroutinelocals(coroutine).values():
                    _end_quietly(value)
            coroutine.close()
    except BaseException:
        pass


class Process:
    """A program on a machine, made by `World.process`.

    Attributes:
        world: the world it is in.
        name: the machine it runs on; what faults of the network are about.
        loop: its event loop.
        alive: whether it was neither killed nor powered off.
    """

    def __init__(self, world: World, name: str, offset: float) -> None:
        self.world = world
        self.name = name
        self.alive = True
        self.due = NEVER
        self.queued = False
        self.resumes = 0.0
        self._wall_offset = 0.0
        self.loop = ProcessLoop(self, offset)

    def __repr__(self) -> str:
        return f"<Process {self.name}{'' if self.alive else ', dead'}>"

    def wall_clock(self) -> float:
        """Seconds since the epoch, as this machine has it: a replacement of `time.time`."""
        return EPOCH + self.world.now + self._wall_offset

    def entropy(self, count: int) -> bytes:
        """Random bytes of the world: a replacement of `os.urandom`."""
        return self.world.random.randbytes(count)

    # -- running code there ------------------------------------------------------------------

    def start(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run a coroutine there; its task is of that process, `finish` waits for it here.

        It begins as a program does: nothing of the caller's context is known there.
        """
        if not self.alive:
            coroutine.close()
            raise RuntimeError(f"{self} runs nothing: begin another with world.process")
        return Context().run(self.loop.create_task, coroutine)

    async def finish(self, task: asyncio.Task[T]) -> T:
        """Wait, in the main process, for a task of this one; raises what it raises.

        Returns never if the process is killed before.
        """
        here = asyncio.get_running_loop()
        done: asyncio.Future[None] = here.create_future()

        def finished(_: object) -> None:
            if not done.done():
                done.set_result(None)

        task.add_done_callback(finished)
        await done
        return task.result()

    async def call(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Run an async function there, and wait for it here."""

        async def called() -> T:
            return await function(*args)

        return await self.finish(self.start(called()))

    # -- faults ------------------------------------------------------------------------------

    def stall(self, seconds: float) -> None:
        """Do not run for a while, as a stopped or starved process; the kernel goes on."""
        if not seconds >= 0:
            raise ValueError(f"cannot stall for {seconds!r} seconds: time does not run backwards")
        self.resumes = max(self.resumes, self.world.now + seconds)

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward or (negative) back; the monotonic clock knows nothing."""
        self._wall_offset += seconds

    def kill(self) -> None:
        """End at once, as SIGKILL does: the kernel closes its connections."""
        self._die()
        self.world.network.killed(self)

    def power_off(self) -> None:
        """End at once, with every process of the machine: nobody is told, nothing answers."""
        self._die()
        for process in self.world.processes:
            if process.name == self.name:
                process.alive = False
        self.world.network.powered_off(self.name)

    def _die(self) -> None:
        if self is self.world.main:
            raise ValueError("the main process runs the world: kill another one")
        self.alive = False


class World:
    """Processes, a network between them, and a clock.

    Args:
        seed: what decides everything that no program may rely on.

    Attributes:
        now: seconds on the world's clock.
        random: the source of every chance.
        history: what happened, see `History`.
        network: what joins the processes.
        main: the process that runs the others.
        processes: all there ever were, the main one first.
    """

    def __init__(self, seed: int = 0) -> None:
        self.now = 1_000.0
        self.random = random.Random(seed)
        self.history = History(lambda: self.now)
        self.processes: list[Process] = []
        self.running: Process | None = None
        self._serial = 0
        self._timetable: list[tuple[float, int, Process]] = []
        self._runnable: list[Process] = []
        self._steps = 0
        self.network = SimulatedNetwork(self)
        self.main = self.process("main")

    def serial(self) -> int:
        """A number greater than all before."""
        self._serial += 1
        return self._serial

    def process(self, name: str) -> Process:
        """A new process on the machine `name`, which is switched on if it was off."""
        # Monotonic clocks of different machines have nothing to do with each other.
        offset = self.random.uniform(0, 100_000) if self.processes else 0.0
        process = Process(self, name, offset)
        self.processes.append(process)
        self.network.install(process.loop)
        self.network.switched_on(name)
        return process

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run `main` in the main process to its end, then end the world.

        Returns what `main` returns. Raises what it raises; `Deadlock` if it can never end; and
        an exception group if an exception elsewhere reached a loop with nobody to handle it.
        """
        try:
            result = self.main.loop.run(main)
            for process in self.processes:
                process.loop.raise_unhandled()
        finally:
            self.close()
        return result

    def close(self) -> None:
        """End the world: what is suspended is closed, and heard by nobody. Idempotent."""
        for process in self.processes:
            self.network.forget(process.loop)
            process.loop.abandon()
        self.processes.clear()

    # -- scheduling --------------------------------------------------------------------------

    def wake(self, process: Process, when: float) -> None:
        """Have a process run at the time `when`, unless it runs earlier anyway."""
        if when >= process.due:
            return
        process.due = when
        if when <= self.now:
            self._make_runnable(process)
        else:
            heapq.heappush(self._timetable, (when, self.serial(), process))

    def take_turns(self) -> None:
        """Run other processes until it is the main one's turn."""
        main, self.running = self.main, None
        self._plan(main)
        hooks = sys.get_asyncgen_hooks()
        try:
            while True:
                process = self._pick()
                if process is main:
                    return
                if process is not None:
                    self._step(process)
        finally:
            sys.set_asyncgen_hooks(*hooks)
            asyncio._set_running_loop(main.loop)
            self.running = main

    def _pick(self) -> Process | None:
        """One of the processes that could go on; None if that one is dead or stalled."""
        runnable = self._runnable
        if not runnable:
            self._advance()
            return None
        if len(runnable) > 1:
            chosen = self.random.randrange(len(runnable))
            runnable[chosen], runnable[-1] = runnable[-1], runnable[chosen]
        process = runnable.pop()
        process.queued = False
        process.due = NEVER
        if not process.alive:
            return None
        if process.resumes > self.now:
            self.wake(process, process.resumes)
            return None
        self._steps += 1
        if self._steps > MAX_STEPS:
            self._steps = 0
            raise Deadlock(
                f"{MAX_STEPS} turns of event loops passed in no time, the last in {process}: "
                "something keeps calling call_soon or sleep(0)"
            )
        return process

    def _step(self, process: Process) -> None:
        """Have a process go on for one turn of its loop, as `run_forever` does it."""
        loop: Any = process.loop
        self.running = process
        asyncio._set_running_loop(loop)
        sys.set_asyncgen_hooks(loop._asyncgen_firstiter_hook, loop._asyncgen_finalizer_hook)
        loop._run_once()
        self.running = None
        self._plan(process)

    def _plan(self, process: Process) -> None:
        due = process.loop.next_due()
        if due < process.due:
            self.wake(process, due)

    def _advance(self) -> None:
        """Set the clock to when something happens next."""
        timetable = self._timetable
        while timetable:
            when, _, process = heapq.heappop(timetable)
            if process.due == when and process.alive:
                self.now = when
                self._steps = 0
                self._make_runnable(process)
                while timetable and timetable[0][0] <= when:
                    _, _, process = heapq.heappop(timetable)
                    if process.due == when:
                        self._make_runnable(process)
                return
        raise Deadlock(
            "nothing is ready, no timer is set: nothing will ever happen. "
            f"{self.main.loop.describe_waiting()}"
        )

    def _make_runnable(self, process: Process) -> None:
        if not process.queued:
            process.queued = True
            self._runnable.append(process)
