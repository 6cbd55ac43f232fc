"""Following: the families an ordinary node has asked its home for, as they are kept here.

A global knows every family and follows none. On an ordinary node a family is followed as long as
anybody here wants it; what the home tells is put among the entries of this node, each under its
owner. Without a home what was told last stays; the next home tells the whole anew, and watchers
hear of the difference alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from aemp_core.errors import NodeClosed
from aemp_core.ids import is_node_id

from .entries import GONE, NAME_LENGTH, OWNER_ENTRIES, Key, check_change
from .families import Families

__all__ = ["Following"]


class Following:
    """The followed families of one node.

    Args:
        node_id: the node.
        families: where entries are put.
        tell: sends the home a message, if there is a home.
    """

    def __init__(self, node_id: str, families: Families, tell: Callable[[str, str], None]) -> None:
        self._id = node_id
        self._families = families
        self._tell = tell
        self._wanted: dict[str, int] = {}
        # Which owner shows under each key, as the home told it; complete families only.
        self._told: dict[str, dict[str, str]] = {}
        self._parts: dict[str, list[tuple[str, str, Any]]] = {}
        self._waiting: dict[str, dict[Callable[[], None], None]] = {}
        self._awaited: dict[asyncio.Future[Any], None] = {}

    def want(self, family: str) -> None:
        """Follow a family; as often as `unwant` is called later."""
        self._wanted[family] = self._wanted.get(family, 0) + 1
        if self._wanted[family] == 1:
            self._tell("follow", family)

    def unwant(self, family: str) -> None:
        """One who wanted it wants it no more."""
        self._wanted[family] -= 1
        if not self._wanted[family]:
            del self._wanted[family]
            self._tell("unfollow", family)
            self._parts.pop(family, None)
            for key, owner in self._told.pop(family, {}).items():
                self._put(family, key, owner, GONE)

    def renew(self) -> None:
        """There is a home: ask it for everything that is followed."""
        self._parts.clear()
        for family in self._wanted:
            self._tell("follow", family)

    def stop(self, known: Callable[[str, Key], bool]) -> None:
        """This node is global: what was told goes, but for entries it knows of by itself now."""
        told, self._told = self._told, {}
        for family, keys in told.items():
            for key, owner in keys.items():
                if not known(owner, (family, key)):
                    self._put(family, key, owner, GONE)

    # -- being told --------------------------------------------------------------------------

    def heard(self, family: Any, whole: Any, more: Any, rows: Sequence[Any]) -> None:
        """The home told of a family; `ValueError` if it makes no sense."""
        if family not in self._wanted:
            return
        checked = [_row(family, row) for row in rows]
        if not whole:
            told = self._told.get(family)
            if told is not None:
                for key, owner, value in checked:
                    self._change(family, told, key, owner, value)
            return
        parts = self._parts.setdefault(family, [])
        parts.extend(checked)
        if len(parts) > 10 * OWNER_ENTRIES:
            del self._parts[family]
            raise ValueError(f"the family {family!r:.100} does not end")
        if more is True:
            return
        del self._parts[family]
        told = self._told.setdefault(family, {})
        new = {key for key, _, _ in parts}
        for key in [key for key in told if key not in new]:
            self._change(family, told, key, "", GONE)
        for key, owner, value in parts:
            self._change(family, told, key, owner, value)
        self.complete(family)

    def _change(self, family: str, told: dict[str, str], key: str, owner: str, value: Any) -> None:
        before = told.pop(key, None)
        if value is not GONE:
            told[key] = owner
            self._put(family, key, owner, value)
        if before is not None and (before != owner or value is GONE):
            self._put(family, key, before, GONE)

    def _put(self, family: str, key: str, owner: str, value: Any) -> None:
        if owner != self._id:  # of our own entries we know more than anybody
            self._families.put(owner, (family, key), value)

    # -- waiting -----------------------------------------------------------------------------

    def known(self, family: str) -> bool:
        """Whether a home has told the whole family."""
        return family in self._told

    def complete(self, family: str | None = None) -> None:
        """A family, or every one, is as complete as it will be: those who wait go on."""
        for name in [family] if family is not None else list(self._waiting):
            for callback in self._waiting.pop(name, {}):
                callback()

    def when_complete(self, family: str, callback: Callable[[], None]) -> None:
        """Have `callback` called then."""
        self._waiting.setdefault(family, {})[callback] = None

    async def completed(self, family: str) -> None:
        """Return then; `NodeClosed` if the node closes before."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done() -> None:
            if not waiter.done():
                waiter.set_result(None)

        self.when_complete(family, done)
        self.until_closed(waiter)
        try:
            await waiter
        finally:
            self._waiting.get(family, {}).pop(done, None)

    def until_closed(self, waiter: asyncio.Future[Any]) -> None:
        """Have `waiter` fail with `NodeClosed` if the node closes before it is done."""
        self._awaited[waiter] = None
        waiter.add_done_callback(lambda _: self._awaited.pop(waiter, None))

    def close(self, node_id: str) -> None:
        """Nothing will be complete any more."""
        for waiter in list(self._awaited):
            if not waiter.done():
                waiter.set_exception(NodeClosed(f"node {node_id} is closed"))


def _row(family: str, row: Any) -> tuple[str, str, Any]:
    """Key, owner and value of a row; `GONE` and no owner for a key alone."""
    if not isinstance(row, (list, tuple)) or len(row) not in (1, 3, 4):
        raise ValueError(f"{row!r:.100} is no row of a family")
    key = row[0]
    if not isinstance(key, str) or not 0 < len(key) <= NAME_LENGTH:
        raise ValueError(f"{key!r:.100} is no key")
    if len(row) == 1:
        return key, "", GONE
    if not isinstance(row[1], str) or not is_node_id(row[1]):
        raise ValueError(f"{row[1]!r:.100} is no owner")
    _, value, _ = check_change([family, key, *row[2:]])
    return key, row[1], value
