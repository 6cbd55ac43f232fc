"""Every exception of AEMP, printed as the tree it is.

    AempError
    +-- UsageError                  the caller's call cannot be right (nothing was done)
    |   +-- AddressError            an address no transport can read
    |   +-- AmbiguousNodeError      several nodes are open on this loop, none is current
    |   +-- AlreadyConfigured       configure() again, with other settings
    |   +-- ConfigError             a setting is unknown, malformed or contradictory
    |   +-- NoCurrentPort           the verb needs a current port and there is none
    |   +-- NotExposed              the function is not marked with @exposed
    |   +-- PortError               a port ID nobody can have, or not ours to change
    |   +-- UnsendableError         a value inside the message is not a plain value
    |   +-- WrongThread             a verb was called outside the thread of its loop
    +-- NodeClosed                  our side has closed the node
    +-- NoHandler                   a message for which its port has no handler
    +-- CallTimeout                 `cal` or `get` gave up waiting (also a TimeoutError)
    +-- EvalFailed                  the text given to `eval_on` raised there, or was refused
    +-- PortKilled                  the port died; `.reason` says why
    +-- TransportError              a connection could not be made, or broke
    |   +-- OwnAddress              the node dialled itself (also a RemoteProtocolError)
    |   +-- PeerRefused             the peer closed the connection before it was a link
    +-- ProtocolError
        +-- LocalProtocolError      our side used the protocol machine out of turn
        +-- RemoteProtocolError     the peer did not keep to the protocol

*Closed* is what our side did, *broken* what the network or the peer did.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "AddressError",
    "AempError",
    "AlreadyConfigured",
    "AmbiguousNodeError",
    "CallTimeout",
    "ConfigError",
    "EvalFailed",
    "LocalProtocolError",
    "NoCurrentPort",
    "NoHandler",
    "NodeClosed",
    "NotExposed",
    "OwnAddress",
    "PeerRefused",
    "PortError",
    "PortKilled",
    "ProtocolError",
    "RemoteProtocolError",
    "TransportError",
    "UnsendableError",
    "UsageError",
    "WrongThread",
]

#: What `WrongThread` says.
NOT_HERE = (
    "this node belongs to another thread: use node.snd_threadsafe or node.cal_threadsafe, "
    "or loop.call_soon_threadsafe(...) for other verbs"
)

#: Exceptions that end the program, and never only the port whose code raised them.
FATAL = (SystemExit, KeyboardInterrupt)


class AempError(Exception):
    """Base of everything AEMP raises on purpose."""


class UsageError(AempError):
    """The call cannot be right; nothing was done. The text names the value and the remedy."""


class AddressError(UsageError, ValueError):
    """An address that no transport can read."""


class AmbiguousNodeError(UsageError):
    """Several nodes are open on the running loop and none of them is current."""


class AlreadyConfigured(UsageError):
    """`configure` was called a second time with other settings."""


class ConfigError(UsageError, ValueError):
    """A setting is unknown, malformed or contradicts another."""


class NoCurrentPort(UsageError):
    """A verb that acts on the current port was called outside any port."""


class NotExposed(UsageError):
    """A function named in `spawn` or `snd_to_func` is not marked with `@exposed`."""


class PortError(UsageError, ValueError):
    """A text that is no port ID, or a port that is not ours to change."""


class UnsendableError(UsageError, TypeError):
    """A value inside a message is not a plain value; the text names the path to it."""


class WrongThread(UsageError, RuntimeError):
    """A verb was called outside the thread of its node's loop."""


class NodeClosed(AempError):
    """The node was closed by our side and takes no new work."""


class NoHandler(AempError):
    """A message came for which its port has neither a tagged nor a default handler."""

    @classmethod
    def of(cls, message: tuple[Any, ...]) -> NoHandler:
        """The error for `message`; its text names the tag."""
        return cls(f"no handler for {repr(message[0])[:200] if message else 'an empty message'}")


class CallTimeout(AempError, TimeoutError):
    """`cal`, `get` or `get_cond` got no message in the given time."""


class EvalFailed(AempError):
    """The text given to `eval_on` raised on the other node, or was refused there."""


class PortKilled(AempError):
    """The port died before it answered, or was ended normally.

    Attributes:
        reason: the reason tuple its monitor got; `()` is a normal end.
    """

    def __init__(self, reason: tuple[Any, ...]) -> None:
        super().__init__(*reason)
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.reason,)

    def __str__(self) -> str:
        return ": ".join(str(part) for part in self.reason) or "the port ended normally"


class TransportError(AempError, OSError):
    """A connection could not be made, or broke."""


class PeerRefused(TransportError):
    """The peer closed the connection before it became a link."""


class ProtocolError(AempError):
    """The AEMP protocol was not kept to."""


class LocalProtocolError(ProtocolError):
    """Our side used the protocol machine out of turn: a bug in the transport."""


class RemoteProtocolError(ProtocolError):
    """The peer did not keep to the protocol; the connection ends."""


class OwnAddress(RemoteProtocolError, TransportError):
    """The peer is this very node: it dialled a seed that its configuration shares with others."""
