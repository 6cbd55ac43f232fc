"""Trust: whose certificates are believed, and which of them are not any more.

The *trust file*, the same on all nodes of a network and no secret, holds certificates of CAs and
their revocation lists. A certificate of a node is good if one of these CAs issued it, directly;
to use a CA that has another above it put the lower one in the file. A list whose CA is not there
matters to nobody, so a CA is taken away by deleting its certificate. A list that is older than
its `nextUpdate` goes on to count: a network must not fall silent because nobody made a new one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization

from aemp_core.errors import ConfigError

from . import pem
from .identity import Identity, name_of

__all__ = ["Authority", "Trust"]

REMEDY = "'aemp ca init' makes such a file, network.pem, to be copied to every node"


@dataclass(frozen=True)
class Authority:
    """A CA that is believed.

    Attributes:
        certificate: the certificate of the CA.
        revoked: serial numbers of its certificates that are not good any more.
    """

    certificate: x509.Certificate
    revoked: frozenset[int]

    @property
    def fingerprint(self) -> bytes:
        """The SHA-256 of its certificate."""
        return self.certificate.fingerprint(hashes.SHA256())

    def issued(self, certificate: x509.Certificate) -> bool:
        """Whether it signed `certificate`."""
        try:
            certificate.verify_directly_issued_by(self.certificate)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            return False
        return True


@dataclass(frozen=True)
class Trust:
    """The content of a trust file.

    Attributes:
        path: the file.
        authorities: the CAs in it, at least one.
    """

    path: str
    authorities: tuple[Authority, ...]
    #: Who issued what, by fingerprint: links are judged once a second, signatures once.
    _issuers: dict[bytes, Authority] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def read(cls, path: str | Path) -> Trust:
        """Read a trust file.

        Raises:
            ConfigError: it holds no CA, or something in it is wrong. The text names the file, the
                field and the remedy.
        """
        return cls.parse(pem.read(path, REMEDY), path)

    @classmethod
    def parse(cls, data: bytes, path: str | Path) -> Trust:
        """As `read`, of the bytes of the file at `path`."""
        certificates = pem.certificates_of(data, path, REMEDY)
        if not certificates:
            raise ConfigError(f"{path}: there is no CA certificate in it: {REMEDY}")
        for certificate in certificates:
            flaw = _no_authority(certificate)
            if flaw is not None:
                raise ConfigError(
                    f"{path}: the certificate of {name_of(certificate.subject)!r} in it is none "
                    f"of a CA: {flaw}: {REMEDY}"
                )
        revoked: list[set[int]] = [set() for _ in certificates]
        for revocations in pem.revocations_of(data, path, REMEDY):
            named = [
                (certificate, serials)
                for certificate, serials in zip(certificates, revoked, strict=True)
                if certificate.subject == revocations.issuer
            ]
            signed = [
                serials for certificate, serials in named if _signed(certificate, revocations)
            ]
            if named and not signed:
                raise ConfigError(
                    f"{path}: the revocation list of {name_of(revocations.issuer)!r} in it has a "
                    "wrong signature: copy network.pem anew from where 'aemp ca' keeps it"
                )
            for serials in signed:
                serials.update(each.serial_number for each in revocations)
        authorities = zip(certificates, revoked, strict=True)
        return cls(str(path), tuple(Authority(each, frozenset(of)) for each, of in authorities))

    @property
    def der(self) -> bytes:
        """The certificates of all CAs, one after the other."""
        return b"".join(
            authority.certificate.public_bytes(serialization.Encoding.DER)
            for authority in self.authorities
        )

    def issuer_of(self, identity: Identity) -> Authority | None:
        """Which CA issued the certificate of `identity`; None if it is none of ours."""
        known = self._issuers.get(identity.fingerprint)
        if known is not None:
            return known
        for authority in self.authorities:
            if authority.issued(identity.certificate):
                self._issuers[identity.fingerprint] = authority
                return authority
        return None

    def revoked(self, identity: Identity) -> bool:
        """Whether one of our CAs issued a certificate, and took it back."""
        authority = self.issuer_of(identity)
        return authority is not None and identity.serial in authority.revoked

    def flaw(self, identity: Identity, network: str, now: float) -> str | None:
        """Why `identity` is not to be believed, None if it is; see `Identity.untimely`.

        The text goes on where "the certificate" is left off.
        """
        if identity.network != network:
            return f"is for the network {identity.network!r}, not {network!r} (subjectAltName)"
        authority = self.issuer_of(identity)
        if authority is None:
            known = ", ".join(repr(name_of(each.certificate.subject)) for each in self.authorities)
            return (
                f"was issued by {name_of(identity.certificate.issuer)!r} (issuer), and {self.path} "
                f"holds {known}"
            )
        if identity.serial in authority.revoked:
            return f"was revoked (serial number {identity.serial:x})"
        return identity.untimely(now)


def _no_authority(certificate: x509.Certificate) -> str | None:
    """Why a certificate is none of a CA."""
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        if not constraints.value.ca:
            return "its basicConstraints say so"
    except x509.ExtensionNotFound:
        return "it has no basicConstraints"
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
        if not usage.value.key_cert_sign:
            return "its keyUsage does not let it sign certificates"
    except x509.ExtensionNotFound:
        return "it has no keyUsage"
    return None


def _signed(certificate: x509.Certificate, revocations: x509.CertificateRevocationList) -> bool:
    key = certificate.public_key()
    try:
        return revocations.is_signature_valid(key)  # type: ignore[arg-type]
    except TypeError:  # no kind of key that signs
        return False
