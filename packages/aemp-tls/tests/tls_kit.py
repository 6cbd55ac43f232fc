"""What the tests of aemp-tls share: a CA whose certificates lie in a directory, and nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aemp_core as mp
from aemp_tls.authority import CA

__all__ = ["SECONDS", "Office"]

#: Seconds that what must happen over real sockets may take on a busy machine.
SECONDS = 15.0


class Office:
    """A CA, and the directory where the files of its nodes lie.

    Attributes:
        ca: the CA.
        desk: the directory with a ``network.pem`` and the certificates.
    """

    def __init__(self, directory: Path, network: str, **options: Any) -> None:
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
