"""Groups: ports found by name, from any node of the network, and gone when they are dead."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import aemp_core as mp
import aemp_global as gl
from aemp_core.testing import SimulatedNetwork
from aemp_global.testing.crowd import members, within

SEED = ["memory://hub"]


async def three(network: SimulatedNetwork) -> tuple[mp.Node, mp.Node, mp.Node]:
    hub = await network.node("hub", seeds=[])
    return hub, await network.node("one", seeds=SEED), await network.node("two", seeds=SEED)


async def test_a_port_is_found_by_a_node_that_knows_one_seed(
    aemp_network: SimulatedNetwork,
) -> None:
    _, one, two = await three(aemp_network)
    echo = one.port(mp.replies(lambda *message: message))
    gl.of(one).grp_reg("echoes", echo)
    assert await gl.of(two).grp_wait("echoes") == [echo]
    assert two.up_nodes() == ["hub"]
    assert await two.cal(echo, "hello", timeout=5) == ("hello",)


async def test_the_verbs_act_on_the_current_node(aemp_network: SimulatedNetwork) -> None:
    _, one, two = await three(aemp_network)
    with one.current():
        port = mp.port()
        gl.grp_reg("mine", port)
        assert gl.grp_get("mine") == [port]
    with two.current():
        assert await gl.grp_wait("mine") == [port]


async def test_a_watch_tells_first_who_is_there_and_then_who_comes_and_goes(
    aemp_network: SimulatedNetwork,
) -> None:
    _, one, two = await three(aemp_network)
    first, second = one.port(), one.port()
    gl.of(one).grp_reg("g", first)
    await gl.of(two).grp_wait("g")
    told: list[Any] = []
    gl.of(two).grp_mon("g", lambda *report: told.append(report))
    await within(1, lambda: told)
    gl.of(one).grp_reg("g", second)
    await within(1, lambda: len(told) == 2)
    one.kil(first)
    await within(1, lambda: len(told) == 3)
    assert told == [
        ([first], [first], []),
        ([first, second], [second], []),
        ([second], [], [first]),
    ]


async def test_a_watch_of_an_empty_group_says_so_first(aemp_network: SimulatedNetwork) -> None:
    for node in await three(aemp_network):
        told: list[Any] = []
        gl.of(node).grp_mon("nobody", lambda *report, told=told: told.append(report))
        await within(1, lambda told=told: told)
        assert told == [([], [], [])]


async def test_a_port_leaves_when_its_guard_is_cancelled(aemp_network: SimulatedNetwork) -> None:
    hub, one, two = await three(aemp_network)
    port = one.port()
    guard = gl.of(one).grp_reg("g", port)
    await gl.of(two).grp_wait("g")
    gl.of(two).grp_get("g")
    await within(1, lambda: members(two, "g") == members(hub, "g") == [port])
    guard.cancel()
    guard.cancel()
    await within(1, lambda: members(two, "g") == members(hub, "g") == [])
    gl.of(one).grp_reg("g", port)
    await within(1, lambda: members(two, "g") == [port])
    guard.cancel()  # of the former registration
    await asyncio.sleep(1)
    assert members(two, "g") == [port]


async def test_a_port_is_out_of_its_groups_at_once_when_it_dies(
    aemp_network: SimulatedNetwork,
) -> None:
    _, one, two = await three(aemp_network)
    port = one.port()
    for group in ("a", "b"):
        gl.of(one).grp_reg(group, port)
        gl.of(two).grp_get(group)
    await within(1, lambda: members(two, "a") == members(two, "b") == [port])
    seen: list[Any] = []
    one.mon(port, lambda reason: seen.append([*members(one, "a"), *members(one, "b")]))
    one.kil(port, "over")
    await within(1, lambda: members(two, "a") == members(two, "b") == [])
    assert seen == [[]]


async def test_a_node_that_closes_is_gone_at_once_one_that_is_killed_in_a_moment(
    aemp_network: SimulatedNetwork,
) -> None:
    hub, one, two = await three(aemp_network)
    for node in (one, two):
        gl.of(node).grp_reg("g", node.port())
    await within(1, lambda: len(members(hub, "g")) == 2)
    await one.close()
    assert await within(0.5, lambda: len(members(hub, "g")) == 1) < 0.5
    await two.crash()
    assert await within(2.5, lambda: members(hub, "g") == []) > 1.9


async def test_a_global_that_closes_is_gone_at_once(aemp_network: SimulatedNetwork) -> None:
    hub, one, two = await three(aemp_network)
    other = await aemp_network.node("other", seeds=SEED, role="global")
    gl.of(other).grp_reg("g", other.port())
    await within(5, lambda: len(members(hub, "g")) == 1)
    await other.close()
    assert await within(0.5, lambda: members(hub, "g") == []) < 0.5


async def test_twice_in_one_group_is_an_error_and_in_many_groups_is_none(
    aemp_network: SimulatedNetwork,
) -> None:
    _, one, _ = await three(aemp_network)
    port = one.port()
    gl.of(one).grp_reg("a", port)
    gl.of(one).grp_reg("b", port)
    with pytest.raises(gl.RegistryError, match=r"in the group 'a' already"):
        gl.of(one).grp_reg("a", port)


async def test_the_node_port_may_be_in_a_group(aemp_network: SimulatedNetwork) -> None:
    hub, one, two = await three(aemp_network)
    gl.of(one).grp_reg("nodes", one.id)
    assert await gl.of(two).grp_wait("nodes") == ["one"]
    assert await two.cal("one", "info", timeout=5) == ("one",)
    await one.close()
    await within(1, lambda: members(hub, "nodes") == [])


async def test_wrong_use_is_an_error_that_says_what_is_wrong(
    aemp_network: SimulatedNetwork,
) -> None:
    hub, one, _ = await three(aemp_network)
    groups = gl.of(one)
    with pytest.raises(mp.PortError, match="that port is on hub, not on one"):
        groups.grp_reg("g", hub.port())
    dead = one.port()
    one.kil(dead)
    await one.flush(one.id)
    await asyncio.sleep(0.1)
    with pytest.raises(mp.PortError, match="has ended"):
        groups.grp_reg("g", dead)
    with pytest.raises(gl.RegistryError, match="'' is no key"):
        groups.grp_get("")
    with pytest.raises(gl.RegistryError, match="at most 255 characters"):
        groups.grp_mon("x" * 256, print)
    with pytest.raises(mp.UsageError, match="None is no callback"):
        groups.grp_mon("g", None)  # type: ignore[arg-type]


async def test_a_watch_ends_with_the_port_that_set_it(aemp_network: SimulatedNetwork) -> None:
    _, one, two = await three(aemp_network)
    told: list[Any] = []
    port = two.port()

    def watch() -> None:
        gl.grp_mon("g", lambda ports, *_: told.append((mp.current_port(), len(ports))))

    two.peval(port, watch)
    await within(1, lambda: told)
    two.kil(port)
    gl.of(one).grp_reg("g", one.port())
    await asyncio.sleep(1)
    assert told == [(port, 0)]


async def test_an_error_in_a_callback_ends_its_port(aemp_network: SimulatedNetwork) -> None:
    _, _, two = await three(aemp_network)
    port = two.port()

    def fail(*_: Any) -> None:
        raise ValueError("oops")

    two.peval(port, lambda: gl.grp_mon("g", fail) and None)
    assert await two.killed(port) == ("die", "ValueError: oops")


async def test_who_waits_for_a_group_hears_that_the_node_closes(
    aemp_network: SimulatedNetwork,
) -> None:
    _, _, two = await three(aemp_network)
    waiting = asyncio.ensure_future(gl.of(two).grp_wait("nobody"))
    await asyncio.sleep(1)
    await two.close()
    with pytest.raises(mp.NodeClosed):
        await waiting


async def test_a_node_alone_has_groups_of_its_own(aemp_network: SimulatedNetwork) -> None:
    alone = await aemp_network.node("alone", seeds=[], binds=[])
    port = alone.port()
    gl.of(alone).grp_reg("g", port)
    assert await gl.of(alone).grp_wait("g") == [port]
    unreached = await aemp_network.node("unreached", seeds=["memory://nobody"])
    port = unreached.port()
    gl.of(unreached).grp_reg("g", port)
    assert await asyncio.wait_for(gl.of(unreached).grp_wait("g"), 10) == [port]


async def test_a_rule_says_in_which_groups_ports_of_a_node_may_be(
    aemp_network: SimulatedNetwork, caplog: pytest.LogCaptureFixture
) -> None:
    """Each node judges by its own rules what it shows, and a global what it tells others."""
    rules = [{"node": "guest/*", "groups": ["lobby"]}]
    hub = await aemp_network.node("hub", seeds=[], rules=rules)
    guest = await aemp_network.node("guest/1", seeds=SEED)
    other = await aemp_network.node("other", seeds=SEED)
    intruder, port = guest.port(), other.port()
    for group in ("lobby", "admins"):
        gl.of(guest).grp_reg(group, intruder)
        gl.of(other).grp_reg(group, port)
    for node in (hub, other):
        gl.of(node).grp_get("lobby")
        gl.of(node).grp_get("admins")
        await within(1, lambda node=node: len(members(node, "lobby")) == 2)
        assert members(node, "admins") == [port]
    assert "guest/1 is not shown in the group 'admins'" in caplog.text
    guest.kil(intruder)
    await within(1, lambda: members(hub, "lobby") == [port])
    with pytest.raises(gl.RegistryError, match="do not let strict be in the group 'g'"):
        strict = await aemp_network.node("strict", seeds=SEED, rules=[{"node": "*", "groups": []}])
        gl.of(strict).grp_reg("g", strict.port())
