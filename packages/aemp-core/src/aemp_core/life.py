"""The life of a node: opening it, the tasks and timers it owns, closing it without residue.

`Life` is the half of `Node` that no message passes through. Opening: settings, plugins, services,
listeners, seeds. Closing, in this order: what is queued is handled, new work is refused, ports end
with ``("closed", node_id)``, their monitors run, links are written out and closed, tasks end,
listeners go. Every wait in it is bounded.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from threading import get_ident
from typing import TYPE_CHECKING, Any

from . import context, loading, refusals
from . import reason as reasons
from .destination import Destination
from .dial import Dialler
from .errors import NOT_HERE, AddressError, ConfigError, NodeClosed, UsageError, WrongThread
from .heartbeat import Pulse
from .ids import expand_node_id, new_incarnation
from .jobs import Jobs
from .lag import Lag
from .link import Listener, Transport
from .peer import Peer
from .plugins import plugin_manager
from .reason import Reason
from .rendezvous import Rendezvous
from .requests import NodePort, Rules
from .run_queue import RunQueue
from .session import Session
from .settings import Settings, unknown
from .spawner import Spawner
from .way import Way
from .wire import PROVIDER, AuthMethod, Framing, Greeting

if TYPE_CHECKING:
    from .calls import Callee
    from .node import Node
    from .node_events import NodeWatch

__all__ = ["Life"]

log = logging.getLogger("aemp_core.node")

#: Seconds `close` waits for queued work, and again for tasks to end.
CLOSE_SECONDS = 5.0
#: Loop turns it gives queued work, which may make new work of itself for ever.
CLOSE_TURNS = 10_000
#: What core answers beyond protocol version 1, told in the greeting; plugins add words of theirs.
FEATURES = ("fence", "log", "status")


class Life(Jobs):
    """Opening and closing; `Router` adds the way of a message."""

    def __init__(
        self,
        nodeid: str = "anon/",
        /,
        *,
        wall_clock: Callable[[], float] = time.time,
        entropy: Callable[[int], bytes] = os.urandom,
        **settings: Any,
    ) -> None:
        super().__init__()
        self.settings = Settings.of(nodeid=nodeid, **settings)
        self.wall_clock = wall_clock
        self.entropy = entropy
        self.random = random.Random(entropy(32))
        self.id = expand_node_id(nodeid, self._unique)
        self.incarnation = ""
        self.prefix = ""  # of the IDs of ports made here
        self.closed = False
        self.next_serial = itertools.count(1).__next__
        self.ports: dict[str, Destination] = {}
        #: Ports that are sent messages without further ado: none, if each has to be copied.
        self.near: dict[str, Destination] = {} if self.settings.strict else self.ports
        #: The ways of messages to ports on nodes there is a link to.
        self.far: dict[str, Way] = {}
        #: Ports that calls of this node wait for.
        self.callees: dict[str, Callee] = {}
        self.peers: dict[str, Peer] = {}
        self.addresses: list[str] = []
        self.rules = Rules(self.settings.rules, proven=self.settings.cert is not None)
        self.features = list(FEATURES)
        #: What plugins keep with this node, each under a class of theirs.
        self.extensions: dict[type, Any] = {}
        self.authorise_hooks: list[Callable[..., Any]] = []
        self.address_hooks: list[Callable[[str], Any]] = []
        #: Ends the process and starts it again; only who runs the process can do that.
        self.restart_hook: Callable[[], None] | None = None
        self.presence_hooks: list[Callable[..., Any]] = []
        self.auth_methods: dict[str, AuthMethod] = {}
        self.framings: dict[str, Framing] = {}
        self._transports: dict[str, Transport] = {}
        self._listeners: list[Listener] = []
        self._held: dict[Session, None] = {}
        self.node_watches: dict[NodeWatch, None] = {}
        self._closer: asyncio.Task[None] | None = None
        self._awaiting_close: set[asyncio.Task[Any]] = set()
        self._stop: asyncio.Event | None = None
        self._loss: asyncio.Future[None] | None = None
        self.thread = 0  # the loop's, once there is one
        self.opened = 0.0  # when, by the clock of the loop
        self.queue: RunQueue
        self.lag: Lag
        self.pulse: Pulse
        self.dialler: Dialler
        self.rendezvous: Rendezvous
        self.spawner: Spawner
        self.node_port: NodePort

    @classmethod
    def of(cls, settings: Settings) -> Node:
        """A node with these settings."""
        given = {each.name: getattr(settings, each.name) for each in fields(Settings)}
        return cls(given.pop("nodeid"), **given)  # type: ignore[return-value]

    def _unique(self) -> str:
        return new_incarnation(self.wall_clock(), self.entropy(8))

    # -- opening -----------------------------------------------------------------------------

    def open(self) -> Node:
        """Open the node on the running loop, without listening or dialling yet."""
        if self.incarnation:
            raise UsageError(f"node {self.id} was started already: make a new Node for a new life")
        node: Node = self  # type: ignore[assignment]
        self.loop = asyncio.get_running_loop()
        self.opened = self.loop.time()
        self.incarnation = self._unique()
        self.prefix = f"{self.id}#{self.incarnation}."
        self.thread = get_ident()
        self.queue = RunQueue(self.loop, self._relieved)
        self.lag = Lag(node)
        self.pulse = Pulse(node)
        self.rendezvous = Rendezvous(node)
        self.spawner = Spawner(node)
        self.node_port = NodePort(node)
        self._ask_plugins(node)
        self.dialler = Dialler(node)
        context.opened(node)
        return node

    async def start(self) -> Node:
        """Open the node, import its services, listen and dial; `async with` does this.

        Raises:
            AddressError: an address whose scheme no installed transport serves.
            ConfigError: a setting that contradicts another, or a service that cannot be loaded.
            TransportError: an address that cannot be bound.
        """
        node = self.open()
        try:
            for module in self.settings.expose:
                loading.load_exposed(module)
            with context.node_is_current(node):
                for service in self.settings.services:
                    await loading.load_service(service)
            for address in self.settings.binds:
                listener = await self.transport(address).listen(address, self.rendezvous.accept)
                self._listeners.append(listener)
                self.addresses.extend(listener.addresses)
            if self.settings.advertise:
                self.addresses = list(self.settings.advertise)
            self.dialler.start()
            plugin_manager().hook.aemp_node_started(node=node)
        except BaseException:
            await self.close()
            raise
        return node

    def _ask_plugins(self, node: Node) -> None:
        hook = plugin_manager().hook
        for method in _flat(hook.aemp_auth_methods()):
            self.auth_methods[method.name] = method
        for framing in _flat(hook.aemp_framings()):
            self.framings[framing.name] = framing
        settings = self.settings
        for key, names, known in (
            ("auth_offer", settings.auth_offer, self.auth_methods),
            ("auth_accept", settings.auth_accept, self.auth_methods),
            ("framings", settings.framings, self.framings),
        ):
            for name in names:
                if name not in known:
                    raise ConfigError(f"{key}: {unknown('name', name, known)}")
        for transports in hook.aemp_transports(node=node):
            self._transports.update(transports)
        for requests in hook.aemp_requests(node=node):
            self.node_port.requests.update(requests)
        self.features.extend(_flat(hook.aemp_features(node=node)))
        self.authorise_hooks = hook.aemp_authorise(node=node)
        self.address_hooks = hook.aemp_addresses(node=node)
        self.presence_hooks = hook.aemp_nodes(node=node)

    async def __aenter__(self) -> Node:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def run_forever(self) -> None:
        """Run until SIGTERM or SIGINT (where the loop can tell), or `close`; then close."""
        self._stop = asyncio.Event()
        caught = []
        for name in (signal.SIGTERM, signal.SIGINT):
            # Not on Windows, and not outside the main thread.
            with suppress(NotImplementedError, RuntimeError, ValueError):
                self.loop.add_signal_handler(name, self._stop.set)
                caught.append(name)
        try:
            await self._stop.wait()
        finally:
            for name in caught:
                self.loop.remove_signal_handler(name)
            await self.close()

    # -- for transports ----------------------------------------------------------------------

    def transport(self, address: str) -> Transport:
        """The transport for the scheme of an address; no scheme means ``tcp://``.

        Raises `ConfigError` if it is one that this node may not use.
        """
        scheme = address.partition("://")[0] if "://" in address else "tcp"
        transport = self._transports.get(scheme)
        if transport is None:
            known = ", ".join(f"{name}://" for name in sorted(self._transports))
            raise AddressError(
                f"{address!r}: no transport for {scheme}:// is installed (there are {known}); "
                f"perhaps: pip install 'aemp-core[{scheme}]'"
            )
        if self.settings.only_private and not getattr(transport, "private", False):
            raise ConfigError(
                f"{address}: links over {scheme}:// can be read and changed on their way, and "
                "this node refuses such (require_tls, the default with a certificate): use "
                "tls://, or set require_tls = false"
            )
        return transport

    def greeting(self, peeraddr: str) -> Greeting:
        """What this node says of itself on a connection to `peeraddr`."""
        settings = self.settings
        return Greeting(
            self.id,
            settings.auth_accept,
            settings.framings,
            {
                "provider": PROVIDER,
                "peeraddr": peeraddr,
                "incarnation": self.incarnation,
                "heartbeat": f"{settings.heartbeat:g}",
                "frame": str(settings.frame_limit),
                "features": ",".join(self.features),
            },
        )

    # -- peers and sessions ------------------------------------------------------------------

    def peer(self, node_id: str) -> Peer:
        """What is held about another node; made when there is nothing yet."""
        peer = self.peers.get(node_id)
        if peer is None:
            peer = self.peers[node_id] = Peer(self, node_id)  # type: ignore[arg-type]
        return peer

    def node_is_up(self, node: str, /) -> bool:
        """Whether there is a link to `node`; this node itself is up."""
        peer = self.peers.get(node)
        return node == self.id if peer is None else peer.session is not None

    def forget_idle(self, peer: Peer) -> None:
        """Drop a peer of which nothing is worth keeping."""
        if peer.idle and self.peers.get(peer.id) is peer:
            del self.peers[peer.id]

    def buffered(self) -> int:
        """Bytes that wait for all peers together."""
        return sum(peer.buffered() for peer in self.peers.values())

    def hold_back(self, session: Session) -> None:
        """Too much waits in the run queue: stop reading from this link."""
        session.pause()
        self.queue.strained = True
        self._held[session] = None

    def released(self, session: Session) -> None:
        """The link is lost: it is held back no more."""
        self._held.pop(session, None)
        if self._loss is not None and not self._loss.done():
            self._loss.set_result(None)

    def _relieved(self) -> None:
        held, self._held = self._held, {}
        for session in held:
            session.resume()

    def refuse(self, session: Session | None, what: str, why: str) -> None:
        """Log what was refused, and to whom."""
        who = "this node" if session is None else f"{session.id} at {session.info.origin}"
        refusals.warn(self.loop, "request", "%s by %s refused: %s", what, who, why)

    def unknown_port(self, session: Session, name: str) -> None:
        """A message came for a port that does not exist: dropped, as the protocol has it."""
        refusals.warn(
            self.loop, "unknown port", "message of %s at %s for unknown port %.100r dropped",
            session.id, session.info.origin, name,
        )  # fmt: skip

    def check_open(self) -> None:
        """Raise `NodeClosed` if the node takes no new work."""
        if self.closing or not self.incarnation:
            word = "closed" if self.incarnation else "not started: use `async with` or start()"
            raise NodeClosed(f"node {self.id} is {word}")

    def check_thread(self) -> None:
        """Raise `WrongThread` outside the loop's thread; `NodeClosed` if it was never there."""
        if get_ident() != self.thread:
            if not self.thread:
                self.check_open()
            raise WrongThread(NOT_HERE)

    # -- closing -----------------------------------------------------------------------------

    async def close(self) -> None:
        """Leave the network and end everything of this node; returns when nothing is left.

        What is queued is handled and written out first, within bounded time. Idempotent, and
        shielded: a cancelled caller gets its `CancelledError` when the node is closed.
        """
        if not self.incarnation or self.closed:
            return
        caller = asyncio.current_task()
        if caller is not None:
            self._awaiting_close.add(caller)
        if self._closer is None:
            self._closer = self.loop.create_task(self._close(), name=f"close {self.id}")
        cancelled = False
        while not self._closer.done():
            try:
                await asyncio.shield(self._closer)
            except asyncio.CancelledError:
                cancelled = True
        if cancelled:
            raise asyncio.CancelledError
        self._closer.result()

    async def _close(self) -> None:
        reason: Reason = (reasons.CLOSED, self.id)
        await self._drained()
        self.closing = True
        if self._stop is not None:
            self._stop.set()
        for port in list(self.ports.values()):
            port.die(reason)
        for watch in list(self.node_port.watches):
            self.queue.put(watch, reason)
        await self._drained()
        await self._close_links(reason)
        for port in list(self.ports.values()):
            port.die(reason)  # made by what came in until the links were closed
        await self._drained()
        await self._end_tasks()
        for listener in self._listeners:
            try:
                await listener.close()
            except OSError:
                log.exception("closing a listener of node %s", self.id)
        self.closed = True
        context.closed(self)  # type: ignore[arg-type]

    async def _drained(self) -> None:
        """Have the run queue worked off, however often what it does adds to it, within bounds."""
        ends = self.loop.time() + CLOSE_SECONDS
        for _ in range(CLOSE_TURNS):
            if not self.queue.armed or self.loop.time() >= ends:
                break
            await asyncio.sleep(0)

    def _left(self, ends: float) -> float:
        """Seconds until `ends`; 0 also for so few that a clock may not show them."""
        left = ends - self.loop.time()
        return left if left > 0.001 else 0.0

    async def _close_links(self, reason: Reason) -> None:
        self.rendezvous.close()
        # The newest first: what a link writes out may have to go over an older one.
        for peer in reversed(list(self.peers.values())):
            if peer.session is not None:
                # The peer learns that this node left, and that nothing broke.
                peer.control("kil0", "", *reason)
            if peer.session is not None:
                peer.session.link.close("closed")
            else:
                peer.lose(reason)
        ends = self.loop.time() + CLOSE_SECONDS
        while any(peer.session for peer in self.peers.values()) and self._left(ends):
            self._loss = self.loop.create_future()
            await asyncio.wait({self._loss}, timeout=self._left(ends))
        for peer in list(self.peers.values()):
            peer.lose(reason)

    async def _end_tasks(self) -> None:
        for job in list(self._jobs):
            job.cancel()
        ends = self.loop.time() + CLOSE_SECONDS
        while self._left(ends):
            waiting = [task for task in self._tasks if task not in self._awaiting_close]
            if not waiting:
                return
            for task in waiting:
                task.cancel()
            await asyncio.wait(waiting, timeout=self._left(ends))
        for task in self._tasks:
            log.error("task %s of node %s does not end: %r", task.get_name(), self.id, task)


def _flat(answers: list[Any]) -> list[Any]:
    """What several plugins answered, as one list."""
    return [each for answer in answers for each in answer]
