"""Leaving: what a closing node, a dying port or a loop that is left must not leave behind."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import warnings
from contextlib import contextmanager

import pytest
from core_kit import SECRET, Log, Network, SkilledClient, nodes, settle, tasks_left, timers_left

import aemp_core as mp
from aemp_core.testing.clock import VirtualClockLoop, virtual_clock

SPAWN = "AnyEvent::MP::_spawn"
DEADLINE = 20
ran: list[str] = []


@pytest.fixture(autouse=True)
def clean():
    ran.clear()


@mp.exposed(name="leaving:port")
def spawned_port():
    ran.append(mp.current_port())
    mp.rcv(mp.current_port(), lambda *_: None)


@mp.exposed(name="leaving:life")
async def spawned_life():
    await asyncio.sleep(3600)


async def serve():
    """A service that takes its time to start."""
    await asyncio.sleep(1)
    ran.append("served")


@contextmanager
def every_coroutine_awaited():
    """Fail if Python warns of a coroutine that was made and dropped."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
        gc.collect()
    assert [str(warning.message) for warning in caught] == []


def nothing_left(node):
    """Whether a closed node holds nothing, and neither does its loop for it."""
    assert node.ports == {} and node.peers == {} and not node._tasks and not node._jobs
    assert node.pulse._sessions == {} and node.spawner._live == {}
    assert timers_left(node.loop) == []
    return True


# -- closing ---------------------------------------------------------------------------------------


@virtual_clock
async def test_ports_spawned_by_peers_while_a_node_closes_do_not_outlive_it():
    """Requests keep coming until the links are closed; nobody would end what they make."""
    async with nodes("alice", "bob") as (alice, bob):
        for _ in range(5_000):
            alice.mon(alice.port(), lambda reason: None)

        async def keep_asking():
            for _ in range(60):
                bob.spawn("alice", "leaving:port")
                bob.snd("alice", "time", bob.port())
                await asyncio.sleep(0)

        asking = asyncio.ensure_future(keep_asking())
        await alice.close()
        await asking
        assert alice.ports == {} and alice.spawner._live == {}


@virtual_clock
async def test_a_spawn_that_comes_while_the_node_closes_is_refused():
    """No code of a user starts in a node that is about to go."""
    network = Network.here()
    async with nodes("alice") as (alice,):
        bob = SkilledClient("bob").join(network, "alice")
        await settle()
        bob.write(bob.connection.prove())
        await settle()
        late = bob.frames(("", SPAWN, f"{'0' * 14}.1", "leaving:port"))
        alice.mon(alice.port(), lambda reason: bob.write(late))
        for _ in range(5_000):  # their ends keep the node busy for some turns
            alice.mon(alice.port(), lambda reason: None)
        await alice.close()
        assert ran == [] and nothing_left(alice)


@pytest.mark.parametrize("names", [["alice"], ["alice", "bob"]], ids=len)
@virtual_clock
async def test_kill_form_monitors_that_fire_while_closing_do_not_dial(names):
    """Every link ends now, so they all fire; each would have a node dialled, and a timer left."""
    async with nodes(*names) as (alice, *others):
        alice.mon(alice.port(), "nobody#x.1")
        alice.mon("bob#x.2", "nobody#x.2")
        alice.mon(others[0].port() if others else "bob#x.3", "nobody#x.3")
        alice.mon("bob", "nobody#x.4")
        alice.mon("unreachable#x.5", "nobody#x.5")
        alice.mon("unreachable#x.6", "nobody#x.6", "message")
        alice.mon(alice.port(), lambda reason: alice.kil("nobody#x.7"))
        alice.mon("bob", lambda reason: alice.snd("nobody#x.8", 1))
        await alice.close()
        for node in others:
            await node.close()
        assert nothing_left(alice) and tasks_left() == set()


@virtual_clock
async def test_a_closed_node_refuses_to_kill_elsewhere():
    """As `snd` does: nobody is there to pass it on."""
    async with nodes("alice") as (alice,):
        await alice.close()
        with pytest.raises(mp.NodeClosed):
            alice.kil("bob#x")
        assert nothing_left(alice)


