"""What aemp-global plugs in: the exchange with each node that starts, and addresses it finds.

What a hook needs is imported in it, because ``aemp --help`` loads every plugin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from aemp_core.hookspecs import hookimpl

if TYPE_CHECKING:
    import click

    from aemp_core.monitor import Guard
    from aemp_core.node import Node

__all__ = [
    "aemp_addresses",
    "aemp_commands",
    "aemp_features",
    "aemp_groups",
    "aemp_joined",
    "aemp_node_started",
    "aemp_nodes",
    "aemp_requests",
    "aemp_transports",
]


@hookimpl
def aemp_features(node: Node) -> Iterable[str]:
    """Peers that name the same word are told hello."""
    from .service import FEATURE

    return [FEATURE]


@hookimpl
def aemp_requests(node: Node) -> Mapping[str, Any]:
    """``registry`` and ``relay``: what neighbours say; ``families``: what operators ask."""
    from . import contents, passage, service
    from .groups import of

    here = of(node)
    return {
        service.REQUEST: here.request,
        passage.REQUEST: here.passage.request,
        contents.REQUEST: contents.teller(here),
    }


@hookimpl
def aemp_transports(node: Node) -> Mapping[str, Any]:
    """``relay://``."""
    from .groups import of

    return {"relay": of(node).passage.transport}


@hookimpl
def aemp_addresses(node: Node) -> Callable[[str], Iterable[str]]:
    """What the network knows of a node, now and later."""
    from .groups import of

    return of(node).addresses


@hookimpl
def aemp_joined(node: Node) -> str:
    """A node is part of its network while it is global, or a global has accepted it."""
    from .groups import of

    return of(node).unsettled()


@hookimpl
def aemp_nodes(node: Node) -> Callable[..., Guard]:
    """Every node that is in the registry."""
    from .groups import of

    return of(node).watch_nodes


@hookimpl
def aemp_groups(node: Node) -> Callable[[str], Any]:
    """Those of the network."""
    from .contents import groups
    from .groups import of

    return groups(of(node))


@hookimpl
def aemp_node_started(node: Node) -> None:
    """Begin."""
    from .groups import of

    of(node).start()


@hookimpl
def aemp_commands() -> Iterable[click.Command]:
    """``aemp groups`` and ``aemp db``."""
    from .cli import db, groups

    return [groups, db]
