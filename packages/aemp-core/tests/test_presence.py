"""Presence: which nodes there are, from links and from plugins."""

from __future__ import annotations

from typing import Any

from core_kit import Log, Network, crash, nodes, settle

from aemp_core.monitor import Guard
from aemp_core.presence import Presence
from aemp_core.testing import virtual_clock


class Hook(Guard):
    """What a plugin answers."""

    told: Any = None

    def __call__(self, told: Any) -> Guard:
        self.told = told
        return self

    def cancel(self) -> None:
        self.told = None


@virtual_clock
async def test_nodes_with_a_link_are_there_and_each_is_told_once():
    network = Network.here()
    async with nodes("alice", "bob", "carol") as (alice, bob, carol):
        log = Log()
        presence = Presence(alice, log)
        assert sorted(presence) == ["bob", "carol"]
        await settle()  # the events of the links that are queued change nothing
        assert sorted(log.events) == [("bob", True), ("carol", True)]
        log.events.clear()
        await crash(network, carol)
        assert log.events == [("carol", False)]
        assert "bob" in presence and "carol" not in presence


@virtual_clock
async def test_a_node_is_there_as_long_as_a_link_or_a_plugin_says_so():
    network = Network.here()
    async with nodes("alice", "bob") as (alice, bob):
        hook, log = Hook(), Log()
        alice.presence_hooks = [hook]
        presence = Presence(alice, log)
        hook.told(["alice", "bob", "far"], [])
        assert log.events == [("bob", True), ("far", True)]
        await crash(network, bob)
        assert "bob" in presence
        hook.told([], ["bob", "far", "nobody"])
        assert log.events[2:] == [("bob", False), ("far", False)]
        assert list(presence) == []


@virtual_clock
async def test_a_cancelled_watch_tells_nothing_more():
    async with nodes("alice", connected=False) as (alice,):
        hook, log = Hook(), Log()
        alice.presence_hooks = [hook]
        presence = Presence(alice, log)
        presence.cancel()
        assert hook.told is None
        async with nodes("bob", connected=False) as (bob,):
            alice.learn("bob", *bob.addresses)
            await alice.up("bob")
            await settle()
        assert log.events == []