@virtual_clock
async def test_closing_during_the_probation_of_a_legacy_peer_leaves_nothing():
    """Its link is none yet, but there is a timer and a port for its answer."""
    network = Network.here()
    async with nodes("alice") as (alice,):
        zed = SkilledClient("zed", incarnation=None).join(network, "alice")
        await settle()
        zed.write(zed.connection.prove())
        await settle()
        await alice.close()
        await settle()
        assert zed.ended and nothing_left(alice) and tasks_left() == set()


# -- coroutines ------------------------------------------------------------------------------------


@pytest.mark.parametrize("messages", [1, 2])
@virtual_clock
async def test_an_async_handler_killed_before_it_began_is_closed(messages):
    """Its task is cancelled before the first step, and never takes the coroutine."""

    async def handler(*_):
        pass

    with every_coroutine_awaited():
        async with nodes("alice") as (alice,):
            port = alice.port(handler)
            for _ in range(messages - 1):
                alice.snd(port, "handled")
                await settle()
            alice.snd(port, "never handled")
            alice.kil(port)
            await settle()
            assert port not in alice.ports


@pytest.mark.parametrize("how", ["port_async", "spawn", "call", "request"])
@virtual_clock
async def test_a_coroutine_that_ends_before_it_began_is_closed(how):
    """The task that should await it is cancelled in the turn that made it."""

    async def life(*_):
        await asyncio.sleep(3600)

    with every_coroutine_awaited():
        async with nodes("alice") as (alice,):
            alice.node_port.requests["later"] = life
            if how == "port_async":
                alice.kil(alice.port_async(life))
            elif how == "spawn":
                alice.kil(alice.spawn("alice", "leaving:life"))
            else:
                alice.snd("alice", "leaving:life" if how == "call" else "later")
                alice.mon("alice#gone", lambda _: [task.cancel() for task in [*alice._tasks]])
            await settle()
            assert alice.ports == {}


@virtual_clock
async def test_async_releases_of_guarded_resources_are_awaited():
    """Connections of asyncio libraries close so; local and remote ports alike."""

    class Resource:
        async def close(self):
            await asyncio.sleep(1)
            ran.append("closed")

    async def call():
        await asyncio.sleep(1)
        ran.append("called")

    with every_coroutine_awaited():
        async with nodes("alice", "bob") as (alice, bob):
            for node in (alice, bob):
                port = node.port()
                alice.mon_guard(port, Resource(), call)
                await settle()
                node.kil(port)
            await settle(2)
            assert sorted(ran) == ["called", "called", "closed", "closed"]


@virtual_clock
async def test_an_async_on_error_is_awaited():
    """It runs as a task of the port, which lives on."""

    async def mend(error, message):
        await asyncio.sleep(1)
        ran.append(f"{error!r} {message}")

    def handler(*_):
        raise ValueError("x")

    with every_coroutine_awaited():
        async with nodes("alice") as (alice,):
            port = alice.port(handler, on_error=mend)
            alice.snd(port, 1)
            await settle(2)
            assert ran == ["ValueError('x') (1,)"] and port in alice.ports


@virtual_clock
async def test_an_async_service_has_run_when_the_node_is_started(monkeypatch):
    """A service may have to reach something before the node listens."""
    monkeypatch.setitem(sys.modules, "leaving_service", sys.modules[__name__])
    with every_coroutine_awaited():
        async with nodes("alice", services=[["leaving_service:serve"]]):
            assert ran == ["served"]


# -- a loop that is left, and run again ----------------------------------------------------------


def left_by(fatal, loop, seconds=1):
    """Run the loop until `fatal` leaves it, then again."""
    with pytest.raises(fatal):
        loop.run_until_complete(asyncio.sleep(seconds))
    loop.run_until_complete(asyncio.sleep(seconds))


def started(loop, *names):
    """Nodes linked to the first of them, for a loop run in pieces."""

    async def start():
        Network.here()
        group = []
        for name in names:
            seeds = [f"memory://{node.id}" for node in group]
            node = mp.Node(name, secret=SECRET, binds=[f"memory://{name}"], seeds=seeds)
            group.append(await node.start())
        for node in group[1:]:
            await group[0].up(node.id)
        return group

    return loop.run_until_complete(start())


def ended(loop, *several):
    for node in several:
        loop.run_until_complete(node.close())
    assert all(nothing_left(node) for node in several)
    loop.close()


