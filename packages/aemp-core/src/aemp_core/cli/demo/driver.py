"""The driver: hands out files to ports on the workers, and survives the death of any of them.

Each worker's port gets a few files at a time, through as many *lanes*: a lane takes a file from
the queue, asks the port, and waits for its answer. When the port dies, by our SIGKILL or anything
else, its monitor fires: its lanes end, and the files they held go back to the queue. A file is
done once, whoever answers: a lane waits for one answer of one port, and dead ports answer nobody.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ...errors import CallTimeout, PortKilled
from ...ids import PortID
from ...monitor import Guard
from ...node import Node
from ...reason import describe
from ..options import within
from ..outcome import TIMED_OUT, Failed
from .check import compare
from .process import WorkerProcess
from .roll import Roll
from .screen import Screen
from .tally import Loss, Tally, shown
from .wordcount import Count

__all__ = ["Driver", "Worker"]

T = TypeVar("T")

LANES = 4
START_SECONDS = 20.0
NOTICE_SECONDS = 30.0
REPLACEMENTS = 3
REDRAW_SECONDS = 0.1


@dataclass
class Worker:
    """A worker as the driver sees it: process, node and the port that counts."""

    node_id: str
    process: WorkerProcess
    port: PortID | None = None
    state: str = "starting"
    files: int = 0
    busy: set[bytes] = field(default_factory=set)
    lanes: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def alive(self) -> bool:
        """Whether its port may still answer, for all we know."""
        return self.state in ("starting", "counting")


class Driver:
    """One run of the demo.

    Args:
        node: the driver's own node, which listens.
        secret: the secret of the network, for the workers.
        files: what to count.
        tally: filled as the work goes on.
        screen: told of everything.
        kill: whether to kill a worker half-way.
        patience: seconds to wait for the answer to one file.
    """

    def __init__(
        self,
        node: Node,
        secret: str,
        files: Sequence[bytes],
        tally: Tally,
        screen: Screen,
        *,
        kill: bool,
        patience: float,
    ) -> None:
        self._node = node
        self._secret = secret
        self._tally = tally
        self._screen = screen
        self._kill = kill and bool(files)
        self._patience = patience
        self._queue: asyncio.Queue[bytes] = asyncio.Queue()
        for path in files:
            self._queue.put_nowait(path)
        self._files = files
        self._roll = Roll(node)
        self._workers: list[Worker] = []
        self._hired = 0
        self._replaced = 0
        self._guards: list[Guard] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        # Ends when every file is done and the killed worker was noticed, or with what failed.
        self._finished: asyncio.Future[None] = node.loop.create_future()
        self._noticed = asyncio.Event()

    async def count(self, workers: int) -> None:
        """Start `workers` processes and have all files counted; fills the tally."""
        self._guards.append(self._node.mon_nodes(self._node_event))
        self._screen.say(f"ports that count are {self._roll.how}")
        self._begin(self._redraw())
        await asyncio.gather(*(self._keep(self._hire()) for _ in range(workers)))
        started = time.monotonic()
        for worker in self._workers:
            self._put_to_work(worker)
        await asyncio.sleep(0)  # the lanes take their first files: there may be few
        self._kill_half_way()
        self._finish_if_done()
        await self._finished
        self._tally.seconds = time.monotonic() - started
        if self._kill:
            await within(NOTICE_SECONDS, "the monitor of the killed worker", self._noticed.wait())
        self._screen.progress(self._tally, self._workers)

    async def check(self) -> None:
        """Count all files once more, here and without any message, and compare file by file."""
        self._screen.say("counting directly, to compare")
        stop = threading.Event()
        try:
            compared = await asyncio.to_thread(compare, self._files, self._tally, stop)
        finally:
            stop.set()
        for path, text in compared.changed.items():
            self._tally.counted.pop(path, None)
            self._tally.skipped[path] = ("changed", text)
        self._tally.direct_words = compared.words
        self._tally.differing = compared.differing

    async def end(self) -> None:
        """Stop all tasks and end every worker process; to be called whatever happened."""
        for guard in self._guards:
            guard.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if not self._finished.cancel() and not self._finished.cancelled():
            self._finished.exception()  # told already, by what was raised before it
        await asyncio.gather(*(worker.process.end() for worker in self._workers))

    def kill_all(self) -> None:
        """End every worker process without waiting for anything."""
        for worker in self._workers:
            worker.process.kill()

    # -- workers ------------------------------------------------------------------------------

    async def _hire(self) -> Worker:
        self._hired += 1
        node_id = f"demo/worker-{self._hired}"
        process = await WorkerProcess.start(node_id, self._node.addresses, self._secret)
        worker = Worker(node_id, process)
        self._workers.append(worker)
        ready = asyncio.ensure_future(self._roll.port_of(node_id))
        died = asyncio.ensure_future(process.wait())
        try:
            await asyncio.wait(
                {ready, died}, timeout=START_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            if died.done():
                raise Failed(f"{node_id} did not start: {process.last_words()}")
            if not ready.done():
                raise Failed(
                    f"gave up after {START_SECONDS:g} s waiting for {node_id} to start", TIMED_OUT
                )
            worker.port = await ready  # which may have failed
        finally:
            ready.cancel()
            died.cancel()
        self._guards.append(self._node.mon(worker.port, lambda reason: self._lost(worker, reason)))
        worker.state = "counting"
        return worker

    def _put_to_work(self, worker: Worker) -> None:
        if worker.alive:
            worker.lanes = [self._begin(self._lane(worker)) for _ in range(LANES)]

    def _lost(self, worker: Worker, reason: tuple[Any, ...]) -> None:
        """The monitor of a worker's port fired."""
        now = time.monotonic()
        loss = next((loss for loss in self._tally.losses if loss.node == worker.node_id), None)
        if loss is None:
            loss = Loss(worker.node_id)
            self._tally.losses.append(loss)
            worker.state = "lost"
        loss.reason = tuple(reason)
        loss.given_back = len(worker.busy)
        # Its lanes that hold nothing end too, or they would take files for a dead port.
        for lane in worker.lanes:
            lane.cancel()
        for path in worker.busy:
            self._queue.put_nowait(path)
        worker.busy.clear()
        text = f"{worker.node_id} is gone: {describe(loss.reason)}"
        if loss.killed_at is not None:
            loss.noticed_ms = (now - loss.killed_at) * 1000
            text = f"{text}; noticed after {loss.noticed_ms:.1f} ms"
            self._noticed.set()
        self._screen.say(f"{text}; {loss.given_back} unfinished files go to others")
        if not any(other.alive for other in self._workers) and not self._finished.done():
            self._begin(self._replace())

    async def _replace(self) -> None:
        if self._replaced == REPLACEMENTS:
            raise Failed(f"all workers are gone, {REPLACEMENTS} replacements too")
        self._replaced += 1
        self._screen.say("no worker is left: starting another")
        worker = await self._hire()
        self._tally.workers += 1
        self._put_to_work(worker)

    def _node_event(self, node_id: str, is_up: bool, reason: tuple[Any, ...]) -> None:
        self._screen.say(f"node {node_id} is " + ("up" if is_up else f"down: {describe(reason)}"))

    def _kill_half_way(self) -> None:
        if not self._kill or self._tally.losses or self._tally.done < self._tally.total // 2:
            return
        alive = [worker for worker in self._workers if worker.alive]
        if not alive:
            return
        worker = max(alive, key=lambda worker: len(worker.busy))
        self._screen.say(
            f"half-way: sending SIGKILL to {worker.node_id}, pid {worker.process.pid}, "
            f"with {len(worker.busy)} files in hand"
        )
        self._tally.losses.append(Loss(worker.node_id, killed_at=time.monotonic()))
        worker.process.kill()
        worker.state = "killed"

    # -- files --------------------------------------------------------------------------------

    async def _lane(self, worker: Worker) -> None:
        assert worker.port is not None
        while True:
            path = await self._queue.get()
            worker.busy.add(path)
            self._tally.messages += 1
            try:
                answer = await self._node.cal(worker.port, "count", path, timeout=self._patience)
            except PortKilled:
                return  # the monitor gives the file back, before or after this
            except CallTimeout:
                raise Failed(
                    f"gave up after {self._patience:g} s waiting for {worker.node_id} to count "
                    f"{shown(path)}",
                    TIMED_OUT,
                ) from None
            worker.busy.discard(path)
            worker.files += 1
            self._tally.messages += 1
            self._note(path, answer)

    def _note(self, path: bytes, answer: tuple[Any, ...]) -> None:
        word, *rest = answer
        if word == "counted":
            self._tally.counted[path] = Count(*rest)
        else:
            kind, text = rest
            self._tally.skipped[path] = (kind, text)
            if kind != "binary":
                self._screen.say(f"{kind}: {shown(path)}: {text}")
        self._kill_half_way()
        self._finish_if_done()

    def _finish_if_done(self) -> None:
        if self._tally.done == self._tally.total and not self._finished.done():
            self._finished.set_result(None)

    # -- tasks --------------------------------------------------------------------------------

    def _keep(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work` beside everything else; its error ends the run."""
        return self._keep(self._told(work))

    async def _told(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:
            if not self._finished.done():
                self._finished.set_exception(error)

    async def _redraw(self) -> None:
        while True:
            self._screen.progress(self._tally, self._workers)
            await asyncio.sleep(REDRAW_SECONDS)
