"""The judge: hand-made histories, one for each way to break a promise, with its innocent twin."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Any

import pytest

from aemp_core.testing import history, shrink
from aemp_core.testing import judge as judging
from aemp_core.testing.history import History
from aemp_core.testing.judge import Violation, judge

#: The bounds of these tests, in seconds.
NOTICE = 10.0
SLACK = 1.0


class Tale:
    """A history in the making: alice and bob are up to each other; port `p` is bob's, `q` alice's.

    A verb per kind of event, which take the life first; `wait` lets time pass.
    """

    def __init__(self, *, linked: bool = True) -> None:
        self.now = 0.0
        self.history = History(lambda: self.now)
        self._numbers: dict[tuple[str, str], int] = {}
        for life in ("alice@1", "bob@1"):
            self.start(life)
        self("port", "bob@1", "p")("port", "alice@1", "q")
        if linked:
            self("up", "alice@1", "bob")("up", "bob@1", "alice")

    def __call__(self, *event: Any) -> Tale:
        self.history.note(*event)
        return self

    def start(self, life: str) -> Tale:
        return self("start", life, life.partition("@")[0], 4)

    def wait(self, seconds: float) -> Tale:
        self.now += seconds
        return self

    def send(self, count: int = 1, life: str = "alice@1", port: str = "p") -> Tale:
        for _ in range(count):
            number = self._numbers[life, port] = self._numbers.get((life, port), 0) + 1
            self("sent", life, port, number)
        return self

    def arrive(self, *numbers: int, sender: str = "alice@1", port: str = "p") -> Tale:
        life = "alice@1" if port == "q" else "bob@1"
        for number in numbers:
            self("arrived", life, port, sender, number)
        return self

    def watch(self, name: str = "w", life: str = "alice@1", port: str = "p") -> Tale:
        return self("watch", life, name, port)

    def fire(self, word: str = "transport_error", name: str = "w", life: str = "alice@1") -> Tale:
        return self("fired", life, name, word, "")

    def die(self, port: str = "p", life: str = "bob@1") -> Tale:
        return self("died", life, port, "die")

    def calm(self, seconds: float = 60.0) -> Tale:
        return self("healed").wait(seconds)("judged")

    def judge(self, heartbeats: float = 0.0) -> list[Violation]:
        return judge(self.history, notice=NOTICE, heartbeats=heartbeats, slack=SLACK)

    @property
    def broken(self) -> list[str]:
        """The promises that were broken."""
        return [violation.promise for violation in self.judge()]


# -- order -----------------------------------------------------------------------------------


def test_order_held() -> None:
    assert not Tale().send(3).arrive(1, 2, 3).broken


def test_order_held_between_different_senders_and_ports() -> None:
    tale = Tale()("port", "bob@1", "p2").send(2).send(2, port="p2").send(2, "bob@1")
    tale.arrive(1, port="p2").arrive(1).arrive(1, sender="bob@1").arrive(2).arrive(2, port="p2")
    assert not tale.broken


def test_order_broken_by_a_message_that_overtakes() -> None:
    assert Tale().send(3).arrive(1, 3, 2).broken == ["order"]


def test_order_broken_by_a_duplicate() -> None:
    assert Tale().send(2).arrive(1, 2, 2).broken == ["order"]


def test_order_broken_by_what_was_not_sent() -> None:
    assert Tale().send(2).arrive(1, 3).broken == ["order"]


def test_order_broken_by_a_garbled_message() -> None:
    assert Tale()("garbled", "bob@1", "p").broken == ["order"]


def test_order_is_not_broken_by_bits_that_flipped_on_the_way() -> None:
    tale = Tale()("tainted", "alice", "bob")("garbled", "bob@1", "p")
    assert not tale.broken


def test_order_broken_by_bits_that_flipped_on_a_former_link() -> None:
    tale = Tale()("tainted", "bob", "alice").wait(2)("down", "bob@1", "alice").wait(2)
    assert tale("up", "bob@1", "alice")("garbled", "bob@1", "p").broken == ["order"]


def test_order_holds_for_altered_links_too() -> None:
    assert Tale()("tainted", "alice", "bob").send(2).arrive(1, 1).broken == ["order"]


# -- no holes --------------------------------------------------------------------------------


def test_no_holes_held_by_a_prefix() -> None:
    assert not Tale().watch().send(5).arrive(1, 2, 3).fire().broken


def test_no_holes_broken_under_the_eyes_of_a_watch() -> None:
    assert Tale().watch().send(3).arrive(1, 3).broken == ["no holes"]


def test_no_holes_broken_by_a_first_message_that_is_missing() -> None:
    assert Tale().watch().send(2).arrive(2).broken == ["no holes"]


def test_no_holes_broken_by_what_was_sent_before_the_notice_and_came_later() -> None:
    assert Tale().watch().send(3).fire().arrive(1, 3).broken == ["no holes"]


def test_no_holes_are_promised_without_a_watch() -> None:
    assert not Tale().send(3).arrive(1, 3).broken


def test_no_holes_held_by_messages_sent_after_the_notice() -> None:
    assert not Tale().watch().send(3).arrive(1).fire().send(2).arrive(4, 5).broken


def test_no_holes_held_by_a_watch_that_is_set_again_by_the_callback() -> None:
    tale = Tale().watch().send(2).fire().watch("w2").send(2).arrive(3, 4)
    assert not tale.broken


def test_no_holes_broken_in_the_window_of_a_watch_that_was_set_again() -> None:
    tale = Tale().watch().send(2).fire().watch("w2").send(2).arrive(4)
    assert tale.broken == ["no holes"]


def test_no_holes_do_not_count_what_was_sent_before_the_watch() -> None:
    assert not Tale().send(2).watch().send(1).arrive(3).broken


def test_no_holes_broken_by_a_gap_that_reaches_into_the_window() -> None:
    assert Tale().send(2).watch().send(2).arrive(4).broken == ["no holes"]


def test_no_holes_broken_for_one_of_several_watches() -> None:
    tale = Tale().watch("old").send(1).watch("new").send(1)
    tale.fire(name="new").wait(0.1).arrive(2)
    assert tale.broken == ["no holes"]


def test_no_holes_held_by_watches_that_fire_together() -> None:
    """The first of two callbacks sends again: to both of them the loss was told by then."""
    tale = Tale().watch("one").watch("two").send(1)
    tale.fire(name="one").send(1).fire(name="two").wait(0.1).arrive(2)
    assert not tale.broken


def test_no_holes_broken_by_watches_that_fire_one_long_after_the_other() -> None:
    tale = Tale().watch("one").watch("two").send(1)
    tale.fire(name="one").send(1).wait(0.1).fire(name="two").wait(0.1).arrive(2)
    assert tale.broken == ["no holes"]


def test_no_holes_are_promised_after_the_watch_was_cancelled() -> None:
    tale = Tale().watch().send(2)("unwatch", "alice@1", "w").arrive(2)
    assert not tale.broken


def test_no_holes_broken_for_a_watch_before_it_was_cancelled() -> None:
    tale = Tale().watch().send(2).arrive(2)("unwatch", "alice@1", "w")
    assert tale.broken == ["no holes"]


def test_no_holes_broken_for_a_sender_that_is_dead_by_now() -> None:
    tale = Tale().watch().send(2)("end", "alice@1", "kill").wait(0.1).arrive(2)
    assert tale.broken == ["no holes"]


def test_no_holes_broken_in_a_mailbox() -> None:
    tale = Tale()("port", "bob@1", "box", "mailbox").watch(port="box").send(2, port="box")
    assert tale.arrive(2, port="box").broken == ["no holes"]


def test_no_holes_broken_by_a_message_that_never_came_in_calm() -> None:
    tale = Tale().watch().send(3).arrive(1, 2).wait(1).calm()
    assert tale.broken == ["no holes"]


def test_no_holes_held_by_messages_that_came_in_calm() -> None:
    assert not Tale().watch().send(3).arrive(1, 2).wait(1)("healed").arrive(3).calm().broken


def test_no_holes_held_by_a_watch_that_told_in_calm() -> None:
    tale = Tale().watch().send(3).arrive(1, 2).wait(1)("healed").wait(5).fire().wait(60)
    assert not tale("judged").broken


def test_no_holes_are_not_looked_for_in_a_short_calm() -> None:
    assert not Tale().watch().send(3).wait(1).calm(NOTICE).broken


def test_no_holes_are_looked_for_when_the_receiver_had_time_to_take_it_in() -> None:
    def tale(calm: float) -> Tale:
        return Tale().watch().send(3).wait(1)("stall", "bob@1", 20).calm(calm)

    assert not tale(30).broken
    assert tale(32).broken == ["no holes"]


def test_no_holes_do_not_count_what_was_sent_into_the_calm() -> None:
    assert not Tale().watch()("healed").send(1).wait(60)("judged").broken


def test_no_holes_in_calm_are_not_promised_to_a_port_that_died() -> None:
    tale = Tale().watch().send(1).die().fire("die").watch("w2").wait(1).fire("no_such_port", "w2")
    assert not tale.calm().broken


def test_no_holes_are_not_promised_for_an_altered_link() -> None:
    tale = Tale().watch().send(3)("tainted", "alice", "bob").arrive(1, 3)
    assert not tale.calm().broken


def test_no_holes_are_not_promised_for_what_the_dead_had_sent_over_it() -> None:
    tale = Tale().watch().send(3)("end", "alice@1", "kill")("tainted", "alice", "bob")
    assert not tale.arrive(1, 3).broken


def test_no_holes_are_promised_again_after_the_altered_link() -> None:
    tale = Tale().watch().send(3)("tainted", "alice", "bob").wait(2)
    tale.fire()("down", "alice@1", "bob").wait(2)("up", "alice@1", "bob").watch("w2").send(3)
    assert tale.arrive(4, 6).broken == ["no holes"]


def test_no_holes_are_not_promised_for_what_was_sent_over_the_altered_link() -> None:
    tale = Tale().watch().send(3)("tainted", "alice", "bob").wait(2)("down", "alice@1", "bob")
    assert "no holes" not in tale.wait(2).arrive(1, 3).broken


def test_no_holes_are_not_promised_if_the_next_link_was_the_altered_one() -> None:
    """The other side had it already when the bits flipped."""
    tale = Tale()("tainted", "alice", "bob")("down", "alice@1", "bob")("up", "alice@1", "bob")
    tale.wait(2).watch().send(3).arrive(1, 3)
    assert not tale.broken
    tale.fire()("down", "alice@1", "bob")("up", "alice@1", "bob").watch("w2").send(3)
    assert tale.arrive(4, 6).broken == ["no holes"]


def test_no_holes_are_promised_to_those_who_had_no_part_in_the_altered_link() -> None:
    tale = Tale().watch().send(3)("tainted", "alice", "carol").arrive(1, 3)
    assert tale.broken == ["no holes"]


# -- once ------------------------------------------------------------------------------------


def test_once_broken_by_a_watch_that_fires_twice() -> None:
    assert Tale().watch().fire().fire().broken == ["once"]


def test_once_broken_by_a_cancelled_watch() -> None:
    assert Tale().watch()("unwatch", "alice@1", "w").fire().broken == ["once"]


def test_once_broken_by_a_watch_that_was_never_set() -> None:
    assert Tale().fire().broken == ["once"]


def test_once_broken_by_a_watch_of_another_life() -> None:
    assert Tale().watch().fire(life="bob@1").broken == ["once"]


def test_once_held_by_several_watches_on_one_port() -> None:
    assert not Tale().watch("one").watch("two").fire(name="two").fire(name="one").broken


def last_words(word: str = "die") -> Tale:
    """Alice watches bob's port; bob sends her something, and the port dies; only that is told."""
    return Tale().watch().send(1, "bob@1", "q").die().wait(0.1).fire(word)


