"""spawn: ports made on other nodes, usable before those have heard of it."""

from __future__ import annotations

import asyncio

import pytest
from core_kit import Network, Probe, crash, nodes, settle

import aemp_core as mp
from aemp_core.testing.clock import virtual_clock

state: dict[str, object] = {}


@mp.exposed
def counter(start):
    port = mp.current_port()
    count = [start]

    def add(number):
        count[0] += number

    mp.rcv(port, add=add, get=mp.replies(lambda: count[0]))


@mp.exposed(name="renamed")
def under_another_name(*arguments):
    state["arguments"] = arguments
    state["port"] = mp.current_port()
    state["node"] = mp.current_node().id
    state["sender"] = mp.current_sender()


@virtual_clock
async def test_a_spawned_port_is_usable_at_once():
    async with nodes("a", "b") as (a, b):
        for where in ("a", "b", b.port()):
            port = a.spawn(where, counter, 5)
            a.snd(port, "add", 3)
            assert await a.cal(port, "get") == (8,)
            assert mp.node_of(port) == mp.node_of(where)


@virtual_clock
async def test_functions_by_name_by_object_and_by_exposed_name():
    async with nodes("a", "b") as (a, b):
        for function in (counter, f"{counter.__module__}:counter"):
            assert await a.cal(a.spawn("b", function, 1), "get") == (1,)
        for function in (under_another_name, "renamed"):
            state.clear()
            port = a.spawn("b", function, 1, "two", [3])
            await settle()
            assert state == {
                "arguments": (1, "two", [3]), "port": port, "node": "b", "sender": "a",
            }  # fmt: skip


@virtual_clock
async def test_spawned_names_carry_the_spawners_incarnation_and_rise():
    async with nodes("a", "b") as (a, b):
        names = [a.spawn("b", counter, 0).partition("#")[2] for _ in range(5)]
        assert all(name.startswith(f"{a.incarnation}.") for name in names)
        numbers = [int(name.rpartition(".")[2]) for name in names]
        assert numbers == sorted(set(numbers))


@virtual_clock
async def test_a_monitor_on_a_spawned_port_works_at_once():
    async with nodes("a", "b") as (a, b):
        for where in ("a", "b"):
            port = a.spawn(where, counter, 0)
            ended = []
            a.mon(port, ended.append)
            await settle()
            assert ended == []
            a.kil(port, "x")
            await settle()
            assert ended == [("x",)]


@virtual_clock
async def test_a_spawn_waits_for_the_link_like_any_message():
    async with nodes("a", "b", connected=False) as (a, b):
        port = a.spawn("b", counter, 1)
        call = asyncio.ensure_future(a.cal(port, "get"))
        await settle(2)
        a.learn("b", "memory://b")
        assert await call == (1,)


@virtual_clock
async def test_a_spawn_on_a_node_that_cannot_be_reached_is_told():
    async with nodes("a", monitor_timeout=11) as (a,):
        ended = []
        a.mon(a.spawn("nowhere", counter, 1), ended.append)
        await settle(30)
        assert [reason[0] for reason in ended] == ["transport_error"]


@virtual_clock
async def test_spawned_ports_outlive_their_spawner_unless_monitored():
    network = Network.here()
    async with nodes("a", "b") as (a, b):
        port = a.spawn("b", counter, 1)
        await settle()
        await crash(network, a)
        assert await b.cal(port, "get") == (1,)


@virtual_clock
async def test_wrong_arguments_of_init_are_a_spawn_error():
    async with nodes("a", "b") as (a, b):
        for where in ("a", "b"):
            ended = []
            a.mon(a.spawn(where, counter), ended.append)
            await settle()
            assert ended[0][0] == "spawn_error" and "TypeError" in ended[0][1]


@mp.exposed(name="spawn:kills_itself")
def kills_itself():
    mp.kil(mp.current_port(), "not needed")


@mp.exposed(name="spawn:silent")
def silent():
    pass


