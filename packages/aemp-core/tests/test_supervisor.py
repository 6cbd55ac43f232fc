"""Supervisors: Erlang's strategies and restarts, intensity, back-off, and the end."""

from __future__ import annotations

import asyncio

import pytest
from core_kit import Log, Network, crash, nodes, now, settle, tasks_left, timers_left

import aemp_core as mp
from aemp_core.testing.clock import virtual_clock

PATIENT = {"intensity": 1_000, "backoff": (0.1, 0.1)}


class Family:
    """Children that note their starts and ends."""

    def __init__(self, node):
        self.node = node
        self.log = Log()
        self.ports = {}

    def start(self, name):
        def start():
            port = self.ports[name] = self.node.port(lambda *_: None)
            self.log(f"+{name}")
            self.node.mon(port, lambda reason: self.log(f"-{name}"))
            return port

        return start

    def added_to(self, supervisor, *names, restart="permanent"):
        for name in names:
            supervisor.child(name, self.start(name), restart)

    def take(self):
        events, self.log.events = self.log.events, []
        return events


@virtual_clock
async def test_children_start_in_the_order_they_were_added():
    async with nodes("a") as (a,):
        for strategy in ("one_for_one", "one_for_all", "rest_for_one"):
            family = Family(a)
            supervisor = mp.Supervisor(strategy)
            family.added_to(supervisor, "x", "y", "z")
            assert family.take() == [], "not inside child()"
            assert supervisor.which("x") is None
            await settle()
            assert family.take() == ["+x", "+y", "+z"]
            for name in "xyz":
                assert supervisor.which(name) == family.ports[name]
            assert supervisor.which("nobody") is None


@pytest.mark.parametrize(
    ("strategy", "events"),
    [
        ("one_for_one", ["-y", "+y"]),
        ("one_for_all", ["-y", "-z", "-x", "+x", "+y", "+z"]),
        ("rest_for_one", ["-y", "-z", "+y", "+z"]),
    ],
)
@virtual_clock
async def test_who_is_restarted_with_a_child_that_ended(strategy, events):
    """The others end last added first, then all start in the order they were added."""
    async with nodes("a") as (a,):
        family = Family(a)
        supervisor = mp.Supervisor(strategy, **PATIENT)
        family.added_to(supervisor, "x", "y", "z")
        await settle()
        family.take()
        old = dict(family.ports)
        a.kil(old["y"], "boom")
        await settle(0.05)
        assert [event for event in family.take() if event[0] == "-"] == [
            event for event in events if event[0] == "-"
        ]
        assert supervisor.which("y") is None
        await settle(0.1)
        assert family.take() == [event for event in events if event[0] == "+"]
        for name in "xyz":
            assert supervisor.which(name) == family.ports[name]
            assert (family.ports[name] != old[name]) == (f"+{name}" in events)


@pytest.mark.parametrize("strategy", ["one_for_one", "one_for_all", "rest_for_one"])
@pytest.mark.parametrize(
    ("restart", "reason", "starts"),
    [
        ("permanent", (), 2), ("permanent", ("boom",), 2),
        ("transient", (), 1), ("transient", ("boom",), 2),
        ("temporary", (), 1), ("temporary", ("boom",), 1),
    ],
)  # fmt: skip
@virtual_clock
async def test_which_child_is_restarted_at_all(strategy, restart, reason, starts):
    async with nodes("a") as (a,):
        family = Family(a)
        supervisor = mp.Supervisor(strategy, **PATIENT)
        family.added_to(supervisor, "x", restart=restart)
        await settle()
        a.kil(family.ports["x"], *reason)
        await settle(1)
        assert family.take().count("+x") == starts
        assert (supervisor.which("x") is None) == (starts == 1)
        assert supervisor.port in a.ports


@virtual_clock
async def test_temporary_children_are_not_restarted_with_their_siblings_transient_ones_are():
    async with nodes("a") as (a,):
        family = Family(a)
        supervisor = mp.Supervisor("one_for_all", **PATIENT)
        family.added_to(supervisor, "p")
        family.added_to(supervisor, "t", "done", restart="transient")
        family.added_to(supervisor, "once", restart="temporary")
        await settle()
        a.kil(family.ports["done"])
        await settle(1)
        assert family.take() == ["+p", "+t", "+done", "+once", "-done"]
        a.kil(family.ports["p"], "boom")
        await settle(1)
        assert family.take() == ["-p", "-once", "-t", "+p", "+t", "+done"]
        assert supervisor.which("once") is None
        supervisor.child("once", family.start("once"))
        await settle()
        assert family.take() == ["+once"], "a forgotten name is free"


