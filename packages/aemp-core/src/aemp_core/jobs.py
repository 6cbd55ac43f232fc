"""Jobs: the tasks and timers a node runs, each for one of its ports or for itself.

Code runs as code of a port, in the port's context, or of no port, in one that knows the node. A job
ends with its port, or with the node; an exception in it ends its port, or goes to the log.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from .backlog import discard
from .context import node_context
from .errors import FATAL, NodeClosed
from .ports import Port
from .reason import die

__all__ = ["Jobs", "awaited"]

log = logging.getLogger("aemp_core.jobs")

Result = TypeVar("Result")


class Jobs:
    """What a node runs; `Life` adds opening and closing."""

    def __init__(self) -> None:
        self.id: str
        self.loop: asyncio.AbstractEventLoop
        self.closing = False
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._jobs: dict[Any, None] = {}

    def call_in(self, owner: Port | None, function: Callable[..., Any], *args: Any) -> Any:
        """Call `function` as code of port `owner`, or of no port if it has none or that died."""
        if owner is not None and owner.alive:
            result = owner.enter(function, *args)
        else:
            owner = None
            try:
                result = node_context(self).run(function, *args)
            except FATAL:
                raise
            except BaseException as error:
                if not (self.closing and isinstance(error, NodeClosed)):
                    log.exception("callback %r of node %s", function, self.id)
                return None
        if asyncio.iscoroutine(result):
            return self.own_task(owner, result)
        return result

    def own_task(
        self,
        port: Port | None,
        coroutine: Coroutine[Any, Any, Result],
        *,
        name: str | None = None,
        in_context: bool = False,
        waits_for: Any = None,
    ) -> asyncio.Task[Result]:
        """A task of `port` (None: of the node), cancelled with it; its exception ends the port.

        `in_context` runs it in the port's own context, not a copy: only for callers that are
        outside that context, or an eager task factory would enter it twice. `waits_for` is what
        the coroutine awaits: closed, if the task is cancelled before it began.
        """
        scope = node_context(self) if port is None else port.context
        if port is not None and not in_context:
            scope = scope.copy()
        task: asyncio.Task[Result]
        if sys.version_info >= (3, 11):
            task = self.loop.create_task(coroutine, name=name, context=scope)
        else:
            task = scope.run(self.loop.create_task, coroutine)
            if name is not None:
                task.set_name(name)
        self._tasks[task] = None
        if port is not None:
            port.add_job(task)
            if not port.alive:
                task.cancel()  # an eager one may have ended its port already
        task.add_done_callback(lambda task: self._task_done(port, task, waits_for))
        return task

    def _task_done(self, port: Port | None, task: asyncio.Task[Any], waits_for: Any) -> None:
        self._tasks.pop(task, None)
        discard(waits_for)
        if port is not None:
            port.drop_job(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            return
        if isinstance(error, FATAL):
            # It has left the loop. If that is run again, what the task did is not done: no port
            # may live on without it.
            if port is not None:
                port.die(die(error))
            return
        if port is not None and port.alive:
            port.failed(error, ())
        else:
            log.error("task %s of node %s", task.get_name(), self.id, exc_info=error)

    def add_job(self, owner: Port | None, job: Any) -> None:
        """`job` (anything with `cancel`) ends with `owner`, or with the node."""
        if owner is not None:
            owner.add_job(job)
        else:
            self._jobs[job] = None

    def drop_job(self, owner: Port | None, job: Any) -> None:
        """`job` has ended."""
        if owner is not None:
            owner.drop_job(job)
        else:
            self._jobs.pop(job, None)


async def awaited(awaitable: Any) -> None:
    """Any awaitable as a coroutine, which is what tasks are made of."""
    await awaitable
