"""The proof: it covers all that was said, who said it, and both certificates."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from aemp_core.wire import Transcript
from aemp_tls.proof import METHOD, METHOD_WITH_SECRET, CertificateProof

OURS, THEIRS = b"\x01" * 32, b"\x02" * 32
SECRET = b"a secret of these tests"
SAID = Transcript("dial", b"aemp;1;a", b"bm9uY2U=", b"aemp;1;b", b"bm9uc2U=", METHOD, "json", True)


def token(
    said: Transcript = SAID, ours: bytes = OURS, theirs: bytes = THEIRS, secret: bytes | None = None
) -> str:
    return CertificateProof(secret is not None, lambda: (ours, theirs)).token(said, secret or b"")


@pytest.mark.parametrize("secret", [None, SECRET])
def test_the_other_side_verifies_it(secret: bytes | None) -> None:
    prover = CertificateProof(secret is not None, lambda: (OURS, THEIRS))
    verifier = CertificateProof(secret is not None, lambda: (THEIRS, OURS))
    assert prover.name == verifier.name == (METHOD if secret is None else METHOD_WITH_SECRET)
    made = prover.token(SAID, secret or b"")
    assert verifier.verify(SAID, made, secret or b"")
    assert prover.ours == verifier.theirs == made
    assert not verifier.verify(SAID, made[:-1], secret or b"")


@pytest.mark.parametrize("secret", [None, SECRET])
@pytest.mark.parametrize(
    "change",
    [
        {"role": "accept"},
        {"greeting": b"aemp;1;c"},
        {"nonce": b"bm9uZGU="},
        {"peer_greeting": b"aemp;1;c"},
        {"peer_nonce": b"bm9uZGU="},
        {"method": "another"},
        {"framing": "msgpack"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_proof_covers_all_that_was_said(change: dict[str, Any], secret: bytes | None) -> None:
    assert token(replace(SAID, **change), secret=secret) != token(secret=secret)


@pytest.mark.parametrize("secret", [None, SECRET])
def test_a_proof_covers_both_certificates_and_the_secret(secret: bytes | None) -> None:
    found = {
        token(secret=secret),
        token(ours=b"\x03" * 32, secret=secret),
        token(theirs=b"\x03" * 32, secret=secret),
        token(ours=THEIRS, theirs=OURS, secret=secret),
        token(secret=b"another secret, as long"),
    }
    assert len(found) == 5
