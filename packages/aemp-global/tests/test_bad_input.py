"""What wrong or hostile peers say is refused and logged, and nobody else is the worse for it."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Any

import pytest

import aemp_core as mp
import aemp_global as gl
from aemp_core.testing import SimulatedNetwork
from aemp_global.directory import NODES, host_id, process_id, usable
from aemp_global.exchange import VERBS
from aemp_global.service import OWN_VERBS
from aemp_global.testing.crowd import within

SEED = ["memory://hub"]
FAMILY = "f"


class Scene:
    """A hub, an honest node with an entry, and a rogue that says what it likes to the hub."""

    def __init__(self, network: SimulatedNetwork, **settings: Any) -> None:
        self.network = network
        self.settings = settings

    async def __aenter__(self) -> Scene:
        self.hub = await self.network.node("hub", seeds=[], **self.settings)
        self.victim = await self.network.node("victim", seeds=SEED, **self.settings)
        self.rogue = await self.network.node("rogue", seeds=SEED)
        gl.of(self.victim).db_set(FAMILY, "honest", 1)
        await within(5, lambda: gl.of(self.rogue).homing.at_home and self.honest())
        return self

    async def __aexit__(self, kind: Any, *_: Any) -> None:
        if kind is None:
            await asyncio.sleep(5)
            assert self.honest()
            gl.of(self.victim).db_set(FAMILY, "honest", 2)
            await within(5, lambda: self.seen().get("honest") == 2)
            assert await gl.of(self.victim).db_family(FAMILY) == self.seen()

    def honest(self) -> bool:
        return self.seen().get("honest") == 1

    def seen(self) -> dict[str, Any]:
        return gl.of(self.hub).families.values(FAMILY)

    def say(self, *message: Any) -> None:
        self.rogue.snd("hub", "registry", *message)

    async def refused(self, log: pytest.LogCaptureFixture, text: str) -> None:
        await within(5, lambda: any(text in line for line in log.messages), text)


def claim_of(node: mp.Node) -> list[Any]:
    return [node.id, *gl.of(node).exchange.own.claim]


async def test_an_ordinary_node_claims_the_entries_of_another(
    aemp_network: SimulatedNetwork, caplog: pytest.LogCaptureFixture
) -> None:
    async with Scene(aemp_network) as scene:
        node_id, incarnation, attach = claim_of(scene.victim)
        scene.say("claim", [[node_id, incarnation, attach + 5, 1]])
        await scene.refused(caplog, "claim of rogue refused: it claims the entries of victim")
        scene.say("state", node_id, incarnation, attach, 0, 99, False, [[FAMILY, "honest", "not"]])
        await scene.refused(caplog, "state of rogue refused: it tells the entries of victim")
        scene.say("gone", [[node_id, incarnation, attach + 5]])
        scene.say("stale", [[node_id, incarnation, attach + 5]])
        # Even so the hub lets go of nobody who is attached to it: the victim claims again.
        await asyncio.sleep(10)


async def test_a_global_claims_the_entries_of_one_that_speaks_for_itself(
    aemp_network: SimulatedNetwork, caplog: pytest.LogCaptureFixture
) -> None:
    async with Scene(aemp_network) as scene:
        other = await aemp_network.node("other", seeds=SEED, role="global")
        gl.of(scene.rogue).become_global()
        await within(5, lambda: gl.of(scene.hub).exchange.neighbours["rogue"].is_global)
        # A wrong row keeps no right one from being heard.
        scene.say("claim", [["other", "z" * 14, 1, 1], ["third", "z" * 14, 1, 0]])
        await scene.refused(caplog, "it claims the entries of other, which speaks for itself")
        assert "other" in gl.of(scene.hub).families.values(NODES)
        assert gl.of(scene.hub).exchange.held["third"].home == "rogue"
        await other.close()


async def test_a_global_claims_the_entries_of_an_ordinary_node(
    aemp_network: SimulatedNetwork,
) -> None:
    """It is believed, as every global is; the owner claims them back, and is believed, too."""
    async with Scene(aemp_network) as scene:
        gl.of(scene.rogue).become_global()
        await within(5, lambda: gl.of(scene.hub).exchange.neighbours["rogue"].is_global)
        node_id, incarnation, attach = claim_of(scene.victim)
        for claim in ([incarnation, attach + 5], [incarnation, 2**32 - 1], ["1" * 14, 9]):
            scene.say("claim", [[node_id, *claim, 1]])
            scene.say("state", node_id, *claim, 0, 10**9, False, [[FAMILY, "honest", "not"]])
            await within(10, lambda: gl.of(scene.hub).exchange.held["victim"].home == "rogue")
            await within(10, lambda: gl.of(scene.hub).exchange.held["victim"].home == "hub")
            await within(10, scene.honest)


async def test_a_rule_says_who_may_be_global(
    aemp_network: SimulatedNetwork, caplog: pytest.LogCaptureFixture
) -> None:
    rules = [{"node": "hub", "allow": ["global"]}, {"node": "*", "deny": ["global"]}]
    async with Scene(aemp_network, rules=rules) as scene:
        gl.of(scene.rogue).become_global()
        await scene.refused(caplog, "rogue says that it is global, and may not be by our rules")
        assert not gl.of(scene.hub).exchange.neighbours["rogue"].is_global
        node_id, incarnation, attach = claim_of(scene.victim)
        scene.say("claim", [[node_id, incarnation, attach + 5, 1]])
        await scene.refused(caplog, "claim of rogue refused: it claims the entries of victim")
        # Nobody believes it: not one that talks to it, nor one that is told of it, nor one it asks.
        await scene.victim.up("rogue", 5)
        await within(5, lambda: gl.of(scene.victim).exchange.neighbours["rogue"].greeted)
        scene.rogue.snd("victim", "registry", "globals", [["third", [host_id(), "p", []]]])
        scene.rogue.snd("victim", "registry", "promote")
        await scene.hub.close()
        await asyncio.sleep(10)
        victim = gl.of(scene.victim)
        assert victim.exchange.home is None and not victim.exchange.is_global
        assert list(victim.homing.known) == ["hub"]
        scene.hub = await aemp_network.node("hub", seeds=[], rules=rules)
        await within(5, scene.honest)


async def test_a_node_floods_its_family(
    aemp_network: SimulatedNetwork, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    async with Scene(aemp_network) as scene:
        monkeypatch.setattr("aemp_global.exchange.OWNER_ENTRIES", 100)
        gl.of(scene.rogue).db_set(FAMILY, "rogue's")
        await within(5, lambda: "rogue's" in scene.seen())
        for number in range(200):
            gl.of(scene.rogue).db_set(FAMILY, f"{number}")
        await scene.refused(caplog, "rogue has more entries than one node may have")
        # It is told, and has nothing any more.
        await scene.refused(caplog, "hub refused the entries of this node: there are too many")
        assert list(scene.seen()) == ["honest"]
        for number in range(200):
            gl.of(scene.rogue).db_set(FAMILY, f"{number}", "again")
        await asyncio.sleep(1)
        assert list(scene.seen()) == ["honest"]


async def test_versions_go_backwards(
    aemp_network: SimulatedNetwork, caplog: pytest.LogCaptureFixture
) -> None:
    async with Scene(aemp_network) as scene:
        gl.of(scene.rogue).db_set(FAMILY, "mine", 1)
        gl.of(scene.rogue).db_set(FAMILY, "mine", 2)
        await within(5, lambda: scene.seen().get("mine") == 2)
        head = ("state", *claim_of(scene.rogue))
        scene.say(*head, 0, 1, False, [[FAMILY, "mine", "old"]])
        await scene.refused(caplog, "the version of rogue went from 3 to 1")
        assert scene.seen()["mine"] == 2
        # A gap is no fault, but nothing is taken before what is missing.
        scene.say(*head, 7, 9, False, [[FAMILY, "mine", "later"]])
        await asyncio.sleep(1)
        assert scene.seen()["mine"] == 2
        gl.of(scene.rogue).db_set(FAMILY, "mine", 3)
        await within(5, lambda: scene.seen()["mine"] == 3)


async def test_a_version_nobody_wrote_is_outgrown(aemp_network: SimulatedNetwork) -> None:
    """Somebody told the hub of a later version than its owner's: the owner has the last word."""
    async with Scene(aemp_network) as scene:
        scene.say("state", *claim_of(scene.rogue), 0, 1_000, False, [[FAMILY, "mine", "wrong"]])
        await within(5, lambda: scene.seen().get("mine") == "wrong")
        aemp_network.reset("rogue", "hub")
        await within(10, lambda: "mine" not in scene.seen())
        gl.of(scene.rogue).db_set(FAMILY, "mine", "right")
        await within(5, lambda: scene.seen().get("mine") == "right")


