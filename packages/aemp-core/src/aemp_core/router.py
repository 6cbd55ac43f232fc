"""The router: the way of a message, a kill or a monitor from its verb to the port it is for.

    snd --> Router --port here------> run queue --> Port
                 \\--port elsewhere--> Peer --> Link --> transport

A port is looked up by its whole ID: found, it is local, and the run queue gets an item; else the
part before ``#`` names the peer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import get_ident
from typing import Any, TypeVar, overload

from . import context
from .context import current_port_of, require_port
from .destination import Destination
from .errors import PortError, UnsendableError, UsageError
from .expose import exposed_name
from .ids import PortID, check_node_id, check_port_id, node_of
from .life import Life
from .monitor import Guard, Watch
from .node_events import NodeCallback, NodeWatch
from .ports import REASON_BYTES, Handler, Kill, Port
from .reason import Reason, no_such_port
from .resources import ResourceGuard, release_all, releaser
from .spawner import REQUEST as SPAWN
from .wire import pack, unpack

__all__ = ["Router"]

Message = tuple[Any, ...]
Function = TypeVar("Function", bound=Callable[..., Any])


class Router(Life):
    """Ports, messages, monitors, spawning; `Node` adds everything else."""

    # -- ports -------------------------------------------------------------------------------

    def new_port_id(self) -> PortID:
        """A port ID that was never used and never will be."""
        return f"{self.prefix}{self.next_serial()}"  # type: ignore[return-value]

    def new_port(
        self, port_id: PortID, handler: Handler | None = None, on_error: Any = None
    ) -> Port:
        """Create the port `port_id`."""
        self.ports[port_id] = port = Port(self, port_id, handler, on_error)
        return port

    def local(self, port: str, verb: str) -> Port:
        """The port object of `port`; `PortError` unless it lives on this node."""
        found = self.ports.get(port)
        if not isinstance(found, Port):
            node_id, name = check_port_id(port)
            if node_id != self.id:
                raise PortError(
                    f"{verb}({port!r}): that port is on {node_id}, not on {self.id}: "
                    "only its own node can do this; send it a message instead"
                )
            if not name:
                raise PortError(f"{verb}({port!r}): that is the node port; make a port() for this")
            if found is not None:
                raise PortError(f"{verb}({port!r}): that is the reply port of a call")
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
        # `send` without the call: this is the verb that is used most.
        if get_ident() != self.thread:
            self.check_thread()
        local = self.near.get(port)
        if local is not None:
            queue = self.queue
            queue.items.append(local)
            queue.items.append(message)
            if not queue.armed:
                queue.arm()
            return
        way = self.far.get(port)
        if way is not None:
            way(message)
        else:
            self._send_far(port, message)

    def send(self, port: str, message: Message) -> None:
        """`snd` of a message that is a tuple already."""
        if get_ident() != self.thread:
            self.check_thread()
        local = self.near.get(port)
        if local is not None:
            queue = self.queue
            queue.items.append(local)
            queue.items.append(message)
            if not queue.armed:
                queue.arm()
            return
        way = self.far.get(port)
        if way is not None:
            way(message)
        else:
            self._send_far(port, message)

    def _send_far(self, port: str, message: Message) -> None:
        """The long way: a port elsewhere, a node port, a copied message, or nobody."""
        if isinstance(port, str):
            node_id, _, name = port.rpartition("#")
            peer = self.peers.get(node_id)
            if peer is not None and peer.session is not None:
                peer.session.ways.used(port, name)
                peer.snd(name, message)
                return
        node_id, name = check_port_id(port)
        if self.closed or not self.incarnation:
            self.check_open()
        if node_id != self.id:
            self._pass_on(node_id, name, message)
            return
        if self.settings.strict:
            message = tuple(unpack(pack(message)))
        receiver = self.ports.get(port) if name else self.node_port
        if receiver is not None:
            self.queue.put(receiver, message)

    def _pass_on(self, node_id: str, name: str, message: Message, about: str = "") -> None:
        """Give a message for another node to its peer; while closing only over links there are."""
        if self.closing and not self.node_is_up(node_id):
            return
        peer = self.peer(node_id)
        try:
            peer.snd(name, message, about)
        except UnsendableError:
            self.forget_idle(peer)
            raise

    def forward(self, port: str, message: Message) -> None:
        """`snd` for a monitor that fires: there is no caller to raise at."""
        if not self.closed:
            self.call_in(None, self.snd, port, *message)

    def kil(self, port: str, /, *reason: Any) -> None:
        """Kill a port, in order with messages sent to it; no reason is a normal end.

        A port that kills itself is dead when its handler returns.

        Raises:
            PortError: `port` is no port ID, or is a node port.
            UnsendableError: the reason holds a value that is not plain.
        """
        if reason and len(pack(reason)) > REASON_BYTES:
            raise UnsendableError(f"the reason takes over {REASON_BYTES} bytes: make it shorter")
        self.check_thread()
        local = self.ports.get(port)
        if local is not None:
            self._kil_local(local, reason)
            return
        node_id, name = check_port_id(port)
        if self.closed or not self.incarnation:
            self.check_open()
        if not name:
            raise PortError(f"kil({port!r}): a node port cannot be killed; close the node")
        if node_id != self.id:
            self._pass_on(node_id, "", ("kil", name, *reason), about=name)

    def _kil_local(self, port: Destination, reason: Reason) -> None:
        if isinstance(port, Port) and context.running_port() is port:
            port.doomed = reason
            if port.running:
                return  # dead when the handler returns
        self.queue.put(Kill(port), reason)

    def forward_kil(self, port: str, reason: Reason) -> None:
        """`kil` for a monitor that fires."""
        if not self.closed:
            self.call_in(None, self.kil, port, *reason)

    def snd_on(self, node: str, port: str, /, *message: Any) -> None:
        """Have `node` send a message to `port`, in order with what that node itself sends it."""
        check_port_id(port)
        pack(message)
        self.snd(check_node_id(node_of(node)), "snd", port, *message)

    def snd_to_func(self, node: str, function: str | Callable[..., Any], /, *args: Any) -> None:
        """Call an exposed function on `node`; nothing comes back."""
        name = exposed_name(function)
        if name in self.node_port.requests:
            raise UsageError(f"{name!r} is a node request, not a function: use snd(node, {name!r})")
        pack(args)
        self.snd(check_node_id(node_of(node)), name, *args)

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
        pack(init)
        name = f"{self.incarnation}.{self.next_serial()}"
        self.check_thread()
        if node_id == self.id:
            self.spawner.handle(None, name, exposed_name(function), *init)
        else:
            request = (SPAWN, name, exposed_name(function), *init)
            self._pass_on(node_id, "", request, about=name)
        return PortID(f"{node_id}#{name}")

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
            if message and len(pack(message)) > 2 * REASON_BYTES:
                raise UnsendableError(
                    f"the message of a monitor takes over {2 * REASON_BYTES} bytes: make it shorter"
                )
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
        self.check_thread()
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
        if isinstance(local, Port):
            guard = ResourceGuard(local, resources)
            local.add_resource(guard)
            return guard

        return self.watch(port, lambda reason: release_all(self, resources))

    def mon_nodes(self, callback: NodeCallback, /) -> Guard:
        """Call ``callback(node_id, is_up, reason)`` whenever a link comes up or is lost."""
        self.check_open()
        if not callable(callback):
            raise UsageError(f"{callback!r} is no callback")
        return NodeWatch(self, current_port_of(self), callback)

    def node_event(self, node_id: str, is_up: bool, reason: Reason) -> None:
        """A link came up or was lost: tell who asked, in order with messages."""
        self.dialler.changed(node_id, is_up)
        for watch in self.node_watches:
            self.queue.put(watch, (node_id, is_up, reason))
