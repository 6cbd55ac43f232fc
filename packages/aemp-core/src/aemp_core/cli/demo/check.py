"""The check: every file counted once more, in this process and by other code, and compared."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from .tally import Tally
from .wordcount import Skipped, count_directly, count_words

__all__ = ["Compared", "compare"]


@dataclass
class Compared:
    """What came out.

    Attributes:
        words: all words, counted directly, of files that were not changed meanwhile.
        changed: files whose bytes were not the same at both counts, and how that showed.
        differing: files whose counts differ though their bytes do not: a fault of ours.
    """

    words: int = 0
    changed: dict[bytes, str] = field(default_factory=dict)
    differing: list[bytes] = field(default_factory=list)


def compare(files: Sequence[bytes], tally: Tally, stop: threading.Event) -> Compared:
    """Count `files` directly and compare with the tally; runs in a thread until `stop` is set."""
    compared = Compared()
    for path in files:
        if stop.is_set():
            break
        counted = tally.counted.get(path)
        try:
            direct = count_directly(path, stop)
        except Skipped as skipped:
            if counted is not None:
                compared.changed[path] = skipped.text
            continue
        if counted is None:
            if tally.skipped[path][0] == "binary":
                _judge(path, compared)
        elif counted.digest != direct.digest:
            compared.changed[path] = "it was changed between the two counts"
        else:
            compared.words += direct.words
            if counted != direct:
                compared.differing.append(path)
    return compared


def _judge(path: bytes, compared: Compared) -> None:
    """A worker found `path` binary and the direct count did not: who is to blame?"""
    try:
        count_words(path)
    except Skipped:
        compared.differing.append(path)
    else:
        compared.changed[path] = "it was binary at first"
