"""The command: options, and the loop that reads and evaluates."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from ...ids import check_node_id
from ..manual import Command
from ..options import Visit, visiting
from ..outcome import DONE, FAILED, INTERRUPTED, Failed

if TYPE_CHECKING:
    from ...node import Node
    from ...services.evaluator import Echo
    from .lines import Lines
    from .seats import Seat

__all__ = ["command"]


@click.command(
    cls=Command,
    examples=[
        ("aemp shell --seed tcp://10.0.0.1:4040", "Talk to the network in Python."),
        (
            """aemp shell --seed tcp://10.0.0.1:4040 -c 'await cal("worker", "time")'""",
            "Run one line and print its value.",
        ),
        ("aemp shell worker/1", "Evaluate lines on another node, if its rules allow it."),
    ],
    exit_codes={1: "the text, or the script, raised"},
    see_also=["eval", "log"],
)
@visiting
@click.option("-c", "text", metavar="TEXT", help="Run TEXT, print its last value, and end.")
@click.argument("node_id", metavar="[NODE]", required=False)
def command(visit: Visit, text: str | None, node_id: str | None) -> int:
    """Evaluate Python, line by line, in a node that visits the network.

    "await" works at top level. The names of aemp_core are at hand: snd, cal, mon, spawn, port, rcv,
    known_nodes and so on; "node" is the visiting node, "me" a port of the shell, and "_" the last
    value. Messages to "me" are printed. Tab completes names, and inside strings the IDs of nodes
    and ports. Ctrl-C ends what a line awaits, Ctrl-D leaves.

    With NODE lines are evaluated there, as code of that node: it must allow it by a rule,
    rules = [{ node = "anon/*", allow = ["eval"] }].

    If the standard input is no terminal it is run as one script.
    """
    if node_id is not None:
        check_node_id(node_id)
    if text is None and not sys.stdin.isatty():
        return asyncio.run(_once(visit, node_id, sys.stdin.read(), "none"))
    if text is not None:
        return asyncio.run(_once(visit, node_id, text, "last"))
    return asyncio.run(_interact(visit, node_id))


async def _sit(visit: Visit, node: Node, node_id: str | None, show: Any) -> Seat:
    """Where texts are run."""
    from .seats import Far, Near

    if node_id is None:
        await visit.join(node)
        return Near(node, show)
    await visit.reach(node, node_id)
    return await Far.open(visit, node, node_id, show)


async def _once(visit: Visit, node_id: str | None, text: str, echo: Echo) -> int:
    from .lines import clean

    def show(text: str, is_error: bool) -> None:
        # What another node sends is not trusted with the terminal; what runs here is.
        text = text if node_id is None else clean(text)
        click.echo(text, nl=False, err=is_error)

    async with visit.node() as node:
        seat = await _sit(visit, node, node_id, show)
        with _interruptible(seat):
            outcome = await seat.run(text, echo)
        codes = {"done": DONE, "failed": FAILED, "left": seat.exit_code}
        return codes.get(outcome, INTERRUPTED)


@contextmanager
def _interruptible(seat: Seat, idle: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Inside the block Ctrl-C ends the text that runs, not the shell; if none does, `idle` is told.

    A text that waits is cancelled by the loop; one that has the processor is interrupted where it
    is. If the loop has not got to the first Ctrl-C when the next one comes, something else keeps it
    busy, and that is interrupted: the shell ends.
    """
    loop = asyncio.get_running_loop()
    asked = False

    def caught(number: int, frame: Any) -> None:
        nonlocal asked
        if asked or seat.is_busy():
            raise KeyboardInterrupt
        asked = True
        loop.call_soon_threadsafe(interrupt)

    def interrupt() -> None:
        nonlocal asked
        asked = False
        if not seat.interrupt():
            idle()

    try:
        before = signal.signal(signal.SIGINT, caught)
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


async def _interact(visit: Visit, node_id: str | None) -> int:
    from .completion import Completion
    from .history import History, history_path
    from .lines import lines

    editor: Lines | None = None

    def show(text: str, is_error: bool) -> None:
        if editor is not None:
            editor.show(text, is_error)

    async with visit.node() as node:
        seat = await _sit(visit, node, node_id, show)
        history = History(history_path())
        completion = Completion(node, seat.names, seat.ports)
        editor = lines(history, completion)
        click.echo(_banner(node, node_id))
        if history.trouble:
            click.echo(f"no history is kept: {history.trouble}", err=True)
        try:
            # All the time: between a line and what it runs there must be no gap in which Ctrl-C
            # ends the shell.
            with _interruptible(seat, editor.interrupted), _terminable():
                return await _read_and_run(editor, seat)
        finally:
            completion.close()
            editor.close()


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM, and SIGHUP when the terminal is gone, end the shell as always, but in good order.

    So the terminal is left as it was found.
    """
    loop = asyncio.get_running_loop()
    shell = asyncio.current_task()
    assert shell is not None
    caught: list[signal.Signals] = []

    def end(number: signal.Signals) -> None:
        caught.append(number)
        shell.cancel()

    numbers = [signal.SIGTERM, signal.SIGHUP] if sys.platform != "win32" else []
    for number in numbers:
        loop.add_signal_handler(number, end, number)
    try:
        yield
    except asyncio.CancelledError:
        if not caught:
            raise
        raise Failed(f"ended by {caught[0].name}", 128 + caught[0]) from None
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


async def _read_and_run(editor: Lines, seat: Seat) -> int:
    while True:
        try:
            text = await _read(editor, seat)
        except EOFError:
            return DONE
        if text.strip() and await seat.run(text, "all") == "left":
            return seat.exit_code


async def _read(editor: Lines, seat: Seat) -> str:
    """The next text, unless nothing can be run any more before it is there."""
    reading = asyncio.ensure_future(editor.read())
    either: set[asyncio.Future[Any]] = {reading, seat.lost}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if not reading.done():
            reading.cancel()
            await asyncio.wait({reading})
    if seat.lost.done():
        raise seat.lost.result()
    return reading.result()


def _banner(node: Node, node_id: str | None) -> str:
    import platform
    from importlib.metadata import version

    if node_id is not None:
        return f"AEMP {version('aemp-core')}: lines are evaluated on {node_id}. Ctrl-D leaves."
    linked = ", ".join(node.up_nodes())
    return (
        f"AEMP {version('aemp-core')}, Python {platform.python_version()}. This is node {node.id}, "
        f"linked with {linked}.\n"
        'me is the shell\'s port; try: await cal(up_nodes()[0], "time"). Ctrl-D leaves.'
    )
