"""The keeper of a node's credentials: renewal, revocation and expiry while the node runs.

Once a second it looks whether a file of the credentials changed, and reads them anew; SIGHUP has
it look at once. What is wrong with them is logged, and the former ones are kept; but if the trust
file is good, whom that does not believe any more is dropped all the same. With good ones:

1. New connections use them.
2. A new certificate of our own is *announced* on every link: a request ``tls_certificate`` with
   the certificate and a signature by its key over the tokens of both sides, which only this
   connection has. A peer that believes it judges the link by it from then on.
3. Every link is judged anew. If the peer's certificate was revoked, the link is ended, and the
   reason says so. If it expired, or its CA is gone, that is done after `GRACE_SECONDS`, unless the
   peer announces a good one by then: its files may have changed in the same moment as ours, and
   it looks at them a little later.

So a CA is replaced without losing a link: the new one goes into the trust files beside the old one,
nodes get certificates of the new one, and the old one is taken out.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from aemp_core.conversation import StreamNode
from aemp_core.errors import ConfigError
from aemp_core.finding import OK, WARNING, Finding

from .credentials import Credentials, Files
from .hangup import Hangup
from .identity import Identity, moment, name_of
from .pem import Key
from .trust import Trust

if TYPE_CHECKING:
    from aemp_core.node import Node
    from aemp_core.requests import Request

    from .tls import TlsStream

__all__ = ["LOOK_SECONDS", "REQUEST", "WARN_SECONDS", "Keeper"]

log = logging.getLogger("aemp_tls")

#: The node request that announces a new certificate.
REQUEST = "tls_certificate"
#: Seconds between two looks at the files.
LOOK_SECONDS = 1.0
#: Seconds that a link is kept whose certificate was good, and is not any more, without a fault of
#: the peer: two looks at its files, and a way.
GRACE_SECONDS = 3.0
#: Seconds after which files that could not be used are read again, changed or not.
RETRY_SECONDS = 60.0
#: Seconds before the end of a certificate from which on it is warned, once a day.
WARN_SECONDS = 21 * 86_400.0
DAY = 86_400.0


class Keeper:
    """The credentials of one node, and the streams that are judged by them.

    Args:
        node: the node. Without a setting `cert` there is nothing to keep.

    Raises:
        ConfigError: something is wrong with the credentials.

    Attributes:
        node: the node.
        now: tells seconds since the epoch.
    """

    def __init__(self, node: StreamNode) -> None:
        self.node = node
        self.now: Callable[[], float] = getattr(node, "wall_clock", time.time)
        self._streams: dict[TlsStream, None] = {}
        self._credentials: Credentials | None = None
        self._signature: tuple[object, ...] = ()
        self._retry_at = float("inf")
        self._warned: dict[bytes, float] = {}  # when it was, by certificate
        if node.settings.cert is not None:
            self._signature = Files.of(node.settings).signature()
            self._credentials = Credentials.load(node.settings, node.id, self.now())

    @property
    def credentials(self) -> Credentials:
        """What the node has now; `ConfigError` if it has no certificate."""
        if self._credentials is None:
            return Credentials.load(self.node.settings, self.node.id, self.now())
        return self._credentials

    def enter(self, stream: TlsStream) -> None:
        """A connection is about to be made."""
        self._streams[stream] = None

    def leave(self, stream: TlsStream) -> None:
        """A connection is gone."""
        self._streams.pop(stream, None)

    # -- looking at the files ------------------------------------------------------------------

    def start(self, node: Node) -> None:
        """Look after the credentials as long as `node` lives."""
        if self._credentials is None:
            return
        self.look()
        node.every(LOOK_SECONDS, self.look)
        Hangup(node, self.look)

    def reload(self) -> None:
        """`look`, if there is anything to look after."""
        if self._credentials is not None:
            self.look()

    def look(self) -> None:
        """Use what is in the files now, if it changed; end links that are not good any more."""
        assert self._credentials is not None
        now = self.now()
        signature = Files.of(self.node.settings).signature()
        if signature != self._signature or now >= self._retry_at:
            self._signature = signature
            self._reload(now)
        self._judge(now)
        self._warn(now)

    def _reload(self, now: float) -> None:
        former = self.credentials
        try:
            fresh = Credentials.load(self.node.settings, self.node.id, now)
        except ConfigError as error:
            self._retry_at = now + RETRY_SECONDS
            log.error("node %s goes on with its former credentials: %s", self.node.id, error)
            # Whatever is wrong with our own certificate: who was revoked is to be dropped.
            with suppress(ConfigError):
                self._credentials = replace(former, trust=Trust.read(former.files.trust))
            return
        self._retry_at = float("inf")
        if fresh.same_as(former):
            return
        self._credentials = fresh
        self._warned.clear()
        log.info(
            "node %s: new credentials: %s until %s, %d CAs", self.node.id, fresh.identity,
            moment(fresh.identity.ends), len(fresh.trust.authorities),
        )  # fmt: skip
        if fresh.identity.fingerprint != former.identity.fingerprint:
            for stream in list(self._streams):
                self._announce(stream)

    def _judge(self, now: float) -> None:
        """End every connection whose certificate is not believed any more."""
        for stream in list(self._streams):
            identity = stream.identity
            if identity is None:
                continue
            flaw = self.credentials.flaw(identity, now)
            if flaw is not None and self._accept(stream):
                identity = stream.identity
                flaw = self.credentials.flaw(identity, now) if identity is not None else None
            if flaw is None:
                stream.doubted = None
            elif not self._waits(stream):
                text = f"the certificate of {identity} {flaw}"
                log.warning("connection with %s ended: %s", stream.origin.address, text)
                stream.abort(text)

    def _waits(self, stream: TlsStream) -> bool:
        """Whether a link has time to announce a better certificate than the one it has."""
        identity, now = stream.identity, self.node.loop.time()
        if identity is None or not stream.is_link or self.credentials.trust.revoked(identity):
            return False
        if stream.doubted is None:
            stream.doubted = now
        return now < stream.doubted + GRACE_SECONDS

    def _warn(self, now: float) -> None:
        """Warn of what ends soon, once a day of each."""
        for fingerprint, text, remedy in self._endings(now):
            if now >= self._warned.get(fingerprint, float("-inf")) + DAY:
                self._warned[fingerprint] = now
                log.warning("%s: %s", text, remedy)

    def _endings(self, now: float) -> Iterator[tuple[bytes, str, str]]:
        """The certificates that end soon, by fingerprint, and what to do about each."""
        files, identity = self.credentials.files, self.credentials.identity
        if _ends_soon(identity.begins, identity.ends, now):
            yield (
                identity.fingerprint,
                f"{files.cert}: the certificate of node {self.node.id} ends on "
                f"{moment(identity.ends)}",
                f"run 'aemp ca renew {files.cert}'",
            )
        for authority in self.credentials.trust.authorities:
            begins = authority.certificate.not_valid_before_utc.timestamp()
            ends = authority.certificate.not_valid_after_utc.timestamp()
            if _ends_soon(begins, ends, now):
                yield (
                    authority.fingerprint,
                    f"{files.trust}: a CA certificate in it ends on {moment(ends)}",
                    "run 'aemp ca rotate'",
                )

    def findings(self) -> Iterator[Finding]:
        """What ``aemp doctor`` tells of the credentials, which are good, or there were none."""
        if self._credentials is None:
            return
        identity, trust = self._credentials.identity, self._credentials.trust
        cas = ", ".join(name_of(each.certificate.subject) for each in trust.authorities)
        yield Finding(
            "certificate", OK,
            f"{identity} until {moment(identity.ends)}; believed are those of {cas}",
        )  # fmt: skip
        for _, text, remedy in self._endings(self.now()):
            yield Finding("certificate", WARNING, text, remedy)

    # -- a new certificate on a link that is there ---------------------------------------------

    def _announce(self, stream: TlsStream) -> None:
        node = cast("Node", self.node)
        credentials = self.credentials
        for peer in list(node.peers.values()):
            if peer.session is not None and peer.session.link is stream:
                der = credentials.identity.der
                text = _text(stream.proof.ours, stream.proof.theirs, credentials.identity)
                node.snd(peer.id, REQUEST, der, _sign(credentials.key, text))

    def announced(self, request: Request, der: bytes, signature: bytes) -> None:
        """The peer has a new certificate: judge its link by that from now on."""
        stream: Any = None if request.session is None else request.session.link
        if stream not in self._streams:
            raise PermissionError("certificates are announced over links that have one")
        if not isinstance(der, bytes) or not isinstance(signature, bytes):
            raise TypeError("a certificate and a signature are bytes")
        stream.announced = der, signature
        self._accept(stream)

    def _accept(self, stream: TlsStream) -> bool:
        """Take over the certificate that was announced on a stream; whether there was a good one.

        One that is not believed is kept: its CA may reach our trust file after it.
        """
        if stream.announced is None:
            return False
        der, signature = stream.announced
        try:
            identity = Identity.of_der(der)
            text = _text(stream.proof.theirs, stream.proof.ours, identity)
            _verify(identity, signature, text)
            if identity.grant_for(stream.peer.id) is None:
                raise ConfigError(f"is that of {identity}")
            flaw = self.credentials.flaw(identity, self.now())
        except (ConfigError, InvalidSignature, TypeError) as error:
            stream.announced = None
            log.warning(
                "new certificate of %s not believed: it %s", stream.peer.id,
                str(error) or "has a wrong signature",
            )  # fmt: skip
            return False
        if flaw is not None:
            log.info("new certificate of %s not believed yet: it %s", stream.peer.id, flaw)
            return False
        stream.announced = None
        stream.channel.peer = identity
        return True


def _ends_soon(begins: float, ends: float, now: float) -> bool:
    return ends - now < min(WARN_SECONDS, (ends - begins) / 3)


def _text(signer: str, verifier: str, identity: Identity) -> bytes:
    """What the holder of a new certificate signs: the tokens of both sides are of one link."""
    lines = ("aemp tls_certificate", signer, verifier, identity.fingerprint.hex(), "")
    return "\n".join(lines).encode()


def _sign(key: Key, text: bytes) -> bytes:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(text)
    return key.sign(text, ec.ECDSA(hashes.SHA256()))


def _verify(identity: Identity, signature: bytes, text: bytes) -> None:
    key = identity.certificate.public_key()
    if isinstance(key, ed25519.Ed25519PublicKey):
        key.verify(signature, text)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(signature, text, ec.ECDSA(hashes.SHA256()))
    else:
        raise ConfigError("has a key that is neither an elliptic curve key nor Ed25519")
