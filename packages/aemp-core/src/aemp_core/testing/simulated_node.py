"""A simulated node: an ordinary node that a test can crash.

`SimulatedNetwork.node` makes it in the program that tests it, where several nodes share one loop.
What a killed process would never do, this one must not do either: from the crash on no handler and
no callback of it runs, and nothing of it reaches the network.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ..node import Node
from ..run_queue import RunQueue

if TYPE_CHECKING:
    from .network import SimulatedNetwork

__all__ = ["SimulatedNode"]


class SimulatedNode(Node):
    """A node on a simulated network, see `SimulatedNetwork.node`.

    Attributes:
        crashed: whether `crash` was called.
    """

    def __init__(self, network: SimulatedNetwork, nodeid: str, /, **settings: Any) -> None:
        super().__init__(nodeid, **settings)
        self.crashed = False
        self._network = network

    async def crash(self) -> None:
        """End as a killed process does: its peers see connections that end, nothing else.

        No handler, monitor or timer of the node runs any more; who awaits something of it does so
        for ever. Its tasks are cancelled, and what `mon_guard` holds is released. Another node may
        then take the ID.

        Raises:
            ValueError: the node is not in the main process: kill its own one.
        """
        if self.closing:
            return
        self._network.crashed(self)
        self.crashed = True
        self.queue.items.clear()
        self.queue = _Silence(self.loop, self._relieved)
        for job in [*self._jobs, *self._tasks]:
            if job is not asyncio.current_task():
                job.cancel()
        await self.close()


class _Silence(RunQueue):
    """The run queue of a crashed node: nothing is handled."""

    __slots__ = ()

    def arm(self) -> None:
        """Forget what was queued."""
        self.items.clear()
