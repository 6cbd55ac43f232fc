"""Waiting for others: `cal`, `killed`, `flush`, `up`, `eval_on`, built on messages and monitors.

A call is an ordinary message whose last element is a fresh reply port, and a monitor on the port
that is called, the same one for all calls of it that are under way. Whatever comes first, answer,
death or time-out, ends a call, exactly once; then the reply port is gone, and with the last call
the monitor.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .destination import OPEN, Destination
from .errors import CallTimeout, EvalFailed, PortKilled, TransportError
from .ids import check_port_id
from .mailbox import check_timeout
from .reason import Reason
from .wire import pack

if TYPE_CHECKING:
    from .node import Node

__all__ = ["cal", "eval_on", "flush", "killed", "up"]

Message = tuple[Any, ...]


class Call(Destination):
    """The reply port of one call: what is sent there is the answer, whoever sends it."""

    __slots__ = ("answer",)

    def __init__(self, node: Node) -> None:
        self.node = node
        self.id = node.new_port_id()
        self.state = OPEN
        self.watches = self.dependents = None
        self.answer: asyncio.Future[Message] = node.loop.create_future()
        node.ports[self.id] = self

    def deliver(
        self, message: Sequence[Any], source: Any = None, size: int = 0, at: int = 0
    ) -> None:
        if not self.answer.done():
            self.answer.set_result(tuple(message[at:]))

    def expire(self, port: str, timeout: float) -> None:
        """The time is over."""
        if not self.answer.done():
            self.answer.set_exception(CallTimeout(f"no answer from {port} within {timeout} s"))


class Callee:
    """A port that calls of this node wait for: watched once, for all of them."""

    __slots__ = ("_guard", "_node", "_port", "calls")

    def __init__(self, node: Node, port: str, message: Message) -> None:
        if port not in node.ports:
            pack(message)  # or raise before a monitor has the port's node dialled
        self.calls: dict[Call, None] = {}
        self._node = node
        self._port = port
        # Outside any port: nobody else's death counts.
        self._guard = node.watch(port, self._ended)
        node.callees[port] = self

    def forget(self) -> None:
        """The last call has ended: nobody watches any more."""
        self._guard.cancel()
        if self._node.callees.get(self._port) is self:
            del self._node.callees[self._port]

    def _ended(self, reason: Reason) -> None:
        if self._node.callees.get(self._port) is self:
            del self._node.callees[self._port]
        for call in self.calls:
            if not call.answer.done():
                call.answer.set_exception(PortKilled(reason))


async def cal(node: Node, port: str, message: Message, timeout: float | None) -> Message:
    """Send `message` with a reply port at its end, and wait for what is sent there."""
    if timeout is not None:
        check_timeout(timeout)
    # Watched before the message is sent: its loss must be noticed.
    callee = node.callees.get(port) or Callee(node, port, message)
    call = Call(node)
    callee.calls[call] = None
    alarm = None
    try:
        node.send(port, message + (call.id,))
        if timeout is not None:
            alarm = node.loop.call_later(timeout, call.expire, port, timeout)
        return await call.answer
    finally:
        if alarm is not None:
            alarm.cancel()
        del callee.calls[call]
        if not callee.calls:
            callee.forget()
        call.die(())


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

    async def ready() -> None:
        # The peer is looked up here, in what may be a task of its own: before that begins the link
        # may be lost, and the peer of then forgotten.
        await node.peer(node_id).ready()

    try:
        await asyncio.wait_for(ready(), timeout)
    except asyncio.TimeoutError:
        raise CallTimeout(f"no link to {node_id} within {timeout} s") from None


async def flush(node: Node, target: str) -> None:
    """Wait until there is room again on the way to `target`."""
    peer = node.peers.get(target)
    if peer is not None:
        await peer.flushed()
        return
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
