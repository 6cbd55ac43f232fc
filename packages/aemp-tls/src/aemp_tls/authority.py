"""The CA of a network: a directory with its keys, what it issued, and what is to be believed.

    network.pem     certificates of the CAs and their revocation lists: to be copied to every node
    ca-1.key        the private key of the first CA, for its owner alone
    ca-1.pem        its certificate
    issued.json     every certificate that was issued, and when it was revoked

A network has one CA, or two while the next one takes over (`rotate`): the newest issues, all are
believed and revoke. Each change is written so that a crash in between leaves a directory that
works: what was issued is noted before it is handed out, and network.pem is made anew each time.
Who changes something has the directory locked, and reads first what others wrote: certificates may
be issued side by side, and none is forgotten.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from aemp_core.errors import ConfigError
from aemp_core.settings import unknown

from . import pem
from .certificates import KeyKind, ca_certificate, new_key, node_certificate, revocation_list
from .identity import Identity, moment
from .names import Grant, check_network
from .pem import Key

__all__ = ["CA", "CA_DAYS", "DAYS", "Issued"]

#: Days a certificate of a node is good for, unless told otherwise.
DAYS = 365
#: Days a CA is good for.
CA_DAYS = 3_650
#: Seconds by which a certificate begins before it was made: clocks differ.
BACKDATE = 300.0
DAY = 86_400.0

LEDGER = "issued.json"
TRUST = "network.pem"


@dataclass(frozen=True)
class Issued:
    """A line of the ledger.

    Attributes:
        name: the node ID or pattern that was granted.
        serial: the serial number, in hexadecimal digits.
        begins: seconds since the epoch.
        ends: seconds since the epoch.
        ca: the number of the CA that issued it.
        revoked: when it was revoked, seconds since the epoch; None if it was not.
    """

    name: str
    serial: str
    begins: float
    ends: float
    ca: int
    revoked: float | None = None


class CA:
    """The CA in a directory.

    Args:
        directory: where it is.
        now: tells seconds since the epoch.

    Raises:
        ConfigError: there is none, or its files are damaged.

    Attributes:
        directory: where it is.
        network: the name of the network.
        ledger: what was issued, oldest first.
        kind: the kind of its keys, and of those it makes.
    """

    def __init__(self, directory: Path, now: Callable[[], float] = time.time) -> None:
        self.directory = directory
        self._now = now
        self._load()

    def _load(self) -> None:
        path = self.directory / LEDGER
        begin = f"run 'aemp ca init NETWORK --dir {self.directory}'"
        if not path.exists():
            raise ConfigError(f"{self.directory}: there is no CA here: {begin}")
        try:
            stored = json.loads(pem.read(path, begin))
            self.network = check_network(stored["network"])
            self.kind: KeyKind = stored["kind"]
            self.ledger = [Issued(**line) for line in stored["issued"]]
        except (ValueError, KeyError, TypeError):
            raise ConfigError(f"{path}: is damaged: bring it back from a copy") from None

    # -- the CA itself -------------------------------------------------------------------------

    @classmethod
    def init(
        cls,
        directory: Path,
        network: str,
        *,
        kind: KeyKind = "p256",
        days: float = CA_DAYS,
        passphrase: str | None = None,
        now: Callable[[], float] = time.time,
    ) -> CA:
        """Make a CA in a directory that holds none.

        Args:
            directory: made if need be, for its owner alone.
            network: the name of the network, 1 to 64 characters out of ``A-Z a-z 0-9 _ . -``.
            kind: the kind of all its keys.
            days: how long the CA is good for.
            passphrase: what to encrypt the key of the CA with.

        Raises:
            ConfigError: the name cannot be one, there is a CA already, or files cannot be made.
        """
        check_network(network)
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{directory}: {error.strerror or error}") from None
        if (directory / LEDGER).exists():
            raise ConfigError(
                f"{directory}: there is a CA here already: use it, or name another --dir; "
                "'aemp ca rotate' makes one that follows it"
            )
        text = json.dumps({"network": network, "kind": kind, "issued": []}, indent=1)
        pem.write(directory / LEDGER, text.encode(), private=True, replace=False)
        ca = cls(directory, now)
        ca.rotate(days=days, passphrase=passphrase)
        return ca

    def rotate(self, *, days: float = CA_DAYS, passphrase: str | None = None) -> int:
        """Make the next CA, which issues from now on, beside the one there is; its number."""
        with self._changing():
            return self._rotate(days, passphrase)

    def _rotate(self, days: float, passphrase: str | None) -> int:
        for number in self.numbers():
            self._key(number, passphrase)  # one passphrase for all, found wrong now
        number = max((*self.numbers(), *(each.ca for each in self.ledger)), default=0) + 1
        key = new_key(self.kind)
        now = self._now()
        certificate = ca_certificate(self.network, number, key, now - BACKDATE, now + days * DAY)
        data = certificate.public_bytes(serialization.Encoding.PEM)
        pem.write(self._file(number, "key"), pem.key_pem(key, passphrase), private=True,
                  replace=False)  # fmt: skip
        pem.write(self._file(number, "pem"), data, private=False, replace=False)
        self._publish(passphrase)
        return number

    def retire(self, *, passphrase: str | None = None, force: bool = False) -> list[int]:
        """Remove all CAs but the newest; their numbers.

        Raises:
            ConfigError: one of them issued certificates that are still good, and not `force`.
        """
        with self._changing():
            return self._retire(passphrase, force)

    def _retire(self, passphrase: str | None, force: bool) -> list[int]:
        newest = self._newest()
        former = self.numbers()[:-1]
        good = [each for each in self.ledger if each.ca != newest and self.state(each) == "valid"]
        renewed = {each.name for each in self.ledger if each.ca == newest}
        waiting = sorted({each.name for each in good} - renewed)
        if waiting and not force:
            raise ConfigError(
                f"nodes have no certificate of the new CA yet: {', '.join(waiting)}: renew or "
                "revoke theirs, or retire the old CA with --force"
            )
        self._key(newest, passphrase)
        for number in former:
            for suffix in ("pem", "key"):
                with suppress(FileNotFoundError):
                    self._file(number, suffix).unlink()
        self._publish(passphrase)
        return former

    def numbers(self) -> list[int]:
        """The numbers of the CAs that are believed, the newest last."""
        found = (path.name[3:-4] for path in self.directory.glob("ca-*.pem"))
        return sorted(int(number) for number in found if number.isdecimal())

    def _newest(self) -> int:
        numbers = self.numbers()
        if not numbers:
            raise ConfigError(
                f"{self.directory}: there is no certificate of the CA here: 'aemp ca rotate' makes "
                "one, if you cannot bring it back from a copy"
            )
        return numbers[-1]

    def certificate(self, number: int) -> x509.Certificate:
        """The certificate of a CA."""
        path = self._file(number, "pem")
        remedy = "bring it back from a copy"
        found = pem.certificates_of(pem.read(path, remedy), path, remedy)
        if not found:
            raise ConfigError(f"{path}: there is no certificate in it: {remedy}")
        return found[0]

    def state(self, issued: Issued) -> str:
        """What became of a certificate: ``valid``, ``revoked``, ``expired`` or ``former CA``."""
        if issued.revoked is not None:
            return "revoked"
        if issued.ca not in self.numbers():
            return "former CA"
        return "valid" if self._now() <= issued.ends else "expired"

    @property
    def trust(self) -> Path:
        """The file that every node gets a copy of."""
        return self.directory / TRUST

    # -- certificates of nodes -----------------------------------------------------------------

    def issue(
        self,
        name: str,
        *,
        days: float = DAYS,
        begins: float | None = None,
        passphrase: str | None = None,
        key_passphrase: str | None = None,
    ) -> bytes:
        """A new private key, and a certificate for it.

        Args:
            name: a node ID, or a pattern that ends with ``*``.
            days: how long it is good for, at most as long as the CA.
            begins: seconds since the epoch from which on it is good; None: from now.
            passphrase: that of the CA.
            key_passphrase: what to encrypt the new key with.

        Returns:
            key and certificate in PEM.
        """
        with self._changing():
            return self._issue(name, days, begins, passphrase, key_passphrase)

    def _issue(
        self, name: str, days: float, begins: float | None, passphrase: str | None,
        key_passphrase: str | None,
    ) -> bytes:  # fmt: skip
        grant = Grant.of(self.network, name)
        number = self._newest()
        ca_key = self._key(number, passphrase)
        ca = self.certificate(number)
        key = new_key(self.kind)
        now = self._now()
        latest = ca.not_valid_after_utc.timestamp()
        if latest <= now:
            raise ConfigError(
                f"{self._file(number, 'pem')}: the CA expired on {moment(latest)}: "
                "run 'aemp ca rotate'"
            )
        starts = now - BACKDATE if begins is None else begins
        ends = min(latest, (now if begins is None else begins) + days * DAY)
        certificate = node_certificate(grant, key, starts, ends, ca, ca_key)
        identity = Identity.of(certificate)
        self.ledger.append(
            Issued(name, f"{identity.serial:x}", identity.begins, identity.ends, number)
        )
        self._save()
        heading = f"# {grant}, until {moment(identity.ends)}\n".encode()
        return (
            heading
            + pem.key_pem(key, key_passphrase)
            + certificate.public_bytes(serialization.Encoding.PEM)
        )

    def renew(
        self,
        path: Path,
        *,
        days: float = DAYS,
        passphrase: str | None = None,
        key_passphrase: str | None = None,
    ) -> Identity:
        """Put a new key and certificate for the same name in the place of those at `path`.

        Raises:
            ConfigError: the file holds no certificate of this CA, or one that was revoked.
        """
        with self._changing():
            self._renew(path, days, passphrase, key_passphrase)
        return self.read(path)

    def _renew(
        self, path: Path, days: float, passphrase: str | None, key_passphrase: str | None
    ) -> None:
        identity = self.read(path)
        line = self._line(identity)
        if line is None:
            raise ConfigError(f"{path}: its certificate {identity} was not issued by the CA "
                              f"in {self.directory}")  # fmt: skip
        if line.revoked is not None:
            raise ConfigError(
                f"{path}: its certificate was revoked on {moment(line.revoked)}: "
                f"'aemp ca issue {line.name}' makes a new one"
            )
        if key_passphrase is None and pem.is_encrypted(pem.read(path, "")):
            raise ConfigError(
                f"{path}: its private key is encrypted: give the new one a passphrase, too "
                "(--key-passphrase-file)"
            )
        data = self._issue(line.name, days, None, passphrase, key_passphrase)
        pem.write(path, data, private=True, replace=True)

    def read(self, path: Path) -> Identity:
        """The certificate of a node in the file at `path`."""
        remedy = "name a file that 'aemp ca issue' made"
        found = pem.certificates_of(pem.read(path, remedy), path, remedy)
        if not found:
            raise ConfigError(f"{path}: there is no certificate in it: {remedy}")
        try:
            return Identity.of(found[0])
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}: {remedy}") from None

    def revoke(self, words: Iterable[str], *, passphrase: str | None = None) -> list[Issued]:
        """Have certificates believed no more.

        Args:
            words: node IDs and patterns, for all certificates of that name, or serial numbers.

        Returns:
            the certificates that were revoked, those that were before left out.

        Raises:
            ConfigError: there is no such certificate; nothing was revoked.
        """
        with self._changing():
            return self._revoke(words, passphrase)

    def _revoke(self, words: Iterable[str], passphrase: str | None) -> list[Issued]:
        for number in self.numbers():
            self._key(number, passphrase)
        now = self._now()
        chosen: dict[str, Issued] = {}
        for word in words:
            fitting = [each for each in self.ledger if word in (each.name, each.serial)]
            if not fitting:
                known = {each.name for each in self.ledger}
                raise ConfigError(f"{self.directory}: {unknown('certificate', word, known)}")
            chosen.update((each.serial, each) for each in fitting if each.revoked is None)
        self.ledger = [
            replace(each, revoked=now) if each.serial in chosen else each for each in self.ledger
        ]
        self._save()
        self._publish(passphrase)
        return list(chosen.values())

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Have nobody else change the CA meanwhile, and know what others changed before."""
        try:
            handle = os.open(self.directory, os.O_RDONLY)
        except OSError as error:
            raise ConfigError(f"{self.directory}: {error.strerror or error}") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)  # ends with this process, however that ends
            self._load()
            yield
        finally:
            os.close(handle)

    # -- files -----------------------------------------------------------------------------------

    def _file(self, number: int, suffix: str) -> Path:
        return self.directory / f"ca-{number}.{suffix}"

    def _key(self, number: int, passphrase: str | None) -> Key:
        path = self._file(number, "key")
        remedy = "bring it back from a copy; without it this CA cannot sign any more"
        data = pem.read(path, remedy)
        pem.check_private(path)
        return pem.key_of(data, path, passphrase, remedy)

    def _line(self, identity: Identity) -> Issued | None:
        serial = f"{identity.serial:x}"
        return next((each for each in self.ledger if each.serial == serial), None)

    def _save(self) -> None:
        stored: dict[str, Any] = {
            "network": self.network,
            "kind": self.kind,
            "issued": [asdict(each) for each in self.ledger],
        }
        text = json.dumps(stored, indent=1)
        pem.write(self.directory / LEDGER, text.encode(), private=True, replace=True)

    def _publish(self, passphrase: str | None) -> None:
        """Write network.pem: every CA, and what it revoked."""
        parts = [f"# whom nodes of the network {self.network} believe\n".encode()]
        for number in self.numbers():
            ca = self.certificate(number)
            key = self._key(number, passphrase)
            revoked = [
                (int(each.serial, 16), each.revoked)
                for each in self.ledger
                if each.ca == number and each.revoked is not None
            ]
            revocations = revocation_list(ca, key, self._now() - BACKDATE, revoked)
            for public in (ca, revocations):
                parts.append(public.public_bytes(serialization.Encoding.PEM))
        pem.write(self.trust, b"".join(parts), private=False, replace=True)
