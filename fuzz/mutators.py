"""Mutations that keep an input's structure, so that it gets further than noise would.

atheris mutates bytes; half of the time one of these takes its place: fields of a handshake's lines
are exchanged, frames are read, changed as values and written again, and parts of two inputs joined.
What cannot be read is left to the mutation of bytes.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import msgpack

from .script import MARKS, TOKEN_METHODS

__all__ = ["DICTIONARY", "Mutate", "mutate_frames", "mutate_handshake"]

#: Changes the part of an input after its head.
Mutate = Callable[[bytes, random.Random], bytes]

WORDS = (
    "", "mon1", "mon0", "kil0", "kil", "snd", "snd_multiple", "info", "known_nodes", "up_nodes",
    "time", "devnull", "fence", "eval", "AnyEvent::MP::_spawn", "fuzz:init", "fuzz:fail",
    "fuzz:later", "fuzz:echo", "$0", "$1", "$2", "$3", "$4", "$s", "$t", "#0", "#1", "#2", "#p",
    "#n", "us", "peer", "mallory", "mallory#x", "die", "1.1", "a" * 65,
)  # fmt: skip
SCALARS: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**63, 2**64 - 1, -(2**63), 2**64, 0.0, -0.0, 1.5, 1e308,
    float("inf"), float("nan"), "\ud7ff", "\x00", "é€😀", "x" * 300, b"", b"\xff\x00",
)  # fmt: skip
FIELDS = (
    b"aemp", b"1", b"2", b"peer", b"us", b"a" * 255, b"a" * 256, b"json", b"msgpack",
    b"json,msgpack", b"msgpack,json", b",", b"", *TOKEN_METHODS, b",".join(TOKEN_METHODS),
    *(bytes((mark,)) for mark in MARKS), b"incarnation=00000000000000", b"incarnation=x",
    b"heartbeat=10", b"heartbeat=1e9", b"heartbeat=0", b"frame=65536", b"frame=0", b"frame=9" * 9,
    b"provider=AE-1.30", b"peeraddr=", b"features=fence,x", b"=", b"k=v", b"A" * 44, b"A" * 88,
    b"x" * 4_090, b"\xe2\x80\xa8", b"\xc2\x85", b"\r",
)  # fmt: skip
#: Lists inside each other: about as many as a message may hold.
DEPTHS = (64, 126, 127, 128, 129)
RUNS = (64, 130, 240, 255)
RUN_BYTES = b'\x91\x90[{"\\ \x00a\xc0'
#: Words for the mutation of bytes.
DICTIONARY = (
    *FIELDS[:30],
    *(word.encode() for word in WORDS if word),
    *(b"\xc1" + bytes((count, byte)) for count in RUNS for byte in RUN_BYTES),
    b"\xdd\x00\x00\x04\x01", b"\xdc\x04\x00", b"\xdc\x04\x01", b"\xdd\xff\xff\xff\xff",
    b"\xdf\x00\x00\x10\x00", b"\xdb\x00\x01\x00\x00", b"\xc6\x00\x10\x00\x01", b"\xd9\xff",
    b"\xc7\x00\x01", b"\xd4\x05\x00", b"\xca\x7f\x80\x00\x00",
    b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00",
    b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00",
    b"\\ud800", b"\\udc00", b"\\u00e9", b'["', b'",', b"NaN", b"Infinity", b"1e999", b"1" * 25,
    b"[]", b"{}", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\x91\xa1a", b"\x90", b"\r\n", b"\n",
)  # fmt: skip


def mutate_handshake(data: bytes, chance: random.Random) -> bytes:
    """A stream that begins with a handshake."""
    lines = data.split(b"\n", 3)
    at = chance.randrange(len(lines))
    if at == 3:
        lines[3] = mutate_frames(lines[3], chance)
    elif chance.random() < 0.05:
        lines[at] = lines[chance.randrange(len(lines))]
    else:
        separator = chance.choice((b";", b";", b",", b"="))
        fields = lines[at].split(separator)
        _change(fields, lambda: chance.choice(FIELDS), chance)
        lines[at] = separator.join(fields)
    return b"\n".join(lines)


def mutate_frames(data: bytes, chance: random.Random) -> bytes:
    """A stream of frames, of either framing."""
    as_json = data[:1] in (b"[", b"{", b" ", b"\n")
    frames = _read_json(data) if as_json else _read_msgpack(data)
    if not frames:
        return data
    for _ in range(chance.choice((1, 1, 2, 3))):
        _mutate_inside(frames, chance)
    try:
        written = b"".join(map(_write_json if as_json else msgpack.packb, frames))
    except (ValueError, OverflowError, TypeError, RecursionError):
        return data
    return written


def _read_json(data: bytes) -> list[Any]:
    frames, at = [], 0
    text = data.decode("utf-8", "replace")
    decoder = json.JSONDecoder()
    try:
        while at < len(text) and len(frames) < 64:
            value, at = decoder.raw_decode(text, at)
            frames.append(value)
    except (ValueError, RecursionError):
        pass
    return frames


def _write_json(value: Any) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=repr)
    return text.encode("utf-8", "surrogatepass")


def _read_msgpack(data: bytes) -> list[Any]:
    reader = msgpack.Unpacker(strict_map_key=False)
    reader.feed(data)
    frames = []
    try:
        for frame in reader:
            frames.append(frame)
            if len(frames) == 64:
                break
    except Exception:  # the first good frames are enough
        pass
    return frames


def _mutate_inside(values: list[Any], chance: random.Random) -> None:
    """Go down into a random value, and change something there."""
    holder: Any = values
    while holder and chance.random() < 0.75:
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        inner = holder[chance.choice(keys)]
        if not isinstance(inner, (list, dict)):
            break
        holder = inner
    if isinstance(holder, dict):
        key = chance.choice([*map(str, holder), chance.choice(WORDS)])
        holder[key] = _value(chance)
    else:
        _change(holder, lambda: _value(chance), chance)


def _change(items: list[Any], make: Callable[[], Any], chance: random.Random) -> None:
    """Put in, replace, drop, double, swap or shorten something of a list."""
    how = chance.randrange(7)
    if not items or how == 0:
        items.insert(chance.randint(0, len(items)), make())
        return
    at = chance.randrange(len(items))
    if how in (1, 2):
        items[at] = make()
    elif how == 3:
        del items[at]
    elif how == 4:
        items.insert(at, items[at])
    elif how == 5:
        other = chance.randrange(len(items))
        items[at], items[other] = items[other], items[at]
    else:
        del items[at:]


def _value(chance: random.Random, depth: int = 2) -> Any:
    how = chance.randrange(40)
    if not how:
        return _nested(chance.choice(DEPTHS))
    how %= 10
    if how < 5:
        return chance.choice(WORDS)
    if how < 8 or not depth:
        return chance.choice(SCALARS)
    if how == 8:
        return [_value(chance, depth - 1) for _ in range(chance.randrange(4))]
    return {chance.choice(WORDS): _value(chance, depth - 1) for _ in range(chance.randrange(3))}


def _nested(depth: int) -> Any:
    value: Any = "deep"
    for _ in range(depth):
        value = [value]
    return value
