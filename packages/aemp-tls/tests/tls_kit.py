"""What the tests of aemp-tls share: a CA whose certificates lie in a directory, and nodes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtensionOID, NameOID

import aemp_core as mp
from aemp_tls import pem
from aemp_tls.authority import CA
from aemp_tls.certificates import new_key, node_certificate
from aemp_tls.names import Grant

__all__ = ["SECONDS", "Office", "crafted"]

#: Seconds that what must happen over real sockets may take on a busy machine.
SECONDS = 25.0


class Office:
    """A CA, and the directory where the files of its nodes lie.

    Attributes:
        ca: the CA.
        desk: the directory with a ``network.pem`` and the certificates.
    """

    def __init__(self, directory: Path, network: str, **options: Any) -> None:
        directory.mkdir(exist_ok=True)
        self.ca = CA.init(directory / f"ca of {network}", network, **options)
        self.desk = directory / f"desk of {network}"
        self.desk.mkdir()
        self.publish()

    def publish(self) -> None:
        """Put the CA's network.pem on the desk, as an operator copies it to the nodes."""
        fresh = self.desk / "fresh"
        fresh.write_bytes(self.ca.trust.read_bytes())
        fresh.replace(self.desk / "network.pem")

    def cert(self, name: str, file: str | None = None, **options: Any) -> str:
        """The path of a new certificate for `name`, its key beside it in the file."""
        path = self.desk / (file or name.replace("/", "-").replace("*", "any") + ".pem")
        draft = path.with_suffix(".draft")
        draft.write_bytes(self.ca.issue(name, **options))
        draft.chmod(0o600)
        draft.replace(path)
        return str(path)

    def node(self, node_id: str, grant: str | None = None, **settings: Any) -> mp.Node:
        """A node with a certificate of this CA."""
        settings.setdefault("cert", None)
        if settings["cert"] is None:
            settings["cert"] = self.cert(grant or node_id)
        return mp.Node(node_id, **settings)


def crafted(
    office: Office, directory: Path, *, grant: Grant | None, issuer: str | None = None
) -> str:
    """The path of a certificate that no CA of ours would issue, signed by the office's CA.

    Args:
        grant: what it grants; None: it has no name at all.
        issuer: the file of a node's certificate to sign with, instead of the CA's.
    """
    key = new_key("p256")
    ca, ca_key = office.ca.certificate(1), office.ca._key(1, None)
    if issuer is not None:
        data = Path(issuer).read_bytes()
        ca = pem.certificates_of(data, issuer, "")[0]
        ca_key = pem.key_of(data, issuer, None, "")
    now = time.time()
    name = grant or Grant.of("example", "nobody")
    certificate = node_certificate(name, key, now - 60, now + 3_600, ca, ca_key)
    if grant is None:
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bob")]))
            .issuer_name(certificate.issuer)
            .public_key(key.public_key())
            .serial_number(certificate.serial_number)
            .not_valid_before(certificate.not_valid_before_utc)
            .not_valid_after(certificate.not_valid_after_utc)
        )
        for extension in certificate.extensions:
            if extension.oid != ExtensionOID.SUBJECT_ALTERNATIVE_NAME:
                builder = builder.add_extension(extension.value, extension.critical)
        certificate = builder.sign(ca_key, hashes.SHA256())
    path = directory / "crafted.pem"
    chain = [certificate] if issuer is None else [certificate, ca]
    path.write_bytes(
        pem.key_pem(key, None)
        + b"".join(each.public_bytes(serialization.Encoding.PEM) for each in chain)
    )
    path.chmod(0o600)
    return str(path)
