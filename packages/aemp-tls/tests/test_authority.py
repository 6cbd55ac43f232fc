"""The CA: what it issues is good, what it writes is safe, and what it revokes stays revoked."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from tls_kit import Office

from aemp_core.errors import ConfigError
from aemp_tls import pem
from aemp_tls.authority import CA
from aemp_tls.identity import Identity
from aemp_tls.trust import Trust

DAY = 86_400.0


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def identity(data: bytes) -> Identity:
    (certificate,) = pem.certificates_of(data, "issued", "")
    return Identity.of(certificate)


@pytest.fixture
def ca(tmp_path: Path) -> CA:
    return CA.init(tmp_path / "ca", "example")


def test_keys_are_for_their_owner_alone(tmp_path: Path) -> None:
    former = os.umask(0)  # whatever the user's habits are
    try:
        ca = CA.init(tmp_path / "ca", "example")
    finally:
        os.umask(former)
    assert mode(ca.directory) == 0o700
    for path in ca.directory.iterdir():
        public = path.suffix == ".pem"
        assert mode(path) == (0o644 if public else 0o600), path
        assert (b"PRIVATE KEY" in path.read_bytes()) is (path.suffix == ".key")


@pytest.mark.parametrize("kind", ["p256", "ed25519"])
def test_what_a_certificate_holds(tmp_path: Path, kind: Literal["p256", "ed25519"]) -> None:
    ca = CA.init(tmp_path / "ca", "example", kind=kind)
    data = ca.issue("worker/*", days=30)
    found = identity(data)
    certificate = found.certificate
    key = pem.key_of(data, "issued", None, "")
    wanted = ec.EllipticCurvePrivateKey if kind == "p256" else ed25519.Ed25519PrivateKey
    assert isinstance(key, wanted)
    assert str(found) == "aemp://example/worker/*"
    assert list(certificate.subject) == []
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.critical
    assert 29.9 * DAY < found.ends - time.time() < 30.1 * DAY
    assert found.begins < time.time() - 60
    trust = Trust.read(ca.trust)
    assert trust.flaw(found, "example", time.time()) is None
    assert trust.flaw(found, "other", time.time()) is not None


def test_openssl_finds_no_fault(ca: CA, tmp_path: Path) -> None:
    path = tmp_path / "alice.pem"
    path.write_bytes(ca.issue("alice"))
    strict = ["openssl", "verify", "-x509_strict", "-crl_check", "-purpose"]
    for purpose in ("sslclient", "sslserver"):
        try:
            done = subprocess.run(
                [*strict, purpose, "-CAfile", str(ca.trust), "-CRLfile", str(ca.trust), str(path)],
                capture_output=True, text=True, timeout=20,
            )  # fmt: skip
        except FileNotFoundError:
            pytest.skip("there is no openssl command here")
        assert done.returncode == 0, done.stderr


def test_a_certificate_does_not_outlive_its_ca(tmp_path: Path) -> None:
    ca = CA.init(tmp_path / "ca", "example", days=10)
    assert identity(ca.issue("alice")).ends < time.time() + 10.1 * DAY
    late = CA(tmp_path / "ca", now=lambda: time.time() + 11 * DAY)
    with pytest.raises(ConfigError, match=r"ca-1.pem: the CA expired on .*'aemp ca rotate'"):
        late.issue("alice")


def test_a_ca_is_read_again_as_it_was(ca: CA) -> None:
    ca.issue("alice")
    ca.issue("bob")
    ca.revoke(["bob"])
    again = CA(ca.directory)
    assert again.network == "example"
    assert again.ledger == ca.ledger
    assert [again.state(each) for each in again.ledger] == ["valid", "revoked"]
    late = CA(ca.directory, now=lambda: time.time() + 400 * DAY)
    assert late.state(late.ledger[0]) == "expired"


def test_there_is_one_ca_in_a_directory(ca: CA) -> None:
    before = {path: path.read_bytes() for path in ca.directory.iterdir()}
    with pytest.raises(ConfigError, match="there is a CA here already"):
        CA.init(ca.directory, "other")
    assert {path: path.read_bytes() for path in ca.directory.iterdir()} == before


def test_where_no_ca_is(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no CA here: run 'aemp ca init NETWORK --dir"):
        CA(tmp_path)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"network": "a b", "kind": 1, "issued": []}'])
def test_a_damaged_ledger(ca: CA, text: str) -> None:
    (ca.directory / "issued.json").write_text(text)
    with pytest.raises(ConfigError, match=r"issued.json: is damaged|cannot be the name"):
        CA(ca.directory)


@pytest.mark.parametrize("network", ["", "a b", "a/b", "n" * 65, "netz\u00e4"])
def test_what_cannot_be_the_name_of_a_network(tmp_path: Path, network: str) -> None:
    with pytest.raises(ConfigError, match="cannot be the name of a network"):
        CA.init(tmp_path / "ca", network)
    assert not (tmp_path / "ca").exists()


@pytest.mark.parametrize("name", ["", "al ice", "a*b", "alice#1", "x" * 256])
def test_what_is_granted_to_nobody(ca: CA, name: str) -> None:
    with pytest.raises(ConfigError, match="neither a node ID"):
        ca.issue(name)
    assert ca.ledger == []


# -- passphrases -----------------------------------------------------------------------------------


def test_a_passphrase_protects_the_key_of_a_ca(tmp_path: Path) -> None:
    ca = CA.init(tmp_path / "ca", "example", passphrase="open sesame")
    assert b"BEGIN ENCRYPTED PRIVATE KEY" in (ca.directory / "ca-1.key").read_bytes()
    ca.issue("alice", passphrase="open sesame")
    for wrong in (None, "close sesame"):
        for act in (
            lambda word: ca.issue("bob", passphrase=word),
            lambda word: ca.revoke(["alice"], passphrase=word),
            lambda word: ca.rotate(passphrase=word),
        ):
            with pytest.raises(ConfigError, match=r"ca-1.key: its private key .*--passphrase-file"):
                act(wrong)
    assert [each.name for each in CA(ca.directory).ledger] == ["alice"]
    assert ca.numbers() == [1]
    assert CA(ca.directory).ledger[0].revoked is None
    ca.rotate(passphrase="open sesame")
    ca.revoke(["alice"], passphrase="open sesame")


def test_a_key_of_the_ca_that_others_can_use_is_not_used(ca: CA) -> None:
    (ca.directory / "ca-1.key").chmod(0o644)
    with pytest.raises(ConfigError, match=r"ca-1.key: holds a private key and others may use it"):
        ca.issue("alice")


# -- renewing and revoking -------------------------------------------------------------------------


def test_renewing_changes_key_and_certificate_and_keeps_the_name(office: Office) -> None:
    path = Path(office.cert("alice"))
    before = path.read_bytes()
    found = office.ca.renew(path, days=7)
    assert str(found) == "aemp://example/alice"
    assert found.ends < time.time() + 7.1 * DAY
    old = pem.key_of(before, path, None, "")
    new = pem.key_of(path.read_bytes(), path, None, "")
    assert pem.key_pem(old, None) != pem.key_pem(new, None)
    assert mode(path) == 0o600


def test_what_is_not_renewed(office: Office, tmp_path: Path) -> None:
    revoked = Path(office.cert("bob"))
    office.ca.revoke(["bob"])
    with pytest.raises(ConfigError, match="was revoked on"):
        office.ca.renew(revoked)
    foreign = Path(Office(tmp_path / "other", "example").cert("bob"))
    with pytest.raises(ConfigError, match="was not issued by the CA"):
        office.ca.renew(foreign)
    with pytest.raises(ConfigError, match=r"none.pem: No such file"):
        office.ca.renew(office.desk / "none.pem")
    locked = Path(office.cert("carol", key_passphrase="open sesame"))
    with pytest.raises(ConfigError, match="give the new one a passphrase, too"):
        office.ca.renew(locked)


def test_revoking_by_name_and_by_number(ca: CA) -> None:
    for name in ("alice", "bob", "bob", "carol"):
        ca.issue(name)
    alice, *bobs, carol = ca.ledger
    assert {each.serial for each in ca.revoke(["bob"])} == {each.serial for each in bobs}
    assert [each.name for each in ca.revoke([carol.serial, "bob"])] == ["carol"]
    (authority,) = Trust.read(ca.trust).authorities
    assert authority.revoked == {int(each.serial, 16) for each in (*bobs, carol)}
    with pytest.raises(ConfigError, match="unknown certificate 'alise': did you mean 'alice'"):
        ca.revoke(["alise", alice.serial])
    assert CA(ca.directory).ledger[0].revoked is None


# -- one CA after another --------------------------------------------------------------------------


def test_the_old_ca_goes_when_nobody_needs_it(office: Office) -> None:
    ca = office.ca
    paths = [Path(office.cert(name)) for name in ("alice", "bob")]
    office.cert("carol")
    assert ca.rotate() == 2
    assert ca.numbers() == [1, 2]
    assert len(Trust.read(ca.trust).authorities) == 2
    ca.renew(paths[0])
    with pytest.raises(ConfigError, match="no certificate of the new CA yet: bob, carol"):
        ca.retire()
    ca.renew(paths[1])
    ca.revoke(["carol"])
    assert ca.retire() == [1]
    assert [path.name for path in sorted(ca.directory.glob("ca-*"))] == ["ca-2.key", "ca-2.pem"]
    assert ca.retire() == []
    states = [(each.name, ca.state(each)) for each in ca.ledger]
    assert states == [
        ("alice", "former CA"), ("bob", "former CA"), ("carol", "revoked"),
        ("alice", "valid"), ("bob", "valid"),
    ]  # fmt: skip
    trust = Trust.read(ca.trust)
    assert len(trust.authorities) == 1
    assert trust.flaw(ca.read(paths[1]), "example", time.time()) is None
    assert ca.rotate() == 3


def test_what_the_old_ca_issued_can_be_revoked_while_it_is_believed(office: Office) -> None:
    old = office.ca.read(Path(office.cert("alice")))
    office.ca.rotate()
    office.ca.revoke(["alice"])
    assert "was revoked" in str(Trust.read(office.ca.trust).flaw(old, "example", time.time()))


def test_certificates_issued_side_by_side_are_all_in_the_ledger(ca: CA) -> None:
    """One that is not could never be revoked by its name."""
    program = (
        "import sys; from pathlib import Path; from aemp_tls.authority import CA\n"
        "ca = CA(Path(sys.argv[1]))\n"
        "sys.stdin.read(1)\n"
        "ca.issue(sys.argv[2]); ca.issue(sys.argv[2])\n"
    )
    issuers = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(ca.directory), f"node-{number}"],
            stdin=subprocess.PIPE,
        )
        for number in range(4)
    ]
    ca.issue("before")
    for issuer in issuers:
        assert issuer.stdin is not None
        issuer.stdin.close()
    assert [issuer.wait(30) for issuer in issuers] == [0] * 4
    ca.issue("after")
    names = [each.name for each in ca.ledger]
    assert (names[0], names[-1]) == ("before", "after")
    assert sorted(names[1:-1]) == [f"node-{number}" for number in range(4) for _ in range(2)]


def test_a_ca_whose_making_was_broken_off(tmp_path: Path) -> None:
    """The ledger is there, and no CA yet: it says what makes one."""
    ca = CA.init(tmp_path / "ca", "example")
    for suffix in ("key", "pem"):
        (ca.directory / f"ca-1.{suffix}").unlink()
    for change in (lambda: ca.issue("alice"), ca.retire):
        with pytest.raises(ConfigError, match="'aemp ca rotate' makes one"):
            change()
    assert ca.rotate() == 1
    assert identity(ca.issue("alice")).network == "example"
