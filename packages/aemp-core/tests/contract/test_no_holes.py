"""No holes: of the messages sent between mon(p) and its firing, those that arrive are a prefix.

Afterwards delivery may resume.
"""

from __future__ import annotations

import asyncio

import pytest
from core_kit import Log, Network, Probe, acquaint, crash, is_prefix, nodes, settle

import aemp_core as mp
from aemp_core.testing.clock import virtual_clock


class Sender:
    """Sends numbers to a port, monitored without a break, and notes which monitor covers which."""

    def __init__(self, node, port):
        self.node, self.port = node, port
        self.number = 0
        self.spans = [[]]
        self.reasons = []
        self._watch()

    def _watch(self):
        self.node.mon(self.port, self._fired)

    def _fired(self, reason):
        self.reasons.append(reason)
        self.spans.append([])
        if reason[0] != "no_such_port" and not self.node.closing:
            self._watch()

    def send(self):
        self.node.snd(self.port, self.number)
        self.spans[-1].append(self.number)
        self.number += 1

    def check(self, arrived):
        """Each span arrived as a prefix, everything in order and nothing twice."""
        assert arrived == sorted(set(arrived))
        for span in self.spans:
            assert is_prefix([number for number in arrived if number in set(span)], span)


@pytest.mark.parametrize("turns", range(16))
@virtual_clock
async def test_no_holes_when_the_connection_is_reset(turns):
    network = Network.here()
    async with nodes("a", "b") as (a, b):
        probe = Probe(b)
        sender = Sender(a, probe.port)
        for step in range(120):
            sender.send()
            if step in (30, 60 + turns):
                network.reset("a", "b")
            if step % 2 or turns % 2:
                await asyncio.sleep(0)
        await settle(10)
        sender.send()
        await settle(10)
        sender.check(probe.firsts)
        assert sender.reasons and sender.reasons[0][0] == "transport_error"
        assert probe.firsts[-1] == sender.number - 1, "delivery resumes after the notice"


@pytest.mark.parametrize("turns", range(8))
@virtual_clock
async def test_no_holes_for_sends_between_loss_and_notice(turns):
    """A busy run queue delays the notice; what is sent meanwhile must not slip past it over the
    next link, which is up by then."""
    network = Network.here()
    async with nodes("a", "b") as (a, b):
        probe = Probe(b)
        sender = Sender(a, probe.port)
        busy = a.port(lambda *_: None)
        sender.send()
        await settle()
        network.reset("a", "b")
        for _ in range(turns):
            await asyncio.sleep(0)
        for _ in range(5_000):
            a.snd(busy, "work")
        while not sender.reasons:
            sender.send()
            await asyncio.sleep(0)
        await settle(10)
        sender.send()
        await settle(10)
        sender.check(probe.firsts)
        assert probe.firsts[-1] == sender.number - 1


@virtual_clock
async def test_no_holes_when_the_new_link_is_up_before_the_notice_is_given():
    """Loss and the next coming-up both happen while one long handler keeps the run queue busy."""
    network = Network.here()
    async with nodes("a", "b") as (a, b):
        probe = Probe(b)
        sender = Sender(a, probe.port)
        await settle()
        log = []
        a.mon_nodes(lambda node_id, is_up, reason: log.append((is_up, len(sender.reasons))))
        busy = a.port(lambda *_: None)
        network.reset("a", "b")
        while not log:
            # The run queue holds many slices while the loop does input and output; `b` dials
            # again meanwhile, and may be up before the notice has its turn.
            for _ in range(2_000 if a.node_is_up("b") else 0):
                a.snd(busy, "work")
            sender.send()
            await asyncio.sleep(0)
        await settle(10)
        sender.check(probe.firsts)
        assert log[0] == (False, 1), "the notice comes before node-down is told"
        assert (True, 1) in log


@virtual_clock
async def test_no_holes_in_the_order_of_notice_and_node_events():
    """One queue item per cut port, then node-down, then node-up."""
    network = Network.here()
    async with nodes("a", "b") as (a, b):
        probes = [Probe(b) for _ in range(3)]
        log = []
        a.mon_nodes(lambda node_id, is_up, reason: log.append("up" if is_up else "down"))
        for probe in probes:
            a.mon(probe.port, lambda reason: log.append("notice"))
        a.mon("b", lambda reason: log.append("notice"))
        await settle()
        network.reset("a", "b")
        await settle(10)
        assert log == ["notice"] * 4 + ["down", "up"]