def test_once_broken_by_last_words_that_come_after_the_notice() -> None:
    assert last_words().arrive(1, sender="bob@1", port="q").broken == ["once"]


def test_once_held_by_last_words_that_come_before_the_notice() -> None:
    tale = Tale().watch().send(1, "bob@1", "q").die().wait(0.1)
    assert not tale.arrive(1, sender="bob@1", port="q").fire("die").broken


def test_once_held_by_last_words_that_never_come() -> None:
    assert not last_words().wait(1).broken


def test_once_held_by_what_was_sent_after_the_death() -> None:
    tale = Tale().watch().die().send(1, "bob@1", "q").wait(0.1).fire("die")
    assert not tale.arrive(1, sender="bob@1", port="q").broken


def test_once_does_not_order_messages_and_losses() -> None:
    assert not last_words("transport_error").arrive(1, sender="bob@1", port="q").broken


def test_once_does_not_order_what_a_third_node_sent() -> None:
    tale = Tale().start("carol@1")("up", "alice@1", "carol").watch()
    tale.send(1, "carol@1", "q").die().wait(0.1).fire("die")
    assert not tale.arrive(1, sender="carol@1", port="q").broken


def test_once_broken_by_last_words_of_a_closing_node() -> None:
    tale = Tale().watch().send(1, "bob@1", "q")("closing", "bob@1").wait(0.1).fire("closed")
    assert tale.arrive(1, sender="bob@1", port="q").broken == ["once"]