async def test_values_that_are_too_long(
    aemp_network: SimulatedNetwork, caplog: pytest.LogCaptureFixture
) -> None:
    async with Scene(aemp_network) as scene:
        head = ("state", *claim_of(scene.rogue), 0)
        scene.say(*head, 50, False, [[FAMILY, "mine", "x" * 20_000]])
        await scene.refused(caplog, "the value of 'mine' takes 20")
        scene.say(*head, 51, False, [[FAMILY, "x" * 1_000, 1]])
        await scene.refused(caplog, "names no entry")
        assert list(scene.seen()) == ["honest"]


@pytest.mark.parametrize(
    "told",
    [(b"\xc1", True), (b"", True), (b"\x91", True), (b"\x92\x01\x02", True), (b"\x91\x01", 1),
     (5, True), (b"\x91\xc7\x00\x05", True), (b"\x91\x81\xc4\x01x\x01", True),
     (b"\x91\xa1\xff", True), ("\u1234", True), (b"\x91" * 5_000, True), (b"\x91\x01", True, 7)],
)  # fmt: skip
async def test_packed_values_that_are_none(
    aemp_network: SimulatedNetwork, caplog: pytest.LogCaptureFixture, told: tuple[Any, ...]
) -> None:
    async with Scene(aemp_network) as scene:
        head = ("state", *claim_of(scene.rogue), 0)
        scene.say(*head, 50, False, [[FAMILY, "mine", *told]])
        await scene.refused(caplog, "state of rogue refused")
        assert list(scene.seen()) == ["honest"]


