"""Counting the words of a file: plain functions that know nothing of nodes or messages.

A *word* is what `str.split` yields: characters between white space. A *text file* is a regular
file that is UTF-8 without NUL bytes; anything else is *skipped*, and for what reason is said.
Files are read in pieces, so their length costs no memory.
"""

from __future__ import annotations

import codecs
import hashlib
import os
import stat
import threading
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

__all__ = ["Count", "Skipped", "count_directly", "count_words"]

PIECE_BYTES = 256 * 1024


class Count(NamedTuple):
    """What a file holds; the digest tells whether two counts were of the same bytes."""

    words: int
    size: int
    digest: bytes


class Skipped(Exception):
    """The file was not counted.

    Attributes:
        kind: ``binary``, ``unreadable``, ``vanished`` or ``special`` (no regular file).
        text: one line for people.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(kind, text)
        self.kind = kind
        self.text = text


def _open(path: bytes) -> BinaryIO:
    try:
        # Without O_NONBLOCK opening a pipe would wait for somebody to write into it.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        file = open(os.open(path, flags), "rb", buffering=PIECE_BYTES)
    except FileNotFoundError as error:
        raise Skipped("vanished", error.strerror or "no such file") from None
    except OSError as error:
        raise Skipped("unreadable", error.strerror or str(error)) from None
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise Skipped("special", "no regular file")
    return file


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    try:
        while piece := file.read(PIECE_BYTES):
            if b"\0" in piece:
                raise Skipped("binary", "it has NUL bytes")
            yield piece
    except OSError as error:
        raise Skipped("unreadable", error.strerror or str(error)) from None


def count_words(path: bytes) -> Count:
    """Count the words of the file, or raise `Skipped`. This is what the workers do."""
    words = size = 0
    digest = hashlib.blake2b(digest_size=16)
    decoder = codecs.getincrementaldecoder("utf-8")()
    in_word = False  # whether the piece before ended inside a word
    with _open(path) as file:
        for piece in _pieces(file):
            size += len(piece)
            digest.update(piece)
            try:
                text = decoder.decode(piece)
            except UnicodeDecodeError:
                raise Skipped("binary", "it is not UTF-8") from None
            if text:
                words += len(text.split())
                if in_word and not text[0].isspace():
                    words -= 1
                in_word = not text[-1].isspace()
        try:
            decoder.decode(b"", True)
        except UnicodeDecodeError:
            raise Skipped("binary", "it ends inside a UTF-8 character") from None
    return Count(words, size, digest.digest())


def count_directly(path: bytes, stop: threading.Event) -> Count:
    """The same by another way, line by line, to check the workers by; ends early once `stop`."""
    words = size = 0
    digest = hashlib.blake2b(digest_size=16)
    with _open(path) as file:
        try:
            for line in file:
                if b"\0" in line:
                    raise Skipped("binary", "it has NUL bytes")
                size += len(line)
                digest.update(line)
                words += len(line.decode().split())
                if stop.is_set():
                    break
        except UnicodeDecodeError:
            raise Skipped("binary", "it is not UTF-8") from None
        except OSError as error:
            raise Skipped("unreadable", error.strerror or str(error)) from None
    return Count(words, size, digest.digest())