@virtual_clock
async def test_a_back_off_doubles_and_is_reset_after_a_quiet_period():
    async with nodes("a") as (a,):
        family = Family(a)
        supervisor = mp.Supervisor(intensity=1_000, period=50, backoff=(1, 8))
        family.added_to(supervisor, "x")
        await settle(0.5)
        pauses = []
        for _ in range(6):
            await _restarted(a, family, supervisor, pauses)
        assert pauses == [pytest.approx(pause, abs=0.01) for pause in (1, 2, 4, 8, 8, 8)]
        await settle(49)
        await _restarted(a, family, supervisor, pauses)
        assert pauses[-1] == pytest.approx(8, abs=0.01)
        await settle(51)
        await _restarted(a, family, supervisor, pauses)
        await _restarted(a, family, supervisor, pauses)
        assert pauses[-2:] == [pytest.approx(1, abs=0.01), pytest.approx(2, abs=0.01)]


async def _restarted(node, family, supervisor, pauses):
    began = now()
    node.kil(supervisor.which("x"), "boom")
    await settle()
    while supervisor.which("x") is None:
        await asyncio.sleep(0.01)
    pauses.append(now() - began)


@virtual_clock
async def test_back_offs_of_one_for_one_children_are_their_own():
    async with nodes("a") as (a,):
        family = Family(a)
        supervisor = mp.Supervisor(intensity=1_000, backoff=(1, 64), period=1_000)
        family.added_to(supervisor, "x", "y")
        await settle()
        for _ in range(4):
            await _restarted(a, family, supervisor, [])
        a.kil(supervisor.which("x"), "boom")
        a.kil(supervisor.which("y"), "boom")
        await settle(1.5)
        assert supervisor.which("y") is not None and supervisor.which("x") is None


@pytest.mark.parametrize("strategy", ["one_for_one", "one_for_all", "rest_for_one"])
@virtual_clock
async def test_too_many_restarts_end_the_supervisor_and_its_children(strategy):
    async with nodes("a") as (a,):
        family = Family(a)
        supervisor = mp.Supervisor(strategy, intensity=3, period=5, backoff=(0, 0))
        family.added_to(supervisor, "x", "y", "z")
        ended = []
        a.mon(supervisor.port, ended.append)
        await settle()
        for count in range(3):
            a.kil(supervisor.which("y"), "boom", count)
            await settle(0.01)
            assert supervisor.which("y") is not None, count
        assert ended == []
        family.take()
        a.kil(supervisor.which("y"), "boom", "last")
        await settle()
        assert len(ended) == 1
        word, text = ended[0]
        assert word == "shutdown"
        assert "'y'" in text and "boom: last" in text and "5 s" in text
        assert family.take() == ["-y", "-z", "-x"]
        await settle(10)
        assert family.take() == []
        assert all(supervisor.which(name) is None for name in "xyz")


@virtual_clock
async def test_restarts_spread_over_time_are_borne():
    async with nodes("a") as (a,):
        family = Family(a)
        supervisor = mp.Supervisor(intensity=3, period=5, backoff=(0, 0))
        family.added_to(supervisor, "x")
        await settle()
        for _ in range(40):
            a.kil(supervisor.which("x"), "boom")
            await settle(1.7)
        assert supervisor.which("x") is not None


@virtual_clock
async def test_intensity_zero_bears_no_restart():
    async with nodes("a") as (a,):
        family = Family(a)
        supervisor = mp.Supervisor(intensity=0)
        family.added_to(supervisor, "x")
        ended = []
        a.mon(supervisor.port, ended.append)
        await settle()
        a.kil(family.ports["x"])
        await settle()
        assert ended[0][0] == "shutdown"


