"""A pool of workers, and tests of what it does when workers crash or cannot be reached.

The first half is an ordinary program: it would run over TCP between machines as it is. The second
half tests it on a simulated network. An hour of failures takes a moment, and nobody waits.
"""

from __future__ import annotations

import asyncio
from itertools import cycle

import pytest

import aemp_core as mp

# -- the program -------------------------------------------------------------------------------


@mp.exposed
def worker() -> None:
    """What the pool has other nodes run: a port that squares numbers, slowly."""

    async def square(number: int) -> int:
        await asyncio.sleep(10)
        return number * number

    mp.rcv(mp.current_port(), mp.replies(square))


class Pool:
    """Hands a job to one host after the other, until one has done it."""

    def __init__(self, node: mp.Node, *hosts: str) -> None:
        self.node = node
        self.tries: list[str] = []
        self._hosts = cycle(hosts)

    async def square(self, number: int) -> int:
        while True:
            host = next(self._hosts)
            self.tries.append(host)
            port = self.node.spawn(host, worker)
            try:
                (result,) = await self.node.cal(port, number)
                return result
            except mp.PortKilled:
                pass  # its node was lost, with the job: the next one
            finally:
                self.node.kil(port)


# -- its tests ---------------------------------------------------------------------------------


@pytest.fixture
def network(aemp_network):
    aemp_network.default.latency = 0.02  # seconds
    return aemp_network


async def test_without_faults_the_first_worker_does_the_job(network):
    boss = await network.node("boss")
    await network.node("east")
    pool = Pool(boss, "east", "west")
    assert await pool.square(7) == 49
    assert pool.tries == ["east"]


async def test_a_job_survives_the_crash_of_its_worker(network):
    boss = await network.node("boss")
    east = await network.node("east")
    await network.node("west")
    pool = Pool(boss, "east", "west")
    job = asyncio.create_task(pool.square(7))
    await asyncio.sleep(5)
    crashed = network.now
    await east.crash()
    assert await job == 49
    assert pool.tries == ["east", "west"]
    assert network.now - crashed < 11  # the crash is noticed at once


@pytest.mark.parametrize("one_way", [False, True])
async def test_a_job_survives_a_partition(network, one_way):
    boss = await network.node("boss", heartbeat=4)
    east, west = [await network.node(name, heartbeat=4) for name in ("east", "west")]
    pool = Pool(boss, "east", "west")
    job = asyncio.create_task(pool.square(7))
    await asyncio.sleep(5)
    network.partition(east, {boss, west}, one_way=one_way)
    assert await job == 49
    assert pool.tries == ["east", "west"]
    network.heal()
    await boss.up("east", timeout=60)
    await asyncio.sleep(60)
    assert not [port for port in east.ports if boss.incarnation in port]  # nothing is left there


async def test_a_job_waits_until_there_is_a_worker_again(network):
    boss = await network.node("boss")
    east = await network.node("east")
    pool = Pool(boss, "east")
    job = asyncio.create_task(pool.square(7))
    await asyncio.sleep(5)
    await east.crash()
    await asyncio.sleep(3_600)
    assert not job.done()
    await network.node("east")
    assert await job == 49
