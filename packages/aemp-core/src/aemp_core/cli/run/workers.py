"""Workers: several nodes by one configuration, and how each differs from it.

Worker K of node ID is the node ``ID/K``. A node is dialled at an address of its own, so the ports
of configured addresses count up: where ``binds`` says ``tcp://*:4040``, worker 1 listens there,
worker 2 at ``tcp://*:4041``, and so on. Port 0 is any free one for each. ``unix:///run/a.sock``
becomes ``unix:///run/a.sock.2``. Addresses without a port stay as they are.

All workers of a run are linked, over unix sockets in a directory that only their owner can enter.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import ConfigError, TransportError, UsageError
from ...settings import Settings

if TYPE_CHECKING:
    from ...node import Node

__all__ = ["Place", "counted", "join"]

_PORT = re.compile(r"(.*:)([0-9]+)\Z", re.DOTALL)
#: Seconds before a worker that could not be reached is tried again.
PAUSE_SECONDS = 0.2


def counted(address: str, number: int) -> str:
    """The address of worker `number` where worker 1 has `address`."""
    if number == 1 or address.startswith("memory://"):
        return address
    if address.startswith(("unix://", "/")):
        return f"{address}.{number}"
    match = _PORT.match(address)
    if match is None or int(match[2]) == 0:
        return address
    port = int(match[2]) + number - 1
    if port > 65_535:
        raise ConfigError(f"{address}: worker {number} would get port {port}: use a lower one")
    return f"{match[1]}{port}"


@dataclass(frozen=True)
class Place:
    """Which of the nodes of a run a process runs.

    Attributes:
        fd: the file descriptor of the tether to the overseer; -1: there is none.
        base: the node ID that is configured, without patterns.
        number: which worker this is, from 1 on; 0: the only node.
        count: how many there are.
        sockets: the directory of the workers' unix sockets.
    """

    fd: int
    base: str
    number: int = 0
    count: int = 0
    sockets: str = ""

    def to_text(self) -> str:
        """For the command line."""
        return json.dumps(dataclasses.asdict(self), separators=(",", ":"))

    @classmethod
    def of_text(cls, text: str) -> Place:
        """What `to_text` wrote."""
        try:
            return cls(**json.loads(text))
        except (TypeError, ValueError):
            raise UsageError("--child is for 'aemp run' itself") from None

    @property
    def node_id(self) -> str:
        """The ID of the node."""
        return self.id_of(self.number)

    def id_of(self, number: int) -> str:
        """The ID of worker `number`."""
        return f"{self.base}/{number}" if number else self.base

    def address_of(self, number: int) -> str:
        """The unix socket of worker `number`."""
        return f"unix://{self.sockets}/{number}"

    def settings(self, configured: Settings) -> Settings:
        """The settings of the node here."""
        if not self.number:
            return dataclasses.replace(configured, nodeid=self.base)
        number = self.number
        seeds = configured.seeds
        if not seeds and number > 1:
            seeds = (self.address_of(1),)
        health = configured.health
        return dataclasses.replace(
            configured,
            nodeid=self.node_id,
            binds=(
                *(counted(address, number) for address in configured.binds),
                self.address_of(number),
            ),
            advertise=tuple(counted(address, number) for address in configured.advertise),
            seeds=seeds,
            health=None if health is None else counted(health, number),
            workers=self.count,
        )


def join(node: Node, place: Place) -> None:
    """Have links from `node` to the other workers as long as it lives."""
    for number in range(1, place.count + 1):
        if number != place.number:
            node.learn(place.id_of(number), place.address_of(number))
        if number < place.number:  # the others dial us
            node.task(_keep(node, place.id_of(number)), name=f"link to worker {number}")


async def _keep(node: Node, other: str) -> None:
    while not node.closing:
        try:
            await node.up(other)
        except TransportError:
            await asyncio.sleep(PAUSE_SECONDS)
        else:
            await node.killed(other)
