"""Authentication: how a side proves that it knows the secret.

A proof is a *token*, computed over the *transcript*: everything both sides said so far, and
what the prover is about to do. Each method here is one way to compute it. The name of a method
is what greetings list; which methods a node sends and accepts is its configuration.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Literal, Protocol

from ..errors import LocalProtocolError, RemoteProtocolError

__all__ = ["AuthMethod", "Cleartext", "HmacSha3", "HmacSha3Role", "Role", "Transcript"]

#: Which side of a connection a node is: the one that dialled, or the one that accepted.
Role = Literal["dial", "accept"]


@dataclass(frozen=True)
class Transcript:
    """What a token covers, as seen by the side that proves itself, the *prover*.

    Attributes:
        role: the prover's side of the connection.
        greeting: the prover's greeting line, without its line end.
        nonce: the prover's nonce line.
        peer_greeting: the other side's greeting line.
        peer_nonce: the other side's nonce line.
        method: the name of the authentication method.
        framing: the name of the framing the prover will write.
        loopback: whether the connection stays on this machine.
    """

    role: Role
    greeting: bytes
    nonce: bytes
    peer_greeting: bytes
    peer_nonce: bytes
    method: str
    framing: str
    loopback: bool

    def lines(self) -> bytes:
        """The four lines of both sides, the prover's first, each with a line end."""
        return b"".join(
            line + b"\n"
            for line in (self.greeting, self.nonce, self.peer_greeting, self.peer_nonce)
        )


class AuthMethod(Protocol):
    """One way to compute and check tokens; add more with the hook `aemp_auth_methods`."""

    @property
    def name(self) -> str:
        """The name that greetings list and auth lines begin with."""

    def token(self, transcript: Transcript, secret: bytes) -> str:
        """Our token: printable ASCII without ``;``. `transcript` is ours."""

    def verify(self, transcript: Transcript, token: str, secret: bytes) -> bool:
        """Whether the peer's `token` is right. `transcript` is the peer's, its role included.

        May raise `RemoteProtocolError` to say more than that it is wrong.
        """


class HmacSha3Role:
    """The method of AEMP for Python: bound to the side, the method and the framing.

    Binding the side is what stops *reflection*: were tokens the same on both sides, whoever
    reaches two listeners could pipe them together and speak as either to the other.
    """

    name = "hmac_sha3_512_role"

    def token(self, transcript: Transcript, secret: bytes) -> str:
        """Lower-case hexadecimal HMAC-SHA3-512, keyed with the hash of `secret`."""
        text = b"%s\n%s%s;%s\n" % (
            transcript.role.encode(),
            transcript.lines(),
            transcript.method.encode(),
            transcript.framing.encode(),
        )
        return _hmac_sha3_512(secret, text)

    def verify(self, transcript: Transcript, token: str, secret: bytes) -> bool:
        """Compared in constant time."""
        return hmac.compare_digest(token, self.token(transcript, secret))


class HmacSha3:
    """The symmetric method of the AEMP protocol, for peers that know no better.

    Open to reflection (see `HmacSha3Role`): used only if the configuration names it.
    """

    name = "hmac_sha3_512"

    def token(self, transcript: Transcript, secret: bytes) -> str:
        """Lower-case hexadecimal HMAC-SHA3-512, keyed with the hash of `secret`."""
        return _hmac_sha3_512(secret, transcript.lines())

    def verify(self, transcript: Transcript, token: str, secret: bytes) -> bool:
        """Compared in constant time."""
        return hmac.compare_digest(token, self.token(transcript, secret))


class Cleartext:
    """The secret itself, in lower-case hexadecimal: accepted on loopback, never sent."""

    name = "cleartext"

    def token(self, transcript: Transcript, secret: bytes) -> str:
        """Refuse: raises `LocalProtocolError`."""
        raise LocalProtocolError("cleartext authentication is never sent: take it off auth_offer")

    def verify(self, transcript: Transcript, token: str, secret: bytes) -> bool:
        """Compared in constant time; `RemoteProtocolError` if the connection is not loopback."""
        if not transcript.loopback:
            raise RemoteProtocolError("cleartext authentication is accepted on loopback only")
        return hmac.compare_digest(token, secret.hex())


def _hmac_sha3_512(secret: bytes, text: bytes) -> str:
    key = hashlib.sha3_512(secret).digest()
    return hmac.new(key, text, hashlib.sha3_512).hexdigest()
