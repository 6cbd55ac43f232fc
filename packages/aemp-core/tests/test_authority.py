"""Authority: authentication lets a node talk, not run code."""

from __future__ import annotations

import asyncio
import logging
import sys

import pytest
from core_kit import Network, Probe, SkilledClient, nodes, settle, wall_clock

import aemp_core as mp
from aemp_core.requests import Rules
from aemp_core.settings import Rule
from aemp_core.testing.clock import virtual_clock

SPAWN = "AnyEvent::MP::_spawn"
UNUSED = "antigravity"
calls: list[object] = []


@pytest.fixture(autouse=True)
def clean():
    calls.clear()
    sys.modules.pop(UNUSED, None)


@mp.exposed(name="authority:note")
def note(*arguments):
    calls.append(arguments)


def hidden(*arguments):
    calls.append(("hidden", *arguments))


class Holder:
    method = hidden


async def friend_of(network, name, node_id="friend", incarnation="0" * 14):
    """A node made of nothing but bytes, with the right secret."""
    client = SkilledClient(node_id, incarnation=incarnation).join(network, name)
    await settle()
    client.write(client.connection.prove())
    await settle()
    assert client.proved
    return client


@pytest.mark.parametrize(
    "name",
    [
        f"{__name__}:hidden", f"{__name__}.hidden", f"{__name__}::hidden", "os:system", "os.system",
        "builtins:exec", "authority:note.__globals__", f"{__name__}:Holder.method", f"{UNUSED}:fly",
        "authority:missing", "__import__", "close", "Node.close", "_close", "deliver", "",
    ],
)  # fmt: skip
@virtual_clock
async def test_only_exposed_functions_are_reached(name):
    """No getattr and no import on request, whether spawned or called."""
    async with nodes("a", "b") as (a, b):
        ended = []
        if name:
            a.mon(a.spawn("b", name), ended.append)
        a.snd("b", name, "argument")
        await settle()
        assert calls == []
        assert UNUSED not in sys.modules
        assert not b.closing
        if name:
            assert ended[0][0] == "spawn_error" and "not exposed" in ended[0][1]
        a.snd_to_func("b", "authority:note", 1)
        await settle()
        assert calls == [(1,)], "the node goes on"


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("{0}.1", True), ("{0}.999999999", True), ("{0}.x", False), ("{0}", False), ("{0}.", False),
        ("other.1", False), ("x", False), ("00000000000001.1", False), ("{0}.-1", False),
        ("{0}.1.2", False), ("a b", False), ("x" * 65, False), ("{0}.\u0661", False), (5, False),
        (None, False), ("", False), ("a#b", False),
    ],
)  # fmt: skip
@virtual_clock
async def test_spawned_names_are_checked(name, good):
    network = Network.here()
    async with nodes("a") as (a,):
        client = await friend_of(network, "a")
        if isinstance(name, str):
            name = name.format("0" * 14)
        client.write(client.frames(("", SPAWN, name, "authority:note", "init")))
        await settle()
        assert calls == ([("init",)] if good else [])
        assert len(a.ports) == good
        client.transport.abort()


@virtual_clock
async def test_spawned_names_rise_and_are_never_taken_twice():
    network = Network.here()
    async with nodes("a") as (a,):
        client = await friend_of(network, "a")
        name = "0" * 14
        for counter in (5, 5, 4, 6, 6, 100, 7):
            client.write(client.frames(("", SPAWN, f"{name}.{counter}", "authority:note", counter)))
        await settle()
        assert calls == [(5,), (6,), (100,)]
        a.kil(f"a#{name}.5")
        await settle()
        client.write(client.frames(("", SPAWN, f"{name}.5", "authority:note", "again")))
        await settle()
        assert len(calls) == 3
        client.transport.abort()


