"""Node IDs, port IDs and incarnations: the names of things, and nothing else.

A *node ID* is any text of 1 to 255 characters out of ``A-Z a-z 0-9 _ . : / -``. A *port ID* is
``nodeid#name``; the node ID alone is the ID of its node port. An *incarnation* tells one life of
a node from the next: 8 digits of milliseconds since the epoch, then 6 random ones, both in
base 62, whose digits sort as their characters do, so incarnations compare as text.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from typing import NewType

from .errors import PortError, UsageError

__all__ = [
    "PortID",
    "base62",
    "check_node_id",
    "check_port_id",
    "expand_node_id",
    "new_incarnation",
    "node_of",
    "split_port",
]

PortID = NewType("PortID", str)

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_NODE_ID = re.compile(r"[A-Za-z0-9_.:/-]{1,255}\Z")
_PORT_NAME = re.compile(r"[A-Za-z0-9_.]{1,64}\Z")
_INCARNATION = re.compile(r"[A-Za-z0-9]{14}\Z")
_TIME_DIGITS, _RANDOM_DIGITS = 8, 6


def base62(number: int, width: int = 1) -> str:
    """`number` (not negative) in base 62, padded with zeros to `width` digits."""
    digits = []
    while number:
        number, rest = divmod(number, 62)
        digits.append(_DIGITS[rest])
    return "".join(reversed(digits)).rjust(width, "0")


def is_node_id(text: str) -> bool:
    """Whether `text` can be a node ID."""
    return _NODE_ID.match(text) is not None


def is_port_name(text: str) -> bool:
    """Whether `text` can be the local part of a port ID that a peer chose."""
    return _PORT_NAME.match(text) is not None


def is_incarnation(text: str) -> bool:
    """Whether `text` is an incarnation."""
    return _INCARNATION.match(text) is not None


def check_node_id(text: str) -> str:
    """Return `text` if it is a node ID, else raise `UsageError` saying what is wrong."""
    if not isinstance(text, str) or not is_node_id(text):
        raise UsageError(
            f"{text!r} is no node ID: use 1 to 255 characters out of A-Z a-z 0-9 _ . : / -"
        )
    return text


def check_port_id(text: str) -> tuple[str, str]:
    """Split a port ID into node ID and name, or raise `PortError` naming `text`."""
    if isinstance(text, str):
        node, _, name = text.partition("#")
        if is_node_id(node) and "#" not in name:
            return node, name
    raise PortError(
        f"{text!r} is no port ID: it is 'nodeid#name' as port() and spawn() return it, "
        "or a node ID for the node port"
    )


def split_port(port: str) -> tuple[str, str]:
    """Node ID and name of a well-formed port ID; the name of a node port is empty."""
    node, _, name = port.partition("#")
    return node, name


def node_of(port: str, /) -> str:
    """The ID of the node that holds `port`."""
    return port.partition("#")[0]


def expand_node_id(pattern: str, unique: Callable[[], str]) -> str:
    """Replace ``%n`` by the host name and ``%u`` by a unique text; ``anon/`` means ``anon/%u``."""
    if not pattern or pattern.endswith("/"):
        pattern = (pattern or "anon/") + "%u"
    if "%n" in pattern:
        host = re.sub(r"[^A-Za-z0-9_.:/-]", "-", socket.gethostname()) or "localhost"
        pattern = pattern.replace("%n", host)
    if "%u" in pattern:
        pattern = pattern.replace("%u", unique())
    return check_node_id(pattern)


def new_incarnation(seconds: float, entropy: bytes) -> str:
    """The incarnation of a node started `seconds` after the epoch; `entropy`: 8 random bytes."""
    millis = int(seconds * 1000) % 62**_TIME_DIGITS
    chance = int.from_bytes(entropy, "big") % 62**_RANDOM_DIGITS
    return base62(millis, _TIME_DIGITS) + base62(chance, _RANDOM_DIGITS)