def test_once_broken_by_last_words_to_another_port() -> None:
    tale = (
        Tale()("port", "alice@1", "q2").watch().send(1, "bob@1", "q2").die().wait(0.1).fire("die")
    )
    tale("arrived", "alice@1", "q2", "bob@1", 1)
    assert tale.broken == ["once"]


def test_once_is_not_judged_by_when_a_mailbox_was_emptied() -> None:
    tale = Tale()("port", "alice@1", "box", "mailbox").watch().send(1, "bob@1", "box")
    tale.die().wait(0.1).fire("die")("arrived", "alice@1", "box", "bob@1", 1)
    assert not tale.broken


# -- notice ----------------------------------------------------------------------------------


def test_notice_held_within_the_bound() -> None:
    assert not Tale().watch().die().wait(NOTICE + SLACK).fire("die").broken


def test_notice_broken_by_a_watch_that_fires_late() -> None:
    assert Tale().watch().die().wait(NOTICE + SLACK + 0.1).fire("die").broken == ["notice"]


def test_notice_broken_by_a_watch_that_does_not_fire() -> None:
    assert Tale().watch().die().wait(60)("closing", "alice@1").broken == ["notice"]
    assert Tale().watch().die().wait(60)("end", "alice@1", "kill").broken == ["notice"]
    assert Tale().watch().die().wait(60)("unwatch", "alice@1", "w").broken == ["notice"]
    assert Tale().watch().die().calm().broken == ["notice"]