@virtual_clock
async def test_a_spawn_cannot_take_over_a_port_that_exists():
    network = Network.here()
    async with nodes("a") as (a,):
        probe = Probe(a)
        for incarnation in (None, "0" * 14):
            client = await friend_of(network, "a", f"friend{incarnation}", incarnation)
            name = probe.port.partition("#")[2]
            client.write(client.frames(("", SPAWN, name, "authority:note")))
            await settle()
            a.snd(probe.port, incarnation)
            await settle()
            client.transport.abort()
            await settle()
        assert calls == []
        assert probe.firsts == [None, "0" * 14]


@virtual_clock
async def test_relaying_to_ports_elsewhere_needs_a_rule():
    """snd, snd_multiple and replies address ports here or on the asking node, no node port."""
    for rules, allowed in (([], False), ([{"node": "a", "allow": ["relay"]}], True)):
        async with nodes("a", "b", "c", rules=rules) as (a, b, c):
            here, back, third = Probe(b), Probe(a), Probe(c)
            for target in (here.port, back.port, third.port):
                a.snd("b", "snd", target, "relayed")
                a.snd("b", "time", target, "tag")
            a.snd("b", "snd", "c", "authority:note", "through b")
            a.snd("b", "snd", "b", "authority:note", "b itself")
            a.snd("b", "info", "c", "authority:note")
            await settle()
            assert here.got[0] == back.got[0] == ("relayed",)
            assert len(here.got) == len(back.got) == 2
            if allowed:
                assert third.got[0] == ("relayed",) and len(third.got) == 2
                assert ("through b",) in calls and ("b itself",) in calls
            else:
                assert third.got == [] and calls == []


@virtual_clock
async def test_a_remote_kil_of_a_node_port_is_refused():
    async with nodes("a", "b") as (a, b):
        port = b.port()
        for target in ("b", "b#"):
            with pytest.raises(mp.PortError):
                a.kil(target)
        a.snd("b", "kil", "", "die")
        a.snd("b", "kil", "b", "die")
        await settle()
        assert a.node_is_up("b") and not b.closing
        a.kil(port, "may")
        await settle()
        assert port not in b.ports


@pytest.mark.parametrize(
    ("word", "act"),
    [
        ("kil", lambda a, b, port: a.kil(port, "x")),
        ("call", lambda a, b, port: a.snd_to_func("b", note, "called")),
        ("spawn", lambda a, b, port: a.spawn("b", note, "spawned")),
    ],
)
@virtual_clock
async def test_rules_deny_what_is_allowed_by_default(word, act):
    rules = [{"node": "a*", "deny": [word]}]
    async with nodes("a", "b", "c", rules=rules) as (a, b, c):
        port = b.port()
        ended = []
        result = act(a, b, port)
        if word == "spawn":
            a.mon(result, ended.append)
        await settle()
        assert calls == [] and port in b.ports
        if word == "spawn":
            assert ended[0][0] == "spawn_error" and "may not" in ended[0][1]
        act(c, b, port)
        await settle()
        assert calls or port not in b.ports


@virtual_clock
async def test_the_first_rule_that_matches_and_names_the_word_decides():
    rules = [
        {"node": "other", "deny": ["eval"]},
        {"node": "a", "deny": ["spawn"]},
        {"node": "*", "allow": ["eval"]},
        {"node": "a", "deny": ["eval"]},
    ]
    async with nodes("a", "b", "other", rules=rules) as (a, b, other):
        assert await a.eval_on("b", "1 + 1") == 2
        with pytest.raises(mp.EvalFailed, match="not allowed"):
            await other.eval_on("b", "1 + 1")


@virtual_clock
async def test_eval_is_off_unless_a_rule_allows_it():
    async with nodes("a", "b") as (a, b):
        with pytest.raises(mp.EvalFailed, match="not allowed"):
            await a.eval_on("b", f"__import__({UNUSED!r})")
        assert UNUSED not in sys.modules


@virtual_clock
async def test_eval_with_a_rule_gives_values_and_errors():
    async with nodes("a", "b", rules=[{"node": "*", "allow": ["eval"]}]) as (a, b):
        assert await a.eval_on("b", "6 * 7") == 42
        assert await a.eval_on("b", "node.id") == "b"
        with pytest.raises(mp.EvalFailed, match="ZeroDivisionError"):
            await a.eval_on("b", "1 / 0")
        with pytest.raises(mp.EvalFailed, match="SyntaxError"):
            await a.eval_on("b", "1 +")
        with pytest.raises(mp.EvalFailed):
            await a.eval_on("b", "object()")
        assert await a.eval_on("b", "x = 1") is None


