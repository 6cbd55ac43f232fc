"""The log feed and the log catcher: records reach who may have them, and harm nobody on the way."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from core_kit import SECRET, Network, Probe, crash, nodes, settle

import aemp_core as mp
from aemp_core import log_feed
from aemp_core.log_feed import BURST, MARK, PAUSE_SECONDS, RATE, RESERVE, TEXT_BYTES
from aemp_core.requests import Rules
from aemp_core.services import log as service
from aemp_core.services.log import LogCatcher, LogEntry
from aemp_core.session import Session
from aemp_core.settings import Rule
from aemp_core.testing import virtual_clock

log = logging.getLogger("aemp.test.feed")


@pytest.fixture(autouse=True)
def everything_is_logged() -> Iterator[None]:
    log.setLevel(logging.DEBUG)
    yield
    log.setLevel(logging.NOTSET)
    assert log_feed.handler not in logging.getLogger().handlers


class Caught:
    """A catcher on a node, and what it got."""

    def __init__(self, node: mp.Node, level: int = logging.DEBUG, **options: Any) -> None:
        self.entries: list[LogEntry] = []
        self.batches: list[int] = []
        self.states: list[tuple[str, str]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.catcher = LogCatcher(
            node, self.show, level=level, told=lambda *state: self.states.append(state), **options
        )

    async def show(self, entries: list[LogEntry]) -> None:
        self.batches.append(len(entries))
        await self.gate.wait()
        self.entries += entries

    @property
    def texts(self) -> list[str]:
        return [entry.text for entry in self.entries]


# -- what is sent ------------------------------------------------------------------------------


@virtual_clock
async def test_records_come_as_they_are_made():
    async with nodes("alice", "bob") as (alice, bob):
        caught = Caught(alice, logging.INFO)
        await settle()
        assert caught.states == [("bob", "caught; it logs from WARNING on")]
        with bob.current():
            log.debug("too little")
            log.warning("hot: %d", 90)
            try:
                raise ValueError("broken")
            except ValueError:
                log.exception("failed")
        await settle()
        first, second = caught.entries
        assert first == LogEntry("bob", first.time, 30, "aemp.test.feed", "hot: 90")
        assert second.level == logging.ERROR
        assert second.text.startswith("failed\nTraceback")
        assert second.lines.endswith("\n    ValueError: broken")


async def test_records_of_threads_come_and_block_nobody():
    async with nodes("alice", "bob") as (alice, bob):
        caught = Caught(alice)
        while not caught.states:
            await asyncio.sleep(0.01)
        with bob.current():
            await asyncio.to_thread(log.info, "of bob")
        thread = threading.Thread(target=log.info, args=["of nobody"])
        thread.start()
        while len(caught.texts) < 2:
            await asyncio.sleep(0.01)
        thread.join()
        assert caught.texts == ["of bob", "of nobody"]


@virtual_clock
async def test_a_record_belongs_to_the_node_whose_code_made_it():
    """Several nodes in one process: by port, by current node, and else to the first followed."""
    async with nodes("alice", "bob", "carol") as (alice, bob, carol):
        caught = Caught(alice)
        await settle()
        for node in (carol, bob, alice):
            node.snd(node.port(lambda text: log.info("%s", text)), f"port of {node.id}")
        with carol.current():
            log.info("carol is current")
        log.info("nobody's")
        await asyncio.sleep(1)
        assert sorted((entry.node, entry.text) for entry in caught.entries) == [
            ("bob", "nobody's"),
            ("bob", "port of bob"),
            ("carol", "carol is current"),
            ("carol", "port of carol"),
        ]


@virtual_clock
async def test_texts_that_cannot_be_sent_as_they_are(monkeypatch: pytest.MonkeyPatch):
    async with nodes("alice", "bob") as (alice, bob):
        caught = Caught(alice)
        await settle()
        with bob.current():
            monkeypatch.setattr(logging, "raiseExceptions", False)  # pytest's own handler
            log.info("%d and %d", 1)
            log.info("lone \udc80 surrogate")
            log.info("x" * 100_000)
        await settle()
        wrong, lone, long = caught.texts
        assert wrong.startswith("'%d and %d' cannot be formatted: TypeError")
        assert lone == "lone \\udc80 surrogate"
        assert len(long) == TEXT_BYTES and long.endswith(" ... (100000 bytes in all)")


@virtual_clock
async def test_the_last_records_come_while_a_node_closes():
    async with nodes("alice", "bob") as (alice, bob):
        caught = Caught(alice)
        await settle()
        with bob.current():
            log.info("first")
            await settle()
            log.info("second, within the pause")
        await bob.close()
        await settle()
        assert caught.texts == ["first", "second, within the pause"]


# -- sending is not sent -------------------------------------------------------------------------


@virtual_clock
async def test_records_made_by_sending_records_are_not_sent():
    """Race: what sends a record logs, at once, in a callback or in a task it starts. Sent on,
    each of these would make the next one, for ever."""
    async with nodes("alice", "bob") as (alice, bob):
        caught = Caught(alice)
        await settle()
        session = bob.peers["alice"].session
        send = session.send
        made = 0

        async def task() -> None:
            log.info("a task of sending")

        def noisy(frame: Any) -> None:
            nonlocal made
            made += 1
            log.info("sending")
            bob.loop.call_soon(log.info, "a callback of sending")
            tasks.append(asyncio.create_task(task()))
            send(frame)

        tasks: list[Any] = []
        session.send = noisy
        with bob.current():
            log.info("one record")
        await asyncio.sleep(2)  # no heartbeat is due yet
        assert caught.texts == ["one record"]
        assert made == 1


@virtual_clock
async def test_what_a_transport_logs_of_every_byte_makes_few_batches(
    monkeypatch: pytest.MonkeyPatch,
):
    """Race: the answer to a batch is logged by the reader of the link, which nobody can tell from
    any other reader; it makes a batch, which is answered."""
    received = Session.received

    def noisy(self: Session, messages: Any, size: int) -> None:
        def note() -> None:
            with self.node.current():
                log.info("received %d bytes", size)

        # As a socket's reader does: where the bytes came from does not show here.
        contextvars.Context().run(note)
        received(self, messages, size)

    monkeypatch.setattr(Session, "received", noisy)
    async with nodes("alice", "bob") as (alice, bob):
        caught = Caught(alice)
        await asyncio.sleep(10)
        assert 10 < len(caught.batches) <= 10 / PAUSE_SECONDS + 1


@virtual_clock
async def test_records_that_came_from_other_nodes_are_not_sent_on():
    """Race: two nodes put each other's records into their logs."""
    async with nodes("alice", "bob", "carol") as (alice, bob, carol):
        for node in (alice, bob):
            with node.current():
                service.catch("DEBUG")
        caught = Caught(carol)
        await settle()
        with bob.current():
            log.error("once")
        await asyncio.sleep(10)
        assert caught.texts.count("once") == 1
        assert len(caught.entries) == 1


