"""A stand-in for a node: just what a transport may use of one, and nothing behind it.

Transports are tested with it alone, so that what fails is the transport. Whatever a transport
needs beyond this is not part of the contract between core and transports.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

from ..builtin import aemp_auth_methods, aemp_framings
from ..ids import new_incarnation
from ..settings import Settings
from ..wire import PROVIDER, Greeting

__all__ = ["StandIn"]


class StandIn:
    """A node as transports see it; made while its loop runs.

    Args:
        nodeid: its node ID.
        entropy: where random bytes come from.
        settings: as for `Node`.

    Attributes:
        id: the node ID.
        incarnation: greater than that of every stand-in made before with the same ID.
        loop: the running loop.
        settings: the checked settings.
        auth_methods: the methods of core, by name.
        framings: the framings of core, by name.
        entropy: as given.
    """

    _lives = 0

    def __init__(
        self, nodeid: str, /, *, entropy: Callable[[int], bytes] = os.urandom, **settings: Any
    ) -> None:
        StandIn._lives += 1
        self.id = nodeid
        self.incarnation = new_incarnation(1e9 + StandIn._lives, entropy(8))
        self.loop = asyncio.get_running_loop()
        self.settings = Settings.of(nodeid=nodeid, **settings)
        self.entropy = entropy
        self.auth_methods = {method.name: method for method in aemp_auth_methods()}
        self.framings = {framing.name: framing for framing in aemp_framings()}

    def greeting(self, peeraddr: str, /) -> Greeting:
        """What it says of itself to a peer it sees at `peeraddr`."""
        return Greeting(
            self.id,
            self.settings.auth_accept,
            self.settings.framings,
            {
                "provider": PROVIDER,
                "peeraddr": peeraddr,
                "incarnation": self.incarnation,
                "heartbeat": f"{self.settings.heartbeat:g}",
                "frame": str(self.settings.frame_limit),
            },
        )