def test_notice_is_not_missed_by_those_who_left_or_lost_interest_in_time() -> None:
    assert not Tale().watch().die().wait(5)("closing", "alice@1").wait(60).calm().broken
    assert not Tale().watch().die().wait(5)("end", "alice@1", "kill").wait(60).calm().broken
    assert not Tale().watch().die().wait(5)("unwatch", "alice@1", "w").wait(60).calm().broken
    assert not Tale().watch().die().wait(5).broken


@pytest.mark.parametrize("how", ["close", "kill", "power off"])
def test_notice_broken_when_a_node_ends_and_nobody_is_told(how: str) -> None:
    assert Tale().watch()("end", "bob@1", how).calm().broken == ["notice"]


def test_notice_counts_from_the_watch_if_the_port_was_dead_before() -> None:
    tale = Tale().die().wait(60).watch().wait(NOTICE)
    assert not tale.fire("no_such_port").broken
    assert Tale().die().wait(60).watch().wait(12).fire("no_such_port").broken == ["notice"]


def test_notice_may_be_later_by_a_stall_of_who_waits() -> None:
    tale = Tale().watch().die().wait(2)("stall", "alice@1", 5).wait(NOTICE + SLACK + 5 - 2)
    assert not tale.fire("die").broken
    tale = Tale().watch().die().wait(2)("stall", "alice@1", 5).wait(NOTICE + SLACK + 5 - 2 + 0.1)
    assert tale.fire("die").broken == ["notice"]


def test_notice_may_be_later_by_the_rest_of_a_stall_that_had_begun() -> None:
    tale = Tale().watch()("stall", "alice@1", 5).wait(3).die().wait(NOTICE + SLACK + 2)
    assert not tale.fire("die").broken
    tale = Tale().watch()("stall", "alice@1", 5).wait(3).die().wait(NOTICE + SLACK + 2.1)
    assert tale.fire("die").broken == ["notice"]


def test_notice_is_not_later_by_stalls_of_others() -> None:
    tale = Tale().watch().die()("stall", "bob@1", 5).wait(NOTICE + SLACK + 1)
    assert tale.fire("die").broken == ["notice"]


def test_notice_may_be_later_by_the_silence_that_is_tolerated() -> None:
    tale = Tale().watch().die().wait(NOTICE + SLACK + 4).fire("die")  # heartbeat: 4
    assert [violation.promise for violation in tale.judge(heartbeats=0.5)] == ["notice"]
    assert not tale.judge(heartbeats=1.25)


def test_notice_of_a_death_at_home_does_not_wait_for_the_network() -> None:
    assert Tale().watch(port="q").die("q", "alice@1").wait(2).fire("die").broken == ["notice"]
    assert not Tale().watch(port="q").die("q", "alice@1").wait(0.5).fire("die").broken


def test_notice_broken_by_a_death_that_did_not_happen() -> None:
    assert Tale().watch().fire("die").broken == ["notice"]
    assert Tale().watch().fire("").broken == ["notice"]
    assert Tale().watch().fire("no_such_port").broken == ["notice"]


@pytest.mark.parametrize("word", ["transport_error", "send_limit"])
def test_notice_of_a_loss_may_come_at_any_time(word: str) -> None:
    assert not Tale().watch().fire(word).broken


def test_notice_of_a_death_may_come_from_a_node_that_closes_or_ended() -> None:
    assert not Tale().watch()("closing", "bob@1").fire("closed").broken
    assert not Tale().watch()("end", "bob@1", "kill").fire("no_such_port").broken


def test_notice_of_its_own_closing_is_no_death() -> None:
    assert not Tale().watch()("closing", "alice@1").fire("closed").broken
    assert Tale().watch()("closing", "alice@1").fire("die").broken == ["notice"]
    assert Tale().watch().fire("closed").broken == ["notice"]


def test_notice_by_the_twin_of_a_node_is_believed() -> None:
    """Two processes go by one ID: the one that answers has no such port."""
    assert not Tale().start("bob@2").watch().fire("no_such_port").broken
    assert Tale().start("bob@2").watch().fire("die").broken == ["notice"]