@pytest.mark.parametrize("fatal", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("where", ["handler", "life", "task"])
def test_a_port_whose_task_left_the_loop_ends_and_is_told(fatal, where):
    """Else it lives on without the task: deaf, and its monitors never fire."""
    loop = VirtualClockLoop()
    (alice,) = started(loop, "alice")
    reasons = []

    async def strike(*_):
        await asyncio.sleep(0.5)
        raise fatal("now")

    async def begin():
        if where == "life":
            port = alice.port_async(strike)
        elif where == "handler":
            port = alice.port(strike)
            alice.snd(port, 1)
            alice.snd(port, 2)
        else:
            port = alice.port()
            alice.peval(port, lambda: alice.task(strike()) and None)
        alice.mon(port, reasons.append)
        return port

    port = loop.run_until_complete(begin())
    left_by(fatal, loop)
    assert reasons == [("die", f"{fatal.__name__}: now")] and port not in alice.ports
    ended(loop, alice)


@pytest.mark.parametrize("fatal", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("striking", [0, 1, 3])
def test_all_monitors_of_a_remote_port_fire_though_one_leaves_the_loop(fatal, striking):
    """They fire together, and the rest of them when the loop is run again, in order."""
    loop = VirtualClockLoop()
    alice, bob = started(loop, "alice", "bob")
    fired = []

    async def begin():
        port, told = bob.port(), alice.port(lambda *message: fired.append(message[0]))

        def strike(reason):
            fired.append(striking)
            raise fatal("now")

        for number in range(4):
            if number == striking:
                alice.mon(port, strike)
            elif number == 2:
                alice.mon(port, told, number)
            else:
                alice.mon(port, lambda reason, number=number: fired.append(number))
        await asyncio.sleep(0.5)
        bob.kil(port, "dead")

    loop.run_until_complete(begin())
    left_by(fatal, loop)
    assert fired == [0, 1, 2, 3]
    ended(loop, alice, bob)


def test_blocking_raises_the_exit_of_a_handler_to_who_waits_and_can_be_closed():
    """The thread goes on after it: neither the next call nor the end of the block hangs."""
    outcome = []

    def program():
        with mp.blocking("alice", secret=SECRET) as node:
            port = node.port(lambda: sys.exit(3))
            silent = node.port(lambda *_: None)
            node.call(node.node.after, 0.05, port)
            try:
                node.cal(silent, timeout=DEADLINE)
            except SystemExit as error:
                outcome.append(error.code)
            outcome.append(node.call(lambda: "still there"))
        outcome.append("closed")

    thread = threading.Thread(target=program, daemon=True)
    thread.start()
    thread.join(DEADLINE)
    assert outcome == [3, "still there", "closed"]


# -- tasks that run at once ----------------------------------------------------------------------


@pytest.mark.skipif(sys.version_info < (3, 12), reason="task factories are lazy before 3.12")
def test_a_supervisor_mends_again_and_again_with_eager_tasks():
    """A restart that is over before it is noted as begun would be the last one."""
    loop = VirtualClockLoop()
    loop.set_task_factory(asyncio.eager_task_factory)

    async def main():
        async with nodes("alice") as (alice,):
            starts = Log()

            def start():
                starts(port := alice.port())
                return port

            mp.Supervisor(intensity=10, node=alice).child("child", start)
            await settle(1)
            for count in range(1, 4):
                assert len(starts.events) == count
                alice.kil(starts.events[-1], "again")
                await settle(10)

    loop.run(main())


# -- leaving the network ---------------------------------------------------------------------------


@virtual_clock
async def test_who_watches_a_node_learns_that_it_left():
    """Its links did not break: nothing of what it sent is missing."""
    async with nodes("alice", "bob") as (alice, bob):
        reasons = []
        got = []
        port = bob.port(lambda *message: got.append(message))
        bob.mon("alice", lambda reason: reasons.append((reason, bob.node_is_up("alice"))))
        bob.mon_nodes(lambda *event: reasons.append(event))
        await bob.cal("alice", "time")
        alice.snd(port, "last words")
        await alice.close()
        await settle(10)
        reason = ("closed", "alice")
        assert reasons == [(reason, False), ("alice", False, reason)]
        assert got == [("last words",)]
