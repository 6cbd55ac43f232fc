"""Entries: what one node may write into the registry, and what a peer may say it wrote.

An *entry* is a value under a *key* of a *family*, written by its *owner*, a node. Limits are the
same where an owner writes and where others receive: an owner is told at once, with an exception,
and a peer that sends more than an owner may have is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aemp_core.wire import pack, unpack

from .errors import RegistryError

__all__ = [
    "GONE",
    "Change",
    "Key",
    "check_change",
    "check_family",
    "check_key",
    "heard_value",
    "snapshot",
    "told_value",
]

#: Characters of a family or a key: a port ID fits.
NAME_LENGTH = 512
#: Bytes of one value, packed: several entries fit into every frame that tells them.
VALUE_BYTES = 16_384
#: Entries one node may have, and bytes of them with their names.
OWNER_ENTRIES = 250_000
OWNER_BYTES = 64 * 2**20
#: What an entry counts beside its value and names.
ENTRY_BYTES = 64

#: Families of our own begin with this; it cannot be typed by accident.
OURS = "'"
#: Groups are the families that begin with this.
GROUPS = OURS + "g:"

Key = tuple[str, str]


class Gone:
    """The value of an entry that was deleted."""

    def __repr__(self) -> str:
        return "GONE"


GONE = Gone()

#: Family and key, the value or `GONE`, and the bytes it counts for.
Change = tuple[Key, Any, int]


def check_family(family: Any) -> str:
    """A family that user code names; `RegistryError` if it cannot be one."""
    _check_name("family", family)
    if family.startswith(OURS):
        raise RegistryError(f"{family!r}: families that begin with {OURS} belong to aemp-global")
    return str(family)


def check_key(key: Any) -> str:
    """A key of a family; `RegistryError` if it cannot be one."""
    _check_name("key", key)
    return str(key)


def _check_name(what: str, name: Any) -> None:
    if not isinstance(name, str) or not 0 < len(name) <= NAME_LENGTH or not _encodable(name):
        raise RegistryError(
            f"{name!r:.100} is no {what}: use a str of 1 to {NAME_LENGTH} characters"
        )


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def snapshot(value: Any) -> tuple[Any, int]:
    """A copy of a plain value as others will see it, and its bytes.

    Raises:
        RegistryError: it is too long.
        UnsendableError: it is not plain.
    """
    packed = pack((value,))
    if len(packed) > VALUE_BYTES:
        raise RegistryError(
            f"a value of {len(packed)} bytes is too long to register, {VALUE_BYTES} are allowed: "
            "register a port, and have it asked"
        )
    return unpack(packed)[0], len(packed)


def cost(key: Key, size: int) -> int:
    """Bytes an entry counts for."""
    return len(key[0]) + len(key[1]) + size + ENTRY_BYTES


def told_value(value: Any) -> tuple[Any, ...]:
    """What messages say of a value: itself; or itself packed, and True, if there are bytes in it.

    For some framings know no bytes: there they arrive as text, and nobody could tell it from text.
    """
    return (pack((value,)), True) if _has_bytes(value) else (value,)


def _has_bytes(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_bytes, value.values()))
    if isinstance(value, (list, tuple)):
        return any(map(_has_bytes, value))
    return isinstance(value, bytes)


def heard_value(told: Sequence[Any]) -> tuple[Any, int]:
    """The value that a peer told so, and its bytes; `ValueError` if there can be none such."""
    value, *mark = told
    if mark:
        packed = value.encode("latin-1") if isinstance(value, str) else value
        if mark[0] is not True or not isinstance(packed, bytes) or len(packed) > VALUE_BYTES:
            raise ValueError(f"{told!r:.100} is no value")
        values = unpack(packed)
        if not isinstance(values, list) or len(values) != 1:
            raise ValueError(f"{told!r:.100} is no packed value")
        value = values[0]
    return value, len(pack((value,)))


def check_change(item: Any) -> Change:
    """One change as a peer sends it: ``[family, key]``, or those and what `told_value` made.

    Raises `ValueError` or `TypeError` saying what is wrong.
    """
    if not isinstance(item, (list, tuple)) or not 2 <= len(item) <= 4:
        raise ValueError(f"{item!r:.100} is no change of an entry")
    family, key = item[:2]
    for name in (family, key):
        if not isinstance(name, str) or not 0 < len(name) <= NAME_LENGTH:
            raise ValueError(f"{name!r:.100} names no entry")
    if len(item) == 2:
        return (family, key), GONE, 0
    value, size = heard_value(item[2:])
    if size > VALUE_BYTES:
        raise ValueError(f"the value of {key!r:.100} takes {size} bytes")
    return (family, key), value, cost((family, key), size)