def test_notice_by_a_former_life_is_not_believed() -> None:
    tale = Tale()("end", "bob@1", "kill").start("bob@2")("port", "bob@2", "p2").watch(port="p2")
    assert tale.fire("no_such_port").broken == ["notice"]
    tale = Tale()("end", "bob@1", "kill").start("bob@2")("port", "bob@2", "p2").watch(port="p2")
    assert tale.fire("closed").broken == ["notice"]


def test_notice_that_a_former_life_has_left_is_a_loss() -> None:
    """The watch is on a port of the next life, whose ID came by another way than its link."""
    tale = Tale()("closing", "bob@1")("end", "bob@1", "exit").start("bob@2")
    assert not tale("port", "bob@2", "p2").watch(port="p2").fire("closed").broken


def test_notice_broken_if_the_node_is_down_and_the_watch_did_not_fire() -> None:
    assert Tale().watch().wait(2)("down", "alice@1", "bob").broken == ["notice"]


def test_notice_held_if_the_watch_fired_before_the_node_was_down() -> None:
    assert not Tale().watch().wait(2).fire()("down", "alice@1", "bob").broken


def test_notice_of_a_loss_is_not_for_watches_set_after_it() -> None:
    tale = Tale().watch().wait(2).fire().watch("w2")("down", "alice@1", "bob")
    assert not tale.broken


def test_notice_of_a_loss_is_not_for_watches_on_other_nodes() -> None:
    tale = Tale().start("carol@1")("up", "alice@1", "carol").watch().wait(2)
    tale("down", "alice@1", "carol")
    assert not tale.broken


def test_notice_of_a_loss_may_find_watches_set_just_before_a_stall() -> None:
    tale = Tale().wait(2).watch()("stall", "alice@1", 5).wait(5)("down", "alice@1", "bob")
    assert not tale.broken


def forgotten() -> Tale:
    """Bob knows of alice's watch, and that the port is dead."""
    return Tale().watch().send(1).arrive(1).wait(1).die()


def test_notice_broken_if_a_death_is_not_told_before_what_was_sent_long_after() -> None:
    tale = forgotten().wait(1.1).send(1, "bob@1", "q").arrive(1, sender="bob@1", port="q")
    assert tale.broken == ["notice"]


def test_notice_broken_if_the_watch_on_a_dead_port_is_not_answered_before_that() -> None:
    tale = Tale()("port", "bob@1", "p2").die().watch().wait(1)
    tale.send(1, port="p2").arrive(1, port="p2").wait(1.1)
    assert tale.send(1, "bob@1", "q").arrive(1, sender="bob@1", port="q").broken == ["notice"]


def test_notice_held_if_the_death_is_told_before_that() -> None:
    tale = forgotten().wait(1.1).send(1, "bob@1", "q").fire("die")
    assert not tale.arrive(1, sender="bob@1", port="q").broken


def test_notice_may_come_after_what_was_sent_soon_after_the_death() -> None:
    tale = forgotten().wait(0.9).send(1, "bob@1", "q").wait(5)
    assert not tale.arrive(1, sender="bob@1", port="q").broken
    tale = forgotten()("stall", "bob@1", 5).wait(5.9).send(1, "bob@1", "q")
    assert not tale.arrive(1, sender="bob@1", port="q").broken


def test_notice_is_not_expected_of_who_may_not_know_of_the_watch() -> None:
    tale = Tale().send(1).watch().arrive(1).die().wait(2).send(1, "bob@1", "q")
    assert not tale.arrive(1, sender="bob@1", port="q").broken


def test_notice_is_not_promised_over_an_altered_link() -> None:
    assert not Tale().watch()("tainted", "bob", "alice").fire("die").broken
    assert not Tale().watch()("tainted", "bob", "alice").die().calm().broken
    assert not Tale()("tainted", "bob", "alice").watch().die().calm().broken


def test_notice_of_a_loss_is_promised_for_an_altered_link() -> None:
    tale = Tale()("tainted", "bob", "alice").watch().wait(2)("down", "alice@1", "bob")
    assert tale.broken == ["notice"]


def test_notice_is_promised_again_after_the_altered_link() -> None:
    tale = Tale()("tainted", "bob", "alice").wait(2)("down", "alice@1", "bob").wait(2)
    tale("up", "alice@1", "bob").watch().die()
    assert tale.calm().broken == ["notice"]


# -- identity --------------------------------------------------------------------------------


def test_identity_broken_by_a_message_for_a_former_life() -> None:
    tale = (
        Tale().send(1)("end", "bob@1", "kill").start("bob@2")("arrived", "bob@2", "p", "alice@1", 1)
    )
    assert tale.broken == ["identity"]


def test_identity_broken_by_a_handler_of_a_dead_process() -> None:
    assert Tale().send(1)("end", "bob@1", "kill").arrive(1).broken == ["identity"]


