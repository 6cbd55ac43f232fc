"""Spawning: making a port on another node, usable before the other node has heard of it.

The spawner invents the port's name, ``<its incarnation>.<rising counter>``, so no answer is
needed; the other node creates the port when it reads the request, and runs the init function
later, from the run queue, with the new port as the current one. Whatever goes wrong is the
``spawn_error`` every monitor of the port gets, also one that comes a round trip later: errors are
remembered for 60 seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import reason as reasons
from .backlog import discard, is_awaitable
from .errors import FATAL
from .expose import exposed_function
from .ids import PortID, is_incarnation, is_port_name
from .mailbox import Mailbox
from .reason import Reason, text_of

if TYPE_CHECKING:
    from .node import Node
    from .ports import Port
    from .session import Session

__all__ = ["REQUEST", "Init", "Spawner"]

#: The node request, by its name in the AEMP protocol.
REQUEST = "AnyEvent::MP::_spawn"

ERROR_SECONDS = 60.0
ERROR_LIMIT = 10_000


class Init:
    """The item of the run queue that starts a port's function.

    What the function returns decides: an awaitable makes an async port, which lives as long as
    that; anything else leaves a port with the handlers the function has set.
    """

    __slots__ = ("_arguments", "_function", "_spawned", "failed", "port")

    def __init__(
        self, port: Port, function: Any, arguments: tuple[Any, ...], spawned: bool
    ) -> None:
        self.port = port
        self._function = function
        self._arguments = arguments
        self._spawned = spawned
        self.failed = False

    def deliver(self, session: Session | None) -> None:
        """Run the function in its port, which that of `session` asked for."""
        port = self.port
        if not port.alive:
            return
        port.source = session
        port.running = True
        try:
            result = port.context.run(self._function, *self._arguments)
            if not is_awaitable(result) and not self._spawned:
                raise TypeError(f"{self._function!r} is no async function")
        except FATAL:
            port.running = False
            raise
        except BaseException as error:
            port.running = False
            self._failed(error)
            return
        port.running = False
        if port.doomed is not None:
            discard(result)
            port.die(port.doomed)
        elif is_awaitable(result):
            attach_coroutine(port, result)

    def _failed(self, error: BaseException) -> None:
        if self._spawned:
            self.failed = True
            self.port.die((reasons.SPAWN_ERROR, text_of(error)))
        else:
            self.port.failed(error, ())


def attach_coroutine(port: Port, awaitable: Any) -> None:
    """Make `port` an async port that lives as long as `awaitable` runs."""
    if port.mailbox is None:
        port.mailbox = Mailbox(port)
    port.node.own_task(
        port,
        _live(port, awaitable),
        name=getattr(awaitable, "__qualname__", None),
        in_context=True,
        waits_for=awaitable,
    )


async def _live(port: Port, awaitable: Any) -> None:
    try:
        await awaitable
    except FATAL:
        raise
    except BaseException as error:
        if port.alive:  # else the port died and took this task with it
            port.failed(error, ())
    else:
        port.die(() if port.doomed is None else port.doomed)


class Spawner:
    """Spawned ports of one node, and the errors of those that never came to be."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._errors: dict[str, tuple[float, Reason]] = {}
        self._counters: dict[str, int] = {}
        self._live: dict[str, int] = {}

    @property
    def live(self) -> int:
        """How many ports that were spawned here live."""
        return sum(self._live.values())

    def handle(self, session: Session | None, name: Any, function: Any, *arguments: Any) -> None:
        """Create port `name` for a peer (None: for this node) and queue its init function.

        The port ends with ``spawn_error`` if that may not be.
        """
        if not isinstance(name, str) or not is_port_name(name):
            raise ValueError(f"{name!r:.100} is no port name")
        node = self._node
        port_id = PortID(f"{node.id}#{name}")
        spawner = node.id if session is None else session.id
        refusal = self._refusal(session, spawner, name, port_id)
        if refusal is None and not isinstance(function, str):
            refusal = f"{function!r:.100} is no function name"
        known = exposed_function(function) if refusal is None else None
        if refusal is None and known is None:
            refusal = f"{function!r:.200} is not exposed on {node.id}"
        if refusal is not None:
            self.refuse(session, name, function, refusal)
            return
        if session is not None and session.info.incarnation is None:
            self._forget_dead(name)
        port = node.new_port(port_id)
        self._live[spawner] = self._live.get(spawner, 0) + 1
        init = Init(port, known, arguments, spawned=True)
        port.on_death = lambda port, reason: self._ended(spawner, init, name, reason)
        if session is None:
            node.queue.put(init, None)
        else:
            # Messages that came in the same chunk are queued already, and come after it.
            node.queue.put_first(init, session)

    def _forget_dead(self, name: str) -> None:
        """Links may know a port by this name: a peer without incarnation may use one again."""
        for peer in self._node.peers.values():
            if peer.session is not None:
                peer.session.ports.pop(name, None)

    def refuse(self, session: Session | None, name: str, function: Any, refusal: str) -> None:
        """Log a refusal, and keep it for the monitors of the port that will not be.

        Not under the name of somebody else's port: its owner may yet spawn it.
        """
        self._node.refuse(session, f"spawn of {function!r:.200}", refusal)
        if self._owns(session, name) and f"{self._node.id}#{name}" not in self._node.ports:
            self.remember(name, (reasons.SPAWN_ERROR, refusal))

    def _owns(self, session: Session | None, name: str) -> bool:
        """Whether the asker may use such a name: one that begins with its own incarnation.

        A peer without one may use what does not look as if it began with another's.
        """
        incarnation = name.partition(".")[0]
        if session is None:
            return True
        if session.info.incarnation is None:
            return not is_incarnation(incarnation)
        return incarnation == session.info.incarnation

    def _refusal(self, session: Session | None, spawner: str, name: str, port: str) -> str | None:
        node = self._node
        if node.closing:
            return f"{node.id} is closing"
        if port in node.ports or name in self._errors:
            return f"the port name {name} is taken"
        if session is not None:
            if not self._owns(session, name):
                return f"the port name {name} is one of another node's"
            if session.info.incarnation is not None:
                incarnation, _, counter = name.partition(".")
                if not (counter.isascii() and counter.isdigit()):
                    return f"the port name {name} ends in no counter"
                if int(counter) <= self._counters.get(incarnation, -1):
                    return f"the port name {name} was used before, or does not rise"
                self._count(incarnation, int(counter))
            if not node.rules.allow(session.id, "spawn"):
                return f"{session.id} may not spawn here"
        limit = node.settings.spawn_limit
        if self._live.get(spawner, 0) >= limit:
            return f"{spawner} has {limit} live ports here, spawn_limit"
        return None

    def _count(self, incarnation: str, counter: int) -> None:
        self._counters.pop(incarnation, None)
        self._counters[incarnation] = counter  # the newest last, and the oldest forgotten
        if len(self._counters) > ERROR_LIMIT:
            del self._counters[next(iter(self._counters))]

    def _ended(self, spawner: str, init: Init, name: str, reason: Reason) -> None:
        left = self._live.get(spawner, 0) - 1
        if left > 0:
            self._live[spawner] = left
        else:
            self._live.pop(spawner, None)
        if init.failed:  # another port's reason may have killed this one, and looks the same
            self.remember(name, reason)

    # -- errors ------------------------------------------------------------------------------

    def remember(self, name: str, reason: Reason) -> None:
        """Keep the reason for monitors that are still under way."""
        now = self._node.loop.time()
        errors = self._errors
        while errors:
            oldest = next(iter(errors))
            if errors[oldest][0] > now and len(errors) < ERROR_LIMIT:
                break
            del errors[oldest]
        errors[name] = (now + ERROR_SECONDS, reason)

    def error(self, name: str) -> Reason | None:
        """Why the spawning of port `name` failed, for 60 seconds."""
        entry = self._errors.get(name)
        return entry[1] if entry is not None and entry[0] > self._node.loop.time() else None
