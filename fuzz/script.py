"""Scripts: how an input says which bytes come, in which pieces.

The first bytes of an input, its *head*, choose among settings of the target and where the stream
is cut. The rest is the stream, in which a few bytes stand for more:

    C1 n b          a *run* of byte b: n bytes, from n = F0 on 4 KiB, 8 KiB, ... 64 KiB
                    (n = 0: the bytes C1 and b themselves)
    F6, F8..FF      in the three lines of a handshake: lines and tokens, see `MARKS`

None of these bytes occurs in UTF-8, and C1 in no MessagePack head either. Tokens are computed here,
from the words of the protocol and not by the code under test, over the lines as they really go
out: right ones, and wrong ones of every kind an attacker could make.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["MARKS", "SECRET", "TOKEN_METHODS", "Lines", "cut", "expand_runs", "play", "right_token"]

SECRET = b"the secret that targets share with the peers they trust"
WRONG_SECRET = b"the secret of somebody else altogether"
NONCE = base64.b64encode(hashlib.sha512(b"nonce of the peer").digest() + b"\x00\x01")

RUN = 0xC1
LONG_RUN, LONG_RUN_UNIT = 0xF0, 4_096
#: No stream is longer: an input may not take more than its share of time.
MAX_STREAM = 66_560
#: Nor, after a handshake, than this.
MAX_DATA = 4_608
#: Pieces a stream is cut into before the rest comes in one; byte by byte, and otherwise.
MANY_PIECES, PIECES = 40, 5

TOKEN_METHODS = (b"hmac_sha3_512_role", b"hmac_sha3_512", b"cleartext")
MARKS = {
    0xF6: "the secret in hexadecimal",
    0xF8: "our own greeting line",
    0xF9: "our own nonce line",
    0xFA: "the right token for the method and framing of its line",
    0xFB: "the same, of another secret",
    0xFC: "the same, of the other side of the connection",
    0xFD: "our own token",
    0xFE: "the right token for another nonce",
    0xFF: "a nonce",
}
_MARK = re.compile(rb"[\xf6\xf8-\xff]")
_RUNS = re.compile(rb"\xc1(.)(.)", re.DOTALL)


@dataclass
class Lines:
    """What one side says in a handshake, without line ends."""

    role: bytes
    greeting: bytes
    nonce: bytes


def right_token(
    who: Lines, other: Lines, method: bytes, framing: bytes, secret: bytes = SECRET
) -> bytes:
    """The token by which `who` proves itself to `other`, in the words of the protocol."""
    if method == b"cleartext":
        return secret.hex().encode()
    text = b"".join(line + b"\n" for line in (who.greeting, who.nonce, other.greeting, other.nonce))
    if method != b"hmac_sha3_512":
        text = who.role + b"\n" + text + method + b";" + framing + b"\n"
    key = hashlib.sha3_512(secret).digest()
    return hmac.new(key, text, hashlib.sha3_512).hexdigest().encode()


def cut(stream: bytes, seed: int) -> Iterator[bytes]:
    """The stream in pieces: whole (0), byte by byte for a while (1), in halves and other ways."""
    if seed == 0:
        yield stream
        return
    at, state = 0, seed
    for _ in range(MANY_PIECES if seed == 1 else PIECES):
        if at >= len(stream):
            return
        state = (state * 1_103_515_245 + 12_345) & 0x7FFFFFFF
        size = 1 if seed == 1 else 1 + (state >> 16) % (1 << 1 + seed % 15)
        yield stream[at : at + size]
        at += size
    if at < len(stream):
        yield stream[at:]


def expand_runs(data: bytes, most: int = MAX_STREAM) -> bytes:
    """The stream that the part after a handshake stands for, at most so many bytes of it."""
    if RUN not in data:
        return data
    return _RUNS.sub(_run, data)[:most]


def _run(found: re.Match[bytes]) -> bytes:
    count, byte = found[1][0], found[2]
    if count >= LONG_RUN:
        return byte * ((count - LONG_RUN + 1) * LONG_RUN_UNIT)
    return byte * count if count else bytes((RUN,)) + byte


def play(data: bytes, ours: Lines) -> tuple[bytes, Lines, bytes]:
    """The stream of a peer that has read our greeting and nonce.

    Returns:
        the stream; the lines by which the peer greets in it, as read; the line that is its proof.
    """
    role = b"accept" if ours.role == b"dial" else b"dial"
    parts = data.split(b"\n", 3)
    rest = b"\n" + expand_runs(parts.pop(), MAX_DATA) if len(parts) == 4 else b""
    lines: list[bytes] = []
    for part in parts:
        peer = Lines(role, _read(lines, 0), _read(lines, 1))
        lines.append(expand_runs(_expand_marks(part, ours, peer), MAX_DATA))
    peer = Lines(role, _read(lines, 0), _read(lines, 1))
    return b"\n".join(lines) + rest, peer, _read(lines, 2)


def _read(lines: list[bytes], number: int) -> bytes:
    return lines[number].removesuffix(b"\r") if number < len(lines) else b""


def _expand_marks(line: bytes, ours: Lines, peer: Lines) -> bytes:
    return _MARK.sub(lambda mark: _meant(mark[0][0], line, ours, peer), line)


def _meant(mark: int, line: bytes, ours: Lines, peer: Lines) -> bytes:
    """What a mark stands for in `line`."""
    if mark == 0xF6:
        return SECRET.hex().encode()
    if mark == 0xF8:
        return ours.greeting
    if mark == 0xF9:
        return ours.nonce
    if mark == 0xFF:
        return NONCE
    method, framing = line.split(b";", 1)[0], line.rsplit(b";", 1)[-1].removesuffix(b"\r")
    if mark == 0xFB:
        return right_token(peer, ours, method, framing, WRONG_SECRET)
    if mark == 0xFC:
        peer = Lines(ours.role, peer.greeting, peer.nonce)
    if mark == 0xFD:
        return right_token(ours, peer, method, framing)
    if mark == 0xFE:
        peer = Lines(peer.role, peer.greeting, peer.nonce[:-4] + b"AAAA")
    return right_token(peer, ours, method, framing)