def test_identity_broken_by_a_message_for_a_dead_port() -> None:
    assert Tale().send(2).arrive(1).die().arrive(2).broken == ["identity"]


def test_identity_broken_by_a_message_for_a_port_nobody_made() -> None:
    assert Tale().send(1, port="x").arrive(1, port="x").broken == ["identity"]


def test_identity_broken_by_a_name_that_is_used_again() -> None:
    assert Tale()("port", "alice@1", "p").broken == ["identity"]


def test_identity_held_by_messages_of_a_dead_life_that_were_on_their_way() -> None:
    assert not Tale().send(1)("end", "alice@1", "kill").wait(0.1).arrive(1).broken


def test_identity_broken_by_two_lives_of_one_node_on_one_link() -> None:
    tale = Tale().start("alice@2").send(1).send(1, "alice@2").arrive(1).arrive(1, sender="alice@2")
    assert tale.broken == ["identity"]


def test_identity_held_by_two_lives_one_link_after_the_other() -> None:
    tale = Tale().start("alice@2").send(1).send(1, "alice@2").arrive(1)
    tale("down", "bob@1", "alice")("up", "bob@1", "alice").arrive(1, sender="alice@2")
    assert not tale.broken


# -- nothing before trust --------------------------------------------------------------------


def test_nothing_before_trust_broken_by_a_message_of_nobody() -> None:
    assert Tale().arrive(1, sender="mallory@1").broken == ["nothing before trust"]


def test_nothing_before_trust_broken_by_a_node_that_was_never_started() -> None:
    assert Tale()("up", "alice@1", "mallory").broken == ["nothing before trust"]


def test_nothing_before_trust_broken_by_an_intruder() -> None:
    assert Tale()("intruder", "alice@1", "bob").broken == ["nothing before trust"]


def test_nothing_before_trust_is_not_broken_by_a_node_that_says_late_that_it_started() -> None:
    assert not Tale()("up", "alice@1", "carol").start("carol@1").broken


# -- calls -----------------------------------------------------------------------------------


def calling(timeout: float | None = None) -> Tale:
    return Tale()("cal", "alice@1", "c", "p", timeout)


@pytest.mark.parametrize("outcome", ["reply", "killed", "cancelled"])
def test_calls_end(outcome: str) -> None:
    assert not calling()("cal_end", "alice@1", "c", outcome).calm().broken


def test_calls_broken_by_one_that_ends_twice() -> None:
    tale = calling()("cal_end", "alice@1", "c", "reply")("cal_end", "alice@1", "c", "killed")
    assert tale.broken == ["calls"]


def test_calls_broken_by_an_end_without_beginning() -> None:
    assert Tale()("cal_end", "alice@1", "c", "reply").broken == ["calls"]
    assert calling()("cal_end", "bob@1", "c", "reply").broken == ["calls"]


def test_calls_broken_by_one_that_never_ends() -> None:
    assert calling().wait(1).calm().broken == ["calls"]


def test_calls_may_wait_in_a_short_calm_and_for_a_mailbox() -> None:
    assert not calling().wait(1).calm(NOTICE).broken
    tale = Tale()("port", "bob@1", "box", "mailbox")("cal", "alice@1", "c", "box", None)
    assert not tale.calm().broken


def test_calls_that_began_in_the_calm_may_last() -> None:
    tale = Tale()("healed").wait(50)("cal", "alice@1", "c", "p", None).wait(10)("judged")
    assert not tale.broken


def test_calls_broken_by_one_that_lasts_longer_than_its_timeout() -> None:
    assert calling(3.0).wait(4.1)("cal_end", "alice@1", "c", "timeout").broken == ["calls"]
    assert calling(3.0).wait(4.1)("cal_end", "alice@1", "c", "reply").broken == ["calls"]
    assert calling(3.0).wait(5)("healed").broken == ["calls"]


def test_calls_time_out_in_time() -> None:
    assert not calling(3.0).wait(3)("cal_end", "alice@1", "c", "timeout").broken
    tale = calling(3.0)("stall", "alice@1", 7).wait(10)("cal_end", "alice@1", "c", "timeout")
    assert not tale.broken


def test_calls_broken_by_a_time_out_before_its_time() -> None:
    assert calling(3.0).wait(2)("cal_end", "alice@1", "c", "timeout").broken == ["calls"]
    assert calling().wait(2)("cal_end", "alice@1", "c", "timeout").broken == ["calls"]


def test_calls_broken_by_one_that_outlives_its_port() -> None:
    assert calling(60.0).die().wait(12)("cal_end", "alice@1", "c", "killed").broken == ["calls"]
    assert not calling(60.0).die().wait(11)("cal_end", "alice@1", "c", "killed").broken


