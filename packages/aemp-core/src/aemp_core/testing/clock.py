"""A virtual clock: an event loop whose time jumps to the next timer when nothing else is to do.

A test that waits ten seconds for a heartbeat takes no real time and comes out the same every
time. Nothing outside the loop can wake it, so threads, executors and real sockets are refused
with a text saying so; nodes talk over ``memory://`` links. When nothing is ready and no timer is
set, nothing can ever happen again: the loop raises `Deadlock` naming the tasks that wait.

    @virtual_clock
    async def test_patience():
        await asyncio.sleep(3600)
"""

from __future__ import annotations

import asyncio
import functools
import math
import sys
import threading
from asyncio import base_events
from collections.abc import Callable, Coroutine, Iterable
from contextvars import Context
from typing import Any, NoReturn, TypeVar

if sys.version_info < (3, 11):  # pragma: no cover - one interpreter only
    from exceptiongroup import ExceptionGroup

__all__ = ["Deadlock", "RealWorldError", "VirtualClockLoop", "virtual_clock"]

T = TypeVar("T")

#: Turns of the loop without any time passing, after which something must be spinning.
MAX_TURNS = 100_000
#: Seconds for which tasks that were cancelled at the end of a run are waited for.
STUBBORN_SECONDS = 3_600.0


class Deadlock(RuntimeError):
    """Nothing is ready, no timer is set: what the tasks wait for can never come."""


class RealWorldError(RuntimeError):
    """Something was asked of the virtual clock that only real time can give."""


