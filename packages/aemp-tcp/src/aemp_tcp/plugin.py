"""What aemp-tcp plugs in: the schemes ``tcp``, and ``unix`` where the system has such sockets.

What a hook needs is imported in it, because ``aemp --help`` loads every plugin.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING

from aemp_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from aemp_core.link import Transport
    from aemp_core.node import Node

__all__ = ["aemp_transports"]


@hookimpl
def aemp_transports(node: Node) -> Mapping[str, Transport]:
    """``tcp://`` and ``unix://``."""
    from .tcp import TcpTransport

    transports: dict[str, Transport] = {"tcp": TcpTransport(node)}
    if hasattr(socket, "AF_UNIX"):
        from .unix import UnixTransport  # needs what only such systems have

        transports["unix"] = UnixTransport(node)
    return transports
