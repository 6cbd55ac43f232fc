"""The verbs as functions, each acting on the current node.

`context.find_node` says which node that is; where none is open an anonymous one is opened on the
running loop. The methods of `Node` hold the full description of each verb.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from typing import Any, TypeVar, overload

from . import ids
from .backlog import is_awaitable
from .context import find_node, node_outside, require_port, running_port
from .errors import PortError, UsageError
from .ids import PortID
from .mailbox import mailbox_of
from .monitor import Guard
from .node import Node
from .node_events import NodeCallback
from .ports import Handler
from .reason import Reason
from .requests import Request
from .router import Router

__all__ = [
    "after",
    "cal",
    "current_identity",
    "current_node",
    "current_port",
    "current_sender",
    "eval_on",
    "every",
    "flush",
    "get",
    "get_cond",
    "kil",
    "killed",
    "known_nodes",
    "messages",
    "mon",
    "mon_guard",
    "mon_nodes",
    "node_is_known",
    "node_is_up",
    "node_of",
    "on",
    "peval",
    "port",
    "port_async",
    "port_is_local",
    "psub",
    "rcv",
    "rcv_async",
    "replies",
    "snd",
    "snd_on",
    "snd_to_func",
    "spawn",
    "task",
    "up",
    "up_nodes",
]

Message = tuple[Any, ...]
Result = TypeVar("Result")
Function = TypeVar("Function", bound=Callable[..., Any])


def current_node() -> Node:
    """The current node; an anonymous one is opened if no node is open on the running loop.

    Raises:
        AmbiguousNodeError: several nodes are open here and none is current.
        RuntimeError: no event loop is running (`blocking` is for programs without one).
    """
    return find_node() or Node().open()


def current_port() -> PortID:
    """The port whose code is running; `NoCurrentPort` outside any."""
    return require_port("current_port()").id


def current_sender() -> str:
    """The ID of the node that sent the message the current port handles, proven by its link."""
    port = require_port("current_sender()")
    sender: str = port.node.id if port.source is None else port.source.id
    return sender


def current_identity() -> str:
    """What a certificate proves of the sender of the message that the current port handles.

    Its name there, ``aemp://NETWORK/NODEID``, or the pattern that grants it its node ID; "" if
    the message came from this node, or over a link without certificates.
    """
    port = require_port("current_identity()")
    identity: str = "" if port.source is None else port.source.info.identity
    return identity


def port(handler: Handler | None = None, /, *, on_error: Any = None) -> PortID:
    """Create a port on the current node: see `Node.port`."""
    return current_node().port(handler, on_error=on_error)


def rcv(
    port: str,
    handler: Handler | Mapping[str, Handler | None] | None = ...,  # type: ignore[assignment]
    /,
    **tags: Handler | None,
) -> PortID:
    """Set handlers of a port: see `Node.rcv`."""
    return current_node().rcv(port, handler, **tags)


def on(port: str, /, *tags: str) -> Callable[[Function], Function]:
    """A decorator that registers a handler: see `Node.on`."""
    return current_node().on(port, *tags)


def snd(port: str, /, *message: Any) -> None:
    """Send a message: see `Node.snd`."""
    here = running_port()
    node = node_outside() or current_node() if here is None else here.node
    node.send(port, message)


def kil(port: str, /, *reason: Any) -> None:
    """Kill a port: see `Node.kil`."""
    current_node().kil(port, *reason)


@overload
def mon(port: str, /) -> Guard: ...
@overload
def mon(port: str, callback: Callable[[Reason], object], /) -> Guard: ...
@overload
def mon(port: str, other: str, /, *message: Any) -> Guard: ...
def mon(port: str, target: Any = ..., /, *message: Any) -> Guard:
    """Watch a port: see `Node.mon`."""
    return current_node().mon(port, target, *message)


def mon_guard(port: str, /, *resources: Any) -> Guard:
    """Release resources when a port dies: see `Node.mon_guard`."""
    return current_node().mon_guard(port, *resources)


def mon_nodes(callback: NodeCallback, /) -> Guard:
    """Be told of links that come up or are lost: see `Node.mon_nodes`."""
    return current_node().mon_nodes(callback)


def psub(function: Callable[..., Result], /) -> Callable[..., Result | None]:
    """`function` as code of the current port: see `Node.psub`."""
    return current_node().psub(function)


def peval(
    port: str, function: Callable[..., Result], /, *args: Any, **kwargs: Any
) -> Result | None:
    """Call `function` as code of `port`: see `Node.peval`."""
    return current_node().peval(port, function, *args, **kwargs)


def spawn(node: str, function: str | Callable[..., Any], /, *init: Any) -> PortID:
    """Create a port on `node` and run an exposed function in it: see `Node.spawn`."""
    return current_node().spawn(node, function, *init)


def task(coro: Coroutine[Any, Any, Result], /, *, name: str | None = None) -> asyncio.Task[Result]:
    """Run a coroutine as a task of the current port: see `Node.task`."""
    return current_node().task(coro, name=name)


def after(seconds: float, target: Any, /, *message: Any) -> Guard:
    """Once, later, call a function or send a message: see `Node.after`."""
    return current_node().after(seconds, target, *message)


def every(seconds: float, target: Any, /, *message: Any) -> Guard:
    """Again and again, call a function or send a message: see `Node.every`."""
    return current_node().every(seconds, target, *message)


def replies(handler: Callable[..., Any]) -> Handler:
    """Make a handler for `cal`: the reply port is taken off, what `handler` returns is sent there.

    A tuple is sent as the elements of the answer, None as an empty one, anything else as its one
    element. The handler may be async. Its exception ends the port, and so the call. A reply port
    is a port of this node or of the one that called, never a node port; others are refused.
    """

    def handle(*message: Any) -> Any:
        if not message:
            raise UsageError("a call has a reply port as its last element: ask with `cal`")
        reply = message[-1]
        here = running_port() or require_port("replies")
        session = here.source
        name = ""  # of the reply port at the other end
        if session is not None and type(reply) is str and reply.startswith(session.there):
            name = reply[len(session.there) :]
        if not name or "#" in name:
            node = here.node
            try:
                Request(node, session).permit(reply)  # type: ignore[arg-type]
            except (PermissionError, PortError) as error:
                # Else a peer could have this node send anything to anyone in its own name.
                node.refuse(session, "answer", str(error))
                return None
        result = handler(*message[:-1])
        if type(result) is not tuple:
            if is_awaitable(result):
                return answer_later(here.node, reply, result)
            result = elements(result)
        if name and session.peer.session is session:  # without looking for the node again
            session.peer.snd(name, result)
        else:
            here.node.send(reply, result)
        return None

    def elements(result: Any) -> Message:
        if isinstance(result, tuple):
            return tuple(result)  # not one that adds in a way of its own
        return () if result is None else (result,)

    async def answer_later(node: Router, reply: str, awaitable: Any) -> None:
        node.send(reply, elements(await awaitable))

    return handle


def port_async(function: Callable[..., Any], /, *args: Any) -> PortID:
    """Create a port that runs an async function: see `Node.port_async`."""
    return current_node().port_async(function, *args)


def rcv_async(port: str, function: Callable[..., Any], /, *args: Any) -> PortID:
    """Run an async function in a port: see `Node.rcv_async`."""
    return current_node().rcv_async(port, function, *args)


def get(tag: str, /, timeout: float | None = None) -> Coroutine[Any, Any, Message]:
    """Receive the oldest message of a tag: see `Node.get`."""
    port = running_port()
    mailbox = None if port is None else port.mailbox  # `mailbox_of` without the call
    return (mailbox or mailbox_of("get")).get(tag, timeout)


def get_cond(
    predicate: Callable[[Message], object] | None = None, /, timeout: float | None = None
) -> Coroutine[Any, Any, Message]:
    """Receive the oldest message a predicate accepts: see `Node.get_cond`."""
    return mailbox_of("get_cond").get_cond(predicate, timeout)


def messages() -> AsyncIterator[Message]:
    """Every message of this async port: see `Node.messages`."""
    return mailbox_of("messages").messages()


def snd_to_func(node: str, function: str | Callable[..., Any], /, *args: Any) -> None:
    """Call an exposed function on a node: see `Node.snd_to_func`."""
    current_node().snd_to_func(node, function, *args)


def snd_on(node: str, port: str, /, *message: Any) -> None:
    """Have a node send a message: see `Node.snd_on`."""
    current_node().snd_on(node, port, *message)


async def eval_on(node: str, text: str, /) -> Any:
    """Evaluate Python text on a node that allows it: see `Node.eval_on`."""
    return await current_node().eval_on(node, text)


def cal(port: str, /, *message: Any, timeout: float | None = None) -> Coroutine[Any, Any, Message]:
    """Send a message and wait for the answer: see `Node.cal`."""
    return current_node().cal(port, *message, timeout=timeout)


async def killed(port: str, /) -> Reason:
    """Wait until a port dies: see `Node.killed`."""
    return await current_node().killed(port)


async def flush(node_or_port: str, /) -> None:
    """Wait until there is room on the way to a node or port: see `Node.flush`."""
    await current_node().flush(node_or_port)


async def up(node: str, /, timeout: float | None = None) -> None:
    """Wait until there is a link to a node: see `Node.up`."""
    await current_node().up(node, timeout)


def node_of(port: str, /) -> str:
    """The ID of the node that holds a port."""
    return ids.node_of(port)


def port_is_local(port: str, /) -> bool:
    """Whether a port is, or was, on the current node."""
    return current_node().port_is_local(port)


def node_is_known(node: str, /) -> bool:
    """Whether the current node knows a node: see `Node.node_is_known`."""
    return current_node().node_is_known(node)


def node_is_up(node: str, /) -> bool:
    """Whether there is a link to a node: see `Node.node_is_up`."""
    return current_node().node_is_up(node)


def known_nodes() -> list[str]:
    """The nodes the current node knows: see `Node.known_nodes`."""
    return current_node().known_nodes()


def up_nodes() -> list[str]:
    """The nodes the current node has links to: see `Node.up_nodes`."""
    return current_node().up_nodes()
