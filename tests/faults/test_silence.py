"""Silence: stopped nodes and black holes are noticed in time, and our own stalls are neither."""

from __future__ import annotations

import asyncio
import random
import signal
from typing import Any

import pytest
from faults_kit.actor import PORT
from faults_kit.figures import Figures, Size, spread
from faults_kit.machine import Network, network
from faults_kit.process import Cast, Process, processes

pytestmark = pytest.mark.usefixtures("machine")

#: Seconds of silence that are tolerated, T.
HEARTBEAT = 1.0
#: A monitor fires so many T after the last byte.
EARLIEST, LATEST = 9 / 8, 10 / 8
#: Ten timers run one after the other until then. Each is late by what the machine is busy.
TIMERS = 10
SLACK = 0.05
#: The other side writes at least so often, in parts of T.
TALK = 1 / 4
#: In the quick size and the full one.
LEAVES = 4, 10
WATCHED = "faults_kit.watching:Watched"
WATCHER = "faults_kit.watching:Watcher"


class Stage:
    """A watcher at the hub and one watched node on each leaf."""

    def __init__(self, net: Network, watcher: Process, watched: list[Process]) -> None:
        self.net = net
        self.watcher = watcher
        self.watched = watched
        self.ports: list[str] = []

    async def connect(self) -> float:
        """Have every node linked to the hub; returns the moment when the last one was."""
        moments = await asyncio.gather(*(each.ask("up", node="hub") for each in self.watched))
        moments += await asyncio.gather(
            *(self.watcher.ask("up", node=f"leaf{n}") for n in range(len(self.watched)))
        )
        return max(moments)

    async def watch(self) -> None:
        self.ports = [await each.ask("target") for each in self.watched]
        for port in self.ports:
            await self.watcher.ask("watch", port=port)
        for each in self.watched:
            each.reports("alarm")

    async def all_fired(self, seconds: float) -> list[dict[str, Any]]:
        """The notice of each port, in the order of the leaves; none comes twice."""
        fired: dict[str, dict[str, Any]] = {}
        while len(fired) < len(self.ports):
            notice = await self.watcher.report("fired", seconds)
            assert notice["port"] not in fired, "a monitor fired twice"
            assert notice["reason"][0] == "transport_error"
            fired[notice["port"]] = notice
        return [fired[port] for port in self.ports]

    async def quiet(self) -> None:
        """Nobody has raised an alarm."""
        await asyncio.gather(*(each.ask("census") for each in (self.watcher, *self.watched)))
        assert self.watcher.reports("fired") == []
        assert [each.reports("alarm") for each in self.watched] == [[]] * len(self.watched)


async def staged(
    net: Network, cast: Cast, *, heartbeat: float = HEARTBEAT, patience: float = HEARTBEAT
) -> Stage:
    """The watcher tolerates `heartbeat` seconds of silence, the watched `patience`."""
    common = {"connect_interval": 0.5}
    watcher = await cast.start(
        net.hub,
        WATCHER,
        nodeid="hub",
        binds=[f"tcp://0.0.0.0:{PORT}"],
        heartbeat=heartbeat,
        **common,
    )
    watched = [
        await cast.start(
            cable.leaf,
            WATCHED,
            nodeid=f"leaf{number}",
            seeds=[f"tcp://{cable.hub_address}:{PORT}"],
            heartbeat=patience,
            **common,
        )
        for number, cable in enumerate(net.cables)
    ]
    stage = Stage(net, watcher, watched)
    await stage.connect()
    return stage


def not_early(fired: list[dict[str, Any]]) -> None:
    """No notice came before the time that the settings say."""
    assert min(each["silence"] for each in fired) >= EARLIEST * HEARTBEAT - 0.02


def not_late(fired: list[dict[str, Any]]) -> None:
    """Every notice came within the time that the settings say."""
    for each in fired:
        assert each["silence"] <= LATEST * HEARTBEAT + SLACK + TIMERS * each["lag"], each


