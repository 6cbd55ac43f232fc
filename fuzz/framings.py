"""Targets ``msgpack``, ``json`` and ``long``: the decoders, with a stream cut in two ways.

    head: frame limit, seed of the cut         then the stream, see `script`

However a stream is cut, the same messages come out of it. Each can be packed again, written in the
same framing, and read back as what it was.
"""

from __future__ import annotations

from typing import Any

from aemp_core.errors import RemoteProtocolError
from aemp_core.wire import JsonFraming, MsgpackFraming, pack

from .judge import demand, demand_plain, held
from .script import MAX_STREAM, cut, expand_runs

__all__ = ["HEAD", "LIMITS", "json", "long", "meant", "msgpack", "read"]

HEAD = 2
LIMITS = (64, 128, 256, 512, 1_024, 2_048, 4_096, 65_536)
#: Streams of the targets for short ones end here; most faults need no more, and none is faster.
SHORT = 1_100
#: Limits of the target for long ones, whose frames are read in other ways.
LONG_LIMITS = (2_048, 16_384, 65_536, 1_048_576)

_FRAMINGS: tuple[Any, ...] = (MsgpackFraming(), JsonFraming())


def msgpack(data: bytes) -> None:
    """One input for the framing ``msgpack``."""
    _decode("msgpack", data)


def json(data: bytes) -> None:
    """One input for the framing ``json``."""
    _decode("json", data)


def long(data: bytes) -> None:
    """One input of long frames, for the framing that its first bit says."""
    _decode("long", data)


def meant(target: str, data: bytes) -> tuple[Any, int, bytes]:
    """What an input asks for: the framing, the frame limit, the stream."""
    if target == "long":
        limit = LONG_LIMITS[data[0] % len(LONG_LIMITS)]
        return _FRAMINGS[data[0] >> 7], limit, expand_runs(data[HEAD:], MAX_STREAM)
    limit = LIMITS[data[0] % len(LIMITS)]
    return _FRAMINGS[target == "json"], limit, expand_runs(data[HEAD:], SHORT)


def _decode(target: str, data: bytes) -> None:
    if len(data) < HEAD:
        return
    framing, limit, stream = meant(target, data)
    parts = read(framing.decoder(limit), limit, stream, data[1])
    if not data[1] & 1:
        return
    whole = read(framing.decoder(limit), limit, stream, 0)
    demand(whole == parts, "cut in pieces it reads {!r:.300}, else {!r:.300}", parts, whole)
    if whole and len(whole[0]) < SHORT:
        frame = framing.encode(whole[0])
        again = read(framing.decoder(len(frame)), len(frame), frame, 0)
        # JSON knows no bytes, but none came out of it either.
        demand(again == whole[:1], "{!r:.300} is read back as {!r:.300}", whole[0], again)


def read(decoder: Any, limit: int, stream: bytes, seed: int) -> list[bytes]:
    """Everything a decoder delivers, packed, with every invariant looked at on the way."""
    packed: list[bytes] = []
    for piece in cut(stream, seed):
        messages = decoder.decode(piece)
        demand_plain(messages)
        packed += map(pack, messages)
        size = held(decoder)
        demand(size <= 2 * limit, "{} bytes are held, the limit is {}", size, limit)
        if decoder.error is not None:
            demand(size == 0, "{} bytes are held after a fault", size)
            demand(type(decoder.error) is RemoteProtocolError, "error is {!r}", decoder.error)
            demand(decoder.decode(b"\x91\xa1a[]") == [], "it reads on after an error")
            break
    return packed
