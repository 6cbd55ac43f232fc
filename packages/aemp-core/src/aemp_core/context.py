"""Where code runs: the current port and the current node.

Each port's code runs in a `contextvars.Context` of its own in which the current port is set;
timers and tasks started there inherit it. The current node is the running port's; else the one
of the innermost ``with node.current():``; else the only open node on the running loop. That last
rule is kept per loop, not in a context variable: web frameworks run handlers in contexts that
never saw our variables.
"""

from __future__ import annotations

import asyncio
from asyncio import get_running_loop
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar
from threading import get_ident
from typing import TYPE_CHECKING, cast

from .errors import AmbiguousNodeError, NoCurrentPort

if TYPE_CHECKING:
    from .jobs import Jobs
    from .life import Life
    from .node import Node
    from .ports import Port

__all__ = ["current_port_of", "find_node", "node_context", "port_context", "require_port"]

_port: ContextVar[Port | None] = ContextVar("aemp_port", default=None)
_node: ContextVar[Node | None] = ContextVar("aemp_node", default=None)
_open: dict[asyncio.AbstractEventLoop, list[Node]] = {}
#: The node found last in each thread, as the only one of a loop: `get_running_loop` is slow, as
#: before Python 3.12 it asks the system for the process every time.
_found: dict[int, Node] = {}

#: The port whose code is running, or None: the fast spelling for the hot path.
running_port = _port.get


def port_context(port: Port) -> Context:
    """A new, otherwise empty context whose current port is `port`."""
    context = Context()
    context.run(_port.set, port)
    return context


def node_context(node: Jobs) -> Context:
    """A new, otherwise empty context in which `node` is current, for code of no port."""
    context = Context()
    context.run(_node.set, cast("Node", node))
    return context


def current_port_of(node: Life) -> Port | None:
    """The running port if it belongs to `node`: ports of other nodes own nothing there."""
    port = _port.get()
    return port if port is not None and port.node is node else None


def require_port(verb: str) -> Port:
    """The running port, or `NoCurrentPort` naming the verb that needs one."""
    port = _port.get()
    if port is None:
        raise NoCurrentPort(
            f"{verb} acts on the current port and there is none here: call it from a handler, "
            "from an async port, or through psub or peval"
        )
    return port


@contextmanager
def node_is_current(node: Node) -> Iterator[Node]:
    """Make `node` the current node inside the block, where no port is running."""
    token = _node.set(node)
    try:
        yield node
    finally:
        _node.reset(token)


def opened(node: Node) -> None:
    """Note that `node` is open on its loop."""
    _open.setdefault(node.loop, []).append(node)
    _found.pop(node.thread, None)


def closed(node: Node) -> None:
    """Note that `node` is open no more."""
    nodes = nodes_on(node.loop)
    if node not in nodes:
        return
    nodes.remove(node)
    _found.pop(node.thread, None)
    if not nodes:
        del _open[node.loop]


def nodes_on(loop: asyncio.AbstractEventLoop) -> list[Node]:
    """The nodes that are open on a loop, the newest last."""
    return _open.get(loop, [])


def forget(loop: asyncio.AbstractEventLoop) -> None:
    """Drop what is known of a loop that ended with nodes open on it."""
    for node in _open.pop(loop, ()):
        _found.pop(node.thread, None)


def find_node() -> Node | None:
    """The current node; None if no node is open here; `AmbiguousNodeError` if several are."""
    port = _port.get()
    return node_outside() if port is None else cast("Node", port.node)


def node_outside() -> Node | None:
    """`find_node` where it is known that no port is running."""
    node = _node.get()
    if node is not None and not node.closed:
        return node
    thread = get_ident()
    node = _found.get(thread)
    if node is not None and node.loop.is_running():  # in this thread, which runs no other then
        return node
    nodes = nodes_on(get_running_loop())
    if len(nodes) > 1:
        raise AmbiguousNodeError(
            f"{len(nodes)} nodes are open on this loop ({', '.join(n.id for n in nodes)}): "
            "use the node's own methods, or `with node.current():`"
        )
    node = nodes[0] if nodes else None
    if node is not None and node.thread == thread:  # else its loop was moved to another thread
        _found[thread] = node
    return node