@virtual_clock
async def test_the_service_logs_here_what_others_log(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    async with nodes("bob", connected=False) as (bob,):
        async with mp.Node(
            "alice",
            seeds=bob.addresses,
            secret=SECRET,
            services=["aemp_core.services.log"],
        ) as alice:
            await alice.up("bob")
            await settle()
            with bob.current():
                log.error("told\ntwice")
            await settle()
    (record,) = [each for each in caplog.records if hasattr(each, MARK)]
    assert record.getMessage() == "bob aemp.test.feed: told\n    twice"
    assert (record.levelno, record.name) == (logging.ERROR, "aemp_core.services.log")
    assert (getattr(record, MARK), record.aemp_logger) == ("bob", "aemp.test.feed")


# -- bounds --------------------------------------------------------------------------------------


@virtual_clock
async def test_a_flood_is_cut_to_the_rate_and_counted():
    async with nodes("alice", "bob") as (alice, bob):
        caught = Caught(alice)
        await settle()
        seconds, per_second = 20, 1_000
        for _ in range(seconds):
            with bob.current():
                for number in range(per_second):
                    log.info("noise %s", number)
            await asyncio.sleep(1)
        with bob.current():
            log.error("signal")
        await asyncio.sleep(5)
        notices = [text for text in caught.texts if "left out" in text]
        noise = [text for text in caught.texts if text.startswith("noise")]
        left_out = sum(int(text.split()[0]) for text in notices)
        assert "signal" in caught.texts
        assert len(noise) + left_out == seconds * per_second
        assert len(noise) <= BURST - RESERVE + RATE * (seconds + 1)
        assert seconds / 2 <= len(notices) <= seconds + 5
        assert notices[0].endswith(" INFO")


@virtual_clock
async def test_a_catcher_that_stands_still_costs_one_batch_and_a_bounded_buffer():
    async with nodes("alice", "bob") as (alice, bob):
        caught = Caught(alice)
        await settle()
        caught.gate.clear()
        for number in range(100):
            with bob.current():
                for _ in range(100):
                    log.info("%d %s", number, "x" * 5_000)
            await asyncio.sleep(1)
        (feed,) = log_feed.handler.feeds
        assert len(caught.batches) == 1
        assert feed._bytes <= log_feed.WAITING_BYTES + 6_000
        assert len(feed._waiting) <= log_feed.WAITING_RECORDS
        assert bob.buffered() < 2**16
        caught.gate.set()
        await asyncio.sleep(30)
        left_out = sum(int(text.split()[0]) for text in caught.texts if "left out" in text)
        seen = sum("x" in text for text in caught.texts)
        assert seen + left_out == 10_000


@virtual_clock
async def test_a_full_link_is_no_end():
    """Other messages fill the link to the catcher: what did not fit is counted."""
    async with nodes("alice", "bob", send_limit=100_000) as (alice, bob):
        network = Network()
        network.install(bob.loop)
        caught = Caught(alice)
        await settle()
        (feed,) = log_feed.handler.feeds
        feed._lost(("send_limit", "it is full", feed.port))
        with bob.current():
            log.info("still there")
        await settle()
        assert caught.texts == ["still there"]


@virtual_clock
async def test_one_node_has_a_few_feeds_and_no_more():
    async with nodes("alice", "bob") as (alice, bob):
        caught = [Caught(alice) for _ in range(log_feed.PEER_FEEDS + 1)]
        await settle()
        assert len(log_feed.handler.feeds) == log_feed.PEER_FEEDS
        assert "end another catcher first" in caught[-1].states[0][1]
        caught[0].catcher.cancel()
        await settle()
        caught.append(Caught(alice))
        await settle()
        assert caught[-1].states == [("bob", "caught; it logs from WARNING on")]


# -- who may -------------------------------------------------------------------------------------


def test_with_certificates_it_takes_a_rule():
    allowed = Rule("ops/*", allow=("log",))
    assert Rules([]).allow("anon/1", "log")
    assert not Rules([], proven=True).allow("anon/1", "log")
    assert Rules([allowed], proven=True).allow("ops/1", "log")
    assert not Rules([Rule("*", deny=("log",))]).allow("anon/1", "log")


@virtual_clock
async def test_who_may_not_is_told_the_remedy():
    rules = [{"node": "alice", "deny": ["log"]}]
    async with nodes("alice", "bob", rules=rules) as (alice, bob):
        caught = Caught(alice)
        await settle()
        ((node, text),) = caught.states
        assert node == "bob"
        assert text.startswith("refused: alice may not read the log of bob: that needs the rule")
        assert not log_feed.handler.feeds


@virtual_clock
async def test_rules_that_change_end_it():
    async with nodes("alice", "bob") as (alice, bob):
        caught = Caught(alice)
        await settle()
        bob.rules = Rules([Rule("*", deny=("log",))])
        with bob.current():
            log.info("not for alice")
        await settle()
        assert caught.entries == []
        assert caught.states[-1][1].startswith("refused: alice may not read the log of bob")
        assert not log_feed.handler.feeds


@virtual_clock
@pytest.mark.parametrize("level", [-1, 1_001, "INFO", True, None, 1.5])
async def test_levels_are_numbers(level: Any):
    async with nodes("alice", "bob") as (alice, bob):
        alice.snd("bob", "log", level, Probe(alice).port)
        await settle()
        assert not log_feed.handler.feeds


@virtual_clock
@pytest.mark.parametrize("port", ["alice", "bob", "carol#1", "bob#1", "no port", 5])
async def test_records_go_to_ports_of_the_asker_alone(port: Any):
    rules = [{"node": "*", "allow": ["relay"]}]
    async with nodes("alice", "bob", rules=rules) as (alice, bob):
        alice.snd("bob", "log", 20, port)
        await settle()
        assert not log_feed.handler.feeds


@virtual_clock
async def test_what_was_not_asked_for_is_not_shown():
    async with nodes("alice", "bob") as (alice, bob):
        caught = Caught(alice, nodes=["carol"])
        bob.snd(caught.catcher._port, "records", [[0.0, 20, "x", "forged"]])
        await settle()
        assert caught.entries == []


@virtual_clock
async def test_rows_that_make_no_sense_are_left_out():
    async with nodes("alice", "bob") as (alice, bob):
        caught = Caught(alice)
        await settle()
        rows: list[Any] = [[0.0, 20, "x"], [0.0, "x", "x", "x"], 5, [1e300, 20, "x", "good\x1b[1m"]]
        for sent in (rows, "text", None):
            bob.snd(caught.catcher._port, "records", sent, "bob#nobody")
        bob.snd(caught.catcher._port, "records", [], "alice")
        await settle()
        entry, *refusals = caught.entries
        assert all("unknown port" in refusal.text for refusal in refusals)
        assert entry.lines == "good\\x1b[1m"
        with bob.current():
            log.info("still there")
        await asyncio.sleep(1)
        assert "still there" in caught.texts


@virtual_clock
async def test_a_catcher_whose_port_is_killed_goes_on():
    async with nodes("alice", "bob") as (alice, bob):
        caught = Caught(alice)
        await settle()
        bob.snd(caught.catcher._port, "records", "too", "many", "arguments")
        bob.snd(caught.catcher._port, "nonsense")
        bob.kil(caught.catcher._port, "spite")
        await settle()
        assert caught.states[1:] == [
            ("alice", "its port was killed, there is a new one: spite"),
            ("bob", "caught; it logs from WARNING on"),
        ]
        caught.entries.clear()
        with bob.current():
            log.info("still there")
        await settle()
        assert caught.texts == ["still there"]
        assert len(log_feed.handler.feeds) == 1


@virtual_clock
async def test_records_that_cannot_be_shown_hold_nobody_up():
    async with nodes("alice", "bob") as (alice, bob):
        caught = Caught(alice)
        await settle()
        show, caught.catcher._show = caught.catcher._show, None  # type: ignore[assignment]
        with bob.current():
            log.info("lost")
        await settle()
        caught.catcher._show = show
        with bob.current():
            log.info("shown")
        await asyncio.sleep(1)
        assert caught.texts == ["shown"]


@virtual_clock
async def test_the_module_is_a_service_of_every_node_of_a_process():
    async with (
        mp.Node("one", services=["aemp_core.services.log"]) as one,
        mp.Node("two", services=["aemp_core.services.log"]) as two,
    ):
        assert len(one.node_watches) == len(two.node_watches) == 2


# -- which nodes, and for how long ---------------------------------------------------------------


@virtual_clock
async def test_nodes_that_join_later_are_caught_and_lost_ones_told():
    network = Network.here()
    async with nodes("alice", "bob") as (alice, bob):
        caught = Caught(alice)
        await settle()
        async with nodes("carol", connected=False) as (carol,):
            carol.learn("alice", *alice.addresses)
            await carol.up("alice")
            await settle()
            with carol.current():
                log.info("here I am")
            await settle()
            assert caught.texts == ["here I am"]
            await crash(network, carol)
        assert [state for state in caught.states if state[0] == "carol"] == [
            ("carol", "caught; it logs from WARNING on"),
            ("carol", "lost: transport_error: the connection broke: reset by the other end"),
        ]


@virtual_clock
async def test_only_nodes_that_are_wanted_are_asked():
    async with nodes("alice", "bob", "worker/1", "worker/2") as (alice, *others):
        caught = Caught(alice, nodes=["worker/*"])
        await settle()
        assert sorted(node for node, _ in caught.states) == ["worker/1", "worker/2"]
        for node in others:
            with node.current():
                log.info("x")
        await settle()
        assert sorted(entry.node for entry in caught.entries) == ["worker/1", "worker/2"]


@virtual_clock
async def test_a_node_that_is_named_is_dialled_until_it_is_there():
    Network.here()
    async with nodes("alice", connected=False) as (alice,):
        alice.learn("bob", "memory://bob")
        caught = Caught(alice, nodes=["bob"])
        await asyncio.sleep(100)
        assert caught.states[0] == (
            "bob", "no link yet: transport_error: no link to bob within 30 s: memory://bob: "
            "nobody listens there; memory names are those of one event loop",
        )  # fmt: skip
        async with nodes("bob", connected=False):
            await asyncio.sleep(60)
            assert caught.states[-1] == ("bob", "caught; it logs from WARNING on")


@virtual_clock
async def test_a_feed_ends_with_its_port_and_with_its_link():
    network = Network.here()
    async with nodes("alice", "bob", "carol") as (alice, bob, carol):
        first, second = Caught(alice), Caught(carol, nodes=["bob"])
        await settle()
        assert {feed.asker for feed in log_feed.handler.feeds} == {"alice", "carol"}
        first.catcher.cancel()
        await settle()
        assert [feed.asker for feed in log_feed.handler.feeds] == ["carol"]
        assert log_feed.handler in logging.getLogger().handlers
        await crash(network, carol)
        assert second.entries == []
        assert log_feed.handler.feeds == ()
        assert log_feed.handler not in logging.getLogger().handlers


@virtual_clock
async def test_asking_again_changes_the_level():
    async with nodes("alice", "bob") as (alice, bob):
        probe = Probe(alice)
        alice.snd("bob", "log", 40, probe.port)
        alice.snd("bob", "log", 20, probe.port)
        await settle()
        assert probe.got == [("begun", 30), ("begun", 30)]
        with bob.current():
            log.info("x")
        await settle()
        assert probe.got[2][1][0][3] == "x"


@virtual_clock
async def test_a_catcher_leaves_nodes_without_a_log_in_peace():
    async with nodes("alice", "bob") as (alice, bob):
        bob.features.remove("log")
        async with mp.Node("carol", seeds=bob.addresses, secret=SECRET) as carol:
            caught = Caught(carol)
            await carol.up("bob")
            await settle()
            assert caught.states == [("bob", "is of a version that has no log to catch")]


# -- the program does not notice ---------------------------------------------------------------


@virtual_clock
async def test_warnings_of_a_program_without_handlers_are_still_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """`logging` prints them itself as long as there is no handler: ours is not to count."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    async with nodes("alice", "bob") as (alice, bob):
        Caught(alice, logging.CRITICAL)
        await settle()
        log.warning("printed")
        log.info("too little")
        other = logging.StreamHandler()
        log.addHandler(other)
        log.warning("printed once")
        log.removeHandler(other)
    assert capsys.readouterr().err == "printed\nprinted once\n"


@virtual_clock
async def test_nobody_pays_for_a_feed_that_nobody_wants():
    async with nodes("alice", "bob") as (alice, bob):
        assert log_feed.handler not in logging.getLogger().handlers