@virtual_clock
async def test_a_restart_takes_a_rule():
    """And somebody who runs the process, and can start it again."""
    async with nodes("a", "b") as (a, b):
        restarted = []
        b.restart_hook = lambda: restarted.append(b.id)
        (answer,) = await a.cal("b", "restart")
        assert "needs the rule 'restart'" in answer and not restarted
        b.rules = Rules([Rule("a", allow=("restart",))])
        assert await a.cal("b", "restart") == ("",)
        assert restarted == ["b"]
        b.restart_hook = None
        (answer,) = await a.cal("b", "restart")
        assert "was not started by 'aemp run'" in answer


@virtual_clock
async def test_unknown_and_malformed_requests_harm_nobody(caplog):
    network = Network.here()
    async with nodes("a") as (a,):
        probe = Probe(a)
        name = probe.port.partition("#")[2]
        client = await friend_of(network, "a")
        requests = [
            (), ("nonsense",), (5,), (None,), ([],), ("mon1",), ("mon1", 5), ("mon1", ["x"]),
            ("mon0", 5), ("mon1", ""), ("kil0",), ("kil0", 5), ("kil0", "x", object),
            ("kil",), ("kil", 5), ("snd",), ("snd", 5), ("snd", "no#port#id"), ("snd_multiple",),
            ("snd_multiple", 5), ("snd_multiple", [5], "x"), ("info",), ("info", 5),
            ("time", "x#y#z"),
            ("status",), ("status", 5), ("links",), ("links", "x", "a#x"), ("ports", -1, "a#x"),
            ("fence",), ("fence", 5, 5), ("eval",), ("eval", 5), (SPAWN,), (SPAWN, "x"),
            (SPAWN, "0" * 14 + ".1", 5), (SPAWN, "0" * 14 + ".2", "authority:missing"),
            ("known_nodes",), ("up_nodes", {}), ("devnull", 1, 2), ("",), ("authority:fails",),
            ("authority:note", "x" * 10_000), ("x" * 100_000,), ("mon1", "x" * 100_000),
        ]  # fmt: skip
        for request in requests:
            elements = [None if element is object else element for element in request]
            client.write(client.frames(("", *elements)))
            client.write(client.frames((name, "still here")))
            await settle()
        assert len(probe.got) == len(requests)
        assert a.up_nodes() == ["friend"]
        assert calls == [("x" * 10_000,)]
        assert max(len(record.getMessage()) for record in caplog.records) < 1_000
        client.transport.abort()


@mp.exposed(name="authority:fails")
def fails():
    raise RuntimeError("inside the function")


@virtual_clock
async def test_messages_for_unknown_ports_are_dropped_and_the_log_is_rate_limited(caplog):
    async with nodes("a", "b") as (a, b):
        caplog.set_level(logging.WARNING)
        for number in range(5_000):
            a.snd(f"b#nobody{number}", "x")
        await settle()
        assert a.node_is_up("b")
        lines = [record for record in caplog.records if "unknown port" in record.getMessage()]
        assert 1 <= len(lines) <= 50
        assert "a" in lines[0].getMessage()


@virtual_clock
async def test_a_peer_cannot_end_or_withdraw_the_monitors_of_another():
    """kil0 and mon0 count for the peer they come from, and for its own ports."""
    network = Network.here()
    async with nodes("a", "b") as (a, b):
        port = b.port()
        fired = []
        a.mon(port, fired.append)
        mallory = await friend_of(network, "a", "mallory")
        other = await friend_of(network, "b", "mallory2")
        name = port.partition("#")[2]
        mallory.write(mallory.frames(("", "kil0", name, "forged"), ("", "kil0", port, "forged")))
        other.write(other.frames(("", "mon0", name)))
        await settle()
        assert fired == []
        b.kil(port, "real")
        await settle()
        assert fired == [("real",)]
        mallory.transport.abort()
        other.transport.abort()


