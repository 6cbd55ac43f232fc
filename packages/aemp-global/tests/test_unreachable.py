"""Nodes that cannot be dialled: asked to dial back, or linked through a global, contract intact."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import aemp_core as mp
import aemp_global as gl
from aemp_core.testing import SimulatedNetwork, World
from aemp_global.relay_stream import WINDOW
from aemp_global.testing.crowd import Crowd, within

SEED = ["memory://hub"]


def origin(node: mp.Node, other: str) -> str:
    """Where the link of a node to another leads, "" if there is none."""
    peer = node.peers.get(other)
    return "" if peer is None or peer.session is None else peer.session.info.origin


async def pair(
    network: SimulatedNetwork, one: dict[str, Any], two: dict[str, Any]
) -> tuple[mp.Node, mp.Node, mp.Node]:
    """A hub, and two nodes with the given settings."""
    hub = await network.node("hub", seeds=[])
    nodes = [
        await network.node(name, seeds=SEED, **settings)
        for name, settings in (("one", one), ("two", two))
    ]
    await within(5, lambda: all(gl.of(node).homing.at_home for node in nodes))
    return hub, *nodes  # type: ignore[return-value]


async def test_a_node_without_listeners_is_asked_to_dial_back(
    aemp_network: SimulatedNetwork,
) -> None:
    _, one, two = await pair(aemp_network, {}, {"binds": []})
    assert await within(1.5, lambda: True) < 1.5
    began = aemp_network.now
    assert await one.cal("two", "info", timeout=5) == ("two",)
    assert aemp_network.now - began < 1
    assert "relay" not in origin(one, "two")
    assert "memory://one" in origin(two, "one")


async def test_two_nodes_without_listeners_are_linked_through_a_global(
    aemp_network: SimulatedNetwork,
) -> None:
    hub, one, two = await pair(aemp_network, {"binds": []}, {"binds": []})
    echo = two.port(mp.replies(lambda *message: message))
    payload = [None, b"\0\xff" * 100, {"k": [1.5, "ä"]}]
    assert await one.cal(echo, payload, timeout=5) == (payload,)
    assert "relay" in origin(one, "two") and "relay" in origin(two, "one")
    assert one.peers["two"].session.info.id == "two"  # type: ignore[union-attr]
    assert len(gl.of(hub).passage.switchboard) == 1
    reasons: list[Any] = []
    one.mon(echo, reasons.append)
    two.kil(echo, "over")
    await within(5, lambda: reasons)
    assert reasons == [("over",)]


@pytest.mark.parametrize("listens", [True, False])
async def test_a_node_whose_address_cannot_be_dialled(
    aemp_network: SimulatedNetwork, listens: bool
) -> None:
    """It says so and knows no better; after two seconds of dialling another way is tried."""
    _, one, two = await pair(
        aemp_network,
        {} if listens else {"binds": []},
        {"binds": [], "advertise": ["memory://not-reachable"]},
    )
    began = aemp_network.now
    assert await one.cal("two", "info", timeout=10) == ("two",)
    assert 2 < aemp_network.now - began < 4
    assert ("relay" in origin(one, "two")) is not listens


async def test_much_goes_through_a_relay_in_order(aemp_network: SimulatedNetwork) -> None:
    hub, one, two = await pair(aemp_network, {"binds": []}, {"binds": [], "framings": ["json"]})
    got: list[int] = []
    port = two.port(lambda number, load: got.append(number))
    one.mon(port, lambda reason: got.append(-1))
    for number in range(1_500):
        one.snd(port, number, "x" * 2_000)
        if not number % 100:
            await one.flush(port)
            assert hub.buffered() <= 3 * WINDOW
    await one.flush(port)
    await within(10, lambda: len(got) == 1_500)
    assert got == list(range(1_500))


async def test_a_slow_reader_holds_up_its_own_stream_alone(
    aemp_network: SimulatedNetwork,
) -> None:
    hub, one, two = await pair(aemp_network, {"binds": []}, {"binds": []})
    other = await aemp_network.node("other", seeds=SEED, binds=[])
    await one.up("two", 5)
    await one.up("other", 5)
    session: Any = two.peers["one"].session
    session.link.pause()
    reasons: list[Any] = []
    slow = two.port(lambda *message: None)
    one.mon(slow, reasons.append)
    for _ in range(40):
        one.snd(slow, "x" * 1_000_000)
    await asyncio.sleep(1)
    assert [reason[0] for reason in reasons] == ["send_limit"]
    assert hub.buffered() <= 2 * WINDOW
    assert await one.cal("other", "info", timeout=2) == ("other",)
    assert other.node_is_up("one")
    session.link.resume()
    await one.flush(slow)
    assert one.node_is_up("two")


@pytest.mark.parametrize("who", ["one", "two"])
async def test_a_node_that_requires_tls_uses_no_relay(
    aemp_network: SimulatedNetwork, who: str
) -> None:
    """A relay proves a secret and nothing else: whoever knows it could take any node ID."""
    settings: dict[str, dict[str, Any]] = {"one": {"binds": []}, "two": {"binds": []}}
    settings[who]["require_tls"] = True
    _, one, two = await pair(aemp_network, settings["one"], settings["two"])
    with pytest.raises((mp.TransportError, mp.CallTimeout)):
        await one.up("two", 20)
    assert not one.node_is_up("two")
    assert not two.node_is_up("one")


async def test_last_words_go_through_a_relay(aemp_network: SimulatedNetwork) -> None:
    _, one, two = await pair(aemp_network, {"binds": []}, {"binds": []})
    got: list[Any] = []
    port = two.port(lambda *message: got.append(message))
    await one.up("two", 5)
    reasons: list[Any] = []
    mine = one.port()
    two.mon(mine, reasons.append)
    await two.flush(mine)
    for number in range(50):
        one.snd(port, number, "x" * 1_000)
    await one.close()
    await within(5, lambda: reasons)
    assert [number for number, _ in got] == list(range(50))
    assert reasons == [("closed", "one")]


async def test_who_is_at_the_other_end_of_a_relay_is_missed_at_once(
    aemp_network: SimulatedNetwork,
) -> None:
    hub, one, two = await pair(aemp_network, {"binds": []}, {"binds": []})
    reasons: list[Any] = []
    two.mon(one.port(), reasons.append)
    await two.up("one", 5)
    await asyncio.sleep(1)
    await one.crash()
    assert await within(0.5, lambda: reasons) < 0.5
    assert [reason[0] for reason in reasons] == ["transport_error"]
    assert len(gl.of(hub).passage.switchboard) == 0
    assert not gl.of(two).passage.transport._streams


async def test_a_direct_connection_does_not_replace_a_relay_that_works(
    aemp_network: SimulatedNetwork,
) -> None:
    _, one, two = await pair(aemp_network, {"binds": []}, {"binds": []})
    await one.up("two", 5)
    got: list[int] = []
    port = two.port(got.append)
    downs: list[Any] = []
    one.mon_nodes(lambda *event: downs.append(event))
    listener = await two.transport("memory://late").listen("memory://late", two.rendezvous.accept)
    candidate = await one.transport("memory://late").dial("memory://late")
    meeting = one.rendezvous.meet(candidate)
    for number in range(100):
        one.snd(port, number)
        await asyncio.sleep(0.1)
    assert got == list(range(100)) and not downs
    assert "relay" in origin(one, "two")
    candidate.close()
    await meeting
    await listener.close()


async def test_a_stream_to_who_is_not_there_is_refused(aemp_network: SimulatedNetwork) -> None:
    hub, one, _ = await pair(aemp_network, {"binds": []}, {"binds": []})
    with pytest.raises(mp.TransportError, match="no global is known that has a link to it"):
        await one.transport("relay://nobody").dial("relay://nobody")
    gl.of(one).seeking.seek("gone")
    gl.of(one).seeking._sought["gone"].home = "hub"
    with pytest.raises(mp.TransportError, match="gone is not linked here"):
        await one.transport("relay://gone").dial("relay://gone")
    with pytest.raises(mp.AddressError, match="'relay://' is no relay address"):
        one.learn("gone", "relay://")
    assert len(gl.of(hub).passage.switchboard) == 0


async def crowd_of_deaf(world: World) -> Crowd:
    """Three globals, and nodes of which none listens."""
    crowd = Crowd(world, grouped=False)
    await crowd.start("g1", "g2", "g3")
    await crowd.start(*(f"n{number}" for number in range(6)), binds=[])
    ordinary = [node for name, node in crowd.nodes.items() if name[0] == "n"]
    await within(10, lambda: all(gl.of(node).homing.at_home for node in ordinary))
    return crowd


async def test_nodes_with_different_homes_find_each_other(aemp_world: World) -> None:
    crowd = await crowd_of_deaf(aemp_world)
    names = [name for name in crowd.nodes if name[0] == "n"]
    assert len({gl.of(crowd.nodes[name]).exchange.home for name in names}) > 1
    for name in names:
        for other in names:
            if name != other:
                call = crowd.nodes[name].cal(other, "info", timeout=10)
                assert await crowd.processes[name].call(lambda call=call: call) == (other,)
    await crowd.close()


async def test_the_relaying_global_dies_and_the_contract_holds(aemp_world: World) -> None:
    """A stream of numbered messages, watched: what arrives before the notice is a prefix."""
    crowd = await crowd_of_deaf(aemp_world)
    one, two = crowd.nodes["n0"], crowd.nodes["n1"]
    got: list[tuple[int, int]] = []
    port = two.port(lambda era, number: got.append((era, number)))
    era = 0
    sent: dict[int, int] = {0: 0}

    async def pour() -> None:
        nonlocal era

        def lost(reason: Any) -> None:
            nonlocal era
            era += 1
            sent[era] = 0
            one.mon(port, lost)

        one.mon(port, lost)
        while True:
            for _ in range(5):
                one.snd(port, era, sent[era])
                sent[era] += 1
            await asyncio.sleep(0.005)

    pouring = crowd.processes["n0"].start(pour())
    await within(5, lambda: len(got) > 100)
    for _ in range(3):
        via = origin(one, "n1").rpartition(" ")[2]
        assert via in ("g1", "g2", "g3")
        before = len(got)
        crowd.kill(via)
        await within(30, lambda before=before: len(got) > before + 300)
        await crowd.start(via)
        await asyncio.sleep(3)
    pouring.cancel()
    assert era >= 3
    seen: dict[int, int] = {}
    for mark, number in got:
        assert number == seen.get(mark, 0), "a hole, or out of order"
        seen[mark] = number + 1
    assert [mark for mark, _ in got] == sorted(mark for mark, _ in got)
    await crowd.close()


async def test_who_says_nothing_is_missed_at_once_if_the_relaying_global_dies(
    aemp_world: World,
) -> None:
    crowd = await crowd_of_deaf(aemp_world)
    one, two = crowd.nodes["n0"], crowd.nodes["n1"]
    reasons: list[Any] = []
    await crowd.processes["n0"].call(lambda: one.up("n1", 10))
    one.mon(two.port(), reasons.append)
    two.mon(one.port(), reasons.append)
    await asyncio.sleep(3)
    crowd.kill(origin(one, "n1").rpartition(" ")[2])
    await within(0.5, lambda: len(reasons) == 2)
    assert [reason[0] for reason in reasons] == ["transport_error"] * 2
    await crowd.close()


async def test_who_breaks_the_rules_of_streams_loses_that_stream(
    aemp_network: SimulatedNetwork, caplog: pytest.LogCaptureFixture
) -> None:
    hub, one, two = await pair(aemp_network, {"binds": []}, {"binds": []})
    other = await aemp_network.node("other", seeds=SEED, binds=[])
    await one.up("two", 5)
    await one.up("other", 5)
    board = gl.of(hub).passage.switchboard
    assert len(board) == 2
    downs: list[str] = []
    one.mon_nodes(lambda node_id, is_up, reason: is_up or downs.append(node_id))
    (stream,) = [name for end, name in board._joints if end == "two"]
    two.snd("hub", "relay", "data", stream, b"x" * (WINDOW + 1))
    await within(5, lambda: "no more than its credit" in caplog.text and downs)
    await asyncio.sleep(1)
    assert downs == ["two"]
    assert await one.cal("other", "info", timeout=5) == ("other",)
    for message in (
        ("data", stream, 5), ("data", "", b"x"), ("incoming", "s", ["x"]), ("incoming", "s", 5),
        ("open", "s", 5), ("open", "s", "hub"), ("open", "s", "two"), ("nonsense", "s"), (), (1, 2),
        ("credit", stream, -5), ("eof", "never"), ("data", "never", b"x"),
        ("open", "x" * 99, "one"),
    ):  # fmt: skip
        two.snd("hub", "relay", *message)
        two.snd("one", "relay", *message)
    await asyncio.sleep(1)
    assert not [each for each in caplog.records if each.levelname == "ERROR"], caplog.text
    assert await one.cal("other", "info", timeout=5) == ("other",)
    assert await one.cal("two", "info", timeout=20) == ("two",)
    assert not other.closed
