"""The roll: how the driver comes by the ports of its workers.

Where aemp-global is installed each worker makes its port and registers it in a group, and the
driver finds it there. Without it the driver spawns the ports on the workers.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
from collections.abc import Sequence
from typing import Any

from ...ids import PortID, node_of
from ...node import Node
from .counter import FUNCTION, start

__all__ = ["GROUP", "Roll", "enrol"]

GROUP = "demo/counters"


def _groups_of(node: Node) -> Any:
    """Groups as `node` sees them; None without aemp-global, which core itself does not need."""
    if importlib.util.find_spec("aemp_global") is None:
        return None
    return importlib.import_module("aemp_global").of(node)


def enrol(node: Node) -> None:
    """A worker's part: register a port that counts, if there are groups."""
    groups = _groups_of(node)
    if groups is not None:
        port = node.port()
        node.peval(port, start)
        groups.grp_reg(GROUP, port)


class Roll:
    """The driver's part.

    Attributes:
        how: how ports are come by, for people to read.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._groups = _groups_of(node)
        self._expected: dict[str, asyncio.Future[PortID]] = {}
        self.how = f"spawned there by {node.id}"
        if self._groups is not None:
            self.how = f"found in the group {GROUP}"
            self._groups.grp_mon(GROUP, self._changed)

    def _changed(
        self, ports: Sequence[PortID], added: Sequence[PortID], removed: Sequence[PortID]
    ) -> None:
        for port in added:
            expected = self._expected.get(node_of(port))
            if expected is not None and not expected.done():
                expected.set_result(port)

    async def port_of(self, node_id: str) -> PortID:
        """The port of the worker `node_id`, when that is up."""
        if self._groups is None:
            await self._node.up(node_id)
            return self._node.spawn(node_id, FUNCTION)
        expected = self._expected[node_id] = self._node.loop.create_future()
        port: PortID = await expected
        return port
