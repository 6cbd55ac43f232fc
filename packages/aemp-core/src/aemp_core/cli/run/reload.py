"""Reloading: which settings of a node that is up can be changed, and how.

The rest is named, and stays as it is until the node is started again.
"""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING

from ...plugins import plugin_manager
from ...requests import Rules
from ...settings import Settings

if TYPE_CHECKING:
    from ...node import Node

__all__ = ["LIVE", "reload"]

log = logging.getLogger("aemp_core.cli")

#: Settings that are looked at whenever they matter, or can be given anew.
LIVE = (
    "log_level", "rules", "seeds", "monitor_timeout", "connect_interval", "send_limit",
    "mailbox_limit", "spawn_limit",
)  # fmt: skip
#: Those of a certificate, for a node that had one from the start.
CERTIFICATE = ("cert", "cert_key", "cert_trust", "cert_passphrase")


def reload(node: Node, before: Settings, after: Settings) -> Settings:
    """Change the settings of a node to what is configured now, as far as that can be.

    Args:
        node: a node that is up.
        before: what was configured for it.
        after: what is configured now.

    Returns:
        What is in force now: `after`, without what needs a restart.

    Raises:
        UsageError: a new seed is no address; nothing was changed.
    """
    live = set(LIVE)
    if before.cert is not None and after.cert is not None:
        live.update(CERTIFICATE)
    different = [
        each.name
        for each in dataclasses.fields(Settings)
        if getattr(before, each.name) != getattr(after, each.name)
    ]
    changed = {name: getattr(after, name) for name in different if name in live}
    waiting = [name for name in different if name not in live]
    if "seeds" in changed:
        node.dialler.reseed(changed["seeds"])
    node.settings = dataclasses.replace(node.settings, **changed)
    node.rules = Rules(node.settings.rules, proven=node.settings.cert is not None)
    if "log_level" in changed:
        logging.getLogger().setLevel(after.log_level)
    node.call_in(None, lambda: plugin_manager().hook.aemp_reload(node=node))
    log.info("node %s: reloaded, changed: %s", node.id, ", ".join(changed) or "nothing")
    if waiting:
        log.warning(
            "node %s: changed in the configuration, but it takes a restart: %s",
            node.id, ", ".join(waiting),
        )  # fmt: skip
    return dataclasses.replace(before, **changed)
