"""Pykka: actors that are threads of one process."""

from __future__ import annotations

import threading
from time import perf_counter
from typing import Any

import pykka

from ..process import Figures, Run, memory


class Counter(pykka.ThreadingActor):
    """Counts what it is told, and tells when all is there."""

    def __init__(self, count: int, done: threading.Event) -> None:
        super().__init__()
        self.left = count
        self.done = done

    def on_receive(self, message: Any) -> None:
        tag, _number, _text = message
        if tag == "tag":
            self.left -= 1
            if not self.left:
                self.done.set()


def paced(run: Run) -> Figures:
    """`tell` in a loop; threads have no turns to pace it by."""
    done = threading.Event()
    counter = Counter.start(run.count, done)
    message = run.message
    tell = counter.tell
    began = perf_counter()
    for _ in range(run.count):
        tell(message)
    done.wait()
    seconds = perf_counter() - began
    counter.stop()
    return {"rate": run.count / seconds}


def actors(run: Run) -> Figures:
    """Start actors, then stop them all."""
    empty = memory()
    began = perf_counter()
    some = [Counter.start(0, threading.Event()) for _ in range(run.count)]
    made = perf_counter()
    size = memory() - empty
    before = perf_counter()
    pykka.get_all([actor.stop(block=False) for actor in some])
    return {
        "create": run.count / (made - began),
        "kill": run.count / (perf_counter() - before),
        "bytes": size / run.count,
    }
