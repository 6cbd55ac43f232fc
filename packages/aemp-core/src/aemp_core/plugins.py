"""Plugins: what entry points of group ``aemp`` add, found once per process.

`hookspecs` lists the hooks. Nodes ask them when they start and keep the answers in plain
attributes, because a hook call takes a thousand times as long as an attribute.
"""

from __future__ import annotations

from functools import lru_cache

import pluggy

from . import hookspecs

__all__ = ["plugin_manager"]


@lru_cache(maxsize=1)
def plugin_manager() -> pluggy.PluginManager:
    """The plugin manager of this process, with every installed plugin loaded."""
    manager = pluggy.PluginManager("aemp")
    manager.add_hookspecs(hookspecs)
    manager.load_setuptools_entrypoints("aemp")
    return manager
