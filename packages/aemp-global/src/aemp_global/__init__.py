"""Finding nodes, groups of ports and a replicated registry for aemp-core.

Installed, it is found by itself: a node that knows one seed can talk to any node of its network.
The verbs act on the current node, as those of `aemp_core` do; ``of(node)`` has them for a given
one. ``import aemp_global as gl``.

A name is fetched from its module when it is first used: the ``aemp`` command loads this package
to find its plugin, and shall start fast.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .errors import RegistryError, RegistryFull
    from .groups import Groups, of
    from .verbs import (
        db_del,
        db_family,
        db_keys,
        db_mon,
        db_reg,
        db_set,
        db_values,
        grp_get,
        grp_mon,
        grp_reg,
        grp_wait,
    )

__all__ = [
    "Groups",
    "RegistryError",
    "RegistryFull",
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
    "of",
]

_HOMES = {
    "Groups": "groups",
    "RegistryError": "errors",
    "RegistryFull": "errors",
    "db_del": "verbs",
    "db_family": "verbs",
    "db_keys": "verbs",
    "db_mon": "verbs",
    "db_reg": "verbs",
    "db_set": "verbs",
    "db_values": "verbs",
    "grp_get": "verbs",
    "grp_mon": "verbs",
    "grp_reg": "verbs",
    "grp_wait": "verbs",
    "of": "groups",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(_import_module(f"{__name__}.{home}"), name)
    globals()[name] = value  # the next time this is an ordinary attribute
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
