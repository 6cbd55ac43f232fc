"""What core itself plugs in, through the hooks that plugins use.

The memory transport, the two framings and the authentication methods. Of the methods a node uses
those its settings name: only the role-bound one unless configured otherwise. What a hook needs is
imported in it, because ``aemp --help`` loads every plugin.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from .hookspecs import hookimpl

if TYPE_CHECKING:
    from .link import Transport
    from .node import Node
    from .wire import AuthMethod, Framing

__all__ = ["aemp_auth_methods", "aemp_framings", "aemp_transports"]


@hookimpl
def aemp_transports(node: Node) -> Mapping[str, Transport]:
    """``memory://``."""
    from .memory import MemoryTransport

    return {"memory": MemoryTransport(node)}


@hookimpl
def aemp_framings() -> Iterable[Framing]:
    """``msgpack`` and ``json``."""
    from .wire import JsonFraming, MsgpackFraming

    return [MsgpackFraming(), JsonFraming()]


@hookimpl
def aemp_auth_methods() -> Iterable[AuthMethod]:
    """``hmac_sha3_512_role``, and for legacy peers ``hmac_sha3_512`` and ``cleartext``."""
    from .wire import Cleartext, HmacSha3, HmacSha3Role

    return [HmacSha3Role(), HmacSha3(), Cleartext()]
