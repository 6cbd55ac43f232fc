"""Status, links and ports: what a node tells of itself, to whom, and that its size is bounded."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
from core_kit import Probe, nodes, now, settle, timers_left

import aemp_core as mp
from aemp_core.lag import ASKED_SECONDS, WINDOW_SECONDS
from aemp_core.status import DENIED, PAGE_BYTES, PAGE_ROWS
from aemp_core.testing.clock import virtual_clock
from aemp_core.wire import pack


async def pages(node, asked, request):
    """All rows of a list, and the sizes of its pages."""
    after, rows, sizes = 0, [], []
    while True:
        error, total, page, after = await node.cal(asked, request, after, timeout=5)
        assert error == ""
        rows += page
        sizes.append(len(page))
        if not after:
            assert total == len(rows)
            return rows, sizes


@virtual_clock
async def test_a_node_tells_what_it_is_doing():
    async with nodes("a", "b") as (a, b):
        held = [b.port() for _ in range(3)]
        a.mon(held[0], lambda reason: None)
        await asyncio.sleep(2)
        error, told = await a.cal("b", "status", timeout=5)
        assert error == ""
        assert (told["id"], told["incarnation"]) == ("b", b.incarnation)
        assert told["version"].startswith("aemp-py-")
        assert 2 <= told["uptime"] < 3
        assert told["addresses"] == b.addresses
        assert (told["links"], told["known"], told["ports"]) == (1, 1, len(b.ports))
        assert (told["spawned"], told["queue"], told["queue_bytes"]) == (0, 0, 0)
        assert told["pid"] > 0 and (told["memory"] is None or told["memory"] > 1_000_000)
        assert await b.cal("b", "status", timeout=5), "a node may ask itself"


@virtual_clock
async def test_what_waits_for_its_turn_is_counted():
    async with nodes("b") as (b,):
        probe = Probe(b)
        b.snd("b", "status", probe.port)
        for _ in range(4):
            b.snd("b", "devnull")
        await settle()
        assert probe.got[0][1]["queue"] == 4


@virtual_clock
async def test_a_link_tells_who_is_at_the_other_end_and_what_went_over_it():
    async with nodes("a", "b") as (a, b):
        port = b.port(lambda *_: None)
        a.mon(port, lambda reason: None)
        for number in range(10):
            a.snd(port, number)
        await asyncio.sleep(3)
        ((row,), _) = await pages(a, "b", "links")
        assert (row["id"], row["state"], row["incarnation"]) == ("a", "up", a.incarnation)
        assert row["address"].startswith("memory://")
        assert row["seconds"] >= 3
        assert row["received"] > 10 and row["sent"] >= 0
        assert (row["monitored"], row["monitors"], row["buffered"]) == (1, 0, 0)


@virtual_clock
async def test_a_node_that_is_only_dialled_is_told_as_such():
    async with nodes("a", "b") as (a, b):
        b.snd("nowhere", "x")
        rows, _ = await pages(a, "b", "links")
        (row,) = (each for each in rows if each["id"] == "nowhere")
        assert row["state"] == "dialling"
        assert row["buffered"] > 0
        assert "address" not in row


@mp.exposed(name="status:idle")
async def idle():
    await asyncio.sleep(1_000)


def on_word(extra, *words):
    """A default handler."""


@virtual_clock
async def test_ports_tell_their_kind_their_handlers_and_what_waits():
    async with nodes("a", "b") as (a, b):
        plain = b.port(partial(on_word, 1))
        b.rcv(plain, stop=on_word, go=on_word)
        spawned = a.spawn("b", "status:idle")
        a.snd(spawned, "wait")

        async def slow(*_):
            await asyncio.sleep(1_000)

        busy = b.port(slow)
        for _ in range(3):
            a.snd(busy, "work")
        guard = a.mon(plain, lambda reason: None)
        await settle()
        rows = {row["port"]: row for row in (await pages(a, "b", "ports"))[0]}
        assert rows[plain]["handler"].endswith(":on_word")
        assert rows[plain]["tags"] == ["stop", "go"]
        assert (rows[plain]["kind"], rows[plain]["monitors"]) == ("plain", 1)
        assert (rows[spawned]["kind"], rows[spawned]["waiting"]) == ("async", 1)
        assert rows[spawned]["handler"] == "idle"
        assert (rows[busy]["kind"], rows[busy]["busy"], rows[busy]["waiting"]) == ("plain", True, 2)
        _, told = await a.cal("b", "status", timeout=5)
        assert told["spawned"] == 1
        guard.cancel()
        asked = b.task(b.cal("b", "fence", "nobody"))
        assert not asked.done()
        kinds = [row["kind"] for row in (await pages(b, "b", "ports"))[0]]
        assert "reply" in kinds


@virtual_clock
async def test_long_lists_come_in_pages_of_bounded_size():
    async with nodes("a", "b") as (a, b):
        made = {b.port() for _ in range(2 * PAGE_ROWS + 1)}
        rows, sizes = await pages(a, "b", "ports")
        assert made <= {row["port"] for row in rows}
        assert len(sizes) >= 3 and max(sizes) <= PAGE_ROWS
        begin = len(b.ports)
        for _ in range(20):
            b.rcv(b.port(), {f"{number}".rjust(5_000): print for number in range(100)})
        _, total, page, after = await a.cal("b", "ports", begin, timeout=5)
        assert len(pack((page,))) < PAGE_BYTES + 1_000
        assert 1 < len(page) < 20 and after == begin + len(page) < total


@virtual_clock
async def test_a_place_that_is_none_is_refused(caplog):
    async with nodes("a", "b") as (a, b):
        reply = a.port()
        for wrong in (-1, "x", None, True, 1.5):
            b.snd("b", "ports", wrong, reply)
        await settle()
        assert caplog.text.count("is no place in a list") == 5
        assert (await a.cal("b", "ports", 10**9, timeout=5))[2:] == ([], 0)


@pytest.mark.parametrize("request_", [("status",), ("links", 0), ("ports", 0)])
@virtual_clock
async def test_a_rule_denies_looking_into_a_node_and_the_asker_is_told(request_, caplog):
    rules = [{"node": "a", "deny": ["inspect"]}]
    async with nodes("a", "b", "c", rules=rules) as (a, b, c):
        assert await a.cal("b", *request_, timeout=5) == (DENIED,)
        assert (await c.cal("b", *request_, timeout=5))[0] == ""
        assert "needs the rule 'inspect'" in caplog.text


@virtual_clock
async def test_loop_lag_is_measured_while_somebody_asks():
    async with nodes("a", "b") as (a, b):

        async def lag():
            return (await a.cal("b", "status", timeout=60))[1]["lag"]

        assert await lag() is None, "nobody has asked before"
        await asyncio.sleep(1)
        assert await lag() < 0.01
        b.loop.call_soon(b.loop.stall, 2.0)
        await asyncio.sleep(2.5)
        assert 1.8 < await lag() <= 2.0
        await asyncio.sleep(WINDOW_SECONDS + 1)
        assert await lag() < 0.01
        await asyncio.sleep(ASKED_SECONDS + 1)
        begin = now()
        assert not b.lag._measuring
        assert await lag() is None
        assert now() - begin < 1


@virtual_clock
async def test_a_node_that_measures_closes_without_residue():
    async with nodes("a", "b") as (a, b):
        await a.cal("b", "status", timeout=5)
        assert b._jobs
        await b.close()
        assert not b._jobs
        await a.close()
        assert timers_left(b.loop) == []
