"""The simulated network: what each fault does to connections, and what nodes make of it."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from core_kit import Probe
from world_kit import Talker, dial, joined, listen, pair, start

import aemp_core as mp
from aemp_core.memory import MemoryTransport
from aemp_core.testing import CHECKS, Harness, Process, World, run_check
from aemp_core.testing.conformance import name_of


@pytest.fixture
def ends(aemp_world: World) -> tuple[Process, Process]:
    """Two processes on machines of their own."""
    return aemp_world.process("a"), aemp_world.process("b")


def data(talker: Talker) -> bytes:
    return bytes(talker.data)


class Watched:
    """A port of one node watched by another: when what was told."""

    def __init__(self, watcher: mp.Node, port: str) -> None:
        self.fired: list[tuple[float, Any]] = []
        self._loop = watcher.loop
        self._began = self._loop.time()
        watcher.mon(port, lambda reason: self.fired.append((self.elapsed, reason)))

    @property
    def elapsed(self) -> float:
        return self._loop.time() - self._began

    def start(self) -> None:
        """Count seconds from now."""
        self._began = self._loop.time()


# -- contact ---------------------------------------------------------------------------------


async def test_a_partition_holds_bytes_back_and_a_heal_delivers_them(ends: Any) -> None:
    network = ends[0].world.network
    near, far = await joined(*ends)
    network.partition(*ends)
    for number in range(10):
        near.transport.write(b"%d" % number)
    far.transport.write(b"answer")
    await asyncio.sleep(20)
    assert (data(near), data(far)) == (b"", b"")
    assert near.told == far.told == ["made"], "nobody is told"
    healed = network.now
    network.heal()
    near.transport.write(b"later")
    await asyncio.sleep(30)
    assert (data(near), data(far)) == (b"answer", b"0123456789later"), "in order"
    assert healed < far.chunks[0][0] <= healed + 20 + 0.001, "the kernel tries again in a while"


async def test_what_was_on_its_way_is_held_back_and_what_had_arrived_is_there(ends: Any) -> None:
    network = ends[0].world.network
    near, far = await joined(*ends, latency=1)
    far.transport.pause_reading()
    near.transport.write(b"arrived ")
    await asyncio.sleep(1.5)
    near.transport.write(b"on its way")
    await asyncio.sleep(0.5)
    network.partition(*ends)
    far.transport.resume_reading()
    await asyncio.sleep(10)
    assert data(far) == b"arrived "
    network.heal()
    await asyncio.sleep(30)
    assert data(far) == b"arrived on its way"


async def test_a_connection_idle_in_a_partition_carries_at_once_after_it(ends: Any) -> None:
    network = ends[0].world.network
    near, far = await joined(*ends, latency=0.1)
    network.partition(*ends)
    await asyncio.sleep(60)
    network.heal()
    began = network.now
    near.transport.write(b"x")
    await asyncio.sleep(1)
    assert far.chunks == [(pytest.approx(began + 0.1), b"x")]


async def test_a_partition_of_one_way_lets_the_other_direction_pass(ends: Any) -> None:
    network = ends[0].world.network
    near, far = await joined(*ends, capacity=100)
    network.partition(*ends, one_way=True)
    near.transport.write(b"lost")
    far.transport.set_write_buffer_limits(high=0)
    far.transport.write(bytes(150))
    await asyncio.sleep(10)
    assert (len(near.data), data(far)) == (150, b"")
    assert far.told == ["made", "pause"], "that they were read is not heard of"
    network.heal()
    await asyncio.sleep(30)
    assert data(far) == b"lost"
    assert far.told == ["made", "pause", "resume"]


async def test_a_partition_from_all_the_others_keeps_its_members_together(
    aemp_world: World,
) -> None:
    a, b, c = (aemp_world.process(name) for name in "abc")
    network = aemp_world.network
    ab, ac, bc = await joined(a, b), await joined(a, c), await joined(b, c)
    network.partition({a, b})
    for near, _ in (ab, ac, bc):
        near.transport.write(b"x")
    await asyncio.sleep(10)
    assert [data(far) for _, far in (ab, ac, bc)] == [b"x", b"", b""]


@pytest.mark.parametrize("one_way", [False, True])
async def test_machines_are_named_by_nodes_processes_and_names(
    aemp_world: World, one_way: bool
) -> None:
    """A node in a process of its own is where the process is, whatever its ID is."""
    a, b = aemp_world.process("host a"), aemp_world.process("host b")
    alice, bob = await start(a, "alice"), await start(b, "bob")
    await b.call(bob.up, "alice")
    network = aemp_world.network
    here = await network.node("here")
    await here.up("bob")
    for one, other in itertools.product([alice, a, "host a", [alice]], [bob, b, {"host b"}]):
        network.partition(one, other, one_way=one_way)
        (cable,) = network.between(alice, bob)
        assert [lane.held for lane in cable.lanes].count(True) == 2 - one_way
        network.heal()
        assert not any(lane.held for lane in cable.lanes)
    assert len(network.between(here)) == 2
    assert len(network.between("here", b)) == 1


async def test_a_reset_is_sent_once(ends: Any) -> None:
    """Who is cut off when a connection is reset is not told, and learns it by sending."""
    network = ends[0].world.network
    near, far = await joined(*ends)
    network.partition(*ends)
    near.transport.abort()
    await asyncio.sleep(10)
    network.heal()
    await asyncio.sleep(60)
    assert far.told == ["made"]
    far.transport.write(b"still there?")
    await asyncio.sleep(60)
    assert far.told == ["made", "reset"]


async def test_an_end_of_file_is_sent_again(ends: Any) -> None:
    network = ends[0].world.network
    near, far = await joined(*ends)
    network.partition(*ends)
    near.transport.write(b"x")
    near.transport.close()
    await asyncio.sleep(10)
    network.heal()
    await asyncio.sleep(60)
    assert (data(far), far.told) == (b"x", ["made", "eof", "lost"])


# -- connections -------------------------------------------------------------------------------


async def test_reset_tells_both_ends_also_in_a_partition(ends: Any) -> None:
    network = ends[0].world.network
    near, far = await joined(*ends)
    network.partition(*ends)
    far.transport.write(b"lost")
    network.reset(ends[0])
    await asyncio.sleep(0.001)
    assert near.told == far.told == ["made", "reset"]
    assert data(near) == b""
    assert network.between(*ends) == []


async def test_drop_tells_nobody_and_carries_nothing_for_ever(ends: Any) -> None:
    network = ends[0].world.network
    near, far = await joined(*ends)
    network.drop(*ends)
    near.transport.write(b"x")
    far.transport.write(b"x")
    await asyncio.sleep(1_000)
    near.transport.close()
    await asyncio.sleep(1_000)
    assert (data(near), data(far)) == (b"", b"")
    assert far.told == ["made"]
    again = await joined(*ends)
    again[0].transport.write(b"x")
    await asyncio.sleep(1)
    assert data(again[1]) == b"x", "new connections are sound"


async def test_of_a_half_open_connection_the_other_end_learns_when_it_sends(ends: Any) -> None:
    network = ends[0].world.network
    near, far = await joined(*ends)
    network.half_open(*ends)
    await asyncio.sleep(100)
    assert (near.told, far.told) == (["made", "reset"], ["made"])
    far.transport.write(b"still there?")
    await asyncio.sleep(1)
    assert far.told == ["made", "reset"]


async def test_corrupt_flips_one_bit_of_each_chunk(ends: Any) -> None:
    network = ends[0].world.network
    near, far = await joined(*ends)
    network.corrupt(*ends, chunks=2)
    for _ in range(4):
        near.transport.write(bytes(10))
        far.transport.write(bytes(10))
        await asyncio.sleep(0.1)
    flipped = [sum(byte.bit_count() for byte in chunk) for _, chunk in far.chunks]
    assert flipped == [1, 1, 0, 0]
    assert data(near) == bytes(40), "one direction only"
    tainted = [event[2:] for event in network.world.history.events if event[1] == "tainted"]
    assert tainted == [("dialler", "listener")] * 2


async def test_a_name_nobody_listens_at_refuses_and_a_machine_cut_off_does_not_answer(
    ends: Any,
) -> None:
    network = ends[0].world.network
    one, other = ends
    with pytest.raises(mp.TransportError, match="memory://nobody: nobody listens there"):
        await dial(one, "nobody", Talker(one.world))
    await listen(other, "somebody", Talker(one.world))
    network.partition(other)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(dial(one, "somebody", Talker(one.world)), 100)
    network.heal()
    began = network.now
    await dial(one, "somebody", Talker(one.world))
    assert network.now - began < 0.001, "a new attempt is not the old one"
    other.kill()
    with pytest.raises(mp.TransportError, match="nobody listens there"):
        await dial(one, "somebody", Talker(one.world))


async def test_a_request_to_connect_is_repeated_until_there_is_contact(ends: Any) -> None:
    network = ends[0].world.network
    one, other = ends
    near, far = Talker(one.world), Talker(one.world)
    await listen(other, "somebody", far)
    network.partition(*ends, one_way=True)
    began = network.now
    dialling = asyncio.ensure_future(dial(one, "somebody", near))
    await asyncio.sleep(4)
    network.heal()
    await dialling
    assert network.now - began == pytest.approx(1 + 2 + 4, abs=0.01)
    await asyncio.sleep(1e-6)
    assert far.told == ["made"]


async def test_the_simulated_network_is_for_loops_of_its_world() -> None:
    with pytest.raises(RuntimeError, match=r"make them in World\.run"):
        await World().network.node("a")


# -- machines ----------------------------------------------------------------------------------


async def test_a_machine_without_power_is_silent_and_afterwards_knows_nothing(ends: Any) -> None:
    world = ends[0].world
    one, other = ends
    neighbour = world.process("a")
    near, far = await joined(one, other)
    its_near, its_far = await joined(neighbour, other)
    await listen(one, "somewhere", Talker(world))
    near.transport.write(b"on its way")
    one.power_off()
    assert not one.alive and not neighbour.alive, "every process of the machine ends"
    far.transport.write(b"still there?")
    await asyncio.sleep(60)
    assert (data(far), far.told, its_far.told) == (b"", ["made"], ["made"])
    dialling = asyncio.ensure_future(dial(other, "somewhere", Talker(world)))
    await asyncio.sleep(10)
    assert not dialling.done(), "nobody answers"
    again = world.process("a")
    assert again.alive
    with pytest.raises(mp.TransportError, match="nobody listens"):
        await dialling
    await asyncio.sleep(60)
    assert far.told == ["made", "reset"], "for what was sent to the old one"
    assert its_far.told == ["made"], "nothing was"
    its_far.transport.write(b"still there?")
    await asyncio.sleep(60)
    assert its_far.told == ["made", "reset"]


# -- what nodes make of it ---------------------------------------------------------------------


async def test_nodes_notice_a_partition_and_meet_again(aemp_world: World) -> None:
    a, b, alice, bob = await pair(aemp_world, heartbeat=4)
    watched = Watched(bob, Probe(alice).port)
    await asyncio.sleep(1)
    aemp_world.network.partition(alice, bob)
    watched.start()
    await asyncio.sleep(10)
    ((after, reason),) = watched.fired
    assert 3 <= after <= 5 and reason == ("transport_error", "a was silent for 4 s")
    assert alice.up_nodes() == bob.up_nodes() == []
    aemp_world.network.heal()
    await b.call(bob.up, "a")


async def test_nodes_notice_a_kill_at_once_and_a_new_life_is_another(aemp_world: World) -> None:
    a, b, alice, bob = await pair(aemp_world)
    watched = Watched(bob, Probe(alice).port)
    lives = [alice.incarnation]
    bob.mon_nodes(lambda *event: lives.append(event[:2]))
    await asyncio.sleep(1)
    watched.start()
    a.kill()
    await asyncio.sleep(0.01)
    ((after, reason),) = watched.fired
    assert after < 0.001 and reason[0] == "transport_error"
    a = aemp_world.process("a")
    again = await start(a, "a")
    await b.call(bob.up, "a")
    assert again.incarnation > lives[0]
    assert lives[1:] == [("a", False), ("a", True)]


async def test_nodes_notice_a_machine_without_power_by_its_silence(aemp_world: World) -> None:
    a, b, alice, bob = await pair(aemp_world, heartbeat=4)
    watched = Watched(bob, Probe(alice).port)
    await asyncio.sleep(1)
    watched.start()
    a.power_off()
    await asyncio.sleep(10)
    ((after, _),) = watched.fired
    assert 3 <= after <= 5
    await start(aemp_world.process("a"), "a")
    await b.call(bob.up, "a")


async def test_a_stalled_node_is_not_alone_in_noticing(aemp_world: World) -> None:
    """Stalled for longer than its peers tolerate, it is lost; for less, it is not."""
    a, b, alice, bob = await pair(aemp_world, heartbeat=4)
    watched = Watched(bob, Probe(alice).port)
    await asyncio.sleep(1)
    a.stall(3)
    await asyncio.sleep(10)
    assert watched.fired == [] and alice.up_nodes() == ["b"]
    watched.start()
    a.stall(20)
    await asyncio.sleep(10)
    assert [reason[0] for _, reason in watched.fired] == ["transport_error"]
    await asyncio.sleep(30)
    assert bob.up_nodes() == ["a"] and alice.up_nodes() == ["b"]


async def test_flipped_bytes_end_a_link_and_never_reach_a_port(
    aemp_world: World, caplog: pytest.LogCaptureFixture
) -> None:
    a, b, alice, bob = await pair(aemp_world)
    probe = Probe(alice)
    for _ in range(20):
        bob.snd(probe.port, "good")
        await asyncio.sleep(0.1)
        aemp_world.network.corrupt(bob, alice)
        bob.snd(probe.port, "x" * 5)
        await asyncio.sleep(0.1)
        aemp_world.network.reset(alice, bob)
        await asyncio.sleep(20)
        await b.call(bob.up, "a")
    assert probe.firsts.count("good") == 20
    left = {each for each in probe.firsts if each != "good"}
    assert "x" * 5 not in left, "each was altered"


async def test_two_processes_of_one_id_are_told_apart(
    aemp_world: World, caplog: pytest.LogCaptureFixture
) -> None:
    a, b, alice, bob = await pair(aemp_world)
    port = Probe(alice).port
    watched = Watched(bob, port)
    twin = aemp_world.process("twin")
    with caplog.at_level(logging.WARNING):
        double = await start(twin, "a", binds=["memory://twin"])
        await asyncio.sleep(30)
    assert double.incarnation > alice.incarnation
    assert bob.up_nodes() == ["a"] and alice.up_nodes() == ["b"] and double.up_nodes() == []
    assert watched.fired == [] and "duplicate" in caplog.text
    a.kill()
    await asyncio.sleep(120)
    assert double.up_nodes() == ["b"] and bob.up_nodes() == ["a"]
    assert len(watched.fired) == 1


@pytest.mark.parametrize("seed", range(5))
async def test_simultaneous_dials_over_several_addresses_make_one_link(
    aemp_world: World, seed: int
) -> None:
    network = aemp_world.network
    network.default.latency, network.default.jitter = 0.01, 0.05
    for _ in range(seed):
        aemp_world.random.random()  # another order of things in each of these tests
    processes, nodes, events = [], [], []
    names = ["a", "b"]
    for name in names:
        addresses = {each: [f"memory://{each}/{number}" for number in range(3)] for each in names}
        other = names[1 - names.index(name)]
        process = aemp_world.process(name)
        node = await start(process, name, binds=addresses[name], seeds=addresses[other])
        node.mon_nodes(lambda *event, name=name: events.append((name, *event[:2])))
        processes.append(process)
        nodes.append(node)
    await asyncio.sleep(60)
    assert sorted(events) == [("a", "b", True), ("b", "a", True)]
    assert network.dials >= 4
    # Seeds are dialled again now and then, which takes another connection for a moment.
    counts = []
    for _ in range(100):
        await asyncio.sleep(0.1)
        counts.append(len(network.between(*processes)))
    assert min(counts) == 1 and counts.count(1) > 80, "the others are closed"


async def test_crash_ends_a_node_as_kill_ends_a_process(aemp_world: World) -> None:
    network = aemp_world.network
    boss, worker = await network.node("boss"), await network.node("worker")
    await boss.up("worker")
    ran: list[object] = []

    async def work() -> None:
        try:
            await asyncio.sleep(1_000)
        finally:
            ran.append("unwound")

    port = worker.port(ran.append)
    worker.mon(port, ran.append)
    worker.mon_guard(port, lambda: ran.append("released"))
    worker.after(0.1, ran.append, "timer")
    worker.peval(port, worker.task, work())
    watched = Watched(boss, port)
    boss.snd(port, "handled")
    await asyncio.sleep(0.01)
    worker.snd(port, "queued")
    boss.snd(port, "sent")
    watched.start()
    began = network.now
    await worker.crash()
    await worker.crash()
    assert worker.closed and worker.crashed and network.now == began
    await asyncio.sleep(1)
    assert ran[0] == "handled" and set(ran[1:]) == {"released", "unwound"}
    ((after, reason),) = watched.fired
    assert after < 0.001 and reason[0] == "transport_error"
    again = await network.node("worker")
    await boss.up("worker")
    assert again.incarnation > worker.incarnation


async def test_only_nodes_of_the_main_process_can_crash(aemp_world: World) -> None:
    process = aemp_world.process("a")
    node = await start(process, "a")
    with pytest.raises(ValueError, match="kill that"):
        await process.call(node.crash)
    assert not node.closed


async def test_nodes_get_the_clocks_and_the_entropy_of_their_process(aemp_world: World) -> None:
    a, b, alice, bob = await pair(aemp_world)
    assert alice.wall_clock() == a.wall_clock()
    a.jump(-86_400)
    assert bob.wall_clock() - alice.wall_clock() == 86_400
    assert alice.settings.strict and alice.settings.seeds == ()
    assert bob.settings.seeds == ("memory://a",)
    own = await start(aemp_world.process("c"), "c", seeds=[], binds=["memory://see"], strict=False)
    assert (own.settings.seeds, own.addresses) == ((), ["memory://see"])
    assert not own.settings.strict


# -- it is a transport ---------------------------------------------------------------------------


@asynccontextmanager
async def harness() -> AsyncIterator[Harness]:
    yield Harness(
        MemoryTransport,
        address=lambda: f"memory://conformance/{next(_numbers)}",
        nowhere=lambda: f"memory://nowhere/{next(_numbers)}",
    )


_numbers = itertools.count()

PATHS: dict[str, dict[str, float]] = {
    "near": {},
    "far and jittery": {"latency": 0.05, "jitter": 0.1},
    "in pieces": {"chop": 0.9, "capacity": 512, "jitter": 0.001},
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("check", CHECKS, ids=name_of)
async def test_the_simulated_network_conforms(aemp_world: World, check: Any, path: str) -> None:
    """Each check of the conformance kit, over paths of several kinds."""
    vars(aemp_world.network.default).update(PATHS[path])
    await run_check(check, harness)