@virtual_clock
async def test_no_holes_for_a_monitor_made_while_the_port_is_cut():
    """It joins the waiting ones: its span includes messages that were discarded."""
    network = Network.here()
    async with nodes("a", "b") as (a, b):
        probe = Probe(b)
        first = []
        a.mon(probe.port, first.append)
        await settle()
        late = []
        busy = a.port(lambda *_: None)
        network.reset("a", "b")
        while a.node_is_up("b"):
            # More than one slice of work: the notice waits at least for the next turn.
            for _ in range(400):
                a.snd(busy, "work")
            await asyncio.sleep(0)
        assert first == [], "the loss was noticed and is not told yet"
        a.snd(probe.port, "discarded")
        a.mon(probe.port, late.append)
        a.snd(probe.port, "discarded too")
        while not first:
            assert late == []
            await asyncio.sleep(0)
        assert len(first) == len(late) == 1
        await settle(10)
        assert probe.got == []
        a.snd(probe.port, "arrives")
        await settle(10)
        assert probe.got == [("arrives",)]


@virtual_clock
async def test_no_holes_in_message_form_monitors():
    """The message is put at the head of the run queue: nothing that the port's node sends over
    the next link comes before it."""
    network = Network.here()
    async with nodes("a", "b") as (a, b):
        witness = Probe(a)
        watched = b.port()
        a.mon(watched, witness.port, "gone", 1)
        a.mon(watched, witness.port, "gone", 2)
        await settle()
        for number in range(400):
            a.snd(witness.port, "filler", number)
        network.reset("a", "b")
        for number in range(30):
            b.snd(witness.port, "from b", number)
            await asyncio.sleep(0)
        await settle(10)
        b.snd(witness.port, "from b", "end")
        await settle(10)
        tags = [message[0] for message in witness.got if message[0] != "filler"]
        gone = [message for message in witness.got if message[0] == "gone"]
        assert [message[1] for message in gone] == [1, 2]
        assert all(message[2] == "transport_error" for message in gone)
        numbers = [message[1] for message in witness.got if message[0] == "from b"]
        before = numbers[: tags.index("gone")]
        assert before == list(range(len(before)))
        assert numbers[-1] == "end"


@virtual_clock
async def test_no_holes_when_the_port_dies():
    async with nodes("a", "b") as (a, b):

        def handler(number):
            seen.append(number)
            if number == 50:
                raise ValueError("fifty")

        seen = []
        port = b.port(handler)
        reasons = []
        a.mon(port, reasons.append)
        for number in range(200):
            a.snd(port, number)
        await settle()
        assert seen == list(range(51))
        assert reasons == [("die", "ValueError: fifty")]


@virtual_clock
async def test_no_holes_when_the_send_limit_is_passed():
    """The port is cut as on loss; a small message after a refused large one does not slip by."""
    network = Network.here()
    async with nodes("a", "b", send_limit=400_000) as (a, b):
        probe = Probe(b)
        sender = Sender(a, probe.port)
        await settle()
        network.silence("a", "b")
        text = "x" * 30_000
        got = []
        for number in range(60):
            a.snd(probe.port, "large", number, text)
            a.snd(probe.port, "small", number)
        await settle()
        network.heal()
        await settle(5)
        got = [(tag, number) for tag, number, *_ in probe.got]
        assert sender.reasons[0][0] == "send_limit"
        assert sender.reasons[0][2] == probe.port
        sent = [(tag, number) for number in range(60) for tag in ("large", "small")]
        assert is_prefix(got, sent)
        assert 0 < len(got) < len(sent)


@virtual_clock
async def test_no_holes_for_another_port_while_one_is_cut_by_the_send_limit():
    """Only the destination is cut; each port's messages are a prefix of what it was sent."""
    network = Network.here()
    async with nodes("a", "b", send_limit=400_000) as (a, b):
        one, two = Probe(b), Probe(b)
        notices = []
        a.mon(one.port, lambda reason: notices.append(("one", reason[0])))
        a.mon(two.port, lambda reason: notices.append(("two", reason[0])))
        await settle()
        network.silence("a", "b")
        for number in range(40):
            a.snd(one.port, number, "x" * 30_000)
        a.snd(two.port, 0)
        await settle()
        assert ("one", "send_limit") in notices
        network.heal()
        await settle(5)
        assert is_prefix(one.firsts, list(range(40)))
        if ("two", "send_limit") not in notices:
            assert two.firsts == [0]
        else:
            assert two.firsts == []


@virtual_clock
async def test_no_holes_over_a_crash_and_restart_under_the_same_id():
    network = Network.here()
    async with nodes("a", "b") as (a, b):
        probe = Probe(b)
        sender = Sender(a, probe.port)
        for _ in range(50):
            sender.send()
            await asyncio.sleep(0)
        await crash(network, b)
        async with nodes("b", connected=False):
            a.learn("b", "memory://b")
            for _ in range(50):
                sender.send()
                await asyncio.sleep(0)
            await a.up("b", 20)
            await settle(10)
        sender.check(probe.firsts)
        assert [reason[0] for reason in sender.reasons] == ["transport_error", "no_such_port"]
        assert len(probe.firsts) < 51, "nothing sent after the crash arrives anywhere"


