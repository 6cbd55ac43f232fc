"""Credentials: what a node proves itself with, and whom it believes, as one checked whole.

They are read from two files: that of the setting `cert` holds the certificate of the node and its
private key, the other one (see `trust`) is the same on all nodes. Everything that can be wrong
with them is found when they are read, before a node listens, and again when a file changes.
"""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from aemp_core.errors import ConfigError
from aemp_core.settings import Settings

from . import pem
from .identity import Identity, moment
from .pem import Key
from .trust import Trust

__all__ = ["Credentials", "Files"]

#: The name of the trust file that is looked for beside the certificate.
TRUST_NAME = "network.pem"
#: How often files are read again that change while they are read.
ATTEMPTS = 5


@dataclass(frozen=True)
class Files:
    """Where credentials are.

    Attributes:
        cert: the file of the certificate.
        key: the file of the private key; often the same.
        trust: the file of CA certificates and revocation lists.
    """

    cert: Path
    key: Path
    trust: Path

    @classmethod
    def of(cls, settings: Settings) -> Files:
        """The files that the settings name; `ConfigError` if there is no `cert` among them."""
        if settings.cert is None:
            raise ConfigError(
                "tls:// needs a certificate: set 'cert' to the file that "
                f"'{_issuing(settings.nodeid)}' makes"
            )
        cert = Path(settings.cert).expanduser()
        return cls(
            cert,
            Path(settings.cert_key).expanduser() if settings.cert_key else cert,
            Path(settings.cert_trust).expanduser()
            if settings.cert_trust
            else cert.with_name(TRUST_NAME),
        )

    def signature(self) -> tuple[object, ...]:
        """Something that changes when one of the files does."""
        return tuple(_stamp(path) for path in (self.cert, self.key, self.trust))


def _issuing(nodeid: str) -> str:
    """The command that makes a certificate for nodes with this setting `nodeid`."""
    if not nodeid or nodeid.endswith("/"):
        nodeid = (nodeid or "anon/") + "%u"
    stem, unique, _ = nodeid.partition("%u")
    return f'aemp ca issue "{stem}*" --pattern' if unique else f"aemp ca issue {nodeid}"


def _stamp(path: Path) -> object:
    try:
        status = os.stat(path)
    except OSError as error:
        return error.errno
    return status.st_mtime_ns, status.st_size, status.st_ino


@dataclass(frozen=True)
class Credentials:
    """What one node proves itself with, and whom it believes.

    Attributes:
        files: where they come from.
        identity: the certificate of the node.
        key: its private key.
        trust: whom it believes.
        dialling: the TLS context of connections it makes.
        accepting: the TLS context of connections made to it.
    """

    files: Files
    identity: Identity
    key: Key = field(repr=False)
    trust: Trust
    dialling: ssl.SSLContext
    accepting: ssl.SSLContext

    @classmethod
    def load(cls, settings: Settings, node_id: str, now: float) -> Credentials:
        """Read and check the credentials of a node.

        Args:
            settings: whose `cert`, `cert_key`, `cert_trust` and `cert_passphrase` to use.
            node_id: the ID that the node goes by.
            now: seconds since the epoch.

        Raises:
            ConfigError: something is wrong with them. The text names the file, the field and what
                mends it.
        """
        files = Files.of(settings)
        for _ in range(ATTEMPTS):
            before = files.signature()
            credentials = cls._load(files, settings, node_id, now)
            # OpenSSL read the files by itself: what it read must be what was checked.
            if files.signature() == before:
                return credentials
        raise ConfigError(f"{files.cert}: it changes while it is read: leave it alone for a while")

    @classmethod
    def _load(cls, files: Files, settings: Settings, node_id: str, now: float) -> Credentials:
        passphrase = settings.cert_passphrase
        issue = f"run '{_issuing(settings.nodeid)}'"
        certificates = pem.certificates_of(pem.read(files.cert, issue), files.cert, issue)
        if not certificates:
            raise ConfigError(f"{files.cert}: there is no certificate in it: {issue}")
        try:
            identity = Identity.of(certificates[0])
        except ConfigError as error:
            raise ConfigError(f"{files.cert}: {error}: {issue}") from None
        pem.check_private(files.key)
        key = pem.key_of(pem.read(files.key, issue), files.key, passphrase, issue)
        if _public(key) != _public(identity.certificate):
            raise ConfigError(
                f"{files.key}: its private key is not that of the certificate "
                f"{identity} in {files.cert} (subjectPublicKeyInfo): {issue}"
            )
        if identity.grant_for(node_id) is None:
            raise ConfigError(
                f"{files.cert}: its subjectAltName is {identity}, and this node is called "
                f"{node_id!r}: {issue}, or set nodeid to what the certificate says"
            )
        trust = Trust.read(files.trust)
        flaw = trust.flaw(identity, identity.network, now)
        if flaw is not None:
            late = identity.untimely(now) == flaw
            mend = (
                f"; the clock of this machine says {moment(now)}: set it if that is wrong, else "
                f"run 'aemp ca renew {files.cert}'"
                if late
                else f": {issue} with the CA of {files.trust}"
            )
            raise ConfigError(f"{files.cert}: the certificate {flaw}{mend}")
        try:
            contexts = [_context(role, files, passphrase, trust) for role in ("dial", "accept")]
        except (ssl.SSLError, OSError) as error:
            raise ConfigError(f"{files.cert}: OpenSSL refuses it ({error}): {issue}") from None
        return cls(files, identity, key, trust, *contexts)

    def same_as(self, other: Credentials) -> bool:
        """Whether nothing that matters differs."""
        return (self.identity.fingerprint, self.trust) == (other.identity.fingerprint, other.trust)

    def flaw(self, identity: Identity, now: float) -> str | None:
        """Why a peer's certificate is not to be believed, see `Trust.flaw`; None if it is."""
        return self.trust.flaw(identity, self.identity.network, now)


def _public(holder: object) -> bytes:
    return bytes(
        holder.public_key().public_bytes(  # type: ignore[attr-defined]
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )


def _context(role: str, files: Files, passphrase: str | None, trust: Trust) -> ssl.SSLContext:
    """TLS as we speak it: version 1.3 alone, certificates on both sides, no tickets.

    Which node is at the other end is none of OpenSSL's business, so it checks no host name.
    """
    dialling = role == "dial"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT if dialling else ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    if not dialling:
        context.num_tickets = 0
    # A function, so that OpenSSL never asks on the terminal.
    context.load_cert_chain(files.cert, files.key, password=lambda: passphrase or "")
    context.load_verify_locations(cadata=trust.der)
    return context
