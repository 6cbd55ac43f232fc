"""The framing json: what Perl nodes speak, read strictly and in linear time."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_kit import LIMIT, cut, decode_all, quick, sizes, texts

from aemp_core.wire import JsonFraming, pack

FRAMING = JsonFraming()


def test_json_is_written_compact_in_utf_8_with_bytes_as_latin_1() -> None:
    packed = pack(("a", b"\xff\x00", 1.5, None, True, {"k": [1, -(2**63)]}, "üm€😀", 2**64 - 1))
    text = (
        '["a","ÿ\\u0000",1.5,null,true,{"k":[1,-9223372036854775808]},"üm€😀",18446744073709551615]'
    )
    assert FRAMING.encode(packed) == text.encode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('["a"]["b"]', [["a"], ["b"]]),
        (' \t\r\n["a"] \n\n ["b"]\n', [["a"], ["b"]]),
        ('[ "a" , { "k" : [ ] } ]', [["a", {"k": []}]]),
        ('["[]{}\\"\\\\",{"]":"["}]', [['[]{}"\\', {"]": "["}]]),
        ('["ü€😀\x7f"]', [["ü€😀\x7f"]]),
        ('["\\u00e4\\/\\ud83d\\ude00\\\\ud800"]', [["ä/😀\\ud800"]]),
        ('["a",{"x":1,"x":2}]', [["a", {"x": 2}]]),
        ('["a",-0,0.5e-3,1E2,99999999999999999999.5]', [["a", 0, 0.0005, 100.0, 1e20]]),
        ('["a",18446744073709551615,-9223372036854775808]', [["a", 2**64 - 1, -(2**63)]]),
        ("[][ ]", []),
        ('["a",' + "[" * 127 + "]" * 127 + "]", [["a", json.loads("[" * 127 + "]" * 127)]]),
    ],
)
def test_texts_read(text: str, expected: list[Any]) -> None:
    data = text.encode()
    for pieces in ([data], cut(data, [1] * len(data)), cut(data, [3] * len(data))):
        decoder = FRAMING.decoder(LIMIT)
        assert decode_all(decoder, pieces) == expected
        assert decoder.error is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"\x00", "begins with '[', not '\\x00'"),
        (b"GET / HTTP/1.1\r\n\r\n", "begins with '[', not 'G'"),
        (b'\xef\xbb\xbf["a"]', "begins with '['"),
        (b"12", "a message is a list, not int"),
        (b'{"a":1}', "a message is a list, not dict"),
        (b'"a"', ""),
        (b"]", "begins with '[', not ']'"),
        (b"[1]", "begins with a str, not int"),
        (b"[null]", "begins with a str"),
        (b'["a",]', "line 1 column"),
        (b'["a" "b"]', "Expecting ',' delimiter"),
        (b'["a",{"k"}]', "Expecting ':' delimiter"),
        (b'["a",{1:2}]', "Expecting property name"),
        (b'["a",tru]', "Expecting value"),
        (b'["a",01]', "Expecting ',' delimiter"),
        (b'["a"}', "unexpected '}'"),
        (b'["a",\x00', "unexpected '\\x00'"),
        (b"['a']", 'unexpected "\'"'),
        (b'["a",NaN]', "unexpected 'N'"),
        (b'["a",-Infinity]', "unexpected 'I'"),
        (b'["a",1e999]', "inf is not a finite float"),
        (b'["a",18446744073709551616]', "outside -2**63..2**64-1"),
        (b'["a",-9223372036854775809]', "outside -2**63..2**64-1"),
        (b'["a",' + b"9" * 30_000 + b"]", "outside -2**63..2**64-1"),
        (b'["\xff"]', "can't decode byte 0xff"),
        (b'["\xed\xa0\x80"]', "can't decode byte 0xed"),
        (b'["\xc3"]', "can't decode byte 0xc3"),
        (b'["\\ud800"]', "lone surrogate '\\ud800'"),
        (b'["a",{"\\udfff\\ud800":1}]', "lone surrogate '\\udfff'"),
        (b'["a\n"]', "control character 0x0a"),
        (b'["\\x"]', "Invalid \\escape"),
        (b'["\\u12g4"]', "Invalid \\uXXXX escape"),
        (b'["a",' + b"[" * 128 + b"]" * 128 + b"]", "nested more than 128 deep"),
        (b"[" * 60_000, "nested more than 128 deep"),
        (b'["a",' + b'{"k":' * 1_000, "nested more than 128 deep"),
    ],
)
def test_texts_that_are_no_message(text: bytes, problem: str) -> None:
    for pieces in ([b'["good"]' + text], [b'["good"]', text], cut(b'["good"]' + text, [7] * 9_999)):
        decoder = FRAMING.decoder(LIMIT)
        assert decode_all(decoder, pieces) == [["good"]]
        assert problem in str(decoder.error)
        assert len(str(decoder.error)) < 250
        assert decoder.decode(b'["good"]') == []


TOKENS = r"""[ ] { } " \ , : 1 - . e true null NaN a "a" ["a"] "k": \u d800 é 😀""".split()

json_like = st.lists(st.sampled_from([*TOKENS, " ", "\n"]), max_size=30).map("".join)


@quick
@given(json_like, sizes)
def test_whatever_looks_like_json_is_read_the_same_at_any_cut(text: str, sizes: list[int]) -> None:
    data = text.encode()
    whole, pieces = FRAMING.decoder(LIMIT), FRAMING.decoder(LIMIT)
    assert whole.decode(data) == decode_all(pieces, cut(data, sizes))
    assert (whole.error is None) == (pieces.error is None)


@quick
@given(st.lists(texts, min_size=1, max_size=5), sizes)
def test_texts_escaped_as_ascii_read_at_any_cut(message: list[str], sizes: list[int]) -> None:
    data = json.dumps(message).encode()
    decoder = FRAMING.decoder(LIMIT)
    assert decode_all(decoder, cut(data, sizes)) == [message]


def test_a_long_text_in_small_pieces_is_looked_through_once() -> None:
    """The time grows with the bytes, not with bytes times pieces: see how far it has looked."""
    decoder = FRAMING.decoder(LIMIT)
    text = b'["a","' + b"\\n[x" * 5_000
    for at, piece in enumerate(cut(text, [1] * len(text))):
        assert decoder.decode(piece) == []
        assert at - decoder._seen <= 1
    assert len(decoder.decode(b'"]')[0][1]) == 15_000
