"""Reasons: why a port ended or messages were lost, as a tuple of plain values.

``()`` is a normal end. Everything else begins with one of the words below, or is what the
caller of `kil` gave. Reasons travel over the wire, so they carry texts and never objects.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

if sys.version_info < (3, 11):  # pragma: no cover - one interpreter only
    from exceptiongroup import BaseExceptionGroup

__all__ = ["Reason", "describe", "die", "text_of"]

Reason = tuple[Any, ...]

#: The words a reason of AEMP's own begins with.
DIE = "die"
NO_SUCH_PORT = "no_such_port"
TRANSPORT_ERROR = "transport_error"
SPAWN_ERROR = "spawn_error"
SEND_LIMIT = "send_limit"
MAILBOX_OVERFLOW = "mailbox_overflow"
CLOSED = "closed"

MAX_TEXT = 1_000


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def text_of(error: BaseException) -> str:
    """``Type: text`` of an exception, groups flattened, at most 1,000 characters, no traceback."""
    parts = []
    for leaf in _leaves(error):
        try:
            text = str(leaf)
        except Exception:  # a broken __str__ must not hide the death it describes
            text = "<no text>"
        parts.append(f"{type(leaf).__name__}: {text}" if text else type(leaf).__name__)
    joined = "; ".join(parts)
    # A reason is sent to other nodes, and UTF-8 has no lone surrogates.
    return joined.encode("utf-8", "replace").decode("utf-8")[:MAX_TEXT]


def die(error: BaseException) -> Reason:
    """The reason of a port whose code raised `error`."""
    return (DIE, text_of(error))


def no_such_port(port: str) -> Reason:
    """The reason a monitor on a missing port gets; the wording is the AEMP protocol's."""
    return (NO_SUCH_PORT, "cannot monitor nonexistent port", port)


def describe(reason: Reason) -> str:
    """A reason as one line for people."""
    return ": ".join(str(part) for part in reason) or "normal end"