def test_calls_of_a_killed_process_need_not_end() -> None:
    assert not calling(3.0)("end", "alice@1", "kill").wait(60).calm().broken


def test_calls_of_a_killed_process_may_be_seen_to_unwind() -> None:
    tale = calling(3.0)("end", "alice@1", "kill").wait(60)("cal_end", "alice@1", "c", "cancelled")
    assert not tale.broken


def test_calls_broken_by_one_that_outlives_its_closed_node() -> None:
    tale = calling().wait(1)("closing", "alice@1")("end", "alice@1", "close")
    assert tale.broken == ["calls"]
    assert not tale("cal_end", "alice@1", "c", "killed").broken


def test_calls_over_an_altered_link_may_get_no_answer() -> None:
    assert not calling()("tainted", "alice", "bob").wait(1).calm().broken


# -- node events -----------------------------------------------------------------------------


def test_node_events_broken_by_a_node_that_comes_up_twice() -> None:
    assert Tale()("up", "alice@1", "bob").broken == ["node events"]


def test_node_events_broken_by_a_node_that_goes_down_without_having_been_up() -> None:
    assert Tale(linked=False)("down", "alice@1", "bob").broken == ["node events"]


def test_node_events_alternate() -> None:
    tale = Tale()
    for _ in range(3):
        tale("down", "alice@1", "bob")("up", "alice@1", "bob")
    assert not tale.broken


def test_node_events_broken_by_a_message_of_a_node_that_is_down() -> None:
    assert Tale()("down", "bob@1", "alice").send(1).arrive(1).broken == ["node events"]


def test_node_events_are_not_asked_of_those_who_note_none_nor_of_those_who_leave() -> None:
    assert not Tale(linked=False).send(1).arrive(1).broken
    assert not Tale()("closing", "bob@1")("down", "bob@1", "alice").send(1).arrive(1).broken


def test_node_events_have_nothing_to_do_with_messages_at_home() -> None:
    assert not Tale().send(1, "bob@1").arrive(1, sender="bob@1").broken


# -- no residue, liveness --------------------------------------------------------------------


def test_no_residue_broken_by_what_was_left() -> None:
    tale = Tale()("closing", "alice@1")("end", "alice@1", "close")("residue", "alice@1", "a timer")
    assert tale.broken == ["no residue"]


@pytest.mark.parametrize(
    "event",
    [
        ("sent", "alice@1", "p", 1), ("fired", "alice@1", "w", "closed", ""),
        ("watch", "alice@1", "w2", "p"), ("cal", "alice@1", "c", "p", 1.0),
        ("down", "alice@1", "bob"), ("port", "alice@1", "q2"), ("garbled", "alice@1", "q"),
    ],
    ids=lambda event: event[0],
)  # fmt: skip
def test_no_residue_broken_by_a_life_that_goes_on_after_its_end(event: tuple[Any, ...]) -> None:
    tale = Tale().watch()("closing", "alice@1").fire("closed")("end", "alice@1", "close")(*event)
    assert tale.broken == ["no residue"]


def test_no_residue_broken_by_a_watch_that_does_not_fire_when_its_node_closes() -> None:
    tale = Tale().watch()("closing", "alice@1")
    assert not tale.broken
    assert tale("end", "alice@1", "close").broken == ["no residue"]


def test_no_residue_is_not_broken_by_watches_set_while_a_node_closes_or_of_a_dead_one() -> None:
    tale = Tale()("closing", "alice@1").watch()("end", "alice@1", "close")
    assert not tale.broken
    assert not Tale().watch()("end", "alice@1", "kill").broken


def test_no_residue_is_not_broken_while_a_node_closes() -> None:
    tale = Tale().watch()("closing", "alice@1").send(1).fire("closed")("down", "alice@1", "bob")
    assert not tale("end", "alice@1", "close").broken


def test_a_program_may_still_cancel_what_was_closed() -> None:
    tale = Tale()("closing", "alice@1").watch()("end", "alice@1", "close")
    assert not tale("unwatch", "alice@1", "w")("closing", "alice@1").broken


def test_liveness_broken_by_nodes_that_are_not_linked() -> None:
    assert Tale().calm()("expect", "alice@1", "bob").broken == ["liveness"]


def test_liveness_held_by_nodes_that_are_linked() -> None:
    assert not Tale().calm()("linked", "alice@1", "bob")("expect", "alice@1", "bob").broken


# -- the judge -------------------------------------------------------------------------------


def test_a_violation_says_what_when_where_and_about_whom() -> None:
    tale = Tale().watch().wait(1.5).send(3).arrive(1, 3)
    (violation,) = tale.judge()
    assert violation.index == len(tale.history) - 1
    assert violation.about == ("alice@1", "p", "w")
    assert str(violation) == (
        "no holes: message 3 of alice@1 to p arrived, message 2 did not; the watch w of alice@1 "
        "on p did not tell (event 11, at 1.500000 s)"
    )


