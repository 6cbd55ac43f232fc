"""The floor of one process: look a handler up and call it, nothing else."""

from __future__ import annotations

from itertools import repeat
from time import perf_counter

from ..process import Figures, Run, memory


def loop(run: Run) -> Figures:
    """One lookup of the tag and one call with the other elements per message."""
    handled = 0

    def handler(number: int, text: object) -> None:
        nonlocal handled
        handled += 1

    message = run.message
    handlers = {message[0]: handler}
    began = perf_counter()
    for _ in repeat(None, run.count):
        handlers[message[0]](*message[1:])
    return {"rate": handled / (perf_counter() - began)}


class Thing:
    """The least a port could be: an object that knows its name and its handler."""

    __slots__ = ("handler", "name")

    def __init__(self, name: str, handler: object) -> None:
        self.name = name
        self.handler = handler


def things(run: Run) -> Figures:
    """Make objects with names, each in a dict; then take all out again."""

    def handler() -> None: ...

    things: dict[str, Thing] = {}
    names = []
    empty = memory()
    began = perf_counter()
    for number in range(run.count):
        name = f"node#{number}"
        things[name] = Thing(name, handler)
        names.append(name)
    made = perf_counter()
    size = memory() - empty
    before = perf_counter()
    for name in names:
        del things[name]
    return {
        "create": run.count / (made - began),
        "kill": run.count / (perf_counter() - before),
        "bytes": size / run.count,
    }
