"""What aemp-tls plugs in: the scheme ``tls``, renewal while nodes run, and ``aemp ca``.

What a hook needs is imported in it, because ``aemp --help`` loads every plugin.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from aemp_core.hookspecs import hookimpl

if TYPE_CHECKING:
    import click

    from aemp_core.finding import Finding
    from aemp_core.link import Transport
    from aemp_core.node import Node

    from .keeper import Keeper

__all__ = [
    "aemp_commands",
    "aemp_findings",
    "aemp_node_started",
    "aemp_reload",
    "aemp_requests",
    "aemp_transports",
]


def _keeper(node: Node) -> Keeper:
    """The keeper of a node, made with its transport."""
    from .tls import TlsTransport

    transport = node.transport("tls://")
    assert isinstance(transport, TlsTransport)
    return transport.keeper


@hookimpl
def aemp_transports(node: Node) -> Mapping[str, Transport]:
    """``tls://``; a node whose certificate is not good does not start."""
    from .keeper import Keeper
    from .tls import TlsTransport

    return {"tls": TlsTransport(Keeper(node))}


@hookimpl
def aemp_requests(node: Node) -> Mapping[str, Any]:
    """``tls_certificate``: a peer tells that its certificate was renewed."""
    from .keeper import REQUEST

    return {REQUEST: _keeper(node).announced}


@hookimpl
def aemp_node_started(node: Node) -> None:
    """Look after the certificates as long as the node lives."""
    _keeper(node).start(node)


@hookimpl
def aemp_findings(node: Node) -> Iterable[Finding]:
    """What the node's certificate is good for; a node with a bad one does not start."""
    return _keeper(node).findings()


@hookimpl
def aemp_reload(node: Node) -> None:
    """Look at the files of certificates at once."""
    _keeper(node).reload()


@hookimpl
def aemp_commands() -> Iterable[click.Command]:
    """``aemp ca``."""
    from .cli import command

    return [command]
