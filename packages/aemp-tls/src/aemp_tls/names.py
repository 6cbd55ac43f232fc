"""Names: the URI ``aemp://NETWORK/NODEID`` by which a certificate says who its holder is.

Such a URI stands in the subject alternative name of a certificate and *grants* node IDs: the one
it names or, as a *pattern* with ``*`` at its end (``anon/*``), all that go on where the star is.
No node ID holds a star, so a grant is one or the other and never both.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from aemp_core.errors import ConfigError
from aemp_core.ids import is_node_id

__all__ = ["SCHEME", "Grant", "check_network"]

SCHEME = "aemp://"
_NETWORK = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")


def check_network(network: str) -> str:
    """`network`, if it can be the name of one; else `ConfigError`."""
    if not _NETWORK.match(network):
        raise ConfigError(
            f"{network!r} cannot be the name of a network: use 1 to 64 characters out of "
            "A-Z a-z 0-9 _ . -"
        )
    return network


@dataclass(frozen=True)
class Grant:
    """The right to go by a node ID, or by any ID of a pattern, in one network.

    Attributes:
        network: the name of the network.
        name: the node ID, or a pattern that ends with ``*``.
    """

    network: str
    name: str

    @classmethod
    def of(cls, network: str, name: str) -> Grant:
        """The grant of `name`; `ConfigError` if that is neither a node ID nor a pattern."""
        check_network(network)
        stem = name.removesuffix("*")
        if name != "*" and not is_node_id(stem):
            raise ConfigError(
                f"{name!r} is neither a node ID (1 to 255 characters out of A-Z a-z 0-9 _ . : / -) "
                "nor a pattern, which has a '*' at its end"
            )
        return cls(network, name)

    @classmethod
    def parse(cls, uri: str) -> Grant:
        """The grant that `uri` is; `ConfigError` if it is none."""
        network, slash, name = uri.removeprefix(SCHEME).partition("/")
        if not uri.startswith(SCHEME) or not slash:
            raise ConfigError(f"{uri!r} is no name of the form {SCHEME}NETWORK/NODEID")
        return cls.of(network, name)

    @property
    def is_pattern(self) -> bool:
        """Whether it grants more than one node ID."""
        return self.name.endswith("*")

    def covers(self, node_id: str) -> bool:
        """Whether a node may go by `node_id`."""
        if self.is_pattern:
            stem = self.name[:-1]
            return node_id.startswith(stem) and node_id != stem
        return node_id == self.name

    def __str__(self) -> str:
        return f"{SCHEME}{self.network}/{self.name}"