class VirtualClockLoop(base_events.BaseEventLoop):
    """An event loop that waits for nothing.

    Args:
        start: what its clock shows first, in seconds. Not 0, so that code that takes the time 0
            for "not yet" is not right by chance.
    """

    _scheduled: list[asyncio.TimerHandle]

    def __init__(self, start: float = 1_000.0) -> None:
        super().__init__()
        self._turns = 0
        self._set(start)
        self._selector = self  # what the base class waits with: see `select`
        self._thread = threading.get_ident()
        self._unhandled: list[dict[str, Any]] = []
        self.set_exception_handler(_note_unhandled)

    # -- time --------------------------------------------------------------------------------

    def time(self) -> float:
        """Seconds on the virtual clock."""
        return self._now

    def _set(self, now: float) -> None:
        self._now = now
        # Timers closer together than this run in one turn. Never below what `now` can show, or a
        # timer due just now would never count as due.
        self._clock_resolution = max(1e-9, 2 * math.ulp(now))

    def stall(self, seconds: float) -> None:
        """Let time pass while nothing runs, as a stopped or starved process sees it.

        When the callback that called this has returned, every timer due meanwhile is late, and
        all of them run one after the other.
        """
        if not seconds >= 0:
            raise ValueError(f"cannot stall for {seconds!r} seconds: time does not run backwards")
        self._set(self._now + seconds)

    def select(self, timeout: float | None) -> list[Any]:
        """Wait, as a selector does: here, set the clock to the next timer. No I/O exists."""
        if timeout is None:
            raise Deadlock(
                "nothing is ready, no timer is set: nothing will ever happen. "
                f"{self.describe_waiting()}"
            )
        if timeout > 0:
            # Exactly its time: adding `timeout` might fall short by a rounding error.
            self._set(max(self._now, self._scheduled[0].when()))
            self._turns = 0
        else:
            self._turns += 1
            if self._turns > MAX_TURNS:
                self._turns = 0
                raise Deadlock(
                    f"{MAX_TURNS} turns of the loop passed in no time: something keeps calling "
                    f"call_soon or sleep(0). {self.describe_waiting()}"
                )
        return []

    def _process_events(self, events: list[Any]) -> None:
        """No I/O, no events."""

    def describe_waiting(self) -> str:
        """The tasks of this loop and where each waits, for the text of an error."""
        tasks = in_order(asyncio.all_tasks(self))
        if not tasks:
            return "No task is pending."
        return "Pending tasks:" + "".join(f"\n  {_place(task)}" for task in tasks)

    # -- running -----------------------------------------------------------------------------

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run `main` to its end, cancel what it left behind, and close the loop.

        Returns what `main` returns. Raises what it raises; `Deadlock` if it can never end; and
        an exception group if it ended well but an exception elsewhere reached the loop with
        nobody to handle it.
        """
        try:
            result = self.run_until_complete(main)
        except BaseException:
            self._end()
            raise
        self._end()
        self.raise_unhandled()
        return result

    def raise_unhandled(self) -> None:
        """Raise what reached the loop's exception handler so far."""
        unhandled, self._unhandled = self._unhandled, []
        if unhandled:
            raise ExceptionGroup(
                "the event loop met errors nobody handled",
                [_as_exception(context) for context in unhandled],
            )

    def _end(self) -> None:
        try:
            tasks = in_order(asyncio.all_tasks(self))
            for task in tasks:
                task.cancel()
            if tasks:
                self.run_until_complete(asyncio.wait(tasks, timeout=STUBBORN_SECONDS))
            for task in tasks:
                if task.done() and not task.cancelled():
                    task.exception()  # seen: what ended `main` is of more interest
            self.run_until_complete(self.shutdown_asyncgens())
        except Deadlock:
            pass  # a task that cannot even be cancelled
        finally:
            self.close()

    # -- what does not exist here ------------------------------------------------------------

    def call_soon_threadsafe(  # type: ignore[override]  # typeshed ties args to callback
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """As `call_soon`; only in the loop's own thread, since no other can wake it."""
        if threading.get_ident() != self._thread:
            _refuse("call_soon_threadsafe from another thread")
        return self.call_soon(callback, *args, context=context)


def _refuse(what: str) -> NoReturn:
    raise RealWorldError(
        f"{what} needs real time, and this is a virtual clock: use asyncio.run or pytest-asyncio "
        "for threads and real sockets, memory:// addresses for nodes on this loop"
    )


def _refusal(name: str) -> Callable[..., NoReturn]:
    def refuse(self: VirtualClockLoop, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse(name)

    refuse.__name__ = name
    refuse.__doc__ = "Refused: it needs real time."
    return refuse


for _name in (
    "run_in_executor getaddrinfo getnameinfo sock_recv sock_recv_into sock_recvfrom sock_sendall "
    "sock_recvfrom_into sock_sendto sock_connect sock_accept sock_sendfile sendfile start_tls "
    "create_connection create_server create_unix_connection create_unix_server "
    "create_datagram_endpoint connect_accepted_socket connect_read_pipe connect_write_pipe "
    "subprocess_shell subprocess_exec add_reader remove_reader add_writer remove_writer "
    "add_signal_handler remove_signal_handler"
).split():
    setattr(VirtualClockLoop, _name, _refusal(_name))
del _name


def _note_unhandled(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    assert isinstance(loop, VirtualClockLoop)
    loop._unhandled.append(context)


def _as_exception(context: dict[str, Any]) -> Exception:
    error = context.get("exception")
    if isinstance(error, Exception):
        return error
    return RuntimeError(f"{context.get('message')}: {error!r}")


def in_order(tasks: Iterable[asyncio.Task[Any]]) -> list[asyncio.Task[Any]]:
    """Tasks in the order in which they were made, those with names of their own by these."""
    return sorted(tasks, key=lambda task: (len(task.get_name()), task.get_name()))


def _place(task: asyncio.Task[Any]) -> str:
    """Name of a task, and where it waits: who called whom, the innermost last."""
    places = []
    waiting: Any = task.get_coro()
    while waiting is not None:
        frame = getattr(waiting, "cr_frame", None) or getattr(waiting, "ag_frame", None)
        if frame is not None:
            code = frame.f_code
            places.append(f"{code.co_name} ({code.co_filename}:{frame.f_lineno})")
        waiting = getattr(waiting, "cr_await", None) or getattr(waiting, "ag_await", None)
    return f"{task.get_name()} in {', '.join(places)}" if places else task.get_name()


def virtual_clock(test: Callable[..., Coroutine[Any, Any, T]], /) -> Callable[..., T]:
    """Make an async test function a plain one that runs on a `VirtualClockLoop` of its own.

    Arguments, pytest fixtures among them, are passed on; async fixtures run on other loops and
    cannot be used.
    """

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> T:
        return VirtualClockLoop().run(test(*args, **kwargs))

    return run
