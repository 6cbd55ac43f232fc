"""The registry: entries written by one node, read and watched by all."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

import aemp_core as mp
import aemp_global as gl
from aemp_core.testing import SimulatedNetwork
from aemp_global import entries
from aemp_global.owners import same
from aemp_global.testing.crowd import within

SEED = ["memory://hub"]


async def three(network: SimulatedNetwork) -> tuple[mp.Node, mp.Node, mp.Node]:
    hub = await network.node("hub", seeds=[])
    return hub, await network.node("one", seeds=SEED), await network.node("two", seeds=SEED)


async def test_entries_are_read_by_all(aemp_network: SimulatedNetwork) -> None:
    nodes = await three(aemp_network)
    one = gl.of(nodes[1])
    one.db_set("colours", "red", 1)
    one.db_set("colours", "blue", {"r": 0, "b": [255]})
    one.db_set("colours", "none")
    await asyncio.sleep(0.1)
    for node in nodes:
        db = gl.of(node)
        assert await db.db_family("colours") == {
            "red": 1, "blue": {"r": 0, "b": [255]}, "none": None,
        }  # fmt: skip
        assert sorted(await db.db_keys("colours")) == ["blue", "none", "red"]
        assert 1 in await db.db_values("colours")
        assert await db.db_family("nothing") == {}
    one.db_del("colours", "red", "blue", "never there")
    await asyncio.sleep(0.1)
    assert await gl.of(nodes[2]).db_family("colours") == {"none": None}


async def test_what_is_followed_no_more_takes_no_room(aemp_network: SimulatedNetwork) -> None:
    _, one, two = await three(aemp_network)
    gl.of(one).db_set("f", "k", 1)
    await asyncio.sleep(0.1)
    assert await gl.of(two).db_keys("f") == ["k"]
    await asyncio.sleep(0.1)
    assert gl.of(two).families.values("f") == {}


@pytest.mark.parametrize("hub", ["json", "msgpack"])
async def test_values_are_the_same_over_every_framing(
    aemp_network: SimulatedNetwork, hub: str
) -> None:
    """JSON knows no bytes, and would make text of them that nobody could tell from text."""
    values = [b"\x00\xff", "\x00\xff", {"k": [b"deep", 1.0, 1]}, b"", [b""], "", None]
    await aemp_network.node("g1", seeds=[], framings=[hub], role="global")
    seeds = ["memory://g1"]
    await aemp_network.node("g2", seeds=seeds, framings=[hub, "json"], role="global")
    nodes = [
        await aemp_network.node(name, seeds=seeds, framings=framings)
        for name, framings in (("one", [hub]), ("two", [hub, "json"]), ("three", [hub]))
    ]
    for number, value in enumerate(values):
        gl.of(nodes[0]).db_set("v", str(number), value)
    await asyncio.sleep(1)
    for node in nodes:
        found = await gl.of(node).db_family("v")
        for number, value in enumerate(values):
            assert same(found[str(number)], value), (node.id, value)


async def test_the_guard_deletes_unless_it_was_set_again(aemp_network: SimulatedNetwork) -> None:
    hub, _, _ = await three(aemp_network)
    db = gl.of(hub)
    first = db.db_set("f", "k", 1)
    second = db.db_set("f", "k", 2)
    first.cancel()
    assert await db.db_family("f") == {"k": 2}
    second.cancel()
    assert await db.db_family("f") == {}


async def test_a_registered_port_is_deleted_when_it_dies(aemp_network: SimulatedNetwork) -> None:
    hub, one, two = await three(aemp_network)
    port = one.port()
    one.peval(port, lambda: gl.db_reg("services") and None)
    remote = two.port()
    gl.of(one).db_reg("services", remote, "elsewhere")
    await within(1, lambda: gl.of(hub).families.values("services") == {
        port: None, remote: "elsewhere",
    })  # fmt: skip
    two.kil(remote)
    await within(1, lambda: gl.of(hub).families.values("services") == {port: None})
    one.kil(port)
    await within(1, lambda: gl.of(hub).families.values("services") == {})


async def test_of_two_owners_of_one_key_the_smaller_shows(aemp_network: SimulatedNetwork) -> None:
    nodes = await three(aemp_network)
    _, one, two = nodes
    gl.of(two).db_set("f", "k", "two's")
    await asyncio.sleep(0.1)
    gl.of(one).db_set("f", "k", "one's")
    await asyncio.sleep(0.1)
    for node in nodes:
        assert await gl.of(node).db_values("f") == ["one's"]
    gl.of(one).db_del("f", "k")
    await asyncio.sleep(0.1)
    for node in nodes:
        assert await gl.of(node).db_values("f") == ["two's"]
    gl.of(one).db_del("f", "k")  # not its own
    await asyncio.sleep(0.1)
    assert await gl.of(one).db_values("f") == ["two's"]


async def test_each_report_is_the_last_one_and_what_it_says_has_changed(
    aemp_network: SimulatedNetwork,
) -> None:
    hub, one, two = await three(aemp_network)
    chance = random.Random(5)
    counts = []
    for watcher in (hub, one, two):
        state: dict[str, Any] = {}
        reports = [0]

        def told(
            values: Any, added: Any, changed: Any, deleted: Any, state: Any = state,
            reports: Any = reports,
        ) -> None:  # fmt: skip
            assert not set(added) & set(state)
            assert set(changed) <= set(state) and set(deleted) <= set(state)
            for key in deleted:
                del state[key]
            for key in (*added, *changed):
                state[key] = values[key]
            assert state == dict(values)
            reports[0] += 1

        gl.of(watcher).db_mon("f", told)
        counts.append((state, reports))
    for _ in range(300):
        writer = gl.of(chance.choice((hub, one, two)))
        key = chance.choice("abcdef")
        if chance.random() < 0.7:
            writer.db_set("f", key, chance.randint(0, 3))
        else:
            writer.db_del("f", key)
        if chance.random() < 0.5:
            await asyncio.sleep(chance.choice((0, 0.001, 0.1)))
    await asyncio.sleep(1)
    final = await gl.of(hub).db_family("f")
    for state, reports in counts:
        assert state == final
        assert 1 < reports[0] < 300


async def test_the_values_of_a_report_cannot_be_changed(aemp_network: SimulatedNetwork) -> None:
    hub, _, _ = await three(aemp_network)
    seen: list[Any] = []
    gl.of(hub).db_mon("f", lambda values, *_: seen.append(values))
    await asyncio.sleep(0.1)
    with pytest.raises(TypeError):
        seen[0]["k"] = 1


async def test_what_is_no_entry_is_refused_where_it_is_written(
    aemp_network: SimulatedNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub, _, _ = await three(aemp_network)
    db = gl.of(hub)
    with pytest.raises(gl.RegistryError, match="families that begin with ' belong to aemp-global"):
        db.db_set("'n", "k", 1)
    with pytest.raises(gl.RegistryError, match="5 is no key"):
        db.db_set("f", 5, 1)  # type: ignore[arg-type]
    with pytest.raises(gl.RegistryError, match="is no key"):
        db.db_set("f", "\ud800", 1)
    with pytest.raises(gl.RegistryError, match="too long to register, 16384 are allowed"):
        db.db_set("f", "k", "x" * 20_000)
    with pytest.raises(mp.UnsendableError):
        db.db_set("f", "k", object())
    monkeypatch.setattr("aemp_global.owners.OWNER_ENTRIES", len(db.exchange.own.entries) + 2)
    db.db_set("f", "1")
    db.db_set("f", "2")
    db.db_set("f", "2", "again")
    with pytest.raises(gl.RegistryFull, match=r"hub cannot register '3'.*delete some first"):
        db.db_set("f", "3")
    db.db_del("f", "1")
    db.db_set("f", "3")
    assert await db.db_keys("f") == ["2", "3"]


async def test_a_large_family_arrives_in_parts(aemp_network: SimulatedNetwork) -> None:
    hub, one, two = await three(aemp_network)
    expected = {f"key {number}": "x" * 500 for number in range(2_000)}
    for key, value in expected.items():
        gl.of(one).db_set("large", key, value)
    assert len(expected) * 500 > 20 * entries.VALUE_BYTES
    await within(1, lambda: len(gl.of(hub).families.values("large")) == 2_000)
    assert await gl.of(two).db_family("large") == expected


async def test_a_closed_node_takes_no_entries(aemp_network: SimulatedNetwork) -> None:
    hub, one, _ = await three(aemp_network)
    db = gl.of(one)
    guard = db.db_set("f", "k")
    await one.close()
    with pytest.raises(mp.NodeClosed):
        db.db_set("f", "k2")
    guard.cancel()
    await within(1, lambda: gl.of(hub).families.values("f") == {})
