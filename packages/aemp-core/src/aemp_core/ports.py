"""A port: a destination of messages, and a context to run code in.

The run queue calls `Port.deliver` for each message. The handler of its tag, else the default
handler, is called in the port's own context; an exception ends the port (`die`), and with it its
watches fire, its tasks and timers are cancelled and its guarded resources released. What must
wait, because an async handler runs or an async port reads at its own pace, is in `mailbox.py`
and `backlog.py`: a port that has neither pays nothing for them.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import Context
from itertools import chain
from typing import TYPE_CHECKING, Any

from . import reason as reasons
from .backlog import Backlog, discard, is_awaitable
from .context import port_context, running_port
from .destination import BUSY, DEAD, OPEN, Destination
from .errors import FATAL, NoHandler, UsageError
from .ids import PortID
from .reason import Reason

if TYPE_CHECKING:
    from .mailbox import Mailbox
    from .resources import ResourceGuard
    from .router import Router

__all__ = ["Handler", "Port"]

Handler = Callable[..., object]
OnError = Callable[[BaseException, tuple[Any, ...]], object]

log = logging.getLogger("aemp_core.ports")

#: A reason must fit into every frame that tells it: frames are never limited below 64 KiB.
REASON_BYTES = 16_384


class Port(Destination):
    """One port of a node; user code knows it by its ID alone."""

    __slots__ = (
        "_context", "backlog", "default", "doomed", "jobs", "mailbox", "on_death", "on_error",
        "resources", "running", "source", "tagged",
    )  # fmt: skip

    def __init__(
        self, node: Router, id: PortID, default: Handler | None, on_error: OnError | None
    ) -> None:
        self.node = node
        self.id = id
        self.default = default
        self.on_error = on_error
        self.state = OPEN
        self.running = False
        self.tagged: dict[str, Handler] | None = None
        self.doomed: Reason | None = None
        self.source: Any = None
        self.backlog: Backlog | None = None
        self.mailbox: Mailbox | None = None
        self.watches = None
        self.dependents = None
        self.jobs: dict[Any, None] | None = None
        self.resources: dict[ResourceGuard, None] | None = None
        self.on_death: Callable[[Port, Reason], None] | None = None
        self._context: Context | None = None

    # -- receiving ---------------------------------------------------------------------------

    def deliver(
        self, message: Sequence[Any], source: Any = None, size: int = 0, at: int = 0
    ) -> None:
        """See `Destination`."""
        if self.state:
            if self.state == BUSY:
                self.backlog.put(tuple(message[at:]), source, size)  # type: ignore[union-attr]
            return
        # `Backlog.handle` is the same for code that is in the port's context already.
        handler = None
        if self.tagged:
            try:
                handler = self.tagged.get(message[at])
            except Exception:
                pass  # no element, or one that is no tag: a local one may raise anything
        if handler is not None:
            arguments = message[at + 1 :]
        elif self.mailbox is not None:
            self.mailbox.put(tuple(message[at:]), source, size)
            return
        else:
            handler = self.default
            if handler is None:
                self.source = source
                message = tuple(message[at:])
                self.failed(NoHandler.of(message), message)
                return
            arguments = message[at:]
        self.source = source
        context = self._context
        if context is None:
            context = self._context = port_context(self)
        self.running = True
        try:
            result = context.run(handler, *arguments)
        except FATAL:
            self.running = False
            raise
        except BaseException as error:
            self.running = False
            self.failed(error, tuple(message[at:]))
        else:
            self.running = False
            if result is not None and is_awaitable(result):
                self._wait(result, tuple(message[at:]))
        if self.doomed is not None:
            self.die(self.doomed)

    def deliver_run(
        self, message: Sequence[Any], rest: Iterator[Sequence[Any]], source: Any, size: int, at: int
    ) -> Sequence[Any] | None:
        """See `Destination`.

        The context is entered once for as many messages as handlers that return None can deal with.
        """
        if self.state or self.mailbox is not None:
            self.deliver(message, source, size, at)
            return next(rest, None)
        self.source = source
        self.running = True
        try:
            following: Sequence[Any] | None
            last, result, error, following = self.context.run(self._work, message, rest, at)
        finally:
            self.running = False
        if error is not None:
            self.failed(error, tuple(last[at:]))
        elif result is not None and is_awaitable(result):
            self._wait(result, tuple(last[at:]))
        if self.doomed is not None:
            self.die(self.doomed)
        # Taken only now: what is raised above leaves it among the rest.
        return next(rest, None) if following is None else following

    def _work(
        self, first: Sequence[Any], rest: Iterator[Sequence[Any]], at: int
    ) -> tuple[Any, Any, Any, Any]:
        """Handle messages until something happens: the last one, its result or error.

        The fourth is a message that was taken and is not for us, or not to be handled here.
        """
        name = first[0] if at else None
        one, two, three = at + 1, at + 2, at + 3
        message = first
        try:
            for message in chain((first,), rest):
                if at and message[0] != name:
                    return None, None, None, message
                handler = None
                if self.tagged:
                    try:
                        handler = self.tagged.get(message[at])
                    except Exception:
                        pass
                if handler is not None:
                    size = len(message) - at
                    if size == 3:  # spelled out it takes half the time
                        result = handler(message[one], message[two])
                    elif size == 2:
                        result = handler(message[one])
                    elif size == 4:
                        result = handler(message[one], message[two], message[three])
                    else:
                        result = handler(*message[one:])
                elif self.mailbox is not None:  # since a moment ago
                    return None, None, None, message
                elif self.default is not None:
                    result = self.default(*message[at:])
                else:
                    raise NoHandler.of(tuple(message[at:]))
                if result is not None or self.doomed is not None or self.state:
                    return message, result, None, None
        except FATAL:
            raise
        except BaseException as error:
            return message, None, error, None
        return None, None, None, None

    def _wait(self, awaitable: Any, message: tuple[Any, ...]) -> None:
        """Have an async handler finish before the next message is handled."""
        if self.doomed is not None:  # it killed its port before it began
            discard(awaitable)
            return
        if self.backlog is None:
            self.backlog = Backlog(self)
        self.state = BUSY
        self.backlog.hold(awaitable, message)

    def open_again(self) -> None:
        """The backlog is worked off: handle messages as they come."""
        if self.state == BUSY:
            self.state = OPEN

    def set_handlers(self, tagged: Mapping[str, Handler | None], default: Any = ...) -> None:
        """Set, replace or (None) take away handlers, all or none; `...` leaves the default."""
        for tag, handler in tagged.items():
            if not isinstance(tag, str):
                raise UsageError(f"{tag!r} is no tag for {self.id}: tags are str")
            self._check_handler(handler, f"tag {tag!r}")
        if default is not ...:
            self._check_handler(default, "the default")
            self.default = default
        for tag, handler in tagged.items():
            if handler is not None:
                if self.tagged is None:
                    self.tagged = {}
                self.tagged[tag] = handler
            elif self.tagged is not None:
                self.tagged.pop(tag, None)

    def _check_handler(self, handler: Any, what: str) -> None:
        if handler is not None and not callable(handler):
            raise UsageError(
                f"{handler!r} is no handler for {what} of {self.id}: give a function or any "
                "callable, or None to unregister"
            )

    # -- running code ------------------------------------------------------------------------

    @property
    def context(self) -> Context:
        """The context all code of this port runs in."""
        if self._context is None:
            self._context = port_context(self)
        return self._context

    def enter(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call `function` as code of this port and return its result, None if it raised.

        Its exception ends the port, as that of a handler does.
        """
        if self.state == DEAD:
            return None
        nested = self.running
        self.running = True
        try:
            return self._run_in_context(function, args, kwargs)
        except FATAL:
            raise
        except BaseException as error:
            self.running = nested
            self.failed(error, ())
            return None
        finally:
            self.running = nested
            if self.doomed is not None and not nested:
                self.die(self.doomed)

    def _run_in_context(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if running_port() is self:
            return function(*args, **kwargs)
        began = False

        def call() -> Any:
            nonlocal began
            began = True
            return function(*args, **kwargs)

        try:
            return self.context.run(call)
        except RuntimeError:
            if began:
                raise
            # This port's code called another port's, which now calls back: a context cannot
            # be entered twice, a copy of it can.
            return self.context.copy().run(call)

    def failed(self, error: BaseException, message: tuple[Any, ...]) -> None:
        """The port's code raised `error` while it handled `message` (empty: no message)."""
        if self.state == DEAD:
            return
        if self.on_error is not None and self.doomed is None and isinstance(error, Exception):
            on_error, self.on_error = self.on_error, None  # an error in it is not its own to mend
            try:
                result = self._run_in_context(on_error, (error, message), {})
            except FATAL:
                raise
            except BaseException as second:
                error = second
            else:
                if inspect.iscoroutine(result):
                    self.node.own_task(self, result)
                if self.state != DEAD and self.on_error is None:
                    self.on_error = on_error
                return
        if not self.watches:
            log.error("port %s died unwatched", self.id, exc_info=error)
        reason: Reason
        if isinstance(error, NoHandler):
            reason = (reasons.DIE, str(error))
        else:
            reason = reasons.die(error)
        if self.running:
            self.doomed = reason
        else:
            self.die(reason)

    # -- what ends with it ------------------------------------------------------------------

    def add_job(self, job: Any) -> None:
        """`job` (a task or a timer, anything with `cancel`) ends with the port."""
        if self.jobs is None:
            self.jobs = {}
        self.jobs[job] = None

    def drop_job(self, job: Any) -> None:
        """`job` has ended."""
        if self.jobs is not None:
            self.jobs.pop(job, None)

    def add_resource(self, guard: ResourceGuard) -> None:
        """Release what `guard` holds when the port dies."""
        if self.resources is None:
            self.resources = {}
        self.resources[guard] = None

    def die(self, reason: Reason) -> None:
        """See `Destination`; with a port end its tasks and timers, and what waits for it."""
        if self.state == DEAD:
            return
        super().die(reason)
        if self.on_death is not None:
            self.on_death(self, reason)
        # Most ports have none of these.
        self.tagged = self.default = self.on_error = None
        if self.backlog is not None:
            self.backlog.drop()
        if self.mailbox is not None:
            self.mailbox.drop()
        if self.jobs:
            jobs, self.jobs = self.jobs, None
            for job in jobs:
                job.cancel()
        if self.resources:
            resources, self.resources = self.resources, None
            for guard in reversed(resources):
                guard.release()


class Kill:
    """The item of the run queue by which `kil` travels in order with messages."""

    __slots__ = ("_port",)

    def __init__(self, port: Destination) -> None:
        self._port = port

    def deliver(self, reason: Reason) -> None:
        """End the port, if it still lives."""
        self._port.die(reason)
