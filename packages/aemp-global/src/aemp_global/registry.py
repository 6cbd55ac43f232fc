"""The registry: the verbs by which programs write entries, read families and watch them.

A *family* holds values by *key*. Whoever writes an entry owns it, and it is gone when that node is:
so what the registry says is true of nodes that live, and nothing has to be cleaned up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from aemp_core.context import current_port_of, require_port
from aemp_core.errors import UsageError
from aemp_core.ids import check_port_id, is_node_id
from aemp_core.monitor import Guard
from aemp_core.ports import Port

from .directory import NODES
from .entries import GONE, OWNER_BYTES, OWNER_ENTRIES, Key, check_family, check_key, snapshot
from .errors import RegistryFull
from .families import FamilyWatch
from .service import Service

if TYPE_CHECKING:
    from aemp_core.node import Node

__all__ = ["DbCallback", "EntryGuard", "Registry", "WatchGuard"]

DbCallback = Callable[[Mapping[str, Any], Sequence[str], Sequence[str], Sequence[str]], object]


class EntryGuard(Guard):
    """Takes an entry back, unless it was written again since."""

    __slots__ = ("_key", "_registry", "_watch")

    def __init__(self, registry: Registry, key: Key) -> None:
        self._registry = registry
        self._key = key
        self._watch: Guard | None = None

    def end_with(self, port: str) -> None:
        """Take it back when a port dies."""
        node = self._registry.node
        if port in node.ports:
            self._watch = node.mon_guard(port, self)
        else:
            self._watch = node.watch(port, lambda reason: self.cancel())

    def cancel(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()
        self._registry.take_back(self._key, self)


class WatchGuard(Guard):
    """Ends the watching of a family."""

    __slots__ = ("_owner", "_registry", "_watch", "active")

    def __init__(self, registry: Registry, owner: Port | None, watch: FamilyWatch) -> None:
        self.active = True
        self._registry = registry
        self._owner = owner
        self._watch = watch
        registry.node.add_job(owner, self)
        registry.begin_watch(self, watch)

    def cancel(self) -> None:
        if self.active:
            self.active = False
            self._registry.node.drop_job(self._owner, self)
            self._registry.end_watch(self._watch)


class Registry(Service):
    """The registry as one node sees it; `aemp_global.of` finds it."""

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self._guards: dict[Key, EntryGuard] = {}

    # -- writing -----------------------------------------------------------------------------

    def db_set(self, family: str, key: str, value: Any = None, /) -> Guard:
        """Set an entry of this node, or replace it.

        Args:
            family: any text that does not begin with ``'``.
            key: any text.
            value: a plain value, at most 16 KiB.

        Returns:
            A guard that deletes the entry, unless it was set again since.

        Raises:
            RegistryError: no such family or key can be, or the value is too long.
            RegistryFull: this node has all the entries one node may have.
            UnsendableError: the value is not plain.
        """
        return self.put((check_family(family), check_key(key)), value)

    def put(self, key: Key, value: Any) -> EntryGuard:
        """Set an entry of any family."""
        self.ready()
        copy, size = snapshot(value)
        if not self.exchange.own.room_for(key, size):
            raise RegistryFull(
                f"{self.node.id} cannot register {key[1]!r:.100}: one node may have "
                f"{OWNER_ENTRIES} entries and {OWNER_BYTES} bytes of them; delete some first"
            )
        guard = self._guards[key] = EntryGuard(self, key)
        self.exchange.write(key, copy, size)
        return guard

    def db_del(self, family: str, /, *keys: str) -> None:
        """Delete entries of this node; those of other nodes are theirs, and stay."""
        check_family(family)
        self.ready()
        for key in keys:
            self.delete((family, check_key(key)))

    def delete(self, key: Key) -> None:
        """Delete an entry of this node, if there is one."""
        self._guards.pop(key, None)
        if key in self.exchange.own.entries:
            self.exchange.write(key, GONE)

    def take_back(self, key: Key, guard: EntryGuard) -> None:
        """Delete an entry if it is still the one `guard` was made for."""
        if self._guards.get(key) is guard and not self.node.closing:
            self.delete(key)

    def db_reg(self, family: str, port: str | None = None, value: Any = None, /) -> Guard:
        """Set an entry whose key is a port, and which is deleted when the port dies.

        Args:
            family: as for `db_set`.
            port: a port ID; none: the current port.
            value: as for `db_set`.

        Returns:
            A guard that deletes the entry before that.
        """
        check_family(family)
        if port is None:
            port = require_port("db_reg(family)").id
        check_port_id(port)
        guard = self.put((family, port), value)
        guard.end_with(port)
        return guard

    # -- reading -----------------------------------------------------------------------------

    async def db_family(self, family: str, /) -> dict[str, Any]:
        """The values of a family, by key.

        On an ordinary node this asks its home, and waits while there is none.
        """
        check_family(family)
        self.ready()
        if self.alone:
            return dict(self.families.values(family))
        self.following.want(family)
        try:
            if not self.following.known(family):
                await self.following.completed(family)
            return dict(self.families.values(family))
        finally:
            self.following.unwant(family)

    async def db_keys(self, family: str, /) -> list[str]:
        """The keys of a family: see `db_family`."""
        return list(await self.db_family(family))

    async def db_values(self, family: str, /) -> list[Any]:
        """The values of a family: see `db_family`."""
        return list((await self.db_family(family)).values())

    # -- watching ----------------------------------------------------------------------------

    def db_mon(self, family: str, callback: DbCallback, /) -> Guard:
        """Watch a family.

        Args:
            family: as for `db_set`.
            callback: ``callback(values, added, changed, deleted)``, called first with all there
                is, then whenever keys were added, changed or deleted. `values` is read only.
                Adding and deleting these keys turns the last report into this one; values in
                between may be left out.

        Returns:
            A guard that ends it; it ends with the current port, too.
        """
        check_family(family)
        if not callable(callback):
            raise UsageError(f"{callback!r} is no callback")
        self.ready()
        owner = current_port_of(self.node)
        return self.watch_family(
            family, owner,
            lambda values, *keys: self.node.call_in(
                owner, callback, MappingProxyType(values), *keys
            ),
        )  # fmt: skip

    def watch_family(
        self, family: str, owner: Port | None, report: Callable[..., None]
    ) -> WatchGuard:
        """Watch any family; `report` gets what `FamilyWatch.report` returns."""

        def told(watch: FamilyWatch) -> None:
            found = watch.report(self.families)
            if found is not None:
                report(*found)

        return WatchGuard(self, owner, FamilyWatch(family, told))

    def watch_nodes(self, told: Callable[[list[str], list[str]], object]) -> WatchGuard:
        """Watch which nodes are in the registry: ``told(added, removed)``, first with all."""
        self.ready()
        owner = current_port_of(self.node)

        def report(values: Any, added: list[str], changed: Any, removed: list[str]) -> None:
            if added or removed:
                nodes = [node_id for node_id in added if is_node_id(node_id)]
                self.node.call_in(owner, told, nodes, removed)

        return self.watch_family(NODES, owner, report)

    def begin_watch(self, guard: WatchGuard, watch: FamilyWatch) -> None:
        """Follow a family, and begin to report when it is known."""

        def begin() -> None:
            if guard.active:
                self.families.watch(watch)

        self.following.want(watch.family)
        if self.alone or self.following.known(watch.family):
            begin()
        else:
            self.following.when_complete(watch.family, begin)

    def end_watch(self, watch: FamilyWatch) -> None:
        """The watch was cancelled."""
        self.families.unwatch(watch)
        self.following.unwant(watch.family)

    def ready(self) -> None:
        """Raise unless the node is open and this is its thread; begin if it has not begun."""
        self.node.check_open()
        self.node.check_thread()
        self.start()
