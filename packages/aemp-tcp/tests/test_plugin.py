"""The plugin: installed, aemp-tcp is found by itself."""

from __future__ import annotations

import socket
from importlib.metadata import entry_points

from aemp_core.testing import StandIn
from aemp_tcp import plugin


async def test_the_schemes_it_serves() -> None:
    expected = {"tcp", "unix"} if hasattr(socket, "AF_UNIX") else {"tcp"}
    assert set(plugin.aemp_transports(StandIn("node"))) == expected


def test_the_entry_point_leads_to_the_plugin() -> None:
    (found,) = entry_points(group="aemp", name="tcp")
    assert found.load() is plugin
