"""PEM files: certificates, private keys and revocation lists in text files, with good errors.

Reading: whatever a file holds beside the blocks that are asked for is left alone, as OpenSSL does
it, so one file may hold a key and its certificate. Writing: a file appears complete or not at
all; what holds a key can be read by its owner alone, from its first byte on.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from aemp_core.errors import ConfigError
from aemp_core.whole_file import write_whole

__all__ = [
    "Key",
    "certificates_of",
    "check_private",
    "is_encrypted",
    "key_of",
    "key_pem",
    "read",
    "revocations_of",
    "write",
]

#: The private keys that certificates of nodes may have.
Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)


def read(path: str | Path, remedy: str) -> bytes:
    """The bytes of a file; `ConfigError` with `remedy` if there are none to be had."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}: {remedy}") from None


def _blocks(data: bytes, *labels: bytes) -> Iterator[bytes]:
    for match in _BLOCK.finditer(data):
        if match[1] in labels:
            yield match[0] + b"\n"


def certificates_of(data: bytes, path: str | Path, remedy: str) -> list[x509.Certificate]:
    """Every certificate in `data`, in order; `ConfigError` naming `path` if one is unreadable."""
    found: list[x509.Certificate] = []
    for block in _blocks(data, b"CERTIFICATE"):
        try:
            certificate = x509.load_pem_x509_certificate(block)
            # cryptography reads these when they are asked for: what is wrong with them shows now.
            _ = certificate.extensions, certificate.subject, certificate.public_key()
        except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
            raise ConfigError(
                f"{path}: certificate {len(found) + 1} in it is unreadable ({error}): {remedy}"
            ) from None
        found.append(certificate)
    return found


def revocations_of(
    data: bytes, path: str | Path, remedy: str
) -> list[x509.CertificateRevocationList]:
    """Every revocation list in `data`; `ConfigError` naming `path` if one is unreadable."""
    found: list[x509.CertificateRevocationList] = []
    for block in _blocks(data, b"X509 CRL"):
        try:
            revocations = x509.load_pem_x509_crl(block)
            _ = revocations.issuer, revocations.extensions
        except (ValueError, UnsupportedAlgorithm) as error:
            raise ConfigError(
                f"{path}: revocation list {len(found) + 1} in it is unreadable ({error}): {remedy}"
            ) from None
        found.append(revocations)
    return found


def is_encrypted(data: bytes) -> bool:
    """Whether there is a private key in `data` that is encrypted."""
    return next(_blocks(data, b"ENCRYPTED PRIVATE KEY"), None) is not None


def key_of(data: bytes, path: str | Path, passphrase: str | None, remedy: str) -> Key:
    """The private key in `data`.

    Raises:
        ConfigError: there is none, it is unreadable or of a kind we do not use, or `passphrase`
            is wrong or missing. The text names `path` and never repeats what is in it.
    """
    block = next(_blocks(data, b"PRIVATE KEY", b"ENCRYPTED PRIVATE KEY", b"EC PRIVATE KEY"), None)
    if block is None:
        raise ConfigError(f"{path}: there is no private key in it: {remedy}")
    encrypted = b"ENCRYPTED" in block
    if encrypted and passphrase is None:
        raise ConfigError(
            f"{path}: its private key is encrypted: give the passphrase (the setting "
            "cert_passphrase of a node, --passphrase-file of 'aemp ca')"
        )
    try:
        key: Any = serialization.load_pem_private_key(
            block, passphrase.encode() if encrypted and passphrase is not None else None
        )
    except (ValueError, TypeError, UnsupportedAlgorithm):
        if encrypted:
            raise ConfigError(
                f"{path}: its private key cannot be decrypted: is the passphrase the one it was "
                "encrypted with (cert_passphrase of a node, --passphrase-file of 'aemp ca')?"
            ) from None
        raise ConfigError(f"{path}: its private key is unreadable: {remedy}") from None
    if not isinstance(key, (ec.EllipticCurvePrivateKey, ed25519.Ed25519PrivateKey)):
        raise ConfigError(
            f"{path}: its private key is neither an elliptic curve key nor Ed25519: {remedy}"
        )
    return key


def key_pem(key: Key, passphrase: str | None) -> bytes:
    """A private key as PKCS #8, encrypted if there is a passphrase."""
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        encryption = serialization.BestAvailableEncryption(passphrase.encode())
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )


def check_private(path: str | Path) -> None:
    """Raise `ConfigError` if others than its owner may use the file at `path`."""
    if os.name != "posix":
        return
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    if mode & 0o077:
        raise ConfigError(
            f"{path}: holds a private key and others may use it (mode {stat.S_IMODE(mode):04o}): "
            f"run 'chmod 600 {path}' and, if anyone may have seen it, 'aemp ca revoke' and "
            "'aemp ca issue' a new one"
        )


def write(path: Path, data: bytes, *, private: bool, replace: bool) -> None:
    """Write a file, complete or not at all.

    Args:
        private: whether only its owner may use it.
        replace: whether a file of that name may be there already; it is replaced in one step.

    Raises:
        ConfigError: it cannot be written, or there is one already; nothing was changed.
    """
    try:
        write_whole(path, data, mode=0o600 if private else 0o644, replace=replace)
    except FileExistsError:
        raise ConfigError(f"{path}: there is such a file already: remove it first") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror or error}") from None
