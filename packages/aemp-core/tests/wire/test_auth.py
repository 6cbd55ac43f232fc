"""Authentication: what a token covers, and which tokens are refused."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace
from typing import Any

import pytest

from aemp_core.errors import LocalProtocolError, RemoteProtocolError
from aemp_core.wire import AuthMethod, Cleartext, HmacSha3, HmacSha3Role, Transcript

SECRET = b"demo-secret, longer"
TRANSCRIPT = Transcript(
    role="dial",
    greeting=b"aemp;1;a;m;f",
    nonce=b"AAAA",
    peer_greeting=b"aemp;1;b;m;f",
    peer_nonce=b"BBBB",
    method="hmac_sha3_512_role",
    framing="msgpack",
    loopback=False,
)
MIRRORED = Transcript(
    role="accept",
    greeting=TRANSCRIPT.peer_greeting,
    nonce=TRANSCRIPT.peer_nonce,
    peer_greeting=TRANSCRIPT.greeting,
    peer_nonce=TRANSCRIPT.nonce,
    method=TRANSCRIPT.method,
    framing=TRANSCRIPT.framing,
    loopback=False,
)


def test_the_role_bound_token_is_the_one_the_protocol_says() -> None:
    text = b"dial\naemp;1;a;m;f\nAAAA\naemp;1;b;m;f\nBBBB\nhmac_sha3_512_role;msgpack\n"
    expected = hmac.new(hashlib.sha3_512(SECRET).digest(), text, "sha3_512").hexdigest()
    assert HmacSha3Role().token(TRANSCRIPT, SECRET) == expected


def test_the_symmetric_token_is_the_one_the_protocol_says() -> None:
    text = b"aemp;1;a;m;f\nAAAA\naemp;1;b;m;f\nBBBB\n"
    expected = hmac.new(hashlib.sha3_512(SECRET).digest(), text, "sha3_512").hexdigest()
    assert HmacSha3().token(TRANSCRIPT, SECRET) == expected


@pytest.mark.parametrize("method", [HmacSha3Role(), HmacSha3()])
def test_a_token_verifies(method: AuthMethod) -> None:
    token = method.token(TRANSCRIPT, SECRET)
    assert token == token.lower()
    assert method.verify(TRANSCRIPT, token, SECRET)
    assert not method.verify(TRANSCRIPT, token, SECRET + b"x")
    assert not method.verify(TRANSCRIPT, token[:-1], SECRET)
    assert not method.verify(TRANSCRIPT, token.upper(), SECRET)
    assert not method.verify(TRANSCRIPT, "", SECRET)


@pytest.mark.parametrize(
    "changes",
    [
        {"role": "accept"},
        {"greeting": b"aemp;1;a;m;f2"},
        {"nonce": b"AAAB"},
        {"peer_greeting": b"aemp;1;c;m;f"},
        {"peer_nonce": b"BBBC"},
        {"method": "hmac_sha3_512"},
        {"framing": "json"},
        {"greeting": b"aemp;1;a;m;f\nAAAA", "nonce": b"aemp;1;b;m;f"},
    ],
)
def test_the_role_bound_token_covers_everything_said(changes: dict[str, Any]) -> None:
    token = HmacSha3Role().token(TRANSCRIPT, SECRET)
    assert not HmacSha3Role().verify(replace(TRANSCRIPT, **changes), token, SECRET)


def test_reflection_a_token_is_no_token_of_the_other_side() -> None:
    """Two listeners piped together: each gets what another listener made."""
    token = HmacSha3Role().token(replace(MIRRORED, role="accept"), SECRET)
    assert not HmacSha3Role().verify(replace(MIRRORED, role="dial"), token, SECRET)
    # That is the weakness of the symmetric method, and why it is off unless configured.
    assert HmacSha3().verify(
        replace(MIRRORED, role="dial"), HmacSha3().token(MIRRORED, SECRET), SECRET
    )


def test_cleartext_is_accepted_on_loopback_only() -> None:
    near = replace(TRANSCRIPT, loopback=True)
    assert Cleartext().verify(near, SECRET.hex(), SECRET)
    assert not Cleartext().verify(near, SECRET.hex()[:-2], SECRET)
    with pytest.raises(RemoteProtocolError, match="loopback only"):
        Cleartext().verify(TRANSCRIPT, SECRET.hex(), SECRET)


def test_cleartext_is_never_sent() -> None:
    with pytest.raises(LocalProtocolError, match="never sent"):
        Cleartext().token(replace(TRANSCRIPT, loopback=True), SECRET)
