"""Node requests: what the node port answers, and to whom.

A message to the node port is a request: a name and arguments. Those of the AEMP protocol are the
methods below; any other name is a function to call, looked up in the exposed table and nowhere
else. `mon1`, `mon0`, `kil0` keep the monitors between two nodes; the rest a person may send, too.

Every request of a peer passes `allowed`: rules of the settings, then the hooks. A refusal goes to
the log and to the monitor of the port in question; the peer learns no more.
"""

from __future__ import annotations

import fnmatch
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from . import reason as reasons
from .backlog import is_awaitable
from .errors import FATAL, AempError
from .expose import exposed_function
from .ids import check_port_id, split_port
from .jobs import awaited
from .log_feed import feed
from .ports import REASON_BYTES, Kill
from .reason import Reason, no_such_port, text_of
from .spawner import REQUEST as SPAWN
from .status import REQUESTS as STATUS
from .wire import pack

if TYPE_CHECKING:
    from .node import Node
    from .session import Session
    from .settings import Rule

__all__ = ["NodePort", "Request", "Rules"]

#: What a peer may do where no rule names it. Where certificates prove who is who, `log` is off.
DEFAULTS: Mapping[str, bool] = {
    "spawn": True,
    "call": True,
    "kil": True,
    "eval": False,
    "relay": False,
    "restart": False,
    "inspect": True,
    "log": True,
    "global": True,
}

#: What takes a monitor back or tells of an end is never refused: it asks for nothing.
UNREFUSABLE = ("mon0", "kil0")
#: Errors that a wrong request is expected to end in; others are a bug here, or in a plugin.
EXPECTED = (TypeError, ValueError, PermissionError, LookupError, AempError)
#: Bytes of tags a fence may carry: they wait as long as the mailbox is full.
FENCE_BYTES = 1_024

log = logging.getLogger("aemp_core.requests")


class Rules:
    """Who may ask for what: the first rule that matches a node and names the word decides."""

    def __init__(self, rules: Sequence[Rule], *, proven: bool = False) -> None:
        """`proven`: node IDs are proven by certificates, so rules about them are worth something.

        With a shared secret whoever is in may call itself by any ID: no rule would keep it out.
        """
        self._rules = rules
        self._defaults = {**DEFAULTS, "log": not proven}

    def allow(self, node_id: str, word: str) -> bool:
        """Whether `node_id` may use `word`: one of `settings.RULE_WORDS`."""
        for rule in self._rules:
            if fnmatch.fnmatchcase(node_id, rule.node):
                if word in rule.deny:
                    return False
                if word in rule.allow:
                    return True
        return self._defaults[word]

    def allow_group(self, node_id: str, group: str) -> bool:
        """Whether ports of `node_id` may be registered in a group: the first rule that matches the
        node and is about groups decides."""
        for rule in self._rules:
            if rule.groups is not None and fnmatch.fnmatchcase(node_id, rule.node):
                return any(fnmatch.fnmatchcase(group, pattern) for pattern in rule.groups)
        return True


class Request:
    """One request: who asked, and how to answer.

    Attributes:
        node: the node that was asked.
        session: the session it came over; None if this node asked itself.
        size: the bytes it took there.
    """

    __slots__ = ("node", "session", "size")

    def __init__(self, node: Node, session: Session | None, size: int = 0) -> None:
        self.node = node
        self.session = session
        self.size = size

    def may(self, word: str) -> bool:
        """Whether the asker may use `word`. This node itself needs a rule, too, for what is off
        by default: a handler that answers whom it is told to may be made to ask."""
        asker = self.node.id if self.session is None else self.session.id
        return self.node.rules.allow(asker, word)

    def permit(self, port: Any) -> None:
        """Raise unless this node may send to `port` for the asker.

        It may to ports here or on the asking node; to node ports and elsewhere only by a rule.
        """
        node_id, name = check_port_id(port)
        session = self.session
        if session is not None and not self.node.rules.allow(session.id, "relay"):
            if not name:
                raise PermissionError(f"{port!r} is a node port: that needs the rule 'relay'")
            if node_id not in (self.node.id, session.id):
                raise PermissionError(f"{port!r} is on neither node: that needs the rule 'relay'")

    def snd(self, port: Any, *message: Any) -> None:
        """Send for the asker, or answer it; to a port here it counts as the asker's message."""
        self.permit(port)
        node = self.node
        local = node.ports.get(port)
        if self.session is None or local is None:
            node.snd(port, *message)
        else:
            self.session.put(split_port(local.id)[1], message, self.size)

    def answer(self, reply: Any, *message: Any) -> None:
        """`snd`, at a time when nobody is there to be told that it cannot be done."""
        if self.node.closing or (self.session is not None and not self.session.up):
            return
        try:
            self.snd(reply, *message)
        except (AempError, PermissionError) as error:
            self.node.refuse(self.session, "answer", text_of(error))


