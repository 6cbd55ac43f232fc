"""What the commands find out by asking, and how they draw it, without processes."""

from __future__ import annotations

import asyncio
import io

import pytest
from core_kit import nodes, settle

from aemp_core.cli.asking import ask_pages
from aemp_core.cli.board import Board
from aemp_core.cli.columns import Column, age, lay_out, milliseconds, size
from aemp_core.cli.drawing import as_dot, as_json, as_mermaid, as_tree, pairs
from aemp_core.cli.options import Visit
from aemp_core.cli.outcome import Failed
from aemp_core.cli.ping import statistics_of
from aemp_core.cli.rates import Rates
from aemp_core.cli.survey import Found, Survey
from aemp_core.testing.clock import virtual_clock

VISIT = Visit(None, (), None, timeout=5.0)


def found(node_id, *linked, seed=False, **status):
    """A node of a survey that answered."""
    links = [
        {"id": each, "state": "up", "address": "tcp://h:1", "sent": 0, "received": 0}
        for each in linked
    ]
    return Found(node_id, seed, {"uptime": 5.0, **status}, links, round_trip=0.001)


def survey_of(*rows):
    survey = Survey(VISIT, None)
    survey.nodes = {row.id: row for row in rows}
    return survey


@virtual_clock
async def test_a_walk_finds_who_is_linked_with_whom_and_leaves_the_visitor_out():
    async with nodes("hub", "b", "c", "visitor") as (hub, _, c, visitor):
        survey = Survey(VISIT, visitor)
        await survey.walk(["hub"])
        assert set(survey.nodes) == {"hub", "b", "c"}
        assert [each.id for each in survey.nodes.values() if each.seed] == ["hub"]
        assert survey.nodes["hub"].linked == ["b", "c"]
        assert all(each.state == "up" for each in survey.nodes.values())
        names = [(pair.first, pair.second) for pair in pairs(survey)]
        assert names == [("b", "c"), ("b", "hub"), ("c", "hub")]
        assert as_json(survey)["links"][0]["from"] == "b"


@virtual_clock
async def test_a_node_that_tells_nothing_is_denied_and_one_that_is_not_there_silent():
    rules = [{"node": "visitor", "deny": ["inspect"]}]
    async with nodes("hub", "visitor", rules=rules) as (hub, visitor):
        survey = Survey(VISIT, visitor)
        await survey.walk(["hub"])
        assert survey.nodes["hub"].state == "denied"
        assert "needs the rule 'inspect'" in survey.nodes["hub"].error
        (line,) = printed(as_tree(survey), width=200)
        assert line.startswith("hub  denied: looking into this node is not allowed")
        assert survey.silent == []
    async with nodes("hub", "visitor") as (hub, visitor):
        hub.snd("nowhere", "x")
        survey = Survey(VISIT, visitor)
        await survey.walk(["hub"])
        (silent,) = survey.silent
        assert (silent.id, silent.state) == ("nowhere", "silent")
        assert "no link to it within 5 s" in silent.error


@virtual_clock
async def test_what_plugins_know_leads_beyond_a_node_that_tells_nothing():
    rules = [{"node": "visitor", "deny": ["inspect"]}]
    async with nodes("hub", "visitor", rules=rules) as (hub, visitor), nodes("far") as (far,):
        visitor.learn("far", "memory://far")
        guard = hub.after(1_000, print)

        def watch(told):
            visitor.after(0.5, told, ["hub", "far", "gone"], [])
            visitor.after(7, told, [], ["gone"])
            return guard

        visitor.presence_hooks = [watch]
        survey = Survey(VISIT, visitor)
        await survey.walk(["hub"])
        assert {found.id: found.state for found in survey.nodes.values()} == {
            "hub": "denied", "far": "up", "gone": "silent",
        }  # fmt: skip
        await asyncio.sleep(2)
        await survey.again(6)
        assert set(survey.nodes) == {"hub", "far"}


@virtual_clock
async def test_a_node_that_left_while_others_were_asked_is_no_part_of_it():
    async with nodes("hub", "b", "visitor") as (hub, b, visitor):
        survey = Survey(VISIT, visitor)
        b.node_port.requests["time"] = lambda request, reply: hub.task(b.close()) and None
        await survey.walk(["hub"])
        assert set(survey.nodes) == {"hub"}


@virtual_clock
async def test_asking_again_follows_who_comes_and_forgets_who_goes():
    async with nodes("hub", "b", "visitor") as (hub, b, visitor):
        survey = Survey(VISIT, visitor)
        await survey.walk(["hub"])
        await b.close()
        for _ in range(4):
            await survey.again(3)
        assert set(survey.nodes) == {"hub"}
        hub.node_port.requests["time"] = lambda request, reply: None
        await survey.again(1)
        assert survey.is_late(survey.nodes["hub"]) and survey.nodes["hub"].up
        await asyncio.sleep(5)
        await survey.again(1)
        assert survey.nodes["hub"].state == "silent"


