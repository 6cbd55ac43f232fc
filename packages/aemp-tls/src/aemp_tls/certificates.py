"""Certificates: how those of a CA and of its nodes are made, and its revocation list.

A certificate of a node has no subject: who its holder is says the one URI in its subject
alternative name, which is critical for that reason. It is good for both sides of TLS, signs
nothing else, and is told apart from every other by a random serial number.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .names import Grant
from .pem import Key

__all__ = ["KeyKind", "ca_certificate", "new_key", "node_certificate", "revocation_list"]

KeyKind = Literal["p256", "ed25519"]


def new_key(kind: KeyKind) -> Key:
    """A fresh private key."""
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(ec.SECP256R1())


def ca_certificate(
    network: str, number: int, key: Key, begins: float, ends: float, serial: int | None = None
) -> x509.Certificate:
    """A certificate by which a CA vouches for itself.

    Args:
        network: the name of the network it is for.
        number: which CA of that network it is: no two may have one name.
        key: its private key.
        begins: seconds since the epoch.
        ends: seconds since the epoch.
        serial: its serial number; None: a random one.
    """
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, network),
            x509.NameAttribute(NameOID.COMMON_NAME, f"AEMP CA {number} of {network}"),
        ]
    )
    return (
        _builder(key, begins, ends, serial)
        .subject_name(name)
        .issuer_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, _hash(key))
    )


def node_certificate(
    grant: Grant, key: Key, begins: float, ends: float, ca: x509.Certificate, ca_key: Key,
    serial: int | None = None,
) -> x509.Certificate:  # fmt: skip
    """A certificate for the holder of a key.

    Args:
        grant: which node IDs its holder may go by.
        key: the private key of the holder.
        begins: seconds since the epoch.
        ends: seconds since the epoch.
        ca: the certificate of the CA.
        ca_key: the private key of the CA.
        serial: its serial number; None: a random one.
    """
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
    identifier = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    issuer = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(str(grant))])
    return (
        _builder(key, begins, ends, serial)
        .subject_name(x509.Name([]))
        .issuer_name(ca.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(issuer, critical=False)
        .add_extension(names, critical=True)
        .sign(ca_key, _hash(ca_key))
    )


def revocation_list(
    ca: x509.Certificate, ca_key: Key, begins: float, revoked: Iterable[tuple[int, float]]
) -> x509.CertificateRevocationList:
    """What a CA wants believed no more.

    Args:
        ca: the certificate of the CA.
        ca_key: its private key.
        begins: seconds since the epoch.
        revoked: serial numbers, each with the seconds since the epoch of its revocation.
    """
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(ca.subject)
        .last_update(_date(begins))
        .next_update(ca.not_valid_after_utc)
    )
    for serial, when in revoked:
        line = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(_date(when))
        builder = builder.add_revoked_certificate(line.build())
    return builder.sign(ca_key, _hash(ca_key))


def _builder(key: Key, begins: float, ends: float, serial: int | None) -> x509.CertificateBuilder:
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        x509.CertificateBuilder()
        .serial_number(x509.random_serial_number() if serial is None else serial)
        .not_valid_before(_date(begins))
        .not_valid_after(_date(ends))
        .public_key(key.public_key())
        .add_extension(identifier, critical=False)
    )


def _date(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)


def _hash(key: Key) -> hashes.SHA256 | None:
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