@virtual_clock
async def test_an_init_that_kills_its_port():
    async with nodes("a", "b") as (a, b):
        for where in ("a", "b"):
            ended = []
            a.mon(a.spawn(where, kills_itself), ended.append)
            await settle()
            if where == "a":
                assert ended == [("not needed",)]
            else:  # gone before the monitor got there
                assert [reason[0] for reason in ended] == ["no_such_port"]


@virtual_clock
async def test_an_init_that_sets_no_handler_leaves_a_port_that_lives():
    async with nodes("a", "b") as (a, b):
        port = a.spawn("b", silent)
        ended = []
        a.mon(port, ended.append)
        await settle(10)
        assert ended == []
        a.snd(port, "x")
        await settle()
        assert ended == [("die", "no handler for 'x'")]


@mp.exposed(name="spawn:async_error")
async def async_error(when):
    await asyncio.sleep(when)
    raise ValueError("async")


@virtual_clock
async def test_an_async_init_that_fails_ends_its_port():
    async with nodes("a", "b") as (a, b):
        for when in (0, 1):
            ended = []
            a.mon(a.spawn("b", async_error, when), ended.append)
            await settle(2)
            assert ended == [("die", "ValueError: async")] or ended == [
                ("spawn_error", "ValueError: async")
            ]


@virtual_clock
async def test_errors_are_kept_a_minute_and_no_longer():
    async with nodes("a", "b") as (a, b):
        port = a.spawn("b", "spawn:missing")
        await settle(55)
        early, late = [], []
        a.mon(port, early.append)
        await settle(15)
        a.mon(port, late.append)
        await settle()
        assert early[0][0] == "spawn_error"
        assert late[0][0] == "no_such_port"


@virtual_clock
async def test_many_spawns_and_messages_at_once():
    async with nodes("a", "b") as (a, b):
        ports = []
        for number in range(1_000):
            port = a.spawn("b", counter, number)
            a.snd(port, "add", 1)
            ports.append(port)
        assert len(set(ports)) == 1_000
        answers = await asyncio.gather(*(a.cal(port, "get") for port in ports))
        assert answers == [(number + 1,) for number in range(1_000)]


@virtual_clock
async def test_exposed_keeps_the_function_and_refuses_what_has_no_name():
    assert counter.__name__ == "counter"

    def local():
        pass

    with pytest.raises(mp.UsageError, match="defined inside a function"):
        mp.exposed(local)
    assert mp.exposed(name="spawn:local")(local) is local
    with pytest.raises(mp.UsageError, match="exposed already"):
        mp.exposed(counter, name="renamed")
    await asyncio.sleep(0)


@virtual_clock
async def test_snd_to_func_calls_an_exposed_function_outside_any_port():
    async with nodes("a", "b") as (a, b):
        probe = Probe(a)
        for where in ("b", "a"):
            a.snd_to_func(where, tell, probe.port, where)
            a.snd_to_func(where, "spawn:tell", probe.port, where)
        a.snd_to_func("b", tell_later, probe.port, "later")
        await settle(2)
        assert sorted(probe.got) == sorted([("b",)] * 2 + [("a",)] * 2 + [("later",)])


@mp.exposed(name="spawn:tell")
def tell(port, word):
    with pytest.raises(mp.NoCurrentPort):
        mp.current_port()
    node = next(node for node in _nodes_here() if node.node_is_up(mp.node_of(port)))
    node.snd(port, word)


@mp.exposed(name="spawn:tell_later")
async def tell_later(port, word):
    await asyncio.sleep(1)
    tell(port, word)


def _nodes_here():
    from aemp_core.context import _open

    return _open[asyncio.get_running_loop()]


@virtual_clock
async def test_who_died_of_anothers_spawn_error_had_none_of_its_own():
    """Remembered are functions that failed, not whatever ends with the same reason."""
    async with nodes("a", connected=False) as (a,):
        port, failing = a.spawn("a", counter, 1), a.spawn("a", counter)
        a.mon(failing, port)
        await settle()
        late = []
        a.mon(port, late.append)
        a.mon(failing, late.append)
        await settle()
        assert [reason[0] for reason in late] == ["no_such_port", "spawn_error"]
