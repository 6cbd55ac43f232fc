"""Joining: a node that is up and does not get into its network says why, in its log.

A peer that refuses a connection tells the other side nothing: whoever dials may be anybody. What
can be found out from here is whether it is the node ID, by joining under another one and asking who
is there.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from ...errors import AempError

if TYPE_CHECKING:
    from ...node import Node

__all__ = ["look_after"]

log = logging.getLogger("aemp_core.cli")

#: Seconds after which a node that is not in its network says so, and says so again.
FIRST_SECONDS = 3.0
AGAIN_SECONDS = 60.0
#: Seconds each step of asking the network may take.
ASK_SECONDS = 5.0


async def look_after(node: Node, unready: Callable[[], str | None]) -> None:
    """Say why `node` is not in its network, as often as it is not; ends with the node."""
    pause = FIRST_SECONDS
    while True:
        await asyncio.sleep(pause)
        pause = AGAIN_SECONDS
        why = unready()
        if why is None or not node.settings.seeds:
            continue
        for address, found, failure in node.dialler.unlinked():
            if found is not None and await _is_taken(node, found):
                log.error(
                    "duplicate node ID: %s, at %s, has a link to another node %s: "
                    "end that one, or run this one under another 'nodeid'",
                    found, address, node.id,
                )  # fmt: skip
                break
            log.warning("node %s has no link to its seed %s: %s", node.id, address, failure)
        else:
            log.warning("node %s is not part of its network: %s", node.id, why)


async def _is_taken(node: Node, peer: str) -> bool:
    """Whether `peer` has a link to a node of our ID; false if that cannot be found out."""
    from ...node import Node

    settings = dataclasses.replace(
        node.settings, nodeid="anon/", binds=(), advertise=(), services=(), expose=(), rules=()
    )
    with suppress(AempError):
        # With a certificate it will not get in, unless that grants any ID.
        async with Node.of(settings) as visitor:
            await visitor.up(peer, ASK_SECONDS)
            there = await visitor.cal(peer, "up_nodes", timeout=ASK_SECONDS)
            return node.id in there and not node.node_is_up(peer)  # else that is us
    return False