def times(fired: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures of notices."""
    return {
        "heartbeat": HEARTBEAT,
        "since_last_byte": spread([each["silence"] for each in fired]),
        "timers_late": spread([each["lag"] for each in fired]),
    }


async def test_a_stopped_process_is_noticed_in_time(size: Size, figures: Figures) -> None:
    """SIGSTOP; when it goes on it is linked again."""
    rounds = size(2, 5)
    draw = random.Random(1)
    since_stop: list[float] = []
    notices: list[dict[str, Any]] = []
    back: list[float] = []
    async with network(size(*LEAVES)) as net, processes() as cast:
        stage = await staged(net, cast)
        for _ in range(rounds):
            await stage.watch()
            stopped = []
            for each in stage.watched:
                await asyncio.sleep(draw.uniform(0, 0.05))
                stopped.append(each.signal(signal.SIGSTOP))
            fired = await stage.all_fired(seconds=10)
            since_stop += [one["at"] - begin for one, begin in zip(fired, stopped, strict=True)]
            notices += fired
            resumed = max(each.signal(signal.SIGCONT) for each in stage.watched)
            back.append(await stage.connect() - resumed)
    figures(
        **times(notices),
        since_stop=spread(since_stop),
        all_linked_again=spread(back),
    )
    not_early(notices)
    not_late(notices)
    assert min(since_stop) >= (EARLIEST - TALK) * HEARTBEAT - 0.05


@pytest.mark.parametrize("way", ["both", "to_hub", "to_leaf"])
async def test_a_black_hole_is_noticed_in_time(way: Any, size: Size, figures: Figures) -> None:
    """Packets vanish, both ways or one way; when they pass again the nodes are linked again."""
    rounds = size(1, 5)
    draw = random.Random(2)
    since_hole: list[float] = []
    notices: list[dict[str, Any]] = []
    back: list[float] = []
    async with network(size(*LEAVES)) as net, processes() as cast:
        stage = await staged(net, cast)
        clock = asyncio.get_running_loop().time  # the monotonic clock of all processes
        for _ in range(rounds):
            await stage.watch()
            begun = []
            for cable in net.cables:
                await asyncio.sleep(draw.uniform(0, 0.05))
                begun.append(clock())
                await cable.black_hole(way)
            fired = await stage.all_fired(seconds=10)
            since_hole += [one["at"] - begin for one, begin in zip(fired, begun, strict=True)]
            notices += fired
            await asyncio.gather(*(cable.heal() for cable in net.cables))
            healed = clock()
            back.append(await stage.connect() - healed)
    figures(
        **times(notices),
        way=way,
        since_hole=spread(since_hole),
        all_linked_again=spread(back),
    )
    not_late(notices)
    if way != "to_leaf":
        not_early(notices)
    # Else: the leaf still talks until its TCP, which hears no acknowledgement, only repeats
    # itself; and when the leaf has noticed the silence it says so, which the hub may hear.


async def test_a_stall_of_half_the_limit_is_no_alarm(size: Size, figures: Figures) -> None:
    """The loop of the watcher is held up again and again; neither side takes it for silence."""
    stalls = size(5, 50)
    draw = random.Random(3)
    async with network(3) as net, processes() as cast:
        stage = await staged(net, cast)
        await stage.watch()
        for _ in range(stalls):
            await stage.watcher.ask("stall", seconds=HEARTBEAT / 2)
            await asyncio.sleep(draw.uniform(0, HEARTBEAT / 2))
        await asyncio.sleep(2 * LATEST * HEARTBEAT)
        await stage.quiet()
    figures(heartbeat=HEARTBEAT, stalls=stalls, seconds_each=HEARTBEAT / 2, links=3, alarms=0)


async def test_a_stall_of_any_length_is_no_alarm_at_the_one_that_stalls(
    size: Size, figures: Figures
) -> None:
    """Far beyond the limit of the watcher; its peers are more patient."""
    stalls = size(2, 10)
    async with network(3) as net, processes() as cast:
        stage = await staged(net, cast, patience=60.0)
        await stage.watch()
        for _ in range(stalls):
            await stage.watcher.ask("stall", seconds=2.5 * HEARTBEAT)
            await asyncio.sleep(0.2)
        await asyncio.sleep(2 * LATEST * HEARTBEAT)
        await stage.quiet()
    figures(heartbeat=HEARTBEAT, stalls=stalls, seconds_each=2.5 * HEARTBEAT, links=3, alarms=0)
