"""The inputs to begin with: valid sessions, and every known attack on a handshake.

Written into the corpus by `python -m fuzz seeds`, from what is listed here and from the recorded
session of the reference implementation.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack

from .corpus import CORPUS, ROOT

__all__ = ["write_seeds"]

RECORDED = ROOT / "packages/aemp-core/tests/wire/data/aemp-1.30-session.jsonl"

GREETING = (
    b"aemp;1;peer;%s;%s;provider=fuzz;peeraddr=;incarnation=00000000000000;heartbeat=10;"
    b"frame=65536;features=fence\n"
)
BOTH = b"hmac_sha3_512_role,hmac_sha3_512"
MESSAGES: tuple[list[Any], ...] = (
    ["", "mon1", "x.1"],
    ["x.1", "tag", 1, -1, 2.5, "text", "", None, True, [1, [2]], {"k": "v"}, "é"],
    [],
    ["", "kil0", "x.1", "die", "Error: text"],
    ["x.1", 2**64 - 1, -(2**63), 1e300, {"a": {"b": [[], {}]}}],
)
#: Requests to the node port, from every kind of peer; $0..$4 are ports there (see `inside`).
REQUESTS: tuple[list[Any], ...] = (
    ["", "mon1", "$0"], ["$0", "tag", 1], ["", "mon0", "$0"], ["", "kil", "$1", "die", "x"],
    ["", "mon1", "nosuch"], ["", "kil0", "#p", "die", "x"], ["", "snd", "#0", "tag", 2],
    ["", "snd_multiple", ["#0", 1], ["#1", 2], ["#p", 3]], ["", "info", "#p", "t"],
    ["", "known_nodes", "#p"], ["", "up_nodes", "#p"], ["", "time", "#p", 1, 2],
    ["", "fence", "$2", "#p", "t"], ["", "devnull"], ["", ""], ["", "eval", "1/0", "#p", "t"],
    ["", "AnyEvent::MP::_spawn", "$s", "fuzz:init", 1], ["", "mon1", "$t"], ["$t", "go"],
    ["", "AnyEvent::MP::_spawn", "$s", "fuzz:fail"], ["", "mon1", "$t"],
    ["", "AnyEvent::MP::_spawn", "$s", "fuzz:later", 3], ["", "fuzz:echo", "#p", 1],
    ["", "snd", "us", "kil", "$0"], ["$2", "get"], ["$3", "x"], ["", "AnyEvent::MP::_spawn", 1],
    ["", "snd", "other#1", 1], ["", "nosuch:function"], ["", "kil", ""], ["$4", "x", "y"],
)  # fmt: skip


def write_seeds() -> int:
    """Write every seed; return how many there are."""
    count = 0
    for target, name, data in _seeds():
        directory = CORPUS / target
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"valid-{name}").write_bytes(data)
        count += 1
    return count


def _seeds() -> Iterator[tuple[str, str, bytes]]:
    frames = {
        "msgpack": b"".join(map(msgpack.packb, MESSAGES)),
        "json": b"".join(map(_json, MESSAGES)),
    }
    yield "msgpack", "messages", b"\x04\x03" + frames["msgpack"]
    yield "json", "messages", b"\x04\x03" + frames["json"]
    yield "msgpack", "bytes", b"\x04\x01" + msgpack.packb(["p", b"\x00\xff", b""])
    yield "long", "list", b"\x02\x05\x92\xa1p\xdc\x04\x10\xc1\xf0\xc0"
    yield "long", "text", b"\x03\x02\x92\xa1p\xdb\x00\x01\x80\x00\xc1\xffa\xc1\xf7b"
    yield "json", "escapes", b'\x04\x02["p","\\u00e9\\ud83d\\ude00\\n\\\\"] [ ]\n["",1e3,-0.5]'
    yield "long", "json-text", b'\x83\x06["p","\xc1\xf1x\xc1\xf1\\"]'
    yield "msgpack", "deepest", b"\x04\x01\x92\xa1p\xc1\x7e\x91\x90\x91\xa1q"
    yield "msgpack", "too-deep", b"\x04\x01\x92\xa1p\xc1\x7f\x91\x90\x91\xa1q"
    yield "json", "deepest", b'\x04\x01["p",\xc1\x7f[\xc1\x7f]]["q"]'
    yield "json", "too-deep", b'\x04\x01["p",\xc1\x80[\xc1\x80]]["q"]'
    recorded = _recorded()
    yield "json", "recorded-session", b"\x06\x07" + b"".join(recorded)[:400]
    packed = b"".join(msgpack.packb(json.loads(frame)) for frame in recorded)
    yield "msgpack", "recorded-session", b"\x06\x07" + packed[:400]
    for target, head in (("dial", b"%c%c\x01"), ("accept", b"%c%c\x01\x00")):
        yield from _handshakes(target, head, frames)
    yield "inside", "requests", b"\x00" + b"".join(map(msgpack.packb, REQUESTS))
    for number in range(0, len(REQUESTS), 5):
        some = b"".join(map(msgpack.packb, REQUESTS[number : number + 5]))
        yield "inside", f"requests-{number // 5}", b"\x01" + some


def _handshakes(
    target: str, head: bytes, frames: dict[str, bytes]
) -> Iterator[tuple[str, str, bytes]]:
    for framing, setting in (("msgpack", 0), ("json", 4)):
        greeting = GREETING % (BOTH, framing.encode())
        proof = b"\nhmac_sha3_512_role;%c;" + framing.encode() + b"\n"
        for name, token in (("", 0xFA), ("-other-secret", 0xFB), ("-mirrored", 0xFC),
                            ("-replayed", 0xFE), ("-echoed", 0xFD)):  # fmt: skip
            data = greeting + b"\xff" + proof % token + frames[framing]
            yield target, f"{framing}{name}", head % (setting, 3) + data
    legacy = GREETING % (b"hmac_sha3_512", b"json") + b"\xff\nhmac_sha3_512;\xfa;json\n"
    yield target, "legacy", head % (1, 5) + legacy + frames["json"]
    clear = GREETING % (BOTH, b"json,msgpack") + b"\xff\ncleartext;\xf6;json\n" + frames["json"]
    yield target, "cleartext-on-loopback", head % (0x42, 0) + clear
    yield target, "cleartext-from-afar", head % (0x02, 0) + clear
    early = GREETING % (BOTH, b"json") + b"\xff\nhmac_sha3_512_role;\xfa;json\n"
    early_head = b"%c%c\x09\x00" if target == "accept" else b"%c%c\xfd"  # read late, or never
    yield target, "early", early_head % (0, 9) + early + b'["p","\xc1\xf0x"]'
    yield target, "echo", head % (0, 0) + b"\xf8\n\xf9\n"
    yield (
        target,
        "carriage-returns",
        head % (0, 2)
        + (
            (GREETING % (BOTH, b"json") + b"\xff\nhmac_sha3_512_role;\xfa;json\n").replace(
                b"\n", b"\r\n"
            )
        ),
    )


def _recorded() -> list[bytes]:
    entries = map(json.loads, Path(RECORDED).read_text("utf-8").splitlines())
    return [entry["utf8"].encode() for entry in entries if entry.get("phase") == "data"]


def _json(message: list[Any]) -> bytes:
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()