@pytest.mark.parametrize(
    "answer",
    [(), (5,), ("",), ("", 5), ("", "x", [], 0), ("", 1, {}, 0), ("no\x1b[31m", 1, [], 0)],
)
@virtual_clock
async def test_answers_that_make_no_sense_are_told_and_end_nothing(answer):
    async with nodes("hub", "visitor") as (hub, visitor):
        for name in ("status", "links", "ports"):
            hub.node_port.requests[name] = lambda request, *rest: request.snd(rest[-1], *answer)
        with pytest.raises(Failed, match=r"^hub: "):
            await ask_pages(visitor, "hub", 5, "ports", 10)
        survey = Survey(VISIT, visitor)
        await survey.walk(["hub"])
        assert not survey.nodes["hub"].up


@virtual_clock
async def test_rows_that_make_no_sense_are_shown_as_unknown():
    async with nodes("hub", "visitor") as (hub, visitor):
        status = {"uptime": "x", "memory": [], "version": "\x1b[31m", "host": 5}
        rows = [5, {}, {"id": 5}, {"id": "no id"}, {"id": "x", "state": 9, "address": {}}]
        requests = hub.node_port.requests
        requests["status"] = lambda request, reply: request.snd(reply, "", status)
        requests["links"] = lambda request, after, reply: request.snd(reply, "", 5, rows, "again")
        survey = Survey(VISIT, visitor)
        await survey.walk(["hub"])
        assert set(survey.nodes) == {"hub", "x"}
        assert survey.nodes["hub"].words("version") == "\\x1b[31m"
        printed(as_tree(survey))
        printed(Board(survey, Rates(), "rate").picture(80, 24))


@virtual_clock
async def test_a_list_that_never_ends_is_left_at_the_limit():
    async with nodes("hub", "visitor") as (hub, visitor):
        requests = hub.node_port.requests
        requests["ports"] = lambda request, after, reply: request.snd(reply, "", 9, [{}] * 7, 1)
        total, rows = await ask_pages(visitor, "hub", 5, "ports", 50)
        assert (total, len(rows)) == (9, 50)


@virtual_clock
async def test_a_node_of_an_older_version_is_asked_what_it_knows():
    async with nodes("hub", "b", "visitor") as (hub, b, visitor):
        await settle()
        peer = visitor.peers["hub"]
        object.__setattr__(peer.session.info, "features", frozenset())
        survey = Survey(VISIT, visitor)
        await survey.walk(["hub"])
        assert survey.nodes["hub"].state == "up"
        assert survey.nodes["hub"].linked == ["b"]
        assert survey.nodes["hub"].words("version").startswith("aemp-py")
        with pytest.raises(Failed, match="its version does not tell its ports"):
            await ask_pages(visitor, "hub", 5, "ports", 10)


# -- drawing ---------------------------------------------------------------------------------------


def printed(thing, width=80):
    from rich.console import Console

    file = io.StringIO()
    Console(file=file, width=width).print(thing)
    return [line.rstrip() for line in file.getvalue().splitlines()]


def network():
    silent = Found("far", error="no link", told_by={"b": None})
    return survey_of(
        found("hub", "a", "b", seed=True), found("a", "hub", "b"), found("b", "hub", "a"), silent
    )


def test_a_tree_shows_each_node_once_and_names_its_other_links():
    assert printed(as_tree(network())) == [
        "hub  up 5s  1.00 ms",
        "├── a  tcp  up 5s  1.00 ms  also linked with b",
        "└── b  tcp  up 5s  1.00 ms  also linked with a",
        "far  silent: no link",
    ]


def test_graphs_hold_every_node_and_every_link_once():
    dot = list(as_dot(network()))
    assert dot[0] == "graph aemp {" and dot[-1] == "}"
    assert [line for line in dot if "--" in line] == [
        '  "a" -- "b" [label="tcp"];',
        '  "a" -- "hub" [label="tcp"];',
        '  "b" -- "hub" [label="tcp"];',
    ]
    assert '  "far" [color=red, style=dashed];' in dot
    mermaid = list(as_mermaid(network()))
    assert mermaid[0] == "graph LR"
    assert "  n1 ---|tcp| n2" in mermaid
    assert '  n3["far"]:::silent' in mermaid


def test_numbers_in_node_ids_count_as_numbers():
    survey = survey_of(found("w/10"), found("w/9"), found("w"), found("10"), found("9"))
    assert [line.split()[0] for line in printed(as_tree(survey))] == ["9", "10", "w", "w/9", "w/10"]


def test_a_chain_of_a_thousand_nodes_is_drawn():
    rows = [found(f"n{place}", f"n{place + 1}", seed=not place) for place in range(1_000)]
    lines = printed(as_tree(survey_of(*rows, found("n1000"))), width=9_000)
    assert len(lines) == 1_001


