"""The greeting and nonce lines: what is read, what is refused, and in whose name."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_kit import quick

from aemp_core.errors import LocalProtocolError, RemoteProtocolError
from aemp_core.wire import MAX_LINE, MIN_NONCE_BYTES, NONCE_BYTES, PROVIDER, Greeting
from aemp_core.wire.greeting import nonce_line, parse_nonce, quote

INCARNATION = "0123456789abcd"


def test_a_greeting_reads_back_as_it_was_written() -> None:
    greeting = Greeting("a/b", ("one", "two"), ("msgpack",), {"provider": PROVIDER, "x": "1=2"})
    assert greeting.line() == f"aemp;1;a/b;one,two;msgpack;provider={PROVIDER};x=1=2".encode()
    assert Greeting.parse(greeting.line()) == greeting


def test_the_shortest_greeting_has_five_fields() -> None:
    assert Greeting.parse(b"aemp;1;n;;") == Greeting("n", (), ())


def test_unknown_keys_methods_framings_and_odd_fields_are_harmless() -> None:
    greeting = Greeting.parse("aemp;1;n;new,hmac;cbor,json;new=ü;novalue;=x;k=1;k=2".encode())
    assert greeting.auths == ("new", "hmac")
    assert greeting.framings == ("cbor", "json")
    assert greeting.attributes == {"new": "ü", "": "x", "k": "2"}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"", "no AEMP greeting"),
        (b"HTTP/1.1 400 Bad Request", "no AEMP greeting"),
        (b"aemp2;1;n;a;f", "no AEMP greeting"),
        (b"aemp", "lacks fields"),
        (b"aemp;1", "lacks fields"),
        (b"aemp;1;n;a", "lacks fields"),
        (b"aemp;0;n;a;f", "protocol version '0', we speak 1"),
        (b"aemp;2", "protocol version '2'"),
        (b"aemp;01;n;a;f", "protocol version '01'"),
        (b"aemp;1;;a;f", "'' in the greeting is no node ID"),
        (b"aemp;1;a b;a;f", "'a b' in the greeting is no node ID"),
        (b"aemp;1;a#b;a;f", "no node ID"),
        (b"aemp;1;" + b"n" * 256 + b";a;f", "no node ID"),
        (b"aemp;1;n;a;f;k=\xff", "not UTF-8"),
        (b"aemp;1;n;a;f;k=\x1b[31m", "control characters"),
        (b"aemp;1;n;a;f\r", "control characters"),
        ("aemp;1;n;a;f;k=\u2028".encode(), "control characters"),
    ],
)
def test_lines_that_are_no_greeting_are_the_peers_fault(line: bytes, problem: str) -> None:
    with pytest.raises(RemoteProtocolError, match=problem) as caught:
        Greeting.parse(line)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "greeting",
    [
        Greeting("a;b", (), ()),
        Greeting("", (), ()),
        Greeting("n", ("a,b",), ()),
        Greeting("n", ("a;b",), ()),
        Greeting("n", (), ("f",), {"k": "a;b=c"}),
        Greeting("n", (), ("f",), {"k=x": "a"}),
        Greeting("n", (), ("f",), {"k": "two\nlines"}),
        Greeting("n", (), ("f",), {"k": "\udc80"}),
        Greeting("n", (), ("f",), {"k": "x" * MAX_LINE}),
    ],
)
def test_a_greeting_that_would_be_read_differently_is_our_fault(greeting: Greeting) -> None:
    with pytest.raises(LocalProtocolError):
        greeting.line()


def test_a_line_may_fill_four_kilobytes_with_its_end() -> None:
    room = MAX_LINE - 1 - len(b"aemp;1;n;;;k=")
    assert len(Greeting("n", (), (), {"k": "x" * room}).line()) == MAX_LINE - 1
    with pytest.raises(LocalProtocolError, match="configure fewer"):
        Greeting("n", (), (), {"k": "x" * (room + 1)}).line()


def test_what_a_peer_says_of_itself() -> None:
    line = (
        f"aemp;1;n;a;f;incarnation={INCARNATION};heartbeat=2.5;frame=65536;"
        "provider=X;features=fence,new;peeraddr=127.0.0.1:1"
    )
    peer = Greeting.parse(line.encode()).peer_info("tcp://there")
    assert (peer.id, peer.incarnation, peer.heartbeat) == ("n", INCARNATION, 2.5)
    assert (peer.frame_limit, peer.provider, peer.features) == (
        65_536,
        "X",
        frozenset({"fence", "new"}),
    )
    assert peer.attributes["peeraddr"] == "127.0.0.1:1"
    assert peer.origin == "tcp://there"


def test_a_peer_need_not_say_anything_of_itself() -> None:
    peer = Greeting.parse(b"aemp;1;n;a;f").peer_info()
    assert (peer.incarnation, peer.heartbeat, peer.frame_limit) == (None, None, None)
    assert (peer.provider, peer.features, peer.attributes) == ("", frozenset(), {})


@pytest.mark.parametrize(
    ("said", "meant"), [("0.001", 1.0), ("1", 1.0), ("3600", 3600.0), ("999999999", 3600.0)]
)
def test_the_heartbeat_a_peer_asks_for_has_bounds(said: str, meant: float) -> None:
    assert Greeting("n", (), (), {"heartbeat": said}).peer_info().heartbeat == meant


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("incarnation", ""),
        ("incarnation", "short"),
        ("incarnation", INCARNATION + "x"),
        ("heartbeat", ""),
        ("heartbeat", "nan"),
        ("heartbeat", "-1"),
        ("heartbeat", "1e3"),
        ("heartbeat", "1" * 10),
        ("heartbeat", "\u0661"),
        ("frame", "0"),
        ("frame", "1.5"),
        ("frame", "9" * 16),
    ],
)
def test_malformed_values_of_known_keys_are_the_peers_fault(key: str, value: str) -> None:
    with pytest.raises(RemoteProtocolError, match=f"{key}="):
        Greeting("n", (), (), {key: value}).peer_info()


def test_nonces_go_as_base64() -> None:
    nonce = bytes(range(NONCE_BYTES))
    assert len(nonce_line(nonce)) == 88
    assert parse_nonce(nonce_line(nonce)) == nonce


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"", "has 0 bytes"),
        (b"some-nonce", "not base64"),
        (base64.b64encode(bytes(MIN_NONCE_BYTES - 1)), "has 31 bytes, at least 32"),
        (base64.b64encode(bytes(66))[:-1], "not base64"),
        (b" " + base64.b64encode(bytes(66)), "not base64"),
        (base64.b64encode(bytes(48))[:-4] + b"\xc3\xa4aa", "not base64"),
        (b"-_" * 44, "not base64"),
    ],
)
def test_nonces_that_prove_nothing_are_refused(line: bytes, problem: str) -> None:
    with pytest.raises(RemoteProtocolError, match=problem):
        parse_nonce(line)


def test_what_a_peer_wrote_is_quoted_short_and_printable() -> None:
    assert quote(b"\x00ab") == r"b'\x00ab'"
    assert len(quote(b"\x00" * 4_000)) == len(quote("ä\x00" * 4_000)) == 100


@quick
@given(st.binary(max_size=200) | st.text(max_size=60).map(lambda t: f"aemp;1;n;{t}".encode()))
def test_any_line_is_a_greeting_or_the_peers_fault(line: bytes) -> None:
    try:
        Greeting.parse(line).peer_info()
    except RemoteProtocolError as error:
        assert len(str(error)) < 250
