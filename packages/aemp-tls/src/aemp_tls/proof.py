"""The proof: the authentication method of AEMP inside TLS.

TLS has shown by then that each side holds the key of its certificate. The token ties that to the
AEMP handshake inside: it covers role, both greetings and nonces, method, framing and the SHA-256
of both certificates, the prover's first, so neither a greeting nor a whole handshake of one TLS
connection is worth anything in another. With a secret it is an HMAC keyed with that, and so a
proof of its own; without one it is a plain hash, which nobody but the two ends of the TLS
connection can put there.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable

from aemp_core.wire import Transcript

__all__ = ["METHOD", "METHOD_WITH_SECRET", "CertificateProof"]

METHOD = "tls_sha3_512_role"
METHOD_WITH_SECRET = "tls_hmac_sha3_512_role"


class CertificateProof:
    """The method on one connection.

    Args:
        with_secret: whether both sides must know a secret, too.
        fingerprints: tells the SHA-256 of our certificate and the peer's, once TLS is there.

    Attributes:
        ours: our token, "" before it was made.
        theirs: the peer's token, "" before it was verified.
    """

    def __init__(self, with_secret: bool, fingerprints: Callable[[], tuple[bytes, bytes]]) -> None:
        self.name = METHOD_WITH_SECRET if with_secret else METHOD
        self._with_secret = with_secret
        self._fingerprints = fingerprints
        self.ours = self.theirs = ""

    def token(self, transcript: Transcript, secret: bytes) -> str:
        """Lower-case hexadecimal SHA3-512, or HMAC of it keyed with the hash of `secret`."""
        ours, theirs = self._fingerprints()
        self.ours = self._token(transcript, secret, ours, theirs)
        return self.ours

    def verify(self, transcript: Transcript, token: str, secret: bytes) -> bool:
        """Compared in constant time."""
        ours, theirs = self._fingerprints()
        self.theirs = self._token(transcript, secret, theirs, ours)
        return hmac.compare_digest(token, self.theirs)

    def _token(self, transcript: Transcript, secret: bytes, prover: bytes, other: bytes) -> str:
        text = b"%s\n%s%s;%s\n%s\n%s\n" % (
            transcript.role.encode(),
            transcript.lines(),
            transcript.method.encode(),
            transcript.framing.encode(),
            prover.hex().encode(),
            other.hex().encode(),
        )
        if not self._with_secret:
            return hashlib.sha3_512(text).hexdigest()
        return hmac.new(hashlib.sha3_512(secret).digest(), text, hashlib.sha3_512).hexdigest()