async def test_parts_of_an_update_that_does_not_end(
    aemp_network: SimulatedNetwork, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    async with Scene(aemp_network) as scene:
        monkeypatch.setattr("aemp_global.exchange.OWNER_BYTES", 100_000)
        for number in range(20):
            rows = [[FAMILY, f"{number}", "x" * 10_000]]
            scene.say("state", *claim_of(scene.rogue), 0, 50, True, rows)
        await scene.refused(caplog, "rogue has more entries than one node may have")
        assert list(scene.seen()) == ["honest"]


CHOICES: list[Any] = [
    None, True, 0, -1, 2**63, 1.5, "", "rogue", "victim", "hub", "'n", "f", b"x", [], [[]], {},
    [["victim"]], [["rogue", "0" * 14, 1, 1]], [["rogue", "0" * 14, 1]], [["rogue", 0]],
    [["f", "k", 1]], [["f", "k"]], [1], "0" * 14, [["hub", "z" * 14, 2**52, 3]], {"a": [1]},
]  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
async def test_anything_at_all(
    aemp_network: SimulatedNetwork, caplog: pytest.LogCaptureFixture, seed: int
) -> None:
    chance = random.Random(seed)
    verbs: list[Any] = [*sorted(VERBS | OWN_VERBS), "hello", "greeted", "__init__", None, 7]
    async with Scene(aemp_network) as scene:
        for _ in range(600):
            verb = chance.choice(verbs)
            if verb in ("promote", "leave"):
                continue
            scene.say(verb, *(chance.choice(CHOICES) for _ in range(chance.randint(0, 7))))
            if chance.random() < 0.1:
                await asyncio.sleep(0.01)
        await asyncio.sleep(1)
        assert not [each for each in caplog.records if each.levelno >= logging.ERROR
                    and "duplicate node ID" not in each.message]  # fmt: skip


async def test_what_is_said_before_hello_or_by_nobody_is_nothing(
    aemp_network: SimulatedNetwork, caplog: pytest.LogCaptureFixture
) -> None:
    async with Scene(aemp_network) as scene:
        neighbour = gl.of(scene.hub).exchange.neighbours["rogue"]
        neighbour.session = None
        scene.say("leave")
        await asyncio.sleep(1)
        assert "rogue" in gl.of(scene.hub).exchange.held
        scene.hub.snd("hub", "registry", "leave")
        await scene.refused(caplog, "it is for other nodes")


# -- addresses -------------------------------------------------------------------------------------


class Anything:
    """A transport that takes any address."""

    def check(self, address: str) -> None:
        if "bad" in address:
            raise mp.AddressError(address)


@pytest.mark.parametrize(
    "address, elsewhere, here",
    [
        ("tcp://192.0.2.1:4040", True, True),
        ("tcp://[2001:db8::1]:4040", True, True),
        ("tls://host.example:4040", True, True),
        ("tcp://127.0.0.1:4040", False, True),
        ("tcp://127.9.9.9:4040", False, True),
        ("tcp://[::1]:4040", False, True),
        ("tcp://[::ffff:127.0.0.1]:4040", False, True),
        ("tcp://localhost:4040", False, True),
        ("tcp://LOCALHOST.:4040", False, True),
        ("tcp://a.localhost:4040", False, True),
        ("tcp://169.254.1.1:4040", False, True),
        ("tcp://[fe80::1%eth0]:4040", False, True),
        ("tcp://0.0.0.0:4040", False, False),
        ("tcp://[::]:4040", False, False),
        ("tcp://224.0.0.1:4040", False, False),
        ("unix:///run/socket", False, True),
        ("memory://name", False, False),
        ("tcp://bad:4040", False, False),
        ("strange://host:1", False, False),
    ],
)
async def test_which_addresses_are_ours_to_dial(
    aemp_network: SimulatedNetwork, address: str, elsewhere: bool, here: bool
) -> None:
    node = await aemp_network.node("node")
    for scheme in ("tcp", "tls", "unix", "memory"):
        node._transports[scheme] = Anything()  # type: ignore[assignment]
    assert usable(node, ["another host", "p", [address]]) == [address] * elsewhere
    assert usable(node, [host_id(), "another process", [address]]) == [address] * here
    if address.startswith("memory"):
        assert usable(node, [host_id(), process_id(), [address]]) == [address]


@pytest.mark.parametrize(
    "record", [None, 5, [], ["h", "p"], ["h", "p", "tcp://h:1"], ["h", 1, []], ["h", "p", [1]],
               ["h", "p", ["tcp://h:1"] * 17], ["h", "p", ["x" * 400]], ["h" * 300, "p", []]]
)  # fmt: skip
async def test_what_is_no_record_names_no_address(
    aemp_network: SimulatedNetwork, record: Any
) -> None:
    assert usable(await aemp_network.node("node"), record) == []


async def test_the_address_of_another_host_is_not_dialled(
    aemp_network: SimulatedNetwork, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    async with Scene(aemp_network) as scene:
        record = ["another host", "another process", ["memory://not-ours"]]
        reached: list[str] = []
        reach = aemp_network.reach

        async def noted(name: str, label: str) -> None:
            reached.append(name)
            await reach(name, label)

        monkeypatch.setattr(aemp_network, "reach", noted)
        exchange = gl.of(scene.rogue).exchange
        exchange.write((NODES, "rogue"), record, 50)
        await within(5, lambda: gl.of(scene.hub).families.values(NODES)["rogue"] == record)
        await scene.victim.up("rogue", 20)
        assert "not-ours" not in reached
        await scene.refused(caplog, "no address of rogue is ours to dial: memory://not-ours")
