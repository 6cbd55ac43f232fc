"""Framings: how messages become bytes on a connection, and bytes messages again.

Inside a node a message that leaves is always *packed* (see `values`); a framing turns that into
what goes over the wire. On the way in, a decoder takes bytes as they come, cut anywhere, and
returns the messages they complete, each checked to hold plain values only.
"""

from __future__ import annotations

from typing import Any, Protocol

from ..errors import RemoteProtocolError

__all__ = ["Decoder", "Framing"]


class Decoder(Protocol):
    """Reads one direction of one connection."""

    @property
    def error(self) -> RemoteProtocolError | None:
        """Why nothing more can be read; None while all is well."""

    def decode(self, data: bytes) -> list[list[Any]]:
        """The messages that `data` completes, in order; heartbeats (``[]``) are left out.

        Each is a non-empty list of plain values whose first element is a str. Never raises:
        when the peer breaks the protocol, the good messages before the fault are returned,
        `error` is set, and every further call returns nothing. Holds at most one incomplete
        frame of `limit` bytes, however the bytes are cut and whatever lengths they declare.
        """


class Framing(Protocol):
    """One way to write messages; add more with the hook `aemp_framings`."""

    @property
    def name(self) -> str:
        """The name that greetings list and auth lines end with."""

    def encode(self, packed: bytes) -> bytes:
        """The frame that carries `packed`, the result of `pack`."""

    def decoder(self, limit: int) -> Decoder:
        """A fresh decoder that refuses frames of more than `limit` bytes."""
