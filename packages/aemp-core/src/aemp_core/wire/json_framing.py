"""The framing ``json``: JSON texts, one after the other, nothing needed between them.

The decoder lets the JSON parser of Python find out where each text ends. That fails for the last
one of a read if its rest is still to come (or if it is no JSON): then its brackets and quotes
are counted, each byte once, until the text is whole, and only then is it parsed again.
"""

from __future__ import annotations

import json
import re
from typing import Any

from ..errors import RemoteProtocolError
from .greeting import quote
from .values import MAX_DEPTH, MAX_INT, MIN_INT, sift, unpack

__all__ = ["JsonFraming"]

#: Bytes parsed at once, at most: an attempt on an incomplete text costs no more than this.
STRIDE = 1_048_576
#: More digits than any int we take; the time to convert them grows with their square.
MAX_DIGITS = 20

_OPEN, _CLOSE = b"[{", b"]}"
_QUOTE, _BACKSLASH = b'"\\'
_SPACE = re.compile(r"[ \t\n\r]*")
#: Runs of bytes that cannot end a text: outside of strings (numbers, true, false, null), inside.
_OUTSIDE = re.compile(rb"[-+.0-9Eaeflnrstu,: \t\n\r]*")
_INSIDE = re.compile(rb'[^"\\\x00-\x1f]*')


class JsonFraming:
    """What nodes of the reference implementation speak.

    JSON knows no bytes: they arrive as a str of one character per byte (Latin-1).
    """

    name = "json"

    def encode(self, packed: bytes) -> bytes:
        """The JSON text of the message in `packed`, in UTF-8."""
        return _encoder.encode(unpack(packed)).encode()

    def decoder(self, limit: int) -> JsonDecoder:
        """A decoder that refuses texts of more than `limit` bytes."""
        return JsonDecoder(limit)


class JsonDecoder:
    """Reads concatenated JSON texts; see `Decoder`."""

    def __init__(self, limit: int) -> None:
        self.error: RemoteProtocolError | None = None
        self._limit = limit
        self._stride = min(limit, STRIDE)
        # An incomplete text, how far it was looked through, and what is open there.
        self._text = bytearray()
        self._seen = 0
        self._open = bytearray()
        self._in_string = False

    def decode(self, data: bytes) -> list[list[Any]]:
        """See `Decoder.decode`."""
        if self.error is not None:
            return []
        self._escaped = False
        batch: list[Any] = []
        fault = None
        try:
            for start in range(0, len(data), self._stride):
                rest = data[start : start + self._stride]
                while rest:
                    rest = self._read_on(rest, batch) if self._text else self._read(rest, batch)
        except (ValueError, RecursionError) as error:
            fault = f"unreadable json frame: {error}"
        messages, flaw = sift(batch, closely=self._escaped)
        if flaw or fault:
            self.error = RemoteProtocolError(flaw or fault)
            self._text.clear()
            self._open.clear()
        return messages

    def _read(self, data: bytes, batch: list[Any]) -> bytes:
        """Parse the whole texts in `data`, which begins between two; keep the rest."""
        cut = b""
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            # Most likely the read ended within a character.
            text, cut = data[: error.start].decode(), data[error.start :]
        at = _SPACE.match(text).end()  # type: ignore[union-attr]  # it matches anything
        try:
            while at < len(text):
                value, end = _decoder.raw_decode(text, at)
                batch.append(value)
                at = _SPACE.match(text, end).end()  # type: ignore[union-attr]
        except (ValueError, RecursionError):
            pass  # incomplete or wrong: `_read_on` tells
        self._escaped |= "\\u" in text
        if at < len(text) or cut:
            return self._read_on(text[at:].encode() + cut, batch)
        return b""

    def _read_on(self, data: bytes, batch: list[Any]) -> bytes:
        """Add `data` to the incomplete text; parse it if it is whole, and return what is over."""
        self._text += data
        end = self._find_end()
        if (end or len(self._text)) > self._limit:
            raise ValueError(f"it is longer than {self._limit} bytes")
        if not end:
            return b""
        rest = bytes(self._text[end:])
        text = self._text[:end].decode()
        self._text.clear()
        self._seen = 0
        self._escaped |= "\\u" in text
        batch.append(_decoder.decode(text))
        return rest

    def _find_end(self) -> int:
        """Where the incomplete text ends, 0 if it does not yet; sees each byte once."""
        text, at, size = self._text, self._seen, len(self._text)
        while at < size:
            if self._in_string:
                at = _INSIDE.match(text, at).end()  # type: ignore[union-attr]
                if at == size or (text[at] == _BACKSLASH and at + 1 == size):
                    break
                if text[at] == _BACKSLASH:
                    at += 2
                    continue
                if text[at] != _QUOTE:
                    raise ValueError(f"a string holds the control character {text[at]:#04x}")
                self._in_string = False
            else:
                at = _OUTSIDE.match(text, at).end() if self._open else at  # type: ignore[union-attr]
                if at == size:
                    break
                if text[at] in _OPEN:
                    self._open.append(text[at])
                    if len(self._open) > MAX_DEPTH:
                        raise ValueError(f"values are nested more than {MAX_DEPTH} deep")
                elif not self._open:
                    raise ValueError(f"a message begins with '[', not {chr(text[at])!a}")
                elif text[at] == _QUOTE:
                    self._in_string = True
                elif text[at] in _CLOSE and _CLOSE.find(text[at]) == _OPEN.find(self._open[-1]):
                    self._open.pop()
                    if not self._open:
                        return at + 1
                else:
                    raise ValueError(f"unexpected {chr(text[at])!a}")
            at += 1
        self._seen = at
        return 0


def _int(digits: str) -> int:
    if len(digits) <= MAX_DIGITS:
        number = int(digits)
        if MIN_INT <= number <= MAX_INT:
            return number
    raise ValueError(f"{quote(digits)} is outside -2**63..2**64-1")


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _latin_1(value: bytes) -> str:
    return value.decode("latin-1")


_decoder = json.JSONDecoder(parse_int=_int, parse_constant=_refuse_constant)
_encoder = json.JSONEncoder(
    ensure_ascii=False,
    allow_nan=False,
    check_circular=False,
    separators=(",", ":"),
    default=_latin_1,  # the only plain values that JSON does not know are bytes
)
