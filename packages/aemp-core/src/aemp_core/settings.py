"""Settings: what a node is told about itself, as one checked and immutable record.

`Node` takes the fields as keywords; `aemp_core.config` collects them from files, variables and
the command line. Every value is checked when the record is made, wherever it came from, and an
error names the value and the remedy.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from .errors import ConfigError

__all__ = ["Rule", "Settings"]

MIN_SECRET_BYTES = 16
RULE_KEYS = ("node", "allow", "deny", "groups")
RULE_WORDS = ("eval", "spawn", "call", "kil", "relay", "restart", "inspect", "log", "global")
TOPOLOGIES = ("hub", "mesh")
ROLES = ("auto", "global", "ordinary")
LOG_LEVELS = ("CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG")

_NODE_ID_PATTERN = re.compile(r"(?:[A-Za-z0-9_.:/-]|%n|%u){0,255}\Z")
_MODULE = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*\Z")
_FUNCTION = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*(?:\.[^\W\d]\w*)*\Z")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://.")
_HOST_PORT = re.compile(r"(?:\[[^\]/]+\]|[^:/\s]*):[0-9]+\Z")


@dataclass(frozen=True)
class Rule:
    """What nodes whose ID matches a pattern may ask of this one. The first rule that names a
    word decides; words no rule names keep their default.

    Attributes:
        node: a shell-style pattern of node IDs, ``*`` for all.
        allow: words out of ``eval spawn call kil relay restart inspect log global`` that
            such nodes may use.
        deny: words they may not use.
        groups: patterns of the groups that ports of such nodes may be registered in; None: the
            rule is not about groups. Where no rule is, any group.
    """

    node: str
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    groups: tuple[str, ...] | None = None

    def table(self) -> dict[str, Any]:
        """The rule as it is written in a file."""
        table: dict[str, Any] = {"node": self.node}
        if self.allow:
            table["allow"] = list(self.allow)
        if self.deny:
            table["deny"] = list(self.deny)
        if self.groups is not None:
            table["groups"] = list(self.groups)
        return table


def nearest(word: str, known: Iterable[str], *, cutoff: float = 0.5) -> str | None:
    """The text in `known` that looks most like `word`, None if none does."""
    import difflib  # only errors need it

    return next(iter(difflib.get_close_matches(word, list(known), 1, cutoff)), None)


def unknown(kind: str, word: str, known: Iterable[str]) -> str:
    """The text of an error about a word that is none of `known`."""
    known = sorted(known)
    near = nearest(word, known)
    if near is not None:
        return f"unknown {kind} {word!r}: did you mean {near!r}?"
    return f"unknown {kind} {word!r}: use one of {', '.join(known) or '(there are none)'}"


# -- checks: each takes the value as given and returns it as kept, or raises ValueError --------


def _node_id(value: Any) -> str:
    if not isinstance(value, str) or not _NODE_ID_PATTERN.match(value):
        raise ValueError(
            "use at most 255 characters out of A-Z a-z 0-9 _ . : / - "
            "(%n stands for the host name, %u for a unique text)"
        )
    return value


def _items(value: Any) -> tuple[Any, ...]:
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, (list, tuple)):
        raise ValueError("a list is needed")
    return tuple(value)


def _texts(what: str, right: Callable[[str], object]) -> Callable[[Any], tuple[str, ...]]:
    def check(value: Any) -> tuple[str, ...]:
        items = _items(value)
        for item in items:
            if not isinstance(item, str) or not right(item):
                raise ValueError(f"{item!r} is no {what}")
        return items

    return check


def _addresses(value: Any) -> tuple[str, ...]:
    addresses = []
    for item in _items(value):
        if not isinstance(item, str) or not (_SCHEME.match(item) or _HOST_PORT.match(item)):
            raise ValueError(
                f"{item!r} is no address: write tcp://HOST:PORT, or HOST:PORT which means the same"
            )
        addresses.append(item if _SCHEME.match(item) else f"tcp://{item}")
    return tuple(addresses)


_modules = _texts("module: write package.module", _MODULE.match)
_patterns = _texts("pattern of groups", lambda text: text)
_words = _texts("name", lambda text: re.fullmatch(r"[A-Za-z0-9_.-]+", text))


def _names(value: Any) -> tuple[str, ...]:
    names = _words(value)
    if not names:
        raise ValueError("at least one name is needed")
    return names


def _offer(value: Any) -> tuple[str, ...]:
    names = _names(value)
    if "cleartext" in names:
        raise ValueError("the secret is never sent as clear text; 'cleartext' is for auth_accept")
    return names


def _services(value: Any) -> tuple[Any, ...]:
    services: list[str | tuple[Any, ...]] = []
    for item in _items(value):
        if isinstance(item, str) and _MODULE.match(item):
            services.append(item)
        elif (
            isinstance(item, (list, tuple))
            and item
            and isinstance(item[0], str)
            and _FUNCTION.match(item[0])
        ):
            services.append(tuple(item))
        else:
            raise ValueError(
                f"{item!r} is no service: write 'package.module' to import it, or "
                "['package.module:function', ARGUMENT, ...] to call a function"
            )
    return tuple(services)


def _secret(value: Any) -> bytes | None:
    # The texts here never repeat the value: they end up in logs.
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogateescape")
    if value is None:
        return None
    if not isinstance(value, bytes):
        raise ValueError(f"a text or bytes are needed, not {type(value).__name__}")
    if len(value) < MIN_SECRET_BYTES:
        raise ValueError(
            f"{len(value)} bytes are too short to be safe, {MIN_SECRET_BYTES} are needed: "
            "make one with 'aemp secret new'"
        )
    return value


def _number(low: float, high: float, unit: str, *, above: bool = False) -> Callable[[Any], float]:
    def check(value: Any) -> float:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not low <= value <= high or (above and value == low):
            start = f"more than {low:g}" if above else f"{low:g}"
            raise ValueError(f"{start} to {high:g} {unit} are needed")
        return float(value)

    return check


def _integer(low: int, high: int, unit: str) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f"a whole number from {low} to {high} {unit} is needed")
        return value

    return check


def _rules(value: Any) -> tuple[Rule, ...]:
    if isinstance(value, (Mapping, Rule)) or not isinstance(value, (list, tuple)):
        raise ValueError("a list of rules is needed: [{node = 'ops/*', allow = ['eval']}]")
    return tuple(_rule(item) for item in value)


def _rule(item: Any) -> Rule:
    if isinstance(item, Rule):
        item = item.table()
    if not isinstance(item, Mapping) or not isinstance(item.get("node"), str):
        raise ValueError(f"{item!r} is no rule: write {{node = 'ops/*', allow = ['eval']}}")
    for key in item:
        if key not in RULE_KEYS:
            raise ValueError(unknown("key of a rule", str(key), RULE_KEYS))
    words = {key: _words(item.get(key, ())) for key in ("allow", "deny")}
    for word in words["allow"] + words["deny"]:
        if word not in RULE_WORDS:
            raise ValueError(unknown("word of a rule", word, RULE_WORDS))
    groups = _patterns(item["groups"]) if "groups" in item else None
    return Rule(item["node"], words["allow"], words["deny"], groups)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false is needed")
    return value


def _one_of(words: tuple[str, ...]) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value not in words:
            raise ValueError(f"use one of {', '.join(words)}")
        return str(value)

    return check


def _flag_or_none(value: Any) -> bool | None:
    if isinstance(value, str) and value in ("true", "false"):  # a variable, the command line
        return value == "true"
    return None if value is None else _flag(value)


def _path(value: Any) -> str | None:
    if value is not None and (not isinstance(value, str) or not value or "\0" in value):
        raise ValueError("the path of a file is needed")
    return value


def _passphrase(value: Any) -> str | None:
    # The text never repeats the value, as for a secret.
    if value is not None and (not isinstance(value, str) or not value):
        raise ValueError("a text is needed that is not empty")
    return value


def _health(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, str):
        if value.startswith("/"):
            return value
        if _HOST_PORT.match(value) and 0 < int(value.rpartition(":")[2]) < 2**16:
            return value
    raise ValueError("HOST:PORT is needed, or the /PATH of a unix socket")


def _level(value: Any) -> str:
    if not isinstance(value, str) or value.upper() not in LOG_LEVELS:
        raise ValueError(f"use one of {', '.join(LOG_LEVELS)}")
    return value.upper()


def _setting(
    default: Any, check: Callable[[Any], Any], *, repr: bool = True, file: bool = True
) -> Any:
    return field(default=default, repr=repr, metadata={"check": check, "file": file})


_BIG = 2**40


@dataclass(frozen=True)
class Settings:
    """Everything a node is told about itself, checked and immutable.

    Attributes:
        nodeid: the node's ID, or a pattern: ``%n`` is the host name, ``%u`` a unique text,
            a ``/`` at the end means ``/%u``.
        binds: addresses to listen on.
        advertise: addresses others shall use; none: those listened on, with real port numbers.
        seeds: addresses dialled first, and again for ever.
        services: what is imported or called once the node is up.
        expose: modules imported at start for their ``@exposed`` functions.
        secret: what the nodes of a network share, at least 16 bytes; None: the per-user secret,
            and loopback only.
        cert: the file of the node's certificate and private key, for ``tls://``.
        cert_key: the file of the private key, if that is another one.
        cert_trust: the file of the network's CA certificates and revocation lists; None:
            ``network.pem`` beside `cert`.
        cert_passphrase: what the private key is encrypted with, if it is.
        require_tls: refuse links that can be read or changed on their way, in both directions;
            None: if there is a `cert`.
        monitor_timeout: seconds a message for a node without a link waits for one.
        connect_interval: seconds, the longest pause between two attempts to dial a seed.
        heartbeat: seconds of silence after which a peer counts as lost.
        framings: names of message framings, preferred first.
        auth_offer: names of authentication methods to prove ourselves with, preferred first.
        auth_accept: names of those accepted from peers.
        send_limit: bytes that may wait for one peer.
        mailbox_limit: messages that may wait in an async port.
        frame_limit: bytes of the longest message accepted, 64 KiB to 1 GiB.
        spawn_limit: live ports one other node may have spawned here.
        rules: what which nodes may ask of this one.
        topology: which links a node keeps, for aemp-global: ``hub``, one to a global node; or
            ``mesh``, one to every node.
        role: for aemp-global: ``global``, ``ordinary``, or ``auto``: global if it is a seed.
        strict: local messages are copied through the codec, so that what works locally works
            remotely; set by programs only.
        log_level: the least severity logged by the ``aemp`` command.
        workers: how many nodes ``aemp run`` runs, each in a process of its own; 0: one node, in
            its own process.
        health: where ``aemp run`` answers questions about health over HTTP: ``HOST:PORT``, or
            the path of a unix socket; None: nowhere.
    """

    nodeid: str = _setting("anon/", _node_id)
    binds: tuple[str, ...] = _setting((), _addresses)
    advertise: tuple[str, ...] = _setting((), _addresses)
    seeds: tuple[str, ...] = _setting((), _addresses)
    services: tuple[str | tuple[Any, ...], ...] = _setting((), _services)
    expose: tuple[str, ...] = _setting((), _modules)
    secret: bytes | None = _setting(None, _secret, repr=False)
    cert: str | None = _setting(None, _path)
    cert_key: str | None = _setting(None, _path)
    cert_trust: str | None = _setting(None, _path)
    cert_passphrase: str | None = _setting(None, _passphrase, repr=False)
    require_tls: bool | None = _setting(None, _flag_or_none)
    monitor_timeout: float = _setting(30.0, _number(10, 86_400, "seconds", above=True))
    connect_interval: float = _setting(5.0, _number(0, 3_600, "seconds", above=True))
    heartbeat: float = _setting(10.0, _number(1, 3_600, "seconds"))
    framings: tuple[str, ...] = _setting(("msgpack", "json"), _names)
    auth_offer: tuple[str, ...] = _setting(("hmac_sha3_512_role",), _offer)
    auth_accept: tuple[str, ...] = _setting(("hmac_sha3_512_role",), _names)
    send_limit: int = _setting(32 * 2**20, _integer(1, _BIG, "bytes"))
    mailbox_limit: int = _setting(100_000, _integer(1, _BIG, "messages"))
    frame_limit: int = _setting(16 * 2**20, _integer(2**16, 2**30, "bytes"))
    spawn_limit: int = _setting(10_000, _integer(0, _BIG, "ports"))
    rules: tuple[Rule, ...] = _setting((), _rules)
    topology: str = _setting("hub", _one_of(TOPOLOGIES))
    role: str = _setting("auto", _one_of(ROLES))
    strict: bool = _setting(False, _flag, file=False)
    log_level: str = _setting("WARNING", _level)
    workers: int = _setting(0, _integer(0, 1_000, "nodes"))
    health: str | None = _setting(None, _health)

    def __post_init__(self) -> None:
        for each in fields(self):
            value = checked(each.name, getattr(self, each.name))
            object.__setattr__(self, each.name, value)
        for key in ("cert_key", "cert_trust", "cert_passphrase"):
            if self.cert is None and getattr(self, key) is not None:
                raise ConfigError(f"{key} is set and 'cert' is not: set 'cert', or leave it out")

    @property
    def only_private(self) -> bool:
        """Whether links that can be read or changed on their way are refused."""
        return self.cert is not None if self.require_tls is None else self.require_tls

    @classmethod
    def of(cls, **settings: Any) -> Settings:
        """The settings given by keyword; raises `ConfigError` naming the key and the remedy."""
        for key in settings:
            check_key(key, KEYS)
        return cls(**settings)


_CHECKS: dict[str, Callable[[Any], Any]] = {
    each.name: each.metadata["check"] for each in fields(Settings)
}
KEYS = tuple(_CHECKS)
#: Never shown, and never in a file that others may read.
SECRETS = ("secret", "cert_passphrase")
#: What a configuration file, a variable or the command line may set.
FILE_KEYS = tuple(each.name for each in fields(Settings) if each.metadata["file"])


def check_key(key: str, known: Iterable[str]) -> None:
    """Raise `ConfigError` naming the nearest of `known` unless `key` is one of them."""
    if key not in known:
        raise ConfigError(unknown("setting", key, known))


def checked(key: str, value: Any) -> Any:
    """`value` as `Settings` keeps it under `key`; raises `ConfigError` naming both."""
    try:
        return _CHECKS[key](value)
    except ValueError as error:
        shown = key if key in SECRETS else f"{key} = {value!r}"
        raise ConfigError(f"{shown}: {error}") from None


def default(key: str) -> Any:
    """What `Settings` has for `key` if nothing is said."""
    return Settings.__dataclass_fields__[key].default
