"""Groups: ports found by a name that any node of the network may ask for.

A group is a family of ours whose keys are ports. A port may be in many groups, and is in a group
until its guard is cancelled, it dies, or its node is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from aemp_core.context import current_port_of
from aemp_core.errors import UsageError
from aemp_core.ids import PortID
from aemp_core.monitor import Guard

from .entries import GROUPS, check_key
from .errors import RegistryError
from .registry import Registry

if TYPE_CHECKING:
    from aemp_core.node import Node

__all__ = ["GroupCallback", "Groups", "of"]

GroupCallback = Callable[[Sequence[PortID], Sequence[PortID], Sequence[PortID]], object]

#: Characters of the name of a group.
GROUP_LENGTH = 255


class Groups(Registry):
    """Groups and registry as one node sees them; `of` finds it."""

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self._got: dict[str, None] = {}

    def grp_reg(self, group: str, port: str, /) -> Guard:
        """Put a port of this node into a group, until it dies or the guard is cancelled.

        Args:
            group: the name of the group, at most 255 characters.
            port: a port of this node; its node ID puts the node port there.

        Returns:
            A guard that takes it out again.

        Raises:
            PortError: the port is on another node, or has ended.
            RegistryError: it is in that group already, no group can have that name, or a rule of
                this node's own does not let it be there.
        """
        family = _family(group)
        self.ready()
        if port != self.node.id:
            self.node.local(port, "grp_reg")
        if not self.node.rules.allow_group(self.node.id, group):
            raise RegistryError(
                f"the rules of this node do not let {self.node.id} be in the group {group!r}: "
                "other nodes that have the same rules would not see it there"
            )
        key = (family, port)
        if key in self.exchange.own.entries:
            raise RegistryError(
                f"{port} is in the group {group!r} already: keep the guard of the first time"
            )
        guard = self.put(key, None)
        guard.end_with(port)
        return guard

    def grp_get(self, group: str, /) -> list[PortID]:
        """The ports in a group, as far as they are known here now.

        An ordinary node follows a group from the first time this is asked, and knows no more than
        its own ports until its home has answered: `grp_wait` waits for that.
        """
        family = _family(group)
        self.ready()
        if family not in self._got:
            self._got[family] = None
            self.following.want(family)
        return [PortID(port) for port in self.families.values(family)]

    def grp_mon(self, group: str, callback: GroupCallback, /) -> Guard:
        """Watch a group.

        Args:
            group: its name.
            callback: ``callback(ports, added, removed)``, called first with the ports that are
                there, then whenever some came or went.

        Returns:
            A guard that ends it; it ends with the current port, too.
        """
        family = _family(group)
        if not callable(callback):
            raise UsageError(f"{callback!r} is no callback")
        self.ready()
        owner = current_port_of(self.node)
        first = True

        def report(
            values: dict[str, Any], added: list[str], changed: list[str], removed: list[str]
        ) -> None:
            nonlocal first
            if first or added or removed:
                first = False
                self.node.call_in(owner, callback, list(values), added, removed)

        return self.watch_family(family, owner, report)

    async def grp_wait(self, group: str, /) -> list[PortID]:
        """Wait until a port is in a group, and return all that are."""
        family = _family(group)
        self.ready()
        found: asyncio.Future[list[PortID]] = self.node.loop.create_future()

        def report(values: dict[str, Any], *_: Any) -> None:
            if values and not found.done():
                found.set_result([PortID(port) for port in values])

        guard = self.watch_family(family, None, report)
        self.following.until_closed(found)
        try:
            return await found
        finally:
            guard.cancel()


def _family(group: str) -> str:
    check_key(group)
    if len(group) > GROUP_LENGTH:
        raise RegistryError(
            f"{group!r:.50}... is no group: use a name of at most {GROUP_LENGTH} characters"
        )
    return GROUPS + group


def of(node: Node, /) -> Groups:
    """Groups and registry of a node, for programs that run several.

    Args:
        node: a node that is open.

    Returns:
        An object whose methods are the verbs of aemp_global, acting on that node.
    """
    groups: Groups | None = node.extensions.get(Groups)
    if groups is None:
        groups = node.extensions[Groups] = Groups(node)
    return groups