@virtual_clock
async def test_killing_the_supervisor_kills_its_children_last_added_first():
    async with nodes("a", "b") as (a, b):
        family = Family(a)
        supervisor = mp.Supervisor(node=a)
        remote_ends = []

        def remote():
            port = b.port()
            b.mon(port, lambda reason: (family.log("-remote"), remote_ends.append(reason)))
            return port

        family.added_to(supervisor, "x", "y")
        supervisor.child("remote", remote)
        family.added_to(supervisor, "z")
        await settle()
        family.take()
        a.kil(supervisor.port, "enough")
        await settle()
        assert family.take() == ["-z", "-remote", "-y", "-x"]
        assert remote_ends[0][0] == "shutdown" and supervisor.port in remote_ends[0][1]
        with pytest.raises(mp.UsageError, match="has ended"):
            supervisor.child("late", family.start("late"))
        await settle(40)
        assert family.take() == []


@virtual_clock
async def test_a_normal_end_of_the_supervisor_ends_its_children_too():
    async with nodes("a") as (a,):
        family = Family(a)
        supervisor = mp.Supervisor()
        family.added_to(supervisor, "x", restart="transient")
        await settle()
        a.kil(supervisor.port)
        await settle(5)
        assert family.take() == ["+x", "-x"]


@virtual_clock
async def test_killed_while_children_wait_for_their_restart():
    async with nodes("a") as (a,):
        for strategy in ("one_for_one", "one_for_all"):
            family = Family(a)
            supervisor = mp.Supervisor(strategy, backoff=(10, 10))
            family.added_to(supervisor, "x", "y")
            await settle()
            a.kil(family.ports["x"], "boom")
            await settle(1)
            a.kil(supervisor.port)
            await settle(30)
            assert sorted(family.take()) == ["+x", "+y", "-x", "-y"]
    assert tasks_left() == set()


@virtual_clock
async def test_start_may_be_async_and_is_awaited_in_order():
    async with nodes("a") as (a,):
        family = Family(a)

        def slow(name):
            async def start():
                await asyncio.sleep(1)
                return family.start(name)()

            return start

        supervisor = mp.Supervisor("rest_for_one", **PATIENT)
        supervisor.child("x", slow("x")).child("y", slow("y"))
        await settle(1.5)
        assert family.take() == ["+x"]
        await settle(1)
        assert family.take() == ["+y"]
        # The first ends while the second is being started again: the second starts anew after it.
        a.kil(family.ports["y"], "boom")
        await settle(0.5)
        a.kil(family.ports["x"], "boom")
        await settle(5)
        assert family.take() == ["-y", "-x", "+y", "-y", "+x", "+y"]
        assert supervisor.which("y") == family.ports["y"]


@virtual_clock
async def test_an_error_in_start_counts_as_a_death():
    async with nodes("a") as (a,):
        attempts = []

        def start():
            attempts.append(now())
            if len(attempts) < 3:
                raise OSError("not yet")
            return a.port()

        supervisor = mp.Supervisor(backoff=(1, 10))
        supervisor.child("x", start)
        began = now()
        await settle(10)
        assert [round(moment - began, 1) for moment in attempts] == [0, 1, 3]
        assert supervisor.which("x") in a.ports

        async def never():
            raise RuntimeError("no hope")

        for wrong in (never, lambda: None, lambda: "no#port#id", lambda: 5):
            hopeless = mp.Supervisor(backoff=(0, 0))
            ended = []
            a.mon(hopeless.port, ended.append)
            hopeless.child("x", wrong)
            await settle(1)
            assert ended[0][0] == "shutdown" and "'x'" in ended[0][1]

        attempts.clear()
        temporary = mp.Supervisor()
        temporary.child("x", start, "temporary")
        await settle(5)
        assert len(attempts) == 1 and temporary.port in a.ports


@virtual_clock
async def test_starts_run_in_the_port_of_the_supervisor():
    async with nodes("a", "b") as (a, b):
        seen = []

        def start():
            seen.append((mp.current_port(), mp.current_node().id))
            return mp.port()

        supervisor = mp.Supervisor(node=b)
        supervisor.child("x", start)
        await settle()
        assert seen == [(supervisor.port, "b")]
        assert mp.node_of(supervisor.which("x")) == "b"


@mp.exposed(name="supervisor:worker")
def worker():
    mp.rcv(mp.current_port(), die=lambda: 1 / 0, where=mp.replies(lambda: mp.current_node().id))


