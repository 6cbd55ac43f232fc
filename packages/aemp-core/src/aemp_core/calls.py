"""Waiting for others: `cal`, `killed`, `flush`, `up`, `eval_on`, built on messages and monitors.

A call is an ordinary message whose last element is a fresh reply port, and a monitor on the port
that is called. Whatever comes first, answer, death or time-out, ends it, exactly once; then the
reply port and the monitor are gone.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from .errors import CallTimeout, EvalFailed, PortKilled, TransportError, UsageError
from .ids import check_port_id
from .reason import Reason
from .wire import pack

if TYPE_CHECKING:
    from .node import Node

__all__ = ["cal", "eval_on", "flush", "killed", "up"]

Message = tuple[Any, ...]


def check_timeout(timeout: float | None) -> None:
    """Raise `UsageError` unless `timeout` is None or a number of seconds, 0 or more."""
    if timeout is not None and not (isinstance(timeout, (int, float)) and timeout >= 0):
        raise UsageError(f"timeout={timeout!r}: give seconds, 0 or more, or None to wait for ever")


async def cal(node: Node, port: str, message: Message, timeout: float | None) -> Message:
    """Send `message` with a reply port at its end, and wait for what is sent there."""
    check_timeout(timeout)
    answer: asyncio.Future[Message] = node.loop.create_future()

    def answered(*reply: Any) -> None:
        if not answer.done():
            answer.set_result(reply)

    def ended(reason: Reason) -> None:
        if not answer.done():
            answer.set_exception(PortKilled(reason))

    def expired() -> None:
        if not answer.done():
            answer.set_exception(CallTimeout(f"no answer from {port} within {timeout} s"))

    if port not in node.ports:
        pack(message)  # or raise before a monitor has the port's node dialled
    # Before the message: its loss must be noticed. Outside any port: nobody else's death counts.
    guard = node.watch(port, ended)
    reply_port = node.new_port(node.new_port_id(), answered)
    alarm = None
    try:
        node.snd(port, *message, reply_port.id)
        if timeout is not None:
            alarm = node.loop.call_later(timeout, expired)
        return await answer
    finally:
        if alarm is not None:
            alarm.cancel()
        guard.cancel()
        reply_port.die(())


async def killed(node: Node, port: str) -> Reason:
    """Wait until `port` dies or is lost."""
    end: asyncio.Future[Reason] = node.loop.create_future()

    def ended(reason: Reason) -> None:
        if not end.done():
            end.set_result(reason)

    guard = node.watch(port, ended)
    try:
        return await end
    finally:
        guard.cancel()


async def up(node: Node, node_id: str, timeout: float | None) -> None:
    """Wait until there is a link to a node."""
    check_timeout(timeout)
    if node_id == node.id:
        return
    try:
        await asyncio.wait_for(node.peer(node_id).ready(), timeout)
    except asyncio.TimeoutError:
        raise CallTimeout(f"no link to {node_id} within {timeout} s") from None


async def flush(node: Node, target: str) -> None:
    """Wait until there is room again on the way to `target`."""
    node_id, name = check_port_id(target)
    session = None
    if node_id != node.id:
        peer = node.peers.get(node_id)
        if peer is None:
            return
        await peer.flushed()
        if not name or peer.idle:
            return
        try:
            await peer.ready()
        except TransportError:
            return
        session = peer.session
    elif not name:
        return
    knows_fence = session is None or "fence" in session.info.features
    try:
        await cal(node, node_id, ("fence", name) if knows_fence else ("time",), None)
    except PortKilled:
        return  # lost: nothing is under way any more


async def eval_on(node: Node, node_id: str, text: str) -> Any:
    """Evaluate `text` on another node."""
    error, *results = await cal(node, node_id, ("eval", text), None)
    if error:
        raise EvalFailed(f"{node_id}: {error}")
    return results[0] if len(results) == 1 else tuple(results) or None