@pytest.mark.parametrize("width", [200, 140, 80, 60, 40, 20, 5])
def test_a_table_never_is_wider_than_the_terminal_and_keeps_what_matters(width):
    columns = [Column("NODE"), Column("STATE", rank=1), *(Column(f"C{n}", rank=n) for n in (2, 3))]
    rows = [["n" * 30, "up", "x" * 20, "y" * 30], ["m", "silent", "", ""]]
    lines = printed(lay_out(columns, rows, width), width=300)
    assert max(map(len, lines)) <= width
    assert len(lines) == 3
    assert ("STATE" in lines[0]) == (width >= 40)
    assert ("C3" in lines[0]) == (width >= 96)
    assert lines[2].startswith("m")


def test_a_column_that_may_be_cut_is_cut_before_it_is_left_out():
    columns = [Column("KEY"), Column("OWNER", rank=1), Column("VALUE", least=10)]
    rows = [["k" * 30, "o" * 10, "v" * 20_000]]
    lines = printed(lay_out(columns, rows, 60), width=60)
    assert lines[1] == "k" * 30 + "  " + "o" * 10 + "  " + "v" * 15 + "…"
    lines = printed(lay_out(columns, rows, 40), width=40)
    assert lines[1] == "k" * 27 + "…  " + "v" * 9 + "…", "the owner has no room any more"
    (line,) = str(lay_out(columns, rows, None)).splitlines()[1:]
    assert line.endswith("v" * 20_000)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (140, 50), (40, 12), (80, 8), (30, 5)])
def test_the_board_fits_on_the_screen(width, height):
    rows = [found("hub", *(f"w{n}" for n in range(30)), seed=True)]
    rows += [found(f"w{n}", "hub", memory=n) for n in range(30)]
    board = Board(survey_of(*rows), Rates(), "memory")
    lines = printed(board.picture(width, height, "q quits"), width=300)
    assert len(lines) <= max(height, 8)
    assert max(map(len, lines)) <= max(width, 60)
    text = "\n".join(lines)
    assert "w29" in text
    assert "more nodes" in text or height == 50
    assert lines[-1] == "q quits"


def test_the_board_sorts_by_each_key_in_turn():
    board = Board(network(), Rates(), "rate")
    seen = []
    for _ in range(8):
        seen.append(board.sort)
        board.picture(80, 24)
        board.next_sort()
    assert len(set(seen)) == 8 and board.sort == "rate"


def test_rates_come_from_what_two_answers_counted():
    rates = Rates()
    node = found("a", "b", incarnation="1", uptime=10.0)
    survey = survey_of(node)

    def answer(uptime, sent, received, life="1"):
        node.status = {"incarnation": life, "uptime": uptime}
        node.links = [{"id": "b", "state": "up", "sent": sent, "received": received}]
        rates.take(survey)
        return rates.of_node("a")

    assert answer(10.0, 1_000, 500) is None
    assert answer(12.0, 1_100, 520) == (50.0, 10.0)
    assert answer(12.0, 1_100, 520) == (50.0, 10.0), "it has not answered since"
    assert answer(14.0, 20, 10) == (10.0, 5.0), "the link was made anew"
    assert answer(1.0, 5, 5, life="2") is None, "the node began anew"
    assert answer(2.0, 6, 7, life="2") == (1.0, 2.0)
    assert rates.of_link("a", "b").total == 3.0
    node.status = {}
    rates.take(survey)
    assert rates.of_node("a") is None and rates.of_link("a", "b") is None


def test_figures_of_round_trips():
    figures = statistics_of([number / 1_000 for number in range(1, 101)])
    assert {word: round(value, 6) for word, value in figures.items()} == {
        "min": 0.001, "avg": 0.0505, "median": 0.0505, "p99": 0.099, "max": 0.1,
    }  # fmt: skip
    assert set(statistics_of([0.5]).values()) == {0.5}
    assert statistics_of([]) == {}


def test_numbers_as_people_read_them():
    assert [age(seconds) for seconds in (None, 0, 59.9, 61, 3_599, 3_600, 90_000, 9e6)] == [
        "-", "0s", "59s", "1m01s", "59m59s", "1h00m", "1d01h", "104d04h",
    ]  # fmt: skip
    assert [size(count) for count in (None, 0, 1_023, 1_024, 5 * 2**30, 2**45)] == [
        "-", "0 B", "1023 B", "1 KiB", "5 GiB", "32.0 TiB",
    ]  # fmt: skip
    assert [milliseconds(seconds) for seconds in (None, 0.000123, 0.0123, 0.5, 12)] == [
        "-", "0.12 ms", "12.3 ms", "500 ms", "12.0 s",
    ]  # fmt: skip
