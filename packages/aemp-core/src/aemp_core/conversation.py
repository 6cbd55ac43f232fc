"""A conversation: where a byte stream leads, and how a node speaks the protocol on it.

A transport over byte streams tells a `Stream` two things. `Locate` looks at a fresh connection:
whose is it, may it be at all? `Converse` makes the protocol machine that will speak on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from .errors import ConfigError
from .settings import Settings, unknown
from .wire import NONCE_BYTES, AuthMethod, Connection, Framing, Greeting, Role

__all__ = ["Converse", "Locate", "Origin", "StreamNode", "connections"]

T = TypeVar("T")


class StreamNode(Protocol):
    """What of a `Node` a transport over byte streams uses."""

    @property
    def id(self) -> str:
        """The node ID."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop everything runs on."""

    @property
    def settings(self) -> Settings:
        """Limits, and names of methods and framings."""

    @property
    def auth_methods(self) -> Mapping[str, AuthMethod]:
        """The authentication methods there are, by name."""

    @property
    def framings(self) -> Mapping[str, Framing]:
        """The framings there are, by name."""

    def entropy(self, count: int, /) -> bytes:
        """Random bytes, `os.urandom` outside of tests."""

    def greeting(self, peeraddr: str, /) -> Greeting:
        """What the node says of itself to a peer it sees at `peeraddr`."""


@dataclass(frozen=True)
class Origin:
    """Where the other end of a connection is.

    Attributes:
        address: for people and logs.
        source: what unauthenticated connections are counted by; one host, say.
        loopback: whether the connection cannot leave this machine.
        peeraddr: the address as the greeting tells it to the peer, "" for none.
    """

    address: str
    source: str
    loopback: bool = False
    peeraddr: str = ""


#: Where a connection leads; prepares it. Raises `TransportError` to refuse it unheard.
Locate = Callable[[asyncio.Transport], Origin]
#: The protocol machine for a connection.
Converse = Callable[[asyncio.Transport, Origin], Connection]


def connections(node: StreamNode, role: Role, secret: bytes) -> Converse:
    """How `node` speaks the protocol on connections of one role, all with the same secret.

    Raises `ConfigError` if the settings name a method or a framing that does not exist.
    """
    settings = node.settings
    offer = _named("authentication method", settings.auth_offer, node.auth_methods)
    accept = _named("authentication method", settings.auth_accept, node.auth_methods)
    framings = _named("framing", settings.framings, node.framings)

    def converse(transport: asyncio.Transport, origin: Origin) -> Connection:
        return Connection(
            role,
            node.greeting(origin.peeraddr),
            node.entropy(NONCE_BYTES),
            secret=secret,
            auth_offer=offer,
            auth_accept=accept,
            framings=framings,
            frame_limit=settings.frame_limit,
            origin=origin.address,
            loopback=origin.loopback,
        )

    return converse


def _named(kind: str, names: Sequence[str], known: Mapping[str, T]) -> list[T]:
    for name in names:
        if name not in known:
            raise ConfigError(unknown(kind, name, known))
    return [known[name] for name in names]
