"""The verbs as functions, each acting on the current node, as those of aemp_core do.

`Groups` holds the full description of each verb; ``of(node)`` is where it acts on a node that is
given.
"""

from __future__ import annotations

from typing import Any

from aemp_core.ids import PortID
from aemp_core.monitor import Guard
from aemp_core.verbs import current_node

from .groups import GroupCallback, Groups, of
from .registry import DbCallback

__all__ = [
    "db_del",
    "db_family",
    "db_keys",
    "db_mon",
    "db_reg",
    "db_set",
    "db_values",
    "grp_get",
    "grp_mon",
    "grp_reg",
    "grp_wait",
]


def _here() -> Groups:
    return of(current_node())


def grp_reg(group: str, port: str, /) -> Guard:
    """Put a port into a group: see `Groups.grp_reg`."""
    return _here().grp_reg(group, port)


def grp_get(group: str, /) -> list[PortID]:
    """The ports in a group, as far as they are known: see `Groups.grp_get`."""
    return _here().grp_get(group)


def grp_mon(group: str, callback: GroupCallback, /) -> Guard:
    """Watch a group: see `Groups.grp_mon`."""
    return _here().grp_mon(group, callback)


async def grp_wait(group: str, /) -> list[PortID]:
    """Wait until a port is in a group: see `Groups.grp_wait`."""
    return await _here().grp_wait(group)


def db_set(family: str, key: str, value: Any = None, /) -> Guard:
    """Set an entry: see `Groups.db_set`."""
    return _here().db_set(family, key, value)


def db_del(family: str, /, *keys: str) -> None:
    """Delete entries: see `Groups.db_del`."""
    _here().db_del(family, *keys)


def db_reg(family: str, port: str | None = None, value: Any = None, /) -> Guard:
    """Set an entry that ends with a port: see `Groups.db_reg`."""
    return _here().db_reg(family, port, value)


async def db_family(family: str, /) -> dict[str, Any]:
    """The values of a family by key: see `Groups.db_family`."""
    return await _here().db_family(family)


async def db_keys(family: str, /) -> list[str]:
    """The keys of a family: see `Groups.db_keys`."""
    return await _here().db_keys(family)


async def db_values(family: str, /) -> list[Any]:
    """The values of a family: see `Groups.db_values`."""
    return await _here().db_values(family)


def db_mon(family: str, callback: DbCallback, /) -> Guard:
    """Watch a family: see `Groups.db_mon`."""
    return _here().db_mon(family, callback)
