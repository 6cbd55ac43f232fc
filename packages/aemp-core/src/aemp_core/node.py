"""The node: the router between ports, and every verb of the API as a method.

    snd --> Node --port here------> run queue --> Port
               \\--port elsewhere--> Peer --> Link --> transport

`snd`, `kil`, `mon` look a port up by its whole ID: found, it is local, and an item of the run
queue; else the part before ``#`` names the peer that gets it. Opening and closing are in
`life.py`, waiting for answers in `calls.py`.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AbstractContextManager
from functools import partial, wraps
from math import isfinite
from typing import Any, TypeVar, overload

from . import calls, context
from .context import current_port_of, require_port
from .errors import PortError, UsageError
from .expose import exposed_name
from .ids import PortID, check_node_id, check_port_id, node_of
from .life import Life
from .mailbox import Mailbox
from .monitor import Guard, Watch
from .ports import Handler, Kill, Port, ResourceGuard, releaser
from .reason import Reason, no_such_port
from .spawn import REQUEST as SPAWN
from .spawn import Init
from .timers import Timer
from .wire import pack, unpack

__all__ = ["Node"]

Message = tuple[Any, ...]
Result = TypeVar("Result")
Function = TypeVar("Function", bound=Callable[..., Any])
NodeCallback = Callable[[str, bool, Reason], object]


class Node(Life):
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

    # -- ports -------------------------------------------------------------------------------

    def new_port_id(self) -> PortID:
        """A port ID that was never used and never will be."""
        return PortID(f"{self.id}#{self.incarnation}.{self.next_serial()}")

    def new_port(
        self, port_id: PortID, handler: Handler | None = None, on_error: Any = None
    ) -> Port:
        """Create the port `port_id`."""
        port = self.ports[port_id] = Port(self, port_id, handler, on_error)
        return port

    def local(self, port: str, verb: str) -> Port:
        """The port object of `port`; `PortError` unless it lives on this node."""
        found = self.ports.get(port)
        if found is None:
            node_id, name = check_port_id(port)
            if node_id != self.id:
                raise PortError(
                    f"{verb}({port!r}): that port is on {node_id}, not on {self.id}: "
                    "only its own node can do this; send it a message instead"
                )
            if not name:
                raise PortError(f"{verb}({port!r}): that is the node port; make a port() for this")
            raise PortError(f"{verb}({port!r}): that port does not exist, or has ended")
        return found

    def port(self, handler: Handler | None = None, /, *, on_error: Any = None) -> PortID:
        """Create a port.

        Args:
            handler: its default handler, called with the elements of each message.
            on_error: ``on_error(exception, message)`` is called instead of ending the port when
                a handler raises, or has no handler for a message.

        Returns:
            The port ID, never used before and never again.
        """
        self.check_open()
        for function in (handler, on_error):
            if function is not None and not callable(function):
                raise UsageError(f"{function!r} is no handler: give a function or any callable")
        return self.new_port(self.new_port_id(), handler, on_error).id

    def rcv(
        self,
        port: str,
        handler: Handler | Mapping[str, Handler | None] | None = ...,  # type: ignore[assignment]
        /,
        **tags: Handler | None,
    ) -> PortID:
        """Set handlers of a port on this node, replacing those there were.

        Args:
            port: a port of this node.
            handler: the default handler, or a mapping from tags to handlers; None unregisters
                the default handler.
            tags: handlers by tag, called with the elements after the tag; None unregisters.

        Returns:
            The port ID.

        Raises:
            PortError: the port is on another node, or does not exist.
            UsageError: a handler cannot be called; nothing is changed then.
        """
        local = self.local(port, "rcv")
        handlers: dict[str, Handler | None] = {}
        if isinstance(handler, Mapping):
            handlers.update(handler)
        handlers.update(tags)
        local.set_handlers(handlers, ... if isinstance(handler, Mapping) else handler)
        return local.id

    def on(self, port: str, /, *tags: str) -> Callable[[Function], Function]:
        """A decorator that makes a function the handler of `tags`, or (none) the default."""
        local = self.local(port, "on")

        def register(function: Function) -> Function:
            if tags:
                local.set_handlers(dict.fromkeys(tags, function))
            else:
                local.set_handlers({}, function)
            return function

        return register

    # -- messages ----------------------------------------------------------------------------

    def snd(self, port: str, /, *message: Any) -> None:
        """Send a message: at most once, in order, and lost only if a monitor can tell.

        Args:
            port: any port ID; a node ID addresses the node port.
            message: plain values (see the guarantees), by custom a tag first.

        Raises:
            NodeClosed: this node is closed.
            PortError: `port` is no port ID.
            UnsendableError: a value is not plain, or the message is too long, for a port on
                another node; the text names the path to the value.
            WrongThread: called outside the thread of the loop.
        """
        local = self.ports.get(port)
        if local is None or self.settings.strict:
            self._snd(port, message)
            return
        queue = self.queue
        queue.items.append((local, message, None, 0))
        if not queue.armed:
            queue.arm()

    def _snd(self, port: str, message: Message) -> None:
        """The long way: a node port, a port elsewhere, a copied message, or nobody."""
        node_id, name = check_port_id(port)
        if self.closed or not self.incarnation:
            self.check_open()
        if node_id != self.id:
            self.queue.check_thread()
            if not self.closing or self.node_is_up(node_id):
                self.peer(node_id).snd(name, message)
            return
        if self.settings.strict:
            message = tuple(unpack(pack(message)))
        receiver = self.ports.get(port) if name else self.node_port
        if receiver is not None:
            self.queue.put(receiver, message)

    def forward(self, port: str, message: Message) -> None:
        """`snd` for a monitor that fires: there is no caller to raise at."""
        if not self.closed:
            self.snd(port, *message)

    def kil(self, port: str, /, *reason: Any) -> None:
        """Kill a port, in order with messages sent to it; no reason is a normal end.

        A port that kills itself is dead when its handler returns.

        Raises:
            PortError: `port` is no port ID, or is a node port.
            UnsendableError: the reason holds a value that is not plain.
        """
        if reason:
            pack(reason)
        local = self.ports.get(port)
        if local is not None:
            self._kil_local(local, reason)
            return
        node_id, name = check_port_id(port)
        if not name:
            raise PortError(f"kil({port!r}): a node port cannot be killed; close the node")
        if node_id != self.id:
            self.queue.check_thread()
            self.peer(node_id).snd("", ("kil", name, *reason))

    def _kil_local(self, port: Port, reason: Reason) -> None:
        if context.running_port() is port:
            port.doomed = reason
            if port.running:
                return  # dead when the handler returns
        self.queue.put(Kill(port), reason)

    def forward_kil(self, port: str, reason: Reason) -> None:
        """`kil` for a monitor that fires."""
        if not self.closed:
            self.kil(port, *reason)

    def snd_on(self, node: str, port: str, /, *message: Any) -> None:
        """Have `node` send a message to `port`, in order with what that node itself sends it."""
        check_port_id(port)
        self.snd(check_node_id(node_of(node)), "snd", port, *message)

    def snd_to_func(self, node: str, function: str | Callable[..., Any], /, *args: Any) -> None:
        """Call an exposed function on `node`; nothing comes back."""
        name = exposed_name(function)
        if name in self.node_port.requests:
            raise UsageError(f"{name!r} is a node request, not a function: use snd(node, {name!r})")
        self.snd(check_node_id(node_of(node)), name, *args)

    # -- monitors ----------------------------------------------------------------------------

    @overload
    def mon(self, port: str, /) -> Guard: ...
    @overload
    def mon(self, port: str, callback: Callable[[Reason], object], /) -> Guard: ...
    @overload
    def mon(self, port: str, other: str, /, *message: Any) -> Guard: ...
    def mon(self, port: str, target: Any = ..., /, *message: Any) -> Guard:
        """Watch a port: be told once when it dies, or when messages to it were lost.

        Args:
            port: any port ID; a node ID watches the link to that node.
            target: a function, called with the reason tuple, in the current port if it lives
                then; or a port ID, which an abnormal end kills, or, with a `message`, which is
                sent ``(*message, *reason)``; left out, the current port dies with `port`.

        Returns:
            A guard whose `cancel` takes the monitor back.
        """
        self.check_open()
        if target is ...:
            target = require_port("mon(port)").id
        if isinstance(target, str):
            check_port_id(target)
            pack(message)
            return self.watch(port, None, target, message)
        if not callable(target):
            raise UsageError(f"{target!r} cannot be told: give a function or a port ID")
        if message:
            raise UsageError("a message goes with a port ID; a function gets the reason alone")
        return self.watch(port, target, owner=current_port_of(self))

    def watch(
        self,
        port: str,
        callback: Callable[[Reason], object] | None,
        other: str = "",
        message: Message = (),
        owner: Port | None = None,
    ) -> Watch:
        """Set up the watch that `mon` asks for."""
        self.queue.check_thread()
        local = self.ports.get(port)
        node_id, name = (self.id, "") if local is not None else check_port_id(port)
        watch = Watch(self, owner, callback, other, message)
        if local is not None:
            local.watch(watch)
            watch.attach(local)
        elif node_id != self.id:
            self.peer(node_id).monitor(name, watch)
        elif not name:
            self.node_port.watch(watch)
            watch.attach(self.node_port)
        else:
            self.queue.put(watch, self.spawner.error(name) or no_such_port(port))
        return watch

    def mon_guard(self, port: str, /, *resources: Any) -> Guard:
        """Release resources when a port dies: `cancel()`, `close()` or a call of each, last first.

        Raises:
            UsageError: a resource has none of these.
        """
        self.check_open()
        for resource in resources:
            releaser(resource)
        local = self.ports.get(port)
        if local is not None:
            guard = ResourceGuard(local, resources)
            local.add_resource(guard)
            return guard

        def release(reason: Reason) -> None:
            for resource in reversed(resources):
                self.call_in(None, releaser(resource))

        return self.watch(port, release)

    def mon_nodes(self, callback: NodeCallback, /) -> Guard:
        """Call ``callback(node_id, is_up, reason)`` whenever a link comes up or is lost."""
        self.check_open()
        if not callable(callback):
            raise UsageError(f"{callback!r} is no callback")
        return NodeWatch(self, current_port_of(self), callback)

    def node_event(self, node_id: str, is_up: bool, reason: Reason) -> None:
        """A link came up or was lost: tell who asked, in order with messages."""
        self.dialler.changed(node_id, is_up)
        if self.node_watches:
            self.queue.put(NodeEvent(self), (node_id, is_up, reason))

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

    def spawn(self, node: str, function: str | Callable[..., Any], /, *init: Any) -> PortID:
        """Create a port on `node` and run an exposed function there, in it, with `init`.

        The port ID can be used at once. A sync function sets up handlers; an async one lives as
        a port of `port_async` does. Failure is the reason ``("spawn_error", text)`` of monitors.

        Args:
            node: a node ID, or any port of that node.
            function: ``"package.module:function"``, or an exposed function.
            init: arguments of the function, plain values.

        Raises:
            NotExposed: a function object that is not exposed in this program.
            UnsendableError: an argument is not plain.
        """
        self.check_open()
        node_id = check_node_id(node_of(node))
        name = f"{self.incarnation}.{self.next_serial()}"
        if node_id == self.id:
            self.queue.check_thread()
            self.spawner.handle(None, name, exposed_name(function), *init)
        else:
            self.snd(node_id, SPAWN, name, exposed_name(function), *init)
        return PortID(f"{node_id}#{name}")

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
        self.queue.check_thread()
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
        self.queue.put(Init(local, function, args, spawned=False), ())
        return local.id

    async def get(self, tag: str, /, timeout: float | None = None) -> Message:
        """Receive the oldest message tagged `tag`, and return it without the tag.

        Raises:
            CallTimeout: none came within `timeout` seconds.
            UsageError: not called in an async port.
        """
        calls.check_timeout(timeout)
        return await mailbox_of("get").get(tag, timeout)

    async def get_cond(
        self, predicate: Callable[[Message], object] | None = None, /, timeout: float | None = None
    ) -> Message:
        """Receive the oldest message for which ``predicate(message)`` is true, or any.

        Raises:
            CallTimeout: none came within `timeout` seconds.
            UsageError: not called in an async port.
        """
        calls.check_timeout(timeout)
        return await mailbox_of("get_cond").get_cond(predicate, timeout)

    def messages(self) -> AsyncIterator[Message]:
        """Every message of this async port, in order of arrival."""
        return mailbox_of("messages").messages()

    def when_low(self, name: str, callback: Callable[[], None]) -> None:
        """Call back when what waits for port `name` is below half its room, or it is gone."""
        port = self.ports.get(f"{self.id}#{name}")
        for holder in (port.backlog, port.mailbox) if port is not None else ():
            if holder is not None and not holder.room.low:
                holder.room.when_low(lambda: self.when_low(name, callback))
                return
        callback()

    # -- waiting -----------------------------------------------------------------------------

    async def cal(self, port: str, /, *message: Any, timeout: float | None = None) -> Message:
        """Send a message with a fresh reply port at its end, and return what is sent there.

        Ends exactly once, and leaves nothing behind, also when cancelled.

        Raises:
            PortKilled: the port died, or messages to it were lost; `.reason` says why.
            CallTimeout: no answer came within `timeout` seconds.
        """
        self.check_open()
        return await calls.cal(self, port, message, timeout)

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

    def node_is_up(self, node: str, /) -> bool:
        """Whether there is a link to `node`; this node itself is up."""
        peer = self.peers.get(node)
        return node == self.id if peer is None else peer.session is not None

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
            self.transport(address)
        self.dialler.learn(check_node_id(node_id), addresses)

    # -- other threads -----------------------------------------------------------------------

    def snd_threadsafe(self, port: str, /, *message: Any) -> None:
        """`snd`, from any thread; values are checked at once, delivery errors are logged."""
        check_port_id(port)
        pack(message)
        self.loop.call_soon_threadsafe(lambda: self.call_in(None, self.snd, port, *message))

    def cal_threadsafe(
        self, port: str, /, *message: Any, timeout: float | None = None
    ) -> concurrent.futures.Future[Message]:
        """`cal`, from any thread; the result is a `concurrent.futures.Future`."""
        call = self.cal(port, *message, timeout=timeout)
        return asyncio.run_coroutine_threadsafe(call, self.loop)


class NodeWatch(Guard):
    """One `mon_nodes`."""

    __slots__ = ("_callback", "_node", "_owner", "active")

    def __init__(self, node: Node, owner: Port | None, callback: NodeCallback) -> None:
        self.active = True
        self._node = node
        self._owner = owner
        self._callback = callback
        node.node_watches[self] = None
        if owner is not None:
            owner.add_job(self)

    def cancel(self) -> None:
        self.active = False
        self._node.node_watches.pop(self, None)
        if self._owner is not None:
            self._owner.drop_job(self)

    def fire(self, node_id: str, is_up: bool, reason: Reason) -> None:
        """Tell of one event."""
        if self.active:
            self._node.call_in(self._owner, self._callback, node_id, is_up, reason)


class NodeEvent:
    """The item of the run queue that tells of a link that came up or was lost."""

    __slots__ = ("_node",)

    def __init__(self, node: Node) -> None:
        self._node = node

    def deliver(self, event: tuple[str, bool, Reason], source: Any, size: int) -> None:
        """Tell everybody who asked."""
        for watch in list(self._node.node_watches):
            watch.fire(*event)


def mailbox_of(verb: str) -> Mailbox:
    """The mailbox of the current port; `UsageError` if it is no async port."""
    port = require_port(verb)
    if port.mailbox is None:
        raise UsageError(
            f"{verb} receives in an async port, and {port.id} is none: make it with port_async, "
            "or attach an async function with rcv_async"
        )
    return port.mailbox
