"""The far side of a shell: a session that evaluates, on this node, what is typed on another.

    shell   --eval: serve(...)--> node       the node request, which takes the rule `eval`
    session <--run N TEXT ECHO--  shell      one text after the other
    session <--interrupt--------  shell      end the one that runs
    session <--complete WORD REPLY -- shell
    shell   <--output TEXT IS_ERROR-- session
    shell   <--done N OUTCOME CODE -- session

A session is a port: it keeps the names from one text to the next, runs the texts as its own code,
and ends with the shell's port or the link to it, and with it every task and timer they began. It
hears the node that opened it, and no other.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from .. import refusals
from ..ids import PortID
from ..verbs import current_port, current_sender
from .evaluator import Echo, Evaluator

if TYPE_CHECKING:
    from ..node import Node

__all__ = ["names_for", "serve"]

log = logging.getLogger(__name__)

#: Characters of one message of output, and names told at most for completion.
OUTPUT_LENGTH = 8_000
COMPLETIONS = 500


def names_for(node: Node) -> dict[str, Any]:
    """What a shell on a node has at hand: the node, and everything of `aemp_core`."""
    import asyncio

    import aemp_core

    verbs = {name: getattr(aemp_core, name) for name in aemp_core.__all__}
    return {**verbs, "asyncio": asyncio, "mp": aemp_core, "node": node}


def serve(node: Node, shell: str) -> PortID:
    """Open a session for the shell at port `shell`; what `eval` is asked for by it.

    Returns:
        The port of the session.
    """
    session = Session(node, shell)
    return session.port


class Session:
    """One shell's session on one node."""

    def __init__(self, node: Node, shell: str) -> None:
        self._node = node
        self._shell = shell
        self._asker = node.node_of(shell)
        self._evaluator = Evaluator({**names_for(node), "print": self._print}, self._show)
        self.port = node.port()
        self._evaluator.names["me"] = self.port
        node.rcv(self.port, self._other, run=self._run, interrupt=self._interrupt,
                 complete=self._complete)  # fmt: skip
        # Also at a normal end: nobody is there to see what a session does without its shell.
        node.watch(shell, lambda reason: None if node.closing else node.kil(self.port))
        log.info("a shell of %s evaluates code here", self._asker)

    def _is_stranger(self) -> bool:
        """Whether somebody sends who has not opened the session."""
        sender = current_sender()
        if sender == self._asker:
            return False
        refusals.warn(
            self._node.loop, "shell", "a request of %s to the shell session of %s refused",
            sender, self._asker,
        )  # fmt: skip
        return True

    def _run(self, number: int, text: str, echo: Echo) -> None:
        if self._is_stranger():
            return
        if not self._node.rules.allow(self._asker, "eval"):
            self._show("eval is not allowed here any more\n", True)
            self._node.snd(self._shell, "done", number, "failed", 0)
        elif self._evaluator.running is None:
            # A task, not what this handler returns: an interruption must get in meanwhile.
            self._node.task(self._finish(number, text, echo))

    async def _finish(self, number: int, text: str, echo: Echo) -> None:
        outcome = await self._evaluator.run(text, echo)
        self._node.snd(self._shell, "done", number, outcome, self._evaluator.exit_code)

    def _interrupt(self) -> None:
        if not self._is_stranger():
            self._evaluator.interrupt()

    def _complete(self, word: str, reply: str) -> None:
        if not self._is_stranger():
            self._node.snd(reply, *self._evaluator.completions(word)[:COMPLETIONS])

    def _other(self, *message: Any) -> None:
        """A message that something the shell began has sent to the session: it is shown."""
        self._show(f"{current_port()} <- {message!r}\n", False)

    def _print(self, *values: Any, sep: str | None = " ", end: str | None = "\n", file: Any = None,
               flush: bool = False) -> None:  # fmt: skip
        """`print`, to the shell."""
        if file is not None:
            print(*values, sep=sep, end=end, file=file, flush=flush)
        else:
            sep, end = (" " if sep is None else sep), ("\n" if end is None else end)
            self._show(sep.join(map(str, values)) + end, False)

    def _show(self, text: str, is_error: bool) -> None:
        text = text.encode("utf-8", "backslashreplace").decode()
        for place in range(0, len(text), OUTPUT_LENGTH):
            self._node.snd(self._shell, "output", text[place : place + OUTPUT_LENGTH], is_error)
