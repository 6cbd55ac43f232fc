"""Credentials: whatever is wrong with them is told before anything listens.

Every text names the file, the field, and the command that mends it.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
from tls_kit import Office, crafted

import aemp_core as mp
from aemp_core.errors import ConfigError
from aemp_core.settings import Settings
from aemp_tls.credentials import Credentials, Files
from aemp_tls.names import Grant
from aemp_tls.trust import Trust

DAY = 86_400.0


async def refused(cert: str | Path, nodeid: str = "alice", **settings: Any) -> str:
    """Why a node does not start; it has bound nothing then."""
    bound: list[Any] = []
    node = mp.Node(nodeid, cert=str(cert), binds=["tls://127.0.0.1:0"], **settings)
    with pytest.raises(ConfigError) as raised:
        await node.start()
    assert node.addresses == bound
    return str(raised.value)


def says(text: str, *parts: str) -> None:
    """Assert that all `parts` are in `text`, and that no key is."""
    for part in parts:
        assert part in text, text
    assert "PRIVATE" not in text


async def test_no_file(office: Office) -> None:
    path = office.desk / "missing.pem"
    says(await refused(path), f"{path}: No such file", "run 'aemp ca issue alice'")


async def test_the_file_to_issue_for_a_node_without_a_fixed_id(office: Office) -> None:
    path = office.desk / "missing.pem"
    says(await refused(path, "anon/"), "run 'aemp ca issue \"anon/*\" --pattern'")
    says(await refused(path, "w/%u"), "run 'aemp ca issue \"w/*\" --pattern'")


async def test_no_certificate_in_the_file(office: Office) -> None:
    path = office.desk / "empty.pem"
    path.write_text("")
    says(await refused(path), f"{path}: there is no certificate in it", "aemp ca issue alice")


async def test_a_certificate_that_is_unreadable(office: Office) -> None:
    path = Path(office.cert("alice"))
    begin = "-----BEGIN CERTIFICATE-----\n"
    path.write_text(path.read_text().replace(begin, begin + "AAAA"))
    says(await refused(path), f"{path}: certificate 1 in it is unreadable", "aemp ca issue alice")


async def test_no_key_in_the_file(office: Office) -> None:
    path = Path(office.cert("alice"))
    text = path.read_text()
    path.write_text(text[text.index("-----BEGIN CERTIFICATE") :])
    says(await refused(path), f"{path}: there is no private key in it", "aemp ca issue alice")


async def test_a_key_that_is_unreadable(office: Office) -> None:
    path = Path(office.cert("alice"))
    begin = "-----BEGIN PRIVATE KEY-----\n"
    path.write_text(path.read_text().replace(begin, begin + "AAAA"))
    says(await refused(path), f"{path}: its private key is unreadable", "aemp ca issue alice")


async def test_a_key_that_others_can_use(office: Office) -> None:
    path = Path(office.cert("alice"))
    path.chmod(0o640)
    says(await refused(path), f"{path}: holds a private key and others", f"run 'chmod 600 {path}'")


async def test_a_key_of_another_certificate(office: Office) -> None:
    cert, key = office.cert("alice"), office.cert("bob")
    says(
        await refused(cert, cert_key=key),
        f"{key}: its private key is not that of the certificate aemp://example/alice in {cert}",
        "(subjectPublicKeyInfo)",
        "run 'aemp ca issue alice'",
    )


async def test_key_and_certificate_in_two_files(office: Office) -> None:
    both = Path(office.cert("alice"))
    text = both.read_text()
    at = text.index("-----BEGIN CERTIFICATE")
    cert, key = office.desk / "one.pem", office.desk / "other.key"
    cert.write_text(text[at:])
    key.write_text(text[:at])
    key.chmod(0o600)
    async with mp.Node("alice", cert=str(cert), cert_key=str(key)):
        pass


@pytest.mark.parametrize("passphrase", [None, "not this one"])
async def test_a_passphrase_that_is_wrong_or_missing(
    office: Office, passphrase: str | None
) -> None:
    cert = office.cert("alice", key_passphrase="open sesame")
    text = await refused(cert, cert_passphrase=passphrase)
    says(text, f"{cert}: its private key", "passphrase", "cert_passphrase")
    assert "not this one" not in text


async def test_a_passphrase_that_is_right(office: Office) -> None:
    cert = office.cert("alice", key_passphrase="öffne dich")
    assert "BEGIN ENCRYPTED PRIVATE KEY" in Path(cert).read_text()
    async with mp.Node("alice", cert=cert, cert_passphrase="öffne dich"):
        pass


async def test_a_certificate_without_a_name(office: Office, tmp_path: Path) -> None:
    cert = crafted(office, tmp_path, grant=None)
    says(
        await refused(cert, cert_trust=str(office.ca.trust)),
        f"{cert}: its subjectAltName holds no URI aemp://NETWORK/NODEID",
        "run 'aemp ca issue alice'",
    )


async def test_a_certificate_of_another_node(office: Office) -> None:
    cert = office.cert("bob")
    says(
        await refused(cert),
        f"{cert}: its subjectAltName is aemp://example/bob, and this node is called 'alice'",
        "run 'aemp ca issue alice'",
    )


async def test_a_certificate_of_another_network(office: Office, tmp_path: Path) -> None:
    other = Office(tmp_path / "other", "other")
    cert = other.cert("alice")
    says(
        await refused(cert, cert_trust=str(office.ca.trust)),
        f"{cert}: the certificate was issued by 'AEMP CA 1 of other' (issuer)",
        f"{office.ca.trust} holds 'AEMP CA 1 of example'",
        "run 'aemp ca issue alice'",
    )


async def test_a_certificate_that_expired(office: Office) -> None:
    cert = office.cert("alice", begins=time.time() - 2 * DAY, days=1)
    text = await refused(cert)
    says(text, f"{cert}: the certificate expired on", "(notAfter)", f"aemp ca renew {cert}")
    assert re.search(r"the clock of this machine says 20\d\d-", text)


@pytest.mark.parametrize("years", [-30, 30])
async def test_a_clock_that_is_far_off(office: Office, years: int) -> None:
    cert = office.cert("alice")
    now = time.time() + years * 365 * DAY
    text = await refused(cert, wall_clock=lambda: now)
    says(text, f"{cert}: the certificate", "the clock of this machine says", "set it if that")
    assert ("(notBefore)" in text) is (years < 0)


async def test_a_certificate_that_was_revoked(office: Office) -> None:
    cert = office.cert("alice")
    office.ca.revoke(["alice"])
    office.publish()
    says(
        await refused(cert),
        f"{cert}: the certificate was revoked (serial number ",
        "run 'aemp ca issue alice'",
    )


# -- the trust file ------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [None, b"", b"nonsense"])
async def test_a_trust_file_without_a_ca(office: Office, content: bytes | None) -> None:
    cert = office.cert("alice")
    path = office.desk / "network.pem"
    path.unlink() if content is None else path.write_bytes(content)
    problem = "No such file" if content is None else "there is no CA certificate in it"
    says(await refused(cert), f"{path}: {problem}", "aemp ca init")


async def test_a_trust_file_with_a_certificate_of_a_node(office: Office) -> None:
    """Else a node could vouch for others."""
    cert = office.cert("alice")
    path = office.desk / "network.pem"
    path.write_bytes(path.read_bytes() + Path(office.cert("bob")).read_bytes())
    says(await refused(cert), f"{path}: the certificate of", "none of a CA: its basicConstraints")


def test_a_revocation_list_that_was_changed(office: Office) -> None:
    office.cert("alice")
    office.ca.revoke(["alice"])
    other = Office(office.desk / "elsewhere", "example")
    text = office.ca.trust.read_text()
    other_text = other.ca.trust.read_text()
    at, other_at = text.index("-----BEGIN X509"), other_text.index("-----BEGIN X509")
    path = office.desk / "network.pem"
    path.write_text(text[:at] + other_text[other_at:])
    with pytest.raises(ConfigError, match=r"network.pem: the revocation list of 'AEMP CA 1 of "):
        Trust.read(path)


def test_a_revocation_list_of_nobody_in_the_file_matters_to_nobody(
    office: Office, tmp_path: Path
) -> None:
    other = Office(tmp_path / "other", "other")
    text = other.ca.trust.read_text()
    path = office.desk / "network.pem"
    path.write_text(path.read_text() + text[text.index("-----BEGIN X509") :])
    (authority,) = Trust.read(path).authorities
    assert authority.revoked == frozenset()


def test_a_revocation_list_that_is_unreadable(office: Office) -> None:
    path = office.desk / "network.pem"
    begin = "-----BEGIN X509 CRL-----\n"
    path.write_text(path.read_text().replace(begin, begin + "AAAA"))
    with pytest.raises(ConfigError, match=r"network.pem: revocation list 1 in it is unreadable"):
        Trust.read(path)


# -- files that change -----------------------------------------------------------------------------


def test_files_that_change_while_they_are_read_are_read_again(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenSSL reads them by itself: it must have read what was checked."""
    settings = Settings.of(nodeid="alice", cert=office.cert("alice"))
    whole = Credentials._load.__func__  # type: ignore[attr-defined]
    rest = [1, 1, 0]

    def load(cls: type[Credentials], *arguments: Any) -> Any:
        loaded = whole(cls, *arguments)
        if rest.pop(0):
            office.cert("alice")
        return loaded

    monkeypatch.setattr(Credentials, "_load", classmethod(load))
    found = Credentials.load(settings, "alice", time.time())
    assert f"{found.identity.serial:x}" == office.ca.ledger[-1].serial
    rest[:] = [1] * 9
    with pytest.raises(ConfigError, match="changes while it is read"):
        Credentials.load(settings, "alice", time.time())


def test_the_trust_file_is_looked_for_beside_the_certificate(office: Office) -> None:
    files = Files.of(Settings.of(cert="~/x/alice.pem"))
    assert files.trust == Path.home() / "x" / "network.pem"
    assert files.cert == files.key == Path.home() / "x" / "alice.pem"


def test_a_name_of_another_network_under_the_same_ca(office: Office, tmp_path: Path) -> None:
    cert = crafted(office, tmp_path, grant=Grant.of("other", "alice"))
    settings = Settings.of(nodeid="alice", cert=cert, cert_trust=str(office.ca.trust))
    # Its own network is what a certificate says: such a node simply meets nobody of `example`.
    assert Credentials.load(settings, "alice", time.time()).identity.network == "other"
