"""Plain values: what a message may hold, packed and unpacked, checked on both ways.

A plain value is None, a bool, an int in -2**63..2**64-1, a finite float, a str without lone
surrogates, bytes, a list or tuple of plain values (read back as a list), or a dict from str to
plain values. Containers nest at most `MAX_DEPTH` deep, the message itself counted. Subclasses
count as the plain type they extend: an `IntEnum` travels as its int, a named tuple as a list.

*Packed* is MessagePack: the form in which every message waits to be sent, whatever framing
carries it. Values are checked by their types: those of flat messages that came in together all
at once, in C. Only when that finds something odd is it looked for again, to name it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from math import isfinite
from operator import itemgetter
from typing import Any, NamedTuple

import msgpack

from ..errors import UnsendableError

__all__ = [
    "HEARTBEAT",
    "LONG",
    "MAX_DEPTH",
    "SMALL",
    "pack",
    "pack_apart",
    "pack_scalars",
    "sift",
    "unpack",
]

#: How deep lists and dicts may nest, the message itself counted.
MAX_DEPTH = 128

MIN_INT, MAX_INT = -(2**63), 2**64 - 1

#: Types of which nothing more has to be known: the codecs refuse what else may be wrong.
SCALARS = frozenset({type(None), bool, int, str, bytes})
#: Those of which none is long enough to be sent apart.
SMALL = SCALARS - {bytes}
#: A bytes value of so many bytes or more is not copied to be sent, where that can be avoided.
LONG = 65_536
#: MessagePack: such a value begins with this and its length in four bytes.
_LONG_HEAD, _LONGEST = b"\xc6", 2**32 - 1
_LIST = frozenset({list})
_STR = frozenset({str})
_LONG_PATH = 100

_first = itemgetter(0)
#: Packs a message of which it is known that it holds scalars only, its port first. Raises
#: `OverflowError` or `UnicodeEncodeError` for an int or a str that is not plain.
pack_scalars = _pack = (_packer := msgpack.Packer()).pack


def pack(message: Sequence[Any], to: str | None = None, /) -> bytes:
    """Check that `message`, a tuple or list, holds plain values only, and pack it.

    Args:
        message: the elements.
        to: the local part of the port it is for, packed as the first element.

    Raises:
        UnsendableError: a value is not plain; the text names the path to it and the remedy.
    """
    for value in message:
        if type(value) not in SCALARS:
            if not _are_plain(message, MAX_DEPTH):
                _refuse_unplain(message)
                message = _simplify(message)
            break
    try:
        packed: bytes = _pack(message if to is None else (to, *message))
    except (OverflowError, UnicodeEncodeError):  # the packer is empty again
        _refuse_unplain(message)
        raise
    return packed


def pack_apart(message: tuple[Any, ...], to: str, /) -> bytes | list[bytes]:
    """As `pack`; but if elements of `message` are long bytes, the parts of what `pack` returns.

    The long ones are parts of their own, and not copied: so one that is sent to a hundred peers is
    there once.
    """
    flat = True
    for value in message:
        kind = type(value)
        if kind not in SMALL:
            if kind is not bytes:
                flat = False
            elif _is_long(value):
                return _pack_parts(message, to)
    if flat:
        try:
            packed: bytes = _pack((to,) + message)
            return packed
        except (OverflowError, UnicodeEncodeError):
            pass  # `pack` tells what is wrong
    return pack(message, to)


def _is_long(value: Any) -> bool:
    return type(value) is bytes and LONG <= len(value) <= _LONGEST


def _pack_parts(message: Sequence[Any], to: str) -> list[bytes]:
    if not _are_plain(message, MAX_DEPTH):
        _refuse_unplain(message)
        message = _simplify(message)
    parts = []
    short = [_packer.pack_array_header(len(message) + 1), _pack(to)]
    try:
        for value in message:
            if _is_long(value):
                parts += [b"".join([*short, _LONG_HEAD, len(value).to_bytes(4, "big")]), value]
                short = []
            else:
                short.append(_pack(value))
    except (OverflowError, UnicodeEncodeError):
        _refuse_unplain(message)
        raise
    return [*parts, b"".join(short)] if short else parts


def unpack(packed: bytes, /) -> list[Any]:
    """The message that `pack` packed, as a list."""
    message: list[Any] = msgpack.unpackb(packed)
    return message


#: The packed empty message: says that its sender is alive, and nothing else.
HEARTBEAT: bytes = _pack(())


def sift(
    batch: list[Any], /, *, closely: bool = False, flat: int = 0
) -> tuple[list[list[Any]], str | None]:
    """The messages of a decoded `batch` without its heartbeats, up to the first that is none.

    Args:
        batch: values as a codec returned them.
        closely: whether even the texts inside may be flawed.
        flat: how many of them, the last ones, hold scalars only, if they are lists.

    Returns:
        the good messages, and what is wrong with the one after them (None: nothing).
    """
    if (
        len(batch) > 1
        and not closely
        and _LIST.issuperset(map(type, batch))
        and all(batch)
        and _STR.issuperset(map(type, map(_first, batch)))
        and (
            (flat == len(batch) - 1 and SCALARS.issuperset(map(type, batch[0])))
            or SCALARS.issuperset(map(type, chain.from_iterable(batch)))
        )
    ):
        return batch, None
    good: list[list[Any]] = []
    for message in batch:
        if type(message) is not list:
            return good, f"a message is a list, not {type(message).__name__}"
        if message:
            if type(message[0]) is not str:
                return good, f"a message begins with a str, not {type(message[0]).__name__}"
            if not _are_plain(message, MAX_DEPTH) or (closely and not _packs(message)):
                flaw = _find_flaw(message)
                if flaw:
                    return good, f"{flaw.path}: {flaw.problem}"
            good.append(message)
    return good, None


def _are_plain(values: Iterable[Any], depth: int) -> bool:
    """Whether all `values` are plain and of built-in types, in `depth` layers, this one counted."""
    for value in values:
        kind = type(value)
        if kind in SCALARS:
            continue
        if kind is float:
            if isfinite(value):
                continue
            return False
        if kind is dict:
            for key in value:
                if type(key) is not str:
                    return False
            value = value.values()
        elif kind is not list and kind is not tuple:
            return False
        if depth == 1 or not _are_plain(value, depth - 1):
            return False
    return True


def _simplify(value: Any) -> Any:
    """Plain `value` with containers of built-in types, so that packing runs no foreign code."""
    if isinstance(value, (list, tuple)):
        return [_simplify(item) for item in list(value)]
    if isinstance(value, dict):
        return {key: _simplify(item) for key, item in dict(value).items()}
    return value


def _packs(message: list[Any]) -> bool:
    """Whether plain `message` can be packed: its ints fit, no text holds a lone surrogate."""
    try:
        _pack(message)
    except (OverflowError, UnicodeEncodeError):  # the packer is empty again
        return False
    return True


class _Flaw(NamedTuple):
    path: str
    problem: str
    remedy: str

    def inside(self, key: object) -> _Flaw:
        """The flaw as seen from the container that holds it at `key`."""
        return self._replace(path=f"[{key!r}]{self.path}")


def _refuse_unplain(message: Sequence[Any]) -> None:
    flaw = _find_flaw(message)
    if flaw:
        raise UnsendableError(f"{flaw.path}: {flaw.problem}; {flaw.remedy}")


def _find_flaw(message: Sequence[Any]) -> _Flaw | None:
    """The first value inside `message` that is not plain."""
    flaw = _search(message, MAX_DEPTH)
    if flaw is None:
        return None
    path = f"message{flaw.path}"
    if len(path) > _LONG_PATH:  # a peer chose it, perhaps
        path = f"{path[: _LONG_PATH // 2]}...{path[-_LONG_PATH // 2 :]}"
    return flaw._replace(path=path)


def _search(value: Any, depth: int) -> _Flaw | None:
    """The first flaw in `value`; `depth` layers may be there. Its path is made on the way back."""
    if value is None or isinstance(value, (bool, bytes)):
        return None
    if isinstance(value, int):
        if MIN_INT <= value <= MAX_INT:
            return None
        size = f"an int of {value.bit_length()} bits"
        return _Flaw("", f"{size} is outside -2**63..2**64-1", "send it as str")
    if isinstance(value, float):
        if isfinite(value):
            return None
        return _Flaw("", f"{value!r} is not a finite float", "send None instead")
    if isinstance(value, str):
        return _find_surrogate(value, "")
    if isinstance(value, (list, tuple, dict)) and not isinstance(value, msgpack.ExtType):
        if not depth:
            return _Flaw("", f"nested more than {MAX_DEPTH} deep", "flatten it")
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in pairs:
            if isinstance(value, dict):
                if not isinstance(key, str):
                    problem = f"the key {key!r:.100} is no str"
                    return _Flaw("", problem, "send str keys, or a list of pairs")
                flaw = _find_surrogate(key, ", a key")
                if flaw:
                    return flaw
            flaw = _search(item, depth - 1)
            if flaw:
                return flaw.inside(key)
        return None
    name = type(value).__name__
    return _Flaw("", f"{name} is not a plain value", _remedy(name))


def _find_surrogate(text: str, path: str) -> _Flaw | None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        problem = f"a str with the lone surrogate {text[error.start]!a}"
        return _Flaw(path, problem, "send bytes (os.fsencode makes them of a file name)")
    return None


_REMEDIES = {
    "send a list of its elements": {"set", "frozenset", "dict_keys", "dict_values", "range"},
    "send bytes(...) of it": {"bytearray", "memoryview"},
    "send its isoformat() or timestamp()": {"datetime", "date", "time"},
    "send its total_seconds()": {"timedelta"},
    "send str(...) of it": {"Decimal", "Fraction", "UUID", "PosixPath", "WindowsPath"},
}


def _remedy(type_name: str) -> str:
    for remedy, names in _REMEDIES.items():
        if type_name in names:
            return remedy
    return "send None, bool, int, float, str, bytes, list, tuple or dict"
