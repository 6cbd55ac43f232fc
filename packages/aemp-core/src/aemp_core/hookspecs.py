"""The hooks of AEMP: everything a plugin can add, in one page.

A plugin is a module (or object) named by an entry point of group ``aemp``, whose functions of
these names are marked ``@aemp_core.hookimpl``. Hooks are asked once, when a node starts (for
`aemp_commands`: when the ``aemp`` command starts; for `aemp_findings`, `aemp_joined` and
`aemp_reload`: when an operator asks); no hook is called per message.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    import click

    from .finding import Finding
    from .link import Transport
    from .node import Node
    from .wire.auth import AuthMethod
    from .wire.framing import Framing

__all__ = ["hookimpl"]

hookspec = pluggy.HookspecMarker("aemp")
hookimpl = pluggy.HookimplMarker("aemp")


@hookspec
def aemp_transports(node: Node) -> Mapping[str, Transport]:
    """Transports for `node`, by address scheme: ``{"tcp": TcpTransport(node)}``."""
    raise NotImplementedError


@hookspec
def aemp_framings() -> Iterable[Framing]:
    """Further framings; used only if the setting `framings` names them."""
    raise NotImplementedError


@hookspec
def aemp_auth_methods() -> Iterable[AuthMethod]:
    """Further authentication methods; used only if the configuration names them."""
    raise NotImplementedError


@hookspec
def aemp_requests(node: Node) -> Mapping[str, Any]:
    """Further node requests: ``{"name": function(request, *arguments)}``, run in the loop.

    `request` is an `aemp_core.requests.Request`: who asked, and how to answer.
    """
    raise NotImplementedError


@hookspec
def aemp_authorise(node: Node) -> Any:
    """A function ``(peer: PeerInfo, request: str, arguments: tuple) -> str | None``.

    Asked for each request of a peer to the node port; a text refuses it and says why.
    """
    raise NotImplementedError


@hookspec
def aemp_features(node: Node) -> Iterable[str]:
    """Words for the greeting of `node`: what it understands beyond protocol version 1.

    A peer's words are `PeerInfo.features`. Letters, digits, ``_`` and ``-``.
    """
    raise NotImplementedError


@hookspec
def aemp_addresses(node: Node) -> Any:
    """A function ``(node_id: str) -> Iterable[str]`` that names addresses of a node.

    Asked when a message waits for a node that has no link; later finds go to `Node.learn`.
    """
    raise NotImplementedError


@hookspec
def aemp_findings(node: Node) -> Iterable[Finding]:
    """What is good to know of `node` when ``aemp doctor`` examines why it cannot join.

    It was made for that alone: it has settings and transports, and neither listens nor dials.
    """
    raise NotImplementedError


@hookspec
def aemp_nodes(node: Node) -> Any:
    """A function ``(told) -> Guard`` that watches which nodes the network has, linked or not.

    ``told(added, removed)`` gets lists of node IDs: first of all that are known, then whenever
    some came or went; `Guard.cancel` ends it.
    """
    raise NotImplementedError


@hookspec
def aemp_groups(node: Node) -> Any:
    """An async function ``(begins: str) -> Iterable[str]``: groups whose names begin so.

    Asked when a shell starts; the function is called to complete what is typed.
    """
    raise NotImplementedError


@hookspec
def aemp_commands() -> Iterable[click.Command]:
    """Further subcommands of the ``aemp`` command."""
    raise NotImplementedError


@hookspec
def aemp_node_started(node: Node) -> None:
    """`node` listens and dials now; begin what belongs to its life."""
    raise NotImplementedError


@hookspec
def aemp_joined(node: Node) -> str | None:
    """Why `node` is not part of its network yet, as a text; an empty text: it is.

    Asked by the health endpoint of ``aemp run``. Where no plugin answers, a node with seeds is
    part of its network while it has a link to one of them.
    """
    raise NotImplementedError


@hookspec
def aemp_reload(node: Node) -> None:
    """`node` was told to reload its configuration: look at your files again.

    Called after the settings were changed, by ``aemp run`` on SIGHUP.
    """
    raise NotImplementedError
