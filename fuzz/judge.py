"""What must hold after every input, whatever it was; shares no code with what it judges.

*Plain*: what arrives is a non-empty list of plain values that begins with a str.
*Held*: the bytes that a connection or decoder keeps between two reads, counted by the lengths of
its own buffers, are at most twice its frame limit, and none after a fault of the peer.
*Prompt*: an input takes at most `HANG_SECONDS` of processor time of its thread. A busy machine can
make one run look slow, never the fastest of several.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from math import isfinite
from typing import Any

__all__ = ["HANG_SECONDS", "MAX_DEPTH", "Violation", "demand", "demand_plain", "held", "prompt"]

HANG_SECONDS = 0.1
#: Runs of an input that was slow before it counts as slow.
RUNS = 4
MAX_DEPTH = 128


class Violation(Exception):
    """Something that must hold does not."""


def demand(holds: object, text: str, *about: object) -> None:
    """Raise `Violation` unless it holds; `about` goes into the places of `text`."""
    if not holds:
        raise Violation(text.format(*about))


def prompt(target: Callable[[bytes], None], data: bytes, slowed: int = 1) -> None:
    """Run `target` on `data`; raise `Violation` if it is slow every time.

    `slowed` says how many times longer than `HANG_SECONDS` it may take: because the input is long,
    or because the code is slowed by what watches it.
    """
    most = HANG_SECONDS * slowed
    began = time.thread_time()
    target(data)
    fastest = time.thread_time() - began
    runs = 1
    while fastest > most and runs < RUNS:
        began = time.thread_time()
        target(data)
        fastest = min(fastest, time.thread_time() - began)
        runs += 1
    demand(fastest <= most, "took {:.0f} ms, {} times", fastest * 1e3, runs)


def demand_plain(messages: list[Any]) -> None:
    """Every message is what a decoder may deliver."""
    for message in messages:
        demand(type(message) is list and message, "delivered no message, but {!r:.200}", message)
        demand(type(message[0]) is str, "a message begins with {!r:.200}", message[0])
        if not _is_plain(message, MAX_DEPTH):
            raise Violation(f"a message holds more than plain values: {message!r:.500}")


def _is_plain(value: Any, depth: int) -> bool:
    kind = type(value)
    if kind is str:
        return value.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in value)
    if kind is int:
        return -(2**63) <= value < 2**64
    if kind is float:
        return isfinite(value)
    if kind is list:
        return depth > 0 and all(_is_plain(each, depth - 1) for each in value)
    if kind is dict:
        return (
            depth > 0
            and all(type(key) is str and _is_plain(key, 0) for key in value)
            and all(_is_plain(each, depth - 1) for each in value.values())
        )
    return kind is bool or kind is bytes or value is None


def held(decoder: Any) -> int:
    """Bytes that a decoder keeps between two reads.

    Of the msgpack decoder its own copy of the frame, and what its unpacker was fed and has not
    read; of the json decoder the incomplete text, and what is open in it.
    """
    if hasattr(decoder, "_trail"):
        own = len(decoder._trail)
        if decoder._unpacker is None:
            return own
        return own + (own if decoder._careful else decoder._fed - decoder._unpacker.tell())
    return len(decoder._text) + len(decoder._open)
