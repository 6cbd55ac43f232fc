"""Status: what a node tells other nodes of its own doing, when they ask.

Three node requests, for operators: `status` tells of the node as a whole, `links` of each other
node it knows, `ports` of each port. They tell what is counted anyway, so that a message costs no
more because somebody may ask; lists come in pages of bounded size. The rule `inspect`, on by
default, says who may ask. Who may not is told so, because it waits for an answer.
"""

from __future__ import annotations

import functools
import os
import platform
import socket
from collections.abc import Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any

from .destination import Destination
from .ports import Port
from .wire import PROVIDER, pack

if TYPE_CHECKING:
    from .node import Node
    from .peer import Peer
    from .requests import Request

__all__ = ["REQUESTS", "answer", "page"]

#: What one page of a list holds at most: fewer rows, if they take more bytes. Frames are never
#: limited below 64 KiB.
PAGE_ROWS = 200
PAGE_BYTES = 32 * 1024
#: Addresses and tags that are listed, and characters of a text, at most.
LISTED = 20
TEXT = 255

DENIED = "looking into this node is not allowed: it needs the rule 'inspect'"


def answer(request: Request, reply: str, tags: tuple[Any, ...], tell: Callable[[], Any]) -> None:
    """Answer with what `tell` returns, a tuple, if the rules let the asker look into this node."""
    if not request.may("inspect"):
        request.snd(reply, *tags, DENIED)
        raise PermissionError(DENIED)
    request.snd(reply, *tags, "", *tell())


def _status(request: Request, reply: str, *tags: Any) -> None:
    """Answer: tags, error text (empty if none), what the node says of itself as a dictionary."""
    answer(request, reply, tags, lambda: (_of_node(request.node),))


def _links(request: Request, after: int, reply: str, *tags: Any) -> None:
    """Answer: tags, error text, how many nodes this one knows, the rows behind the first `after`
    of them, and the `after` of the next page: 0, if this was the last."""
    node = request.node
    answer(
        request, reply, tags,
        lambda: page(len(node.peers), after, node.peers.values(), _of_link),
    )  # fmt: skip


def _ports(request: Request, after: int, reply: str, *tags: Any) -> None:
    """Answer: tags, error text, how many ports there are, and a page of them as for `links`."""
    node = request.node
    answer(
        request, reply, tags,
        lambda: page(len(node.ports), after, node.ports.values(), _of_port),
    )  # fmt: skip


REQUESTS: dict[str, Callable[..., None]] = {"status": _status, "links": _links, "ports": _ports}


def page(
    total: int, after: int, things: Iterable[Any], row: Callable[[Any], dict[str, Any]]
) -> tuple[int, list[dict[str, Any]], int]:
    """The answer to a request for a list: its length, the rows behind the first `after` things,
    and the `after` of the next page, 0 if this is the last.

    Things are in the order of their making, so that what comes meanwhile is at the end.
    """
    if type(after) is not int or after < 0:
        raise ValueError(
            f"{after!r:.100} is no place in a list: give the one of the last page, or 0"
        )
    rows: list[dict[str, Any]] = []
    room = PAGE_BYTES
    for thing in islice(things, after, after + PAGE_ROWS):
        told = row(thing)
        room -= len(pack((told,)))
        if room < 0 and rows:
            break
        rows.append(told)
    next_one = after + len(rows)
    return total, rows, next_one if next_one < total and rows else 0


def _of_node(node: Node) -> dict[str, Any]:
    return {
        "id": node.id,
        "incarnation": node.incarnation,
        "version": PROVIDER,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "host": socket.gethostname()[:TEXT],
        "pid": os.getpid(),
        "uptime": round(node.loop.time() - node.opened, 3),
        "addresses": node.addresses[:LISTED],
        "links": len(node.up_nodes()),
        "known": len(node.peers),
        "ports": len(node.ports),
        "spawned": node.spawner.live,
        "queue": len(node.queue.items) // 2,  # receivers and what they get
        "queue_bytes": node.queue.received,
        "buffered": node.buffered(),
        "lag": node.lag.ask(),
        "memory": _memory(),
    }


def _of_link(peer: Peer) -> dict[str, Any]:
    session = peer.session
    told: dict[str, Any] = {
        "id": peer.id,
        "state": "dialling" if peer.dialling else "idle",
        "buffered": peer.buffered(),
        "sent": peer.sent,
        "received": peer.received,
        "monitors": len(peer.targets),
    }
    if session is not None:
        info = session.info
        told.update(
            state="up",
            seconds=round(peer.node.loop.time() - session.since, 3),
            address=info.origin[:TEXT],
            version=info.provider[:TEXT],
            incarnation=info.incarnation,
            identity=info.identity[: 2 * TEXT],
            monitored=len(session.watches),
            paused=session.paused,
        )
    return told


def _of_port(port: Destination) -> dict[str, Any]:
    row = {
        "port": port.id,
        "kind": "reply",  # of a call that waits for its answer
        "handler": "",
        "tags": [],
        "busy": bool(port.state),  # an async handler runs: in the table no port is dead
        "waiting": 0,
        "waiting_bytes": 0,
        "monitors": len(port.watches or ()),
        "tasks": 0,
    }
    if isinstance(port, Port):
        rooms = [each.room for each in (port.backlog, port.mailbox) if each is not None]
        row.update(
            kind="async" if port.mailbox is not None else "plain",
            handler=_handler(port),
            tags=[str(tag)[:TEXT] for tag in islice(port.tagged or (), LISTED)],
            waiting=sum(room.count for room in rooms),
            waiting_bytes=sum(room.size for room in rooms),
            tasks=len(port.jobs or ()),
        )
    return row


def _handler(port: Port) -> str:
    """The default handler; of an async port the function it runs, which its task is named by."""
    handler: Any = port.default
    if handler is None and port.mailbox is not None:
        for job in port.jobs or ():
            if hasattr(job, "get_name"):
                return str(job.get_name())[:TEXT]
    if handler is None:
        return ""
    while isinstance(handler, functools.partial):
        handler = handler.func
    name = getattr(handler, "__qualname__", None) or type(handler).__qualname__
    return f"{getattr(handler, '__module__', None) or '?'}:{name}"[:TEXT]


def _memory() -> int | None:
    """Bytes of memory this process has in use, None where the system does not tell."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None
