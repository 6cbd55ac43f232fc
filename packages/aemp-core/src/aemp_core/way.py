"""A way: how messages get to one port on another node, as long as the link lasts.

`Peer.snd` can send any message to any port. A way is made for a port that is sent to again, and
can only do what is mostly needed: check and pack a message of scalars, count its bytes down from
the allowance, give it to the link. For everything else it calls `Peer.snd`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .wire import LONG, SMALL, pack_scalars

if TYPE_CHECKING:
    from .session import Session

__all__ = ["Way", "Ways"]

Way = Callable[[tuple[Any, ...]], None]

#: Ports of one link that may have a way before all begin anew.
WAYS = 1_000


class Ways:
    """The ways over one link.

    Args:
        session: the link.
        table: where the router looks for them, by port ID.
    """

    __slots__ = ("_made", "_seen", "_session", "_table")

    def __init__(self, session: Session, table: dict[str, Way]) -> None:
        self._session = session
        self._table = table
        self._made: dict[str, None] = {}
        self._seen: set[str] = set()

    def used(self, port: str, name: str) -> None:
        """A message goes to a port without a way: make one, if it is not the first.

        Most ports that answers are sent to are sent to once.
        """
        if name not in self._seen:
            if len(self._seen) >= WAYS:
                self._seen.clear()
            self._seen.add(name)
        elif self._session.verbatim:  # so that the bytes are known here
            if len(self._made) >= WAYS:
                self.close()
            self._made[port] = None
            self._table[port] = self._make(name)

    def close(self) -> None:
        """Take all of them out of the table."""
        made, self._made = self._made, {}
        for port in made:
            self._table.pop(port, None)

    def _make(self, name: str) -> Way:
        peer, put = self._session.peer, self._session.send
        waiting = self._session.waiting
        small, pack, head = SMALL, pack_scalars, (name,)

        def send(message: tuple[Any, ...]) -> None:
            for value in message:
                kind = type(value)
                if kind not in small and (kind is not bytes or len(value) >= LONG):
                    peer.snd(name, message)
                    return
            try:
                frame = pack(head + message)
            except (OverflowError, UnicodeEncodeError):
                peer.snd(name, message)  # and that tells why it cannot be packed
                return
            left = peer.allowance - len(frame)
            if left < 0:
                peer.snd(name, message)
                return
            peer.allowance = left
            peer.sent += 1
            if waiting:
                waiting.append(frame)  # as `put` does, without the call
            else:
                put(frame)

        return send