class NodePort:
    """The node port: it dispatches requests, is watched, and never dies before its node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.watches: dict[Any, None] = {}
        self.requests: dict[str, Callable[..., Any]] = {
            "": _devnull,
            "devnull": _devnull,
            "mon1": _mon1,
            "mon0": _mon0,
            "kil0": _kil0,
            "kil": _kil,
            "snd": _snd,
            "snd_multiple": _snd_multiple,
            "info": _info,
            "known_nodes": _known_nodes,
            "up_nodes": _up_nodes,
            "time": _time,
            "fence": _fence,
            "eval": _eval,
            "restart": _restart,
            "log": feed,
            SPAWN: _spawn,
            **STATUS,
        }

    def deliver(
        self, message: tuple[Any, ...], session: Session | None = None, size: int = 0
    ) -> None:
        """Answer one request; whatever is wrong with it harms nobody else."""
        node = self._node
        name = message[0] if message else ""
        if not isinstance(name, str):
            node.refuse(session, "request", f"{name!r:.100} is no request name")
            return
        request = Request(node, session, size)
        try:
            if session is not None and self._refused(session, name, message[1:]):
                return
            handler = self.requests.get(name)
            if handler is None:
                _call(request, name, message[1:])
            else:
                result = handler(request, *message[1:])
                if is_awaitable(result):
                    node.own_task(None, awaited(result), waits_for=result)
        except FATAL:
            raise
        except BaseException as error:
            node.refuse(session, f"request {name!r:.100}", text_of(error))
            if not isinstance(error, EXPECTED):
                log.error("request %.100r", name, exc_info=error)

    def _refused(self, session: Session, name: str, arguments: tuple[Any, ...]) -> bool:
        """Whether a hook refuses; the monitors of the port in question are told."""
        node = self._node
        if name in UNREFUSABLE:
            return False
        for hook in node.authorise_hooks:
            refusal = hook(session.info, name, arguments)
            if refusal is None:
                continue
            about = arguments[0] if arguments and isinstance(arguments[0], str) else None
            if name == SPAWN and about is not None:
                node.spawner.refuse(session, about, arguments[1:2], str(refusal))
            else:
                node.refuse(session, f"request {name!r:.100}", str(refusal))
                if name == "mon1" and about is not None and session.up:
                    reason = (reasons.NO_SUCH_PORT, str(refusal), f"{node.id}#{about}")
                    session.peer.control("kil0", about, *reason)
            return True
        return False

    # -- watched like a port -----------------------------------------------------------------

    def watch(self, watch: Any) -> None:
        """Fires when the node is closed."""
        self.watches[watch] = None

    def unwatch(self, watch: Any) -> None:
        """Drop a watch."""
        self.watches.pop(watch, None)


def _devnull(request: Request, *arguments: Any) -> None:
    """``devnull`` and the empty request: ignored."""


def _mon1(request: Request, name: str) -> None:
    """The peer monitors a port here: `kil0` will tell its end, at once if there is none."""
    node, session = request.node, request.session
    if session is None or not session.up:
        return  # asked over a link that is lost: nobody waits for an answer
    port = node.ports.get(f"{node.id}#{name}")
    if port is not None and name:
        session.watch(name, port)
    else:
        reason = node.spawner.error(name) or no_such_port(f"{node.id}#{name}")
        session.peer.control("kil0", name, *reason)


def _mon0(request: Request, name: str) -> None:
    """The peer withdrew its monitor."""
    if request.session is not None:
        request.session.unwatch(name)


def _kil0(request: Request, name: str, *reason: Any) -> None:
    """A port of the peer that we monitor ended; no name: the peer leaves, its link ends here."""
    session = request.session
    if session is None or not session.up:
        return
    if name != "":
        session.peer.ended(name, _short(reason))
    else:
        # Nothing follows. The loss is one step, as any other, with a reason of its own; the
        # connection is cut off, since nobody would wait for it to close in order.
        session.peer.lose((reasons.CLOSED, session.id))


def _short(reason: Reason) -> Reason:
    """A reason that came from a peer, cut if it would not fit into every frame that tells it."""
    if not reason or len(pack(reason)) <= REASON_BYTES:
        return reason
    return (f"{reason[0]!s:.100}", "the rest of the reason was too long")


def _kil(request: Request, name: str, *reason: Any) -> None:
    """Kill a port here; the node port cannot be killed."""
    if not name:
        raise PermissionError("a node port cannot be killed")
    if not request.may("kil"):
        raise PermissionError("killing ports here needs the rule 'kil'")
    port = request.node.ports.get(f"{request.node.id}#{name}")
    if port is not None:
        Kill(port).deliver(_short(reason))


def _snd(request: Request, port: str, *message: Any) -> None:
    """Send a message for the peer."""
    request.snd(port, *message)


def _snd_multiple(request: Request, *messages: list[Any]) -> None:
    """Send several messages for the peer, each ``[port, elements...]``."""
    request.size = request.size // max(1, len(messages)) or 1
    for port, *message in messages:
        request.snd(port, *message)


def _info(request: Request, reply: str, *tags: Any) -> None:
    """Answer: tags, the node ID."""
    request.snd(reply, *tags, request.node.id)


def _known_nodes(request: Request, reply: str, *tags: Any) -> None:
    """Answer: tags, every known node ID once."""
    request.snd(reply, *tags, *request.node.known_nodes())


def _up_nodes(request: Request, reply: str, *tags: Any) -> None:
    """Answer: tags, the IDs of the nodes there is a link to."""
    request.snd(reply, *tags, *request.node.up_nodes())


def _time(request: Request, reply: str, *tags: Any) -> None:
    """Answer: tags, seconds since the epoch."""
    request.snd(reply, *tags, request.node.wall_clock())


def _fence(request: Request, name: str, reply: str, *tags: Any) -> None:
    """Answer: tags, once the mailbox of port `name` is below half, or the port is gone."""
    request.permit(reply)
    if len(pack(tags)) > FENCE_BYTES:
        raise ValueError(f"the tags of a fence take at most {FENCE_BYTES} bytes")
    request.node.when_low(name, lambda: request.answer(reply, *tags))


def _spawn(request: Request, name: str, function: str, *arguments: Any) -> None:
    """Create port `name` and run `function` in it."""
    request.node.spawner.handle(request.session, name, function, *arguments)


def _eval(request: Request, text: str, reply: str | None = None, *tags: Any) -> None:
    """Run Python `text`; answer: tags, error text (empty if none), the value if it has one."""
    if not request.may("eval"):
        if reply is not None:
            request.snd(reply, *tags, "eval is not allowed here")
        raise PermissionError("eval needs the rule 'eval'")
    results: tuple[Any, ...] = ()
    error = ""
    scope: dict[str, Any] = {"node": request.node}
    try:
        try:
            code = compile(text, "<eval>", "eval")
        except SyntaxError:
            exec(compile(text, "<eval>", "exec"), scope)
        else:
            value = eval(code, scope)
            results = value if isinstance(value, tuple) else (value,)
        pack(results)
    except FATAL:
        raise
    except BaseException as failure:
        error, results = text_of(failure), ()
    if reply is not None:
        request.snd(reply, *tags, error, *results)


def _restart(request: Request, reply: str, *tags: Any) -> None:
    """Leave the network and start again; answer: tags, error text (empty if none)."""
    restart = request.node.restart_hook
    if not request.may("restart"):
        request.snd(reply, *tags, "restarting is not allowed here: that needs the rule 'restart'")
        raise PermissionError("restarting this node needs the rule 'restart'")
    if restart is None:
        request.snd(reply, *tags, "this node was not started by 'aemp run', and cannot restart")
        raise LookupError("only a node that was started by 'aemp run' can restart")
    request.snd(reply, *tags, "")
    restart()


def _call(request: Request, name: str, arguments: tuple[Any, ...]) -> None:
    """Any other name: a function of the exposed table, run outside any port."""
    if not request.may("call"):
        raise PermissionError("calling functions here needs the rule 'call'")
    function = exposed_function(name)
    if function is None:
        raise LookupError("neither a node request nor an exposed function")
    result = request.node.call_in(None, function, *arguments)
    if is_awaitable(result):
        request.node.own_task(None, awaited(result), waits_for=result)
