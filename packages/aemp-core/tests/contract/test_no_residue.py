"""No residue: after await node.close() no task, timer, socket, file or watch of the node is
left."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref

import pytest
from core_kit import SECRET, Network, Probe, SkilledClient, nodes, settle, tasks_left, timers_left

import aemp_core as mp
from aemp_core.testing.clock import virtual_clock


def residue():
    loop = asyncio.get_running_loop()
    return tasks_left(), timers_left(loop)


@virtual_clock
async def test_no_residue_of_an_idle_node():
    async with nodes("a", seeds=["memory://nobody"]):
        await settle(5)
        tasks, timers = residue()
        assert tasks or timers, "a dialling node has some"
    assert residue() == (set(), [])


@virtual_clock
async def test_no_residue_of_a_busy_node():
    """Ports of every kind, timers, tasks, monitors, calls, links, a dial and a spawn under way."""
    async with nodes("a", "b") as (a, b):
        remote = b.port(lambda *_: None)
        before = {*tasks_left()}

        async def reader():
            async for _ in mp.messages():
                pass

        async def worker():
            await asyncio.sleep(3_600)

        async def slow(*_):
            await asyncio.sleep(3_600)

        local = a.port(lambda *_: None)
        a.port_async(reader)
        slow_port = a.port(slow)
        a.snd(slow_port, "x")
        a.snd(slow_port, "waits")
        a.after(100, lambda: None)
        a.every(1, lambda: None)
        a.peval(local, a.every, 1, lambda: None)
        a.task(worker())
        a.peval(local, a.task, worker())
        a.mon(remote, lambda reason: None)
        a.mon(local, lambda reason: None)
        a.mon_nodes(lambda *_: None)
        a.mon("nowhere#x", lambda reason: None)
        a.spawn("b", forever)
        call = asyncio.ensure_future(a.cal(slow_port, "never answered"))
        flush = asyncio.ensure_future(a.flush(slow_port))
        killed = asyncio.ensure_future(a.killed(remote))
        await settle(3)
        assert len({*tasks_left()} - before) > 5
        await a.close()
        with pytest.raises((mp.PortKilled, mp.NodeClosed, asyncio.CancelledError)):
            await call
        await asyncio.wait({flush, killed}, timeout=1)
        assert flush.done() and killed.done()
        await settle()
        await b.close()
        await settle()
        assert residue() == (set(), [])
        assert a.ports == {} and b.ports == {}


@mp.exposed(name="residue:forever")
async def forever():
    await asyncio.sleep(3_600)


@virtual_clock
async def test_no_residue_names_and_memory_are_free_again():
    for _ in range(3):
        async with nodes("a", "b") as (a, b):
            a.snd(Probe(b).port, "x")
            await settle()
            references = [weakref.ref(a), weakref.ref(b)]
    del a, b, _
    await settle()
    gc.collect()
    assert [reference() for reference in references] == [None, None]


@virtual_clock
async def test_no_residue_on_the_other_node():
    """Watches that a closed node held on ports of others are gone there, too."""
    async with nodes("a", "b") as (a, b):
        ports = [b.port() for _ in range(100)]
        for port in ports:
            a.mon(port, lambda reason: None)
        await settle()
        assert all(b.ports[port].watches for port in ports)
        await a.close()
        await settle()
        assert not any(b.ports[port].watches for port in ports)


@virtual_clock
async def test_no_residue_close_is_idempotent_and_shared():
    async with nodes("a") as (a,):
        await asyncio.gather(a.close(), a.close(), a.close())
        await a.close()
        assert residue() == (set(), [])


@virtual_clock
async def test_no_residue_if_the_caller_of_close_is_cancelled():
    """close is shielded: it goes on, and the cancelled caller hears of it when it is done."""
    async with nodes("a", "b") as (a, b):
        ended = []

        async def stubborn():
            try:
                await asyncio.sleep(3_600)
            except asyncio.CancelledError:
                await asyncio.sleep(1)
                ended.append("unwound")

        a.task(stubborn())
        await settle()
        closing = asyncio.ensure_future(a.close())
        await settle()
        closing.cancel()
        await settle(0.1)
        assert not closing.done() and ended == []
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert ended == ["unwound"]
        assert a.closed
        await b.close()
        assert residue() == (set(), [])


@virtual_clock
async def test_no_residue_ports_end_with_closed_and_their_monitors_run():
    async with nodes("a", "b") as (a, b):
        seen = []
        port = a.port()
        a.mon(port, seen.append)
        released = []
        a.mon_guard(port, lambda: released.append(1), lambda: released.append(2))
        remote = []
        b.mon(port, remote.append)
        await settle()
        await a.close()
        await settle()
        assert seen == [("closed", "a")]
        assert released == [2, 1]
        assert remote in ([("closed", "a")],) or remote[0][0] == "transport_error"


@virtual_clock
async def test_no_residue_what_was_sent_before_close_is_written_out():
    async with nodes("a", "b") as (a, b):
        probe = Probe(b)
        for number in range(5_000):
            a.snd(probe.port, number)
        await a.close()
        await settle()
        assert probe.firsts == list(range(5_000))


@virtual_clock
async def test_no_residue_a_closed_node_refuses_new_work():
    async with nodes("a", "b") as (a, b):
        port, remote = a.port(), b.port()
        await a.close()
        verbs = {
            "port": lambda: a.port(),
            "mon": lambda: a.mon(remote, lambda reason: None),
            "snd remote": lambda: a.snd(remote, "x"),
            "snd local": lambda: a.snd(port, "x"),
            "kil remote": lambda: a.kil(remote),
            "kil local": lambda: a.kil(port),
            "spawn": lambda: a.spawn("b", forever),
            "after": lambda: a.after(1, lambda: None),
            "every": lambda: a.every(1, lambda: None),
            "port_async": lambda: a.port_async(forever),
            "mon_guard": lambda: a.mon_guard(remote, lambda: None),
            "mon_nodes": lambda: a.mon_nodes(lambda *_: None),
            "snd_on": lambda: a.snd_on("b", remote),
            "snd_to_func": lambda: a.snd_to_func("b", forever),
        }
        calls = {
            "cal": lambda: a.cal(remote),
            "killed": lambda: a.killed(remote),
            "flush": lambda: a.flush("b"),
            "up": lambda: a.up("b"),
            "eval_on": lambda: a.eval_on("b", "1"),
        }
        left = residue()
        wrong = []
        for name, verb in (verbs | calls).items():
            try:
                result = verb()
                if name in calls:
                    await result
                wrong.append(name)
            except mp.NodeClosed as error:
                assert "a is closed" in str(error)
        assert wrong == []
        assert residue() == left


@virtual_clock
async def test_no_residue_when_a_monitor_restarts_things_meanwhile():
    """Monitors that make new ports, timers and tasks while the node closes get NodeClosed, and
    closing ends."""
    async with nodes("a") as (a,):
        errors, started = [], []

        def start():
            port = a.port()
            started.append(port)
            a.mon(port, restart)
            a.peval(port, a.every, 0.1, lambda: None)

        def restart(reason):
            try:
                start()
            except mp.NodeClosed as error:
                errors.append(error)

        for _ in range(10):
            start()
        await asyncio.wait_for(a.close(), 10)
        assert len(errors) == 10 and len(started) == 10
        assert a.ports == {}
        assert residue() == (set(), [])


@virtual_clock
async def test_no_residue_when_handlers_keep_sending():
    """Two ports that play ping-pong for ever do not keep the node open."""
    async with nodes("a") as (a,):
        count = []

        def ping(*_):
            count.append(1)
            loop.stall(0.001)  # time passes while they play, as it does in the real world
            a.snd(ports[1], "x")

        def pong(*_):
            a.snd(ports[0], "x")

        loop = asyncio.get_running_loop()
        ports = [a.port(ping), a.port(pong)]
        a.snd(ports[0], "x")
        await settle()
        await asyncio.wait_for(a.close(), 60)
        assert count
        assert residue() == (set(), [])


@virtual_clock
async def test_no_residue_when_closed_by_its_own_handler():
    """A port may close the node it lives on."""
    async with nodes("a") as (a,):
        done = []

        async def handler(*_):
            await a.close()
            done.append(True)

        a.snd(a.port(handler), "close")
        await settle(20)
        assert a.closed
        assert residue() == (set(), [])


@virtual_clock
async def test_no_residue_when_opening_fails():
    async with nodes("a"):
        before = residue()
        with pytest.raises(mp.TransportError, match="bound"):
            await mp.Node("b", binds=["memory://b", "memory://a"], secret=SECRET).start()
        await settle()
        assert len(residue()[0]) == len(before[0])
        async with mp.Node("b", binds=["memory://b"], secret=SECRET):
            pass


@virtual_clock
async def test_no_residue_with_a_silent_peer():
    """Closing does not wait for a peer that reads nothing."""
    network = Network.here()
    async with nodes("a", "b") as (a, b):
        port = b.port()
        network.silence("a", "b")
        for _ in range(2_000):
            a.snd(port, "x" * 1_000)
        began = asyncio.get_running_loop().time()
        await a.close()
        assert asyncio.get_running_loop().time() - began < 20
        network.heal()
        await b.close()
        await settle(5)
        assert residue() == (set(), [])


@virtual_clock
async def test_no_residue_names_a_task_that_does_not_end(caplog):
    """Every wait of close is bounded; what is left is said."""
    async with nodes("a") as (a,):
        release = asyncio.Event()

        async def stubborn():
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    pass

        a.task(stubborn(), name="mule")
        await settle()
        with caplog.at_level(logging.ERROR):
            await asyncio.wait_for(a.close(), 60)
        assert "mule" in caplog.text
        release.set()
        await settle()
        assert residue() == (set(), [])


@virtual_clock
async def test_no_residue_what_a_slow_link_has_not_taken_is_written_out_too():
    async with nodes("a", "b") as (a, b):
        probe = Probe(b)
        for number in range(200):
            a.snd(probe.port, number, "x" * 20_000)
        await a.close()
        await settle()
        assert probe.firsts == list(range(200))


@virtual_clock
async def test_no_residue_of_one_listener_though_another_cannot_be_closed(monkeypatch, caplog):
    async def broken():
        raise OSError("the disk is gone")

    async with nodes("a", connected=False, advertise=["memory://a"]) as (a,):
        (first,) = a._listeners
        a._listeners.append(await a.transport("memory://b").listen("memory://b", lambda _: None))
        close = first.close
        monkeypatch.setattr(first, "close", broken)
        await a.close()
        assert "closing a listener" in caplog.text and "the disk is gone" in caplog.text
        async with nodes("b", connected=False):
            pass  # its name is free again
        await close()
    assert residue() == (set(), [])


@virtual_clock
async def test_no_residue_of_a_cancelled_monitor_at_the_other_node():
    """The last guard of several withdraws it there; what is cancelled before goes on."""
    async with nodes("a", "b") as (a, b):
        port = b.port()
        guards = [a.mon(port, lambda reason: None) for _ in range(3)]
        await settle()
        assert len(b.ports[port].watches) == 1
        for guard in guards:
            assert len(b.ports[port].watches) == 1
            guard.cancel()
            await settle()
        assert not b.ports[port].watches


@virtual_clock
async def test_no_residue_of_a_link_that_a_peer_left_and_keeps_open():
    """The node is told that it is over: nobody waits for the connection any more."""

    class Stubborn(SkilledClient):
        def eof_received(self):
            return True  # the transport stays open

    network = Network.here()
    async with nodes("a", connected=False) as (a,):
        client = Stubborn("b").join(network, "a")
        await settle()
        client.write(client.connection.prove())
        await settle()
        reasons = []
        a.mon("b", reasons.append)
        client.write(client.frames(("", "kil0", "", "closed", "b")))
        await settle()
        assert reasons == [("closed", "b")]
        await a.close()
        assert residue() == (set(), [])