@virtual_clock
async def test_no_holes_while_dialling_fails():
    """The queue of a peer that cannot be reached is dropped as a whole, then the notice comes."""
    network = Network.here()
    async with nodes("a", "b", connected=False, monitor_timeout=12) as (a, b):
        acquaint(a, b)
        network.cut_off("b")
        probe = Probe(b)
        sender = Sender(a, probe.port)
        # A second port to tell: the first monitor sends again while the loss is still being told.
        a.mon(b.port(), lambda reason: None)
        for _ in range(130):
            sender.send()
            await asyncio.sleep(0.1)
        network.heal()
        for _ in range(200):
            sender.send()
            await asyncio.sleep(0.1)
        await settle(20)
        sender.check(probe.firsts)
        assert [reason[0] for reason in sender.reasons] == ["transport_error"]
        assert not {*sender.spans[0]} & {*probe.firsts}, "told as lost, so never delivered later"
        assert probe.firsts and probe.firsts[-1] == sender.number - 1


@virtual_clock
async def test_no_holes_in_what_an_async_port_receives():
    network = Network.here()
    async with nodes("a", "b") as (a, b):
        seen = []

        async def reader():
            while True:
                seen.append((await mp.get_cond())[0])
                await asyncio.sleep(0.01)

        port = b.port_async(reader)
        sender = Sender(a, port)
        for step in range(200):
            sender.send()
            if step == 100:
                network.reset("a", "b")
            await asyncio.sleep(0)
        await settle(20)
        sender.send()
        await settle(20)
        sender.check(seen)
        assert sender.reasons and seen[-1] == sender.number - 1


@virtual_clock
async def test_no_holes_when_there_is_room_again_before_the_notice_of_the_send_limit():
    """A busy run queue delays the notice; the link takes what waited, and nothing slips by."""
    network = Network.here()
    async with nodes("a", "b", send_limit=200_000) as (a, b):
        probe = Probe(b)
        reasons = []
        a.mon(probe.port, reasons.append)
        await settle()
        network.silence("a", "b")
        busy = a.port(lambda *_: None)
        for _ in range(20_000):
            a.snd(busy, "work")
        for number in range(400):
            a.snd(probe.port, number, "x" * 1_000)
        network.heal()
        turns = 0
        while not reasons:
            number += 1
            turns += 1
            a.snd(probe.port, number)
            await asyncio.sleep(0)
        await settle(5)
        assert [reason[0] for reason in reasons] == ["send_limit"]
        assert turns > 20, "enough for the link to take what waited"
        assert is_prefix(probe.firsts, list(range(number + 1)))
        assert 0 < len(probe.firsts) < 400


@virtual_clock
async def test_no_holes_when_another_port_takes_up_the_room_before_the_notice():
    """What may be sent to one port without a look at what waits is nothing for one that is cut."""
    network = Network.here()
    async with nodes("a", "b", send_limit=200_000) as (a, b):
        probe, other = Probe(b), Probe(b)
        reasons = []
        a.mon(probe.port, reasons.append)
        await settle()
        network.silence("a", "b")
        busy = a.port(lambda *_: None)
        for _ in range(20_000):
            a.snd(busy, "work")
        for number in range(400):
            a.snd(probe.port, number, "x" * 1_000)
        network.heal()
        while not reasons:
            number += 1
            a.snd(other.port, number)
            a.snd(probe.port, number)
            await asyncio.sleep(0)
        await settle(5)
        assert [reason[0] for reason in reasons] == ["send_limit"]
        assert is_prefix(probe.firsts, list(range(number + 1)))
        assert 0 < len(probe.firsts) < 400
        assert len(other.got) > 20


@pytest.mark.parametrize("port_of_the_rest", ["another", "the same, with on_error"])
@virtual_clock
async def test_no_holes_by_an_error_in_the_middle_of_what_came_in_together(port_of_the_rest):
    async with nodes("a", "b") as (a, b):
        got, errors = [], []

        def handler(number):
            if number == 10:
                raise ValueError("ten")
            got.append(number)

        mends = port_of_the_rest != "another"
        port = b.port(handler, on_error=(lambda *error: errors.append(error)) if mends else None)
        rest = port if mends else b.port(handler)
        for number in range(30):
            a.snd(port if number <= 10 else rest, number)
        await settle()
        assert got == [number for number in range(30) if number != 10]
        assert len(errors) == mends


@virtual_clock
async def test_no_holes_between_the_un_cutting_and_a_notice_by_message():
    """What is sent when messages may pass again is sent after the notice has arrived."""
    network = Network.here()
    async with nodes("a", "b") as (a, b):
        log = Log()
        watched = b.port()
        told = a.port(log.named("told"))

        def send():
            log("sends")
            a.snd(watched, "later")

        sender = a.port(send)
        a.mon(watched, told, "gone")
        await settle()
        busy = a.port(lambda *_: None)
        network.reset("a", "b")
        while a.node_is_up("b"):
            for _ in range(400):
                a.snd(busy, "work")
            await asyncio.sleep(0)
        a.snd(sender)
        assert log.events == [], "the notice waits, and what will send waits behind it"
        await settle()
        assert [event[0] if event != "sends" else event for event in log.events] == [
            "told",
            "sends",
        ]
