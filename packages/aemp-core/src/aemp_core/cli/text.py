"""Text and values: how words of the command line become messages, and messages become text.

A word is a string. With ``--json-args`` every word is a JSON text instead: ``5``, ``true``,
``'"text"'``, ``'{"a": 1}'``. Bytes, which JSON does not have, are shown as
``{"base64": "..."}``. What other nodes sent is printed without control characters, which could
take over a terminal.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Any

import click

from ..errors import UsageError

__all__ = ["for_people", "json_args", "message_of", "printable", "to_json"]

json_args = click.option(
    "--json-args", is_flag=True, help="Read each word that is sent as JSON instead of as a string."
)


def message_of(words: Iterable[str], json_args: bool) -> tuple[Any, ...]:
    """The message that `words` mean; raises `UsageError` naming a word that is no JSON."""
    if not json_args:
        return tuple(words)
    message = []
    for word in words:
        try:
            message.append(json.loads(word, parse_constant=_refuse))
        except ValueError as error:
            raise UsageError(
                f"{word!r} is no JSON ({error}): strings need their quotes, '\"like this\"'"
            ) from None
    return tuple(message)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no finite number")


def _bytes(value: object) -> Any:
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode("ascii")}
    raise TypeError(f"{type(value).__name__} is no plain value")


def to_json(value: Any) -> str:
    """`value` as one line of JSON."""
    return json.dumps(value, ensure_ascii=False, default=_bytes)


def printable(text: str) -> str:
    """`text` with everything unprintable written as a backslash escape."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def for_people(message: Iterable[Any]) -> str:
    """A message as one line: strings as they are, everything else as JSON."""
    return " ".join(
        printable(value if isinstance(value, str) else to_json(value)) for value in message
    )
