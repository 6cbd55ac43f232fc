"""The node: every verb of the API as a method.

A node is built in steps, each in its module: `Jobs` runs tasks and timers, `Life` opens and
closes, `Router` brings messages on their way, and `Node` adds the verbs that are made of these.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractContextManager
from functools import partial, wraps
from math import isfinite
from typing import Any, TypeVar

from . import calls, context
from .context import current_port_of, require_port
from .errors import UsageError
from .ids import PortID, check_node_id, check_port_id, node_of
from .mailbox import Mailbox, mailbox_of
from .monitor import Guard
from .ports import Port
from .reason import Reason
from .router import Router
from .spawner import Init
from .timers import Timer
from .wire import pack

__all__ = ["Node"]

Message = tuple[Any, ...]
Result = TypeVar("Result")


class Node(Router):
    """One participant of the network, bound to the event loop it is started on.

    Args:
        nodeid: the node ID; ``%n`` is replaced by the host name, ``%u`` by a unique text;
            ``anon/`` (the default) means ``anon/%u``.
        wall_clock: tells seconds since the epoch; simulations give their own.
        entropy: gives so many random bytes; simulations give their own.
        settings: everything `aemp_core.Settings` holds: ``binds``, ``seeds``, ``secret``, ...

    Use it as ``async with Node("alice", binds=["tcp://:4040"]) as node``.

    Raises:
        ConfigError: a setting is unknown or malformed.
    """

    # -- running code ------------------------------------------------------------------------

    def psub(self, function: Callable[..., Result], /) -> Callable[..., Result | None]:
        """`function` as code of the current port, wherever it is called from later.

        Its exception ends the port, and None is returned; so too once the port is dead. A
        coroutine it returns becomes a task of the port.
        """
        port = require_port("psub")

        @wraps(function)
        def in_port(*args: Any, **kwargs: Any) -> Any:
            return self._enter(port, function, args, kwargs)

        return in_port

    def peval(
        self, port: str, function: Callable[..., Result], /, *args: Any, **kwargs: Any
    ) -> Result | None:
        """Call `function` at once as code of `port`, a port of this node; return its result.

        Its exception ends that port, and None is returned.
        """
        result: Result | None = self._enter(self.local(port, "peval"), function, args, kwargs)
        return result

    def _enter(self, port: Port, function: Any, args: Any, kwargs: Any) -> Any:
        result = port.enter(function, *args, **kwargs)
        if isinstance(result, Coroutine):
            return self.own_task(port, result)
        return result

    def task(
        self, coro: Coroutine[Any, Any, Result], /, *, name: str | None = None
    ) -> asyncio.Task[Result]:
        """Run a coroutine as a task of the current port, or of the node outside any port.

        It is cancelled when the port dies, and its exception ends the port.
        """
        if not isinstance(coro, Coroutine):
            raise UsageError(f"task({coro!r}): give a coroutine, as calling an async function does")
        if self.closing:
            coro.close()
        self.check_open()
        return self.own_task(current_port_of(self), coro, name=name)

    def after(self, seconds: float, target: Any, /, *message: Any) -> Guard:
        """Once, `seconds` from now, call a function or send a port a message.

        Args:
            seconds: 0 or more.
            target: a function, called with `message` in the current port; or a port ID.

        Returns:
            A guard; the timer belongs to the current port and ends with it.
        """
        return self._timer(seconds, target, message, repeat=False)

    def every(self, seconds: float, target: Any, /, *message: Any) -> Guard:
        """As `after`, again and again; beats missed in a stall are left out."""
        return self._timer(seconds, target, message, repeat=True)

    def _timer(self, seconds: float, target: Any, message: Message, *, repeat: bool) -> Guard:
        self.check_open()
        self.check_thread()
        number = isinstance(seconds, (int, float)) and isfinite(seconds)
        if not number or seconds < 0 or (repeat and not seconds):
            least = "more than 0" if repeat else "0 or more"
            raise UsageError(f"{seconds!r} is no time to wait: give seconds, {least}")
        if isinstance(target, str):
            check_port_id(target)
            pack(message)
            action: Callable[[], object] = partial(self.snd, target, *message)
        elif callable(target):
            action = partial(target, *message)
        else:
            raise UsageError(f"{target!r} is neither a function nor a port ID")
        return Timer(self, current_port_of(self), seconds, action, repeat=repeat)

    # -- async ports -------------------------------------------------------------------------

    def port_async(self, function: Callable[..., Any], /, *args: Any) -> PortID:
        """Create a port that runs an async function and lives as long as that does.

        Inside, `get`, `get_cond` and `messages` receive.
        """
        self.check_open()
        return self.rcv_async(self.port(), function, *args)

    def rcv_async(self, port: str, function: Callable[..., Any], /, *args: Any) -> PortID:
        """Run an async function in a port of this node, which ends with it.

        Messages that no tagged handler takes wait for `get`, `get_cond` and `messages` there.
        """
        self.check_open()
        local = self.local(port, "rcv_async")
        if not callable(function):
            raise UsageError(f"{function!r} is no async function")
        if local.mailbox is not None:
            raise UsageError(f"rcv_async({port!r}): an async function runs there already")
        local.mailbox = Mailbox(local)
        self.queue.put(Init(local, function, args, spawned=False), None)
        return local.id

    def get(self, tag: str, /, timeout: float | None = None) -> Coroutine[Any, Any, Message]:
        """Receive the oldest message tagged `tag`, and return it without the tag.

        Raises:
            CallTimeout: none came within `timeout` seconds.
            UsageError: not called in an async port.
        """
        return mailbox_of("get").get(tag, timeout)

    def get_cond(
        self, predicate: Callable[[Message], object] | None = None, /, timeout: float | None = None
    ) -> Coroutine[Any, Any, Message]:
        """Receive the oldest message for which ``predicate(message)`` is true, or any.

        Raises:
            CallTimeout: none came within `timeout` seconds.
            UsageError: not called in an async port.
        """
        return mailbox_of("get_cond").get_cond(predicate, timeout)

    def messages(self) -> AsyncIterator[Message]:
        """Every message of this async port, in order of arrival."""
        return mailbox_of("messages").messages()

    def when_low(self, name: str, callback: Callable[[], None]) -> None:
        """Call back when what waits for port `name` is below half its room, or it is gone."""
        port = self.ports.get(f"{self.id}#{name}")
        for holder in (port.backlog, port.mailbox) if isinstance(port, Port) else ():
            if holder is not None and not holder.room.low:
                holder.room.when_low(lambda: self.when_low(name, callback), callback)
                return
        callback()

    # -- waiting -----------------------------------------------------------------------------

    def cal(
        self, port: str, /, *message: Any, timeout: float | None = None
    ) -> Coroutine[Any, Any, Message]:
        """Send a message with a fresh reply port at its end, and return what is sent there.

        Ends exactly once, and leaves nothing behind, also when cancelled.

        Raises:
            PortKilled: the port died, or messages to it were lost; `.reason` says why.
            CallTimeout: no answer came within `timeout` seconds.
        """
        self.check_open()
        return calls.cal(self, port, message, timeout)

    async def killed(self, port: str, /) -> Reason:
        """Wait until a port dies or messages to it are lost, and return the reason."""
        self.check_open()
        return await calls.killed(self, port)

    async def flush(self, target: str, /) -> None:
        """Wait until there is room on the way to a node, or to a port's mailbox.

        For a node: less than half of `send_limit` is buffered for it. For a port: also, its
        mailbox is less than half full, or the port is gone. Returns on loss, too.
        """
        self.check_open()
        await calls.flush(self, target)

    async def up(self, node: str, /, timeout: float | None = None) -> None:
        """Wait until there is a link to `node`, dialling it if need be.

        Raises:
            TransportError: no link could be made.
            CallTimeout: not within `timeout` seconds.
        """
        self.check_open()
        await calls.up(self, check_node_id(node), timeout)

    async def eval_on(self, node: str, text: str, /) -> Any:
        """Evaluate Python `text` on `node`, which must allow it by a rule; return its value.

        Raises:
            EvalFailed: it raised there, or was refused.
            PortKilled: the node was lost.
        """
        self.check_open()
        return await calls.eval_on(self, check_node_id(node), text)

    # -- asking ------------------------------------------------------------------------------

    def node_of(self, port: str, /) -> str:
        """The ID of the node that holds `port`."""
        return node_of(port)

    def port_is_local(self, port: str, /) -> bool:
        """Whether `port` is, or was, a port of this node."""
        return node_of(port) == self.id

    def node_is_known(self, node: str, /) -> bool:
        """Whether there is a link to `node`, or something waits for one; this node is known."""
        return node == self.id or node in self.peers

    def known_nodes(self) -> list[str]:
        """The IDs of this node and of every node it knows, each once."""
        return [self.id, *self.peers]

    def up_nodes(self) -> list[str]:
        """The IDs of the nodes there is a link to, without this one."""
        return [peer.id for peer in self.peers.values() if peer.session is not None]

    def current(self) -> AbstractContextManager[Node]:
        """Make this the current node inside a ``with`` block."""
        return context.node_is_current(self)

    def learn(self, node_id: str, *addresses: str) -> None:
        """Note addresses under which a node can be dialled."""
        for address in addresses:
            self.transport(address).check(address)
        self.dialler.learn(check_node_id(node_id), addresses)

    def forget(self, node_id: str, *addresses: str) -> None:
        """Take back addresses given to `learn`."""
        self.dialler.forget(check_node_id(node_id), addresses)

    def rest_seeds(self, *addresses: str) -> None:
        """Dial these of the seeds no more until a later call leaves them out; links stay up."""
        self.dialler.rest(addresses)

    # -- other threads -----------------------------------------------------------------------

    def snd_threadsafe(self, port: str, /, *message: Any) -> None:
        """`snd`, from any thread; values are checked at once, delivery errors are logged."""
        self.check_open()
        check_port_id(port)
        pack(message)
        self.loop.call_soon_threadsafe(lambda: self.call_in(None, self.snd, port, *message))

    def cal_threadsafe(
        self, port: str, /, *message: Any, timeout: float | None = None
    ) -> concurrent.futures.Future[Message]:
        """`cal`, from any thread; the result is a `concurrent.futures.Future`."""
        self.check_open()
        call = self.cal(port, *message, timeout=timeout)
        return asyncio.run_coroutine_threadsafe(call, self.loop)