@virtual_clock
async def test_remote_children_are_spawned_and_restarted():
    """A child on a node that is lost is started again, and again until the node is back."""
    network = Network.here()
    async with nodes("a", "b", monitor_timeout=11) as (a, b):
        supervisor = mp.Supervisor(node=a, intensity=100, backoff=(0.5, 0.5))
        supervisor.child("w", lambda: mp.spawn("b", worker))
        await settle()
        assert await a.cal(supervisor.which("w"), "where") == ("b",)
        a.snd(supervisor.which("w"), "die")
        await settle(1)
        assert await a.cal(supervisor.which("w"), "where") == ("b",)
        await crash(network, b)
        await settle(60)
        async with nodes("b", connected=False) as (again,):
            again.learn("a", "memory://a")
            await again.up("a", 30)
            await settle(15)
            assert await a.cal(supervisor.which("w"), "where", timeout=5) == ("b",)
            await a.close()


@virtual_clock
async def test_supervisors_of_supervisors():
    async with nodes("a") as (a,):
        family = Family(a)

        def branch():
            supervisor = mp.Supervisor(intensity=0)
            family.added_to(supervisor, "leaf", "other")
            branches.append(supervisor)
            return supervisor.port

        branches = []
        top = mp.Supervisor(backoff=(1, 1))
        top.child("branch", branch)
        await settle()
        assert family.take() == ["+leaf", "+other"]
        a.kil(family.ports["leaf"], "boom")
        await settle(2)
        assert family.take() == ["-leaf", "-other", "+leaf", "+other"]
        assert len(branches) == 2 and top.which("branch") == branches[1].port
        a.kil(top.port)
        await settle()
        assert family.take() == ["-other", "-leaf"]


@virtual_clock
async def test_a_child_shared_name_by_name_with_the_port_of_a_dead_life():
    """A child that ends at once, again and again, is noticed as such, not restarted for ever."""
    async with nodes("a") as (a,):

        def start():
            port = a.port()
            a.kil(port, "stillborn")
            starts.append(port)
            return port

        starts = []
        supervisor = mp.Supervisor(backoff=(0, 0))
        ended = []
        a.mon(supervisor.port, ended.append)
        supervisor.child("x", start)
        await settle()
        assert len(starts) == 4
        assert "stillborn" in ended[0][1]


@pytest.mark.parametrize("strategy", ["one_for_one", "one_for_all", "rest_for_one"])
@virtual_clock
async def test_closing_the_node_ends_while_everything_is_being_restarted(strategy):
    async with nodes("a") as (a,):
        family = Family(a)
        supervisor = mp.Supervisor(strategy, intensity=10**6, backoff=(0, 0))
        family.added_to(supervisor, *"uvwxyz")

        async def slow():
            await asyncio.sleep(0.5)
            return a.port()

        supervisor.child("slow", slow)
        await settle()
        for name in "vy":
            a.kil(family.ports[name], "boom")
        await asyncio.sleep(0)
        await asyncio.wait_for(a.close(), 10)
        assert a.ports == {}
        assert tasks_left() == set() and timers_left(a.loop) == []
        with pytest.raises(mp.NodeClosed):
            mp.Supervisor(node=a)


@virtual_clock
async def test_closing_the_node_leaves_no_errors_in_the_log(caplog):
    async with nodes("a", "b") as (a, b):
        family = Family(a)
        supervisor = mp.Supervisor("one_for_all", node=a)
        family.added_to(supervisor, "x", "y")
        supervisor.child("remote", lambda: mp.spawn("b", worker))
        await settle()
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: mp.Supervisor("one_for_two"), "strategy='one_for_two'.*rest_for_one"),
        (lambda: mp.Supervisor(intensity=-1), "intensity=-1"),
        (lambda: mp.Supervisor(intensity=1.5), "intensity=1.5"),
        (lambda: mp.Supervisor(period=0), "period=0"),
        (lambda: mp.Supervisor(backoff=(5, 1)), r"backoff=\(5, 1\)"),
        (lambda: mp.Supervisor(backoff=3), "backoff=3"),
        (lambda: mp.Supervisor().child("x", 5), "start=5.*'x'"),
        (lambda: mp.Supervisor().child("x", int, "forever"), "restart='forever'.*transient"),
        (lambda: mp.Supervisor().child("x", int).child("x", int), "a child 'x' already"),
    ],
)
def test_wrong_use_raises_at_the_caller(call, text):
    @virtual_clock
    async def wrong():
        async with nodes("a"):
            with pytest.raises(mp.UsageError, match=text):
                call()

    wrong()
