"""An identity: a certificate as AEMP reads it, with the node IDs it grants and its time."""

from __future__ import annotations

import time
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from aemp_core.errors import ConfigError

from .names import SCHEME, Grant

__all__ = ["Identity", "moment", "name_of"]


def moment(seconds: float) -> str:
    """A point in time, in seconds since the epoch, for people."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


def name_of(name: x509.Name) -> str:
    """The subject or issuer of a certificate, for people."""
    common = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(common[0].value) if common else name.rfc4514_string() or "(without a name)"


@dataclass(frozen=True)
class Identity:
    """What a certificate says of its holder; nothing here is checked against a CA.

    Attributes:
        certificate: the certificate.
        grants: the names it gives its holder, at least one, all of one network.
        fingerprint: the SHA-256 of its DER form.
        begins: seconds since the epoch from which it is valid.
        ends: seconds since the epoch until which it is valid.
    """

    certificate: x509.Certificate
    grants: tuple[Grant, ...]
    fingerprint: bytes
    begins: float
    ends: float

    @classmethod
    def of(cls, certificate: x509.Certificate) -> Identity:
        """Read a certificate; `ConfigError`, naming the field, if it is none of a node."""
        try:
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
            uris = names.value.get_values_for_type(x509.UniformResourceIdentifier)
        except x509.ExtensionNotFound:
            uris = []
        grants = tuple(Grant.parse(uri) for uri in uris if uri.startswith(SCHEME))
        if not grants:
            raise ConfigError(f"its subjectAltName holds no URI {SCHEME}NETWORK/NODEID")
        if len({grant.network for grant in grants}) > 1:
            raise ConfigError("its subjectAltName names several networks")
        return cls(
            certificate,
            grants,
            certificate.fingerprint(hashes.SHA256()),
            certificate.not_valid_before_utc.timestamp(),
            certificate.not_valid_after_utc.timestamp(),
        )

    @classmethod
    def of_der(cls, der: bytes) -> Identity:
        """Read a certificate as it comes over the wire; `ConfigError` if that cannot be done."""
        try:
            certificate = x509.load_der_x509_certificate(der)
            return cls.of(certificate)
        except ConfigError:
            raise
        except ValueError as error:
            raise ConfigError(f"it is unreadable: {error}") from None

    @property
    def network(self) -> str:
        """The network it is good for."""
        return self.grants[0].network

    @property
    def serial(self) -> int:
        """Its serial number, by which it is revoked."""
        return self.certificate.serial_number

    @property
    def der(self) -> bytes:
        """The certificate as it goes over the wire."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    def grant_for(self, node_id: str) -> Grant | None:
        """The grant by which its holder may go by `node_id`, the exact one first."""
        fitting = [grant for grant in self.grants if grant.covers(node_id)]
        return min(fitting, key=lambda grant: grant.is_pattern, default=None)

    def untimely(self, now: float) -> str | None:
        """Why it is not valid at `now`, seconds since the epoch; None if it is."""
        if now < self.begins:
            return f"is not valid before {moment(self.begins)} (notBefore)"
        if now > self.ends:
            return f"expired on {moment(self.ends)} (notAfter)"
        return None

    def __str__(self) -> str:
        return ", ".join(map(str, self.grants))
