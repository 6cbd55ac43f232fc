"""The lobby: what strangers can cost is capped, and an honest node still gets in."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from stream_kit import SECRET, Script

from aemp_core.conversation import Origin, connections
from aemp_core.errors import TransportError
from aemp_core.link import Candidate
from aemp_core.lobby import LOCAL_LIMIT, LOCAL_SOURCE, SOURCE_LIMIT, TOTAL_LIMIT, Door, Lobby
from aemp_core.pipe import pipe
from aemp_core.stream import Stream
from aemp_core.testing import StandIn, virtual_clock


class House:
    """A node with two listeners that take connections from whatever source a test names."""

    def __init__(self, first_draw: int = 0) -> None:
        self.loop = asyncio.get_running_loop()
        draws = itertools.count(first_draw)
        self.node = StandIn("house", secret=SECRET)
        # Evictions take the connections in turn, so that a test can tell which.
        entropy = self.node.entropy
        self.node.entropy = lambda count: (
            next(draws).to_bytes(8, "big") if count == 8 else entropy(count)
        )
        self.candidates: list[Candidate] = []
        self.doors = [self._door(), self._door()]

    def _door(self) -> Door:
        return Door(
            self.node,
            self.candidates.append,
            lambda transport: Origin("test://", transport.get_extra_info("peername")),
            connections(self.node, "accept", SECRET),
        )

    def connect(self, source: str, door: int = 0) -> Script:
        script = Script()
        end, far = pipe(self.loop, (self.doors[door](), {"peername": source}), (script, {}))
        far.open()
        end.open()
        return script

    async def join(self, name: str, source: str, *, wanted: bool = True) -> Stream:
        """An honest node dials and proves itself, and gets a proof if it is `wanted`."""
        node = StandIn(name, secret=SECRET)
        origin = Origin("test://house", "house")
        stream = Stream(self.loop, lambda _: origin, connections(node, "dial", SECRET))
        end, far = pipe(self.loop, (self.doors[0](), {"peername": source}), (stream, {}))
        end.open()
        far.open()
        await stream.greeted()
        stream.confirm()
        await self.candidates[-1].proved()
        if wanted:
            self.candidates[-1].confirm()
            await stream.proved()
        return stream

    def __len__(self) -> int:
        return len(Lobby.of(self.node))


@virtual_clock
async def test_one_source_has_only_so_many_places(caplog: pytest.LogCaptureFixture) -> None:
    house = House()
    scripts = [house.connect("mallory") for _ in range(SOURCE_LIMIT)]
    other = house.connect("bob")
    await asyncio.sleep(0.001)
    assert not any(script.ended for script in [*scripts, other])
    newcomers = [house.connect("mallory") for _ in range(5)]
    await asyncio.sleep(0.001)
    assert sum(bool(script.ended) for script in scripts) >= 4
    assert not newcomers[-1].ended and not other.ended
    assert len(house) == SOURCE_LIMIT + 1
    assert "ended to make room" in caplog.text


@virtual_clock
async def test_all_sources_and_listeners_together_have_only_so_many_places() -> None:
    house = House()
    scripts = [house.connect(f"bot {n // 10}", door=n % 2) for n in range(TOTAL_LIMIT + 100)]
    await asyncio.sleep(0.001)
    assert len(house) == TOTAL_LIMIT
    assert sum(bool(script.ended) for script in scripts) == 100


@virtual_clock
async def test_this_machine_is_one_source_with_more_places() -> None:
    house = House()
    for _ in range(LOCAL_LIMIT + 10):
        house.connect(LOCAL_SOURCE)
    await asyncio.sleep(0.001)
    assert len(house) == LOCAL_LIMIT


@virtual_clock
async def test_an_honest_node_joins_a_full_house() -> None:
    house = House()
    for number in range(TOTAL_LIMIT):
        house.connect(f"bot {number}")
    link = await house.join("alice", "home")
    assert link.peer.id == "house"
    assert len(house) == TOTAL_LIMIT - 1  # one was put out for alice, who takes no place now


@virtual_clock
async def test_who_proved_themselves_cannot_be_put_out() -> None:
    house = House()
    link = await house.join("alice", "home")
    for number in range(3 * TOTAL_LIMIT):
        house.connect(f"bot {number}")
    await asyncio.sleep(0.001)
    assert len(house) == TOTAL_LIMIT
    assert not link._gone.done()


@virtual_clock
async def test_places_are_given_back() -> None:
    house = House()
    scripts = [house.connect("mallory") for _ in range(SOURCE_LIMIT)]
    for script in scripts:
        script.transport.close()
    await asyncio.sleep(0.001)
    assert len(house) == 0
    house.connect("mallory")
    await asyncio.sleep(11)
    assert len(house) == 0


@virtual_clock
async def test_a_closed_door_lets_nobody_in() -> None:
    house = House()
    waiting = house.connect("bob")
    await house.doors[0].close()
    late = house.connect("bob")
    await asyncio.sleep(0.001)
    assert waiting.ended and late.ended
    assert not late.data
    assert len(house) == 0
    with pytest.raises(TransportError):
        await house.join("alice", "home")


@virtual_clock
async def test_who_proved_themselves_and_waits_takes_no_place() -> None:
    """A connection that is held, for as long as there is another link, is no stranger's."""
    house = House()
    stream = await house.join("alice", "home", wanted=False)
    assert len(house) == 0
    for number in range(2 * TOTAL_LIMIT):
        house.connect(f"bot {number}")
    await asyncio.sleep(0.001)
    assert not stream._gone.done()


@virtual_clock
async def test_who_is_put_out_is_drawn() -> None:
    """Not the one that has waited longest: that would be the honest one, after so many bots."""
    house = House(first_draw=7)
    scripts = [house.connect("mallory") for _ in range(SOURCE_LIMIT + 1)]
    await asyncio.sleep(0.001)
    assert [number for number, script in enumerate(scripts) if script.ended] == [7]


@virtual_clock
async def test_who_has_just_come_is_not_put_out() -> None:
    """An honest handshake takes milliseconds, even on a node that strangers keep busy."""
    house = House(first_draw=SOURCE_LIMIT - 1)
    for _ in range(SOURCE_LIMIT):
        house.connect("mallory")
    await asyncio.sleep(0.001)
    newest = house.connect("mallory")
    for _ in range(SOURCE_LIMIT // 4):
        house.connect("mallory")
    await asyncio.sleep(0.001)
    assert not newest.ended
