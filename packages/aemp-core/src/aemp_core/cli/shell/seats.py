"""Seats: where the texts of a shell are evaluated, in the visitor's node or in a session elsewhere.

Both run a text, interrupt it, and complete names. Output is handed to `Show` as it comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

from ...errors import EvalFailed, PortKilled
from ...ids import split_port
from ...reason import describe
from ...services.evaluator import Echo, Evaluator, Outcome
from ...services.shell import names_for
from ..outcome import Failed
from ..text import printable

if TYPE_CHECKING:
    from ...node import Node
    from ..options import Visit

__all__ = ["Far", "Near", "Seat", "Show"]

#: ``show(text, is_error)``: something to be printed, whenever it comes.
Show = Callable[[str, bool], object]

_REFUSED = "eval is not allowed here"


class Seat(Protocol):
    """What runs texts."""

    @property
    def lost(self) -> asyncio.Future[Failed]:
        """Gets the error that says why no text can be run any more."""

    @property
    def exit_code(self) -> int:
        """What `exit` was given, once a text has "left"."""

    async def run(self, text: str, echo: Echo) -> Outcome:
        """Run one text; `Failed` if that can never be done any more."""

    def interrupt(self) -> bool:
        """End the text that runs, and return whether one does; called in the loop."""

    def is_busy(self) -> bool:
        """Whether a text has the processor at this moment; called by a signal handler."""

    async def names(self, word: str) -> Iterable[str]:
        """Names and attributes that begin with a word."""

    def ports(self) -> Iterable[str]:
        """Ports worth proposing."""


class Near:
    """The visitor's node: texts are code of the shell's own port there."""

    def __init__(self, node: Node, show: Show) -> None:
        self._node = node
        self._show = show
        self._evaluator = Evaluator(names_for(node), show)
        self.lost: asyncio.Future[Failed] = node.loop.create_future()
        self._make_port()

    def _make_port(self) -> None:
        self._port = self._evaluator.names["me"] = self._node.port(self._came)
        self._node.watch(self._port, self._ended)

    def _came(self, *message: Any) -> None:
        self._show(f"{self._port} <- {message!r}\n", False)

    def _ended(self, reason: tuple[Any, ...]) -> None:
        """A text has killed it, or a task or timer that a text began."""
        if not self._node.closing:
            before = self._port
            self._make_port()
            told = describe(reason)
            self._show(f"the shell's port {before} ended: {told}; me is {self._port} now\n", True)

    @property
    def exit_code(self) -> int:
        return self._evaluator.exit_code

    async def run(self, text: str, echo: Echo) -> Outcome:
        # A task of the port, which ends with it. Here it is waited for, whatever becomes of that.
        done: asyncio.Future[Outcome] = self._node.loop.create_future()

        async def finish() -> None:
            try:
                outcome = await self._evaluator.run(text, echo)
            except asyncio.CancelledError:
                outcome = "failed"
            if not done.done():
                done.set_result(outcome)

        self._node.peval(self._port, finish)
        return await done

    def interrupt(self) -> bool:
        return self._evaluator.interrupt()

    def is_busy(self) -> bool:
        task = self._evaluator.running
        return task is not None and task is asyncio.current_task(self._node.loop)

    async def names(self, word: str) -> Iterable[str]:
        return self._evaluator.completions(word)

    def ports(self) -> Iterable[str]:
        return [self._port]


class Far:
    """A session on another node, which allows `eval`: see `aemp_core.services.shell`."""

    def __init__(self, node: Node, node_id: str, show: Show) -> None:
        self._node = node
        self._id = node_id
        self._show = show
        self._session = ""
        self._count = 0
        self._running: asyncio.Future[Outcome] | None = None
        self._interrupts = 0
        self.lost: asyncio.Future[Failed] = node.loop.create_future()
        self._exit_code = 0

    @classmethod
    async def open(cls, visit: Visit, node: Node, node_id: str, show: Show) -> Far:
        """Open a session; `Failed` says why there is none, and the remedy."""
        from ..options import within

        far = cls(node, node_id, show)
        port = node.port()
        node.rcv(port, output=far._output, done=far._done)
        module = "__import__('aemp_core.services.shell', None, None, ['serve'])"
        text = f"{module}.serve(node, {port!r})"
        try:
            what = f"node {node_id!r} to open a session"
            session = await within(visit.timeout, what, node.eval_on(node_id, text))
        except EvalFailed as error:
            remedy = ""
            if str(error).endswith(_REFUSED):
                remedy = (
                    ": a shell there needs the rule 'eval', in the configuration of "
                    f'{node_id}: rules = [{{ node = "anon/*", allow = ["eval"] }}]'
                )
            raise Failed(printable(f"{error}{remedy}")) from None
        except PortKilled as error:
            raise Failed(f"{node_id}: {describe(error.reason)}") from None
        if not isinstance(session, str) or split_port(session)[0] != node_id:
            raise Failed(f"{node_id} opened no session")
        far._session = session
        node.watch(session, far._ended)
        return far

    @property
    def exit_code(self) -> int:
        return self._exit_code

    def _output(self, text: str, is_error: bool) -> None:
        self._show(text, is_error is True)

    def _done(self, number: int, outcome: Outcome, code: int) -> None:
        running = self._running
        if number == self._count and running is not None and not running.done():
            self._exit_code = code if type(code) is int else 1
            running.set_result(outcome)

    def _ended(self, reason: tuple[Any, ...]) -> None:
        error = Failed(printable(f"the session on {self._id} ended: {describe(reason)}"))
        if self._running is not None and not self._running.done():
            self._running.set_exception(error)
        elif not self.lost.done():
            self.lost.set_result(error)

    async def run(self, text: str, echo: Echo) -> Outcome:
        if self.lost.done():
            raise self.lost.result()
        self._count += 1
        self._interrupts = 0
        self._running = self._node.loop.create_future()
        self._node.snd(self._session, "run", self._count, text, echo)
        try:
            return await self._running
        finally:
            self._running = None

    def interrupt(self) -> bool:
        if self._running is None or self._running.done():
            return False
        self._interrupts += 1
        if self._interrupts == 1:
            self._node.snd(self._session, "interrupt")
        else:
            self._show(f"no longer waited for; {self._id} has not ended it yet\n", True)
            self._running.set_result("interrupted")
        return True

    def is_busy(self) -> bool:
        return False

    async def names(self, word: str) -> Iterable[str]:
        from .completion import ANSWER_SECONDS

        try:
            found = await self._node.cal(self._session, "complete", word, timeout=ANSWER_SECONDS)
        except Exception:
            return []
        return [each for each in found if isinstance(each, str) and each.startswith(word)]

    def ports(self) -> Iterable[str]:
        return [self._session]
