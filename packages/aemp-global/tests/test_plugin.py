"""The plugin: installed, aemp-global is found by itself."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import aemp_global as gl
from aemp_core.presence import Presence
from aemp_core.testing import SimulatedNetwork
from aemp_global import plugin
from aemp_global.testing.crowd import within


def test_the_entry_point_leads_to_the_plugin() -> None:
    (found,) = entry_points(group="aemp", name="global")
    assert found.load() is plugin


def test_loading_it_imports_no_node() -> None:
    code = (
        "import sys, aemp_global.plugin; assert not {'aemp_core.node', 'asyncio'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


async def test_one_object_belongs_to_each_node(aemp_network: SimulatedNetwork) -> None:
    one, two = await aemp_network.node("one"), await aemp_network.node("two")
    assert gl.of(one) is gl.of(one) is not gl.of(two)
    assert isinstance(gl.of(one), gl.Groups)


async def test_peers_without_it_are_left_in_peace(aemp_network: SimulatedNetwork) -> None:
    from aemp_core.plugins import plugin_manager

    plugin_manager().unregister(plugin)
    try:
        bare = await aemp_network.node("bare", seeds=[])
    finally:
        plugin_manager().register(plugin, name="global")
    node = await aemp_network.node("node", seeds=["memory://bare"])
    await node.up("bare")
    assert not gl.of(node).exchange.neighbours
    assert await node.cal("bare", "info", timeout=5) == ("bare",)
    assert "registry" not in bare.node_port.requests


async def test_every_node_of_the_network_is_present_without_a_link(
    aemp_network: SimulatedNetwork,
) -> None:
    await aemp_network.node("hub", seeds=[])
    one = await aemp_network.node("one", seeds=["memory://hub"])
    there: dict[str, bool] = {}
    presence = Presence(one, there.__setitem__)
    two = await aemp_network.node("two", seeds=["memory://hub"])
    await within(5, lambda: there == {"hub": True, "two": True})
    assert one.up_nodes() == ["hub"]
    await two.crash()
    await within(30, lambda: there == {"hub": True, "two": False})
    assert list(presence) == ["hub"]