def test_violations_come_in_the_order_in_which_they_showed() -> None:
    tale = Tale()("expect", "alice@1", "bob").send(1).arrive(1, 1)("up", "alice@1", "bob")
    assert tale.broken == ["liveness", "order", "node events"]


def test_what_the_driver_and_the_network_did_is_no_evidence() -> None:
    tale = Tale()("fault", "reset alice bob")("twin", "bob")("wire", "bytes", "alice", "bob", 9)
    assert not tale.broken


def test_a_process_that_ended_before_its_program_began_never_was() -> None:
    assert not Tale()("stall", "carol@1", 2)("end", "carol@1", "kill").broken


@pytest.mark.parametrize(
    "event",
    [
        ("arived", "bob@1", "p", "alice@1", 1), ("sent", "carol@1", "p", 1),
        ("sent", "alice@1", "p", 2), ("start", "alice@1", "alice", 4), ("died", "bob@1", "x", ""),
        ("unwatch", "alice@1", "x"), ("watch", "alice@1", "w", "p"),
        ("cal", "alice@1", "c", "p", 1),
    ],
    ids=lambda event: "-".join(map(str, event[:2])),
)  # fmt: skip
def test_a_history_that_makes_no_sense_is_refused(event: tuple[Any, ...]) -> None:
    tale = calling().watch()(*event)
    with pytest.raises(ValueError, match=r"note it when it begins|name of its own|next number"):
        tale.judge()


def test_judging_takes_work_in_proportion() -> None:
    """Counted in calls of functions: four times the events, four times the work, not sixteen."""

    def calls(rounds: int) -> int:
        tale = Tale()
        for number in range(rounds):
            tale.watch(f"w{number}").send(4).arrive(4 * number + 1, 4 * number + 2).wait(0.1)
            tale.fire(name=f"w{number}")
        count = 0

        def called(*_: object) -> None:
            nonlocal count
            count += 1

        sys.setprofile(called)
        try:
            tale.judge()
        finally:
            sys.setprofile(None)
        return count

    assert calls(800) < 5 * calls(200)


def test_the_judge_shares_no_code_with_what_it_judges() -> None:
    for module in (history, judging, shrink):
        tree = ast.parse(Path(module.__file__ or "").read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                assert all(alias.name in sys.stdlib_module_names for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level:
                assert (node.level, node.module) == (1, "history")
            elif isinstance(node, ast.ImportFrom):
                assert (node.module or "").partition(".")[0] in sys.stdlib_module_names


# -- histories -------------------------------------------------------------------------------


def test_equal_histories_have_equal_digests() -> None:
    assert Tale().send(2).history.digest() == Tale().send(2).history.digest()
    assert Tale().send(2).history.digest() != Tale().send(3).history.digest()
    assert Tale().wait(0.1).send(2).history.digest() != Tale().send(2).history.digest()


def test_a_digest_is_the_same_on_every_python() -> None:
    events = History(lambda: 0.1)
    events.note("fault", "na\u00efve \U0001f600", 3, -0.0, 1e300, True, None, ("x", (1, 2.5)))
    digest = "6beddcf2e9c338998d9c84d30878b09fff17a99ceab071e08030d8af09d599bd"
    assert events.digest() == digest


def test_a_digest_refuses_what_has_no_text_of_its_own() -> None:
    events = History(lambda: 0.0)
    events.note("fault", (1, object()))
    with pytest.raises(TypeError, match="an event holds str, int"):
        events.digest()


def test_a_history_shows_what_happened_around_an_event() -> None:
    tale = Tale().wait(1.5).send(3)("fault", "a\nb").arrive(1)
    lines = tale.history.text(8, before=1, after=2).splitlines()
    assert lines == [
        "      7     1.500000  sent      alice@1  p  2",
        ">     8     1.500000  sent      alice@1  p  3",
        "      9     1.500000  fault     a\\nb",
        "     10     1.500000  arrived   bob@1  p  alice@1  1",
    ]
    assert len(tale.history.text().splitlines()) == len(tale.history) == 11


def test_a_history_shows_what_is_about_somebody_and_what_the_driver_did() -> None:
    tale = Tale().send(1)("fault", "reset").send(1, "bob@1", "q")("wire", "bytes", "alice", "bob")
    shown = tale.history.text(8, about=["q"]).splitlines()
    assert [line.split()[-1] for line in shown] == ["q", "reset", "1"]
    assert shown[-1].startswith(">")
    shown = tale.history.text(6, about=["q"]).splitlines()
    assert [line[0] for line in shown] == [" ", ">", " ", " "]