@virtual_clock
async def test_mon1_twice_is_answered_once():
    network = Network.here()
    async with nodes("a") as (a,):
        client = await friend_of(network, "a")
        port = a.port()
        name = port.partition("#")[2]
        client.write(client.frames(("", "mon1", name), ("", "mon1", name)))
        await settle()
        a.kil(port, "why")
        await settle()
        answers = [message for message in client.messages if message[:2] == ["", "kil0"]]
        assert answers == [["", "kil0", name, "why"]]
        client.transport.abort()


@virtual_clock
async def test_current_sender_is_the_proven_node_not_what_a_message_says():
    async with nodes("a", "b") as (a, b):
        seen = []
        port = b.port(lambda *message: seen.append((mp.current_sender(), message)))
        a.snd(port, "b", "pretending")
        a.snd_on("b", port, "relayed")
        await settle()
        assert seen[0] == ("a", ("b", "pretending"))
        assert seen[1][1] == ("relayed",)
        assert seen[1][0] == "a", "a relayed message is no message of b's own"


@virtual_clock
async def test_two_nodes_with_one_id_do_not_both_stay():
    """The newcomer is refused while the old one answers; the log says why."""
    async with nodes("a", "twin") as (a, twin):
        probe = Probe(twin)
        events = []
        a.mon_nodes(lambda *event: events.append(event))
        # The newcomer began later: one that began before would be refused without a look.
        other = mp.Node(
            "twin",
            seeds=["memory://a"],
            secret=b"a secret of these tests",
            wall_clock=wall_clock(),
        )
        await other.start()
        await settle(30)
        assert events == []
        assert not other.node_is_up("a")
        a.snd(probe.port, "the first one")
        await settle()
        assert probe.got == [("the first one",)]
        await other.close()
        await asyncio.sleep(0)


@virtual_clock
async def test_a_hook_may_refuse_any_request(monkeypatch):
    async with nodes("a", "b") as (a, b):
        asked = []

        def hook(peer, request, arguments):
            asked.append((peer.id, request))
            return "the hook says no" if request in ("authority:note", SPAWN) else None

        b.authorise_hooks = [hook]
        a.snd_to_func("b", note, 1)
        ended = []
        a.mon(a.spawn("b", note), ended.append)
        assert await a.cal("b", "info") == ("b",)
        await settle()
        assert calls == []
        assert ended == [("spawn_error", "the hook says no")]
        assert ("a", "authority:note") in asked and ("a", "info") in asked


@mp.exposed(name="authority:replier")
def replier():
    mp.rcv(mp.current_port(), mp.replies(lambda *words: words))


@virtual_clock
async def test_replies_do_not_address_what_the_asker_may_not():
    """A forged reply port makes a handler of ours send to a node port, or to a third node."""
    async with nodes("a", "b", "c") as (a, b, c):
        echo = b.port(mp.replies(lambda *words: words))
        at_c, at_a = Probe(c), Probe(a)
        ended = []
        b.mon(echo, ended.append)
        for target in ("b", "c", at_c.port):
            a.snd(echo, "authority:note", "forged", target)
            await settle()
            if ended:
                ended.clear()
                echo = b.port(mp.replies(lambda *words: words))
                b.mon(echo, ended.append)
        a.snd(echo, "fine", at_a.port)
        await settle()
        assert calls == []
        assert at_c.got == []
        assert at_a.got == [("fine",)]


@virtual_clock
async def test_replies_reach_the_port_they_are_for_on_whichever_node_it_is():
    rules = [{"node": "a", "allow": ["relay"]}]
    async with nodes("a", "b", "c", rules=rules) as several:
        a, b, _ = several
        echo = b.port(mp.replies(lambda *words: words))
        probes = [Probe(node) for node in several]
        for probe in probes:
            a.snd(echo, "for", probe.port, probe.port)
        await settle()
        assert [probe.got for probe in probes] == [[("for", probe.port)] for probe in probes]
