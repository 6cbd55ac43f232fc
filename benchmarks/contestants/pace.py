"""What all contestants do alike: how round trips are taken, how calls are kept in flight."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import repeat
from time import perf_counter
from typing import Any

from ..process import Figures, Run

#: Messages sent in one turn of the loop, where a workload sends in bursts.
BURST = 50
#: Calls under way at a time.
IN_FLIGHT = 100


async def one_way(
    run: Run,
    send: Callable[..., object],
    arguments: tuple[Any, ...],
    flush: Callable[[], Awaitable[object]],
) -> None:
    """Call ``send(*arguments)`` `run.count` times, `run.size` (or `BURST`) in each loop turn.

    At least so often as `BURST` messages are sent, wait until there is room for more.
    """
    burst = run.size or BURST
    every = max(1, BURST // burst)
    for number in range(run.count // burst):
        for _ in repeat(None, burst):
            send(*arguments)
        await asyncio.sleep(0)
        if number % every == 0:
            await flush()


async def round_trips(
    count: int, ping: Callable[[], object], set_pong: Callable[[Callable[..., None]], object]
) -> list[float]:
    """Seconds of `count` round trips, one after the other, after a tenth as many unmeasured."""
    done = asyncio.Event()
    times: list[float] = []
    warming = count // 10
    began = 0.0

    def pong(*elements: object) -> None:
        nonlocal began
        now = perf_counter()
        times.append(now - began)
        if len(times) == count + warming:
            done.set()
            return
        began = perf_counter()
        ping()

    set_pong(pong)
    began = perf_counter()
    ping()
    await done.wait()
    return times[warming:]


def summary(times: list[float]) -> Figures:
    """Median and 99th percentile, in microseconds."""
    times.sort()
    return {"median": times[len(times) // 2] * 1e6, "p99": times[len(times) * 99 // 100] * 1e6}


async def in_flight(count: int, call: Callable[[], Awaitable[object]]) -> float:
    """Make `count` calls, `IN_FLIGHT` at a time; return calls per second."""
    left = count

    async def caller() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await call()

    began = perf_counter()
    await asyncio.gather(*(caller() for _ in range(IN_FLIGHT)))
    return count / (perf_counter() - began)
