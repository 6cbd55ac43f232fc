"""Memory: a peer that takes nothing costs its sender what the limit says, and little more.

The reader is stopped (its TCP takes what its buffers hold, then nothing), or is not there at all.
Measured is the whole process as the kernel counts it (`rss`: the peak of its resident memory over
what it had before), and what Python itself allocated (`traced`: by tracemalloc, in a run of its
own, because tracing takes memory too).
"""

from __future__ import annotations

import signal
from typing import Any

import pytest
from faults_kit.actor import PORT
from faults_kit.figures import Figures, Size
from faults_kit.machine import network
from faults_kit.process import processes

pytestmark = pytest.mark.usefixtures("machine")

MIB = 2**20
#: Bytes that may wait for one peer.
SEND_LIMIT = 32 * MIB
#: How much more than the limit it may take in all.
ALLOWED = 1.2
#: So many times the limit is poured out; each message takes some bytes beside its load.
TIMES = 3
ENVELOPE = 45


full_only = pytest.mark.full_only


@pytest.mark.parametrize(
    "load", [10, pytest.param(100, marks=full_only), pytest.param(1_000, marks=full_only), 64_000]
)
@pytest.mark.parametrize("reader", ["stopped", "absent"])
@pytest.mark.parametrize("measured", ["rss", pytest.param("traced", marks=full_only)])
async def test_a_sender_keeps_to_its_limit(
    load: int, reader: str, measured: str, figures: Figures
) -> None:
    async with network(1) as net, processes() as cast:
        common: dict[str, Any] = {"heartbeat": 3_600.0, "monitor_timeout": 3_600.0}
        target = await cast.start(
            net.hub,
            "faults_kit.watching:Watched",
            nodeid="reader",
            binds=[f"tcp://0.0.0.0:{PORT}"],
            **common,
        )
        sender = await cast.start(
            net.leaves[0],
            "faults_kit.pouring:Pourer",
            nodeid="sender",
            seeds=[f"tcp://{net.hub.addresses[0]}:{PORT}"],
            send_limit=SEND_LIMIT,
            trace=measured == "traced",
            **common,
        )
        await sender.ask("up", node="reader")
        port = await target.ask("target")
        await sender.ask("warm", port=port, load=load, total=4 * MIB, within=60)
        if reader == "absent":
            port = "nobody#port"
        target.signal(signal.SIGSTOP)
        before = sender.memory()["now"]
        sender.forget_peak()
        total = TIMES * SEND_LIMIT * load // (load + ENVELOPE)
        happened = await sender.ask(
            "pour", port=port, load=load, total=total, flush=False, within=300
        )
        peak = happened["traced_peak"]
        if measured == "rss":
            peak = sender.memory()["peak"] - before
    figures(
        limit_mib=SEND_LIMIT // MIB,
        poured_mib=TIMES * SEND_LIMIT // MIB,
        most_buffered_mib=round(happened["buffered"] / MIB, 1),
        peak_mib=round(peak / MIB, 1),
        of_the_limit=round(peak / SEND_LIMIT, 2),
        reasons=happened["reasons"],
    )
    assert set(happened["reasons"]) == {"send_limit"}
    assert happened["buffered"] > SEND_LIMIT * 0.9, "the limit was not reached: this showed nothing"
    assert peak <= SEND_LIMIT * ALLOWED


async def test_a_sender_that_keeps_pace_needs_half_of_it(size: Size, figures: Figures) -> None:
    """With `flush`: nothing is lost, and less is held, however slow the reader is."""
    total = size(16, 512) * MIB
    async with network(1) as net, processes() as cast:
        target = await cast.start(
            net.hub, "faults_kit.watching:Watched", nodeid="reader", binds=[f"tcp://0.0.0.0:{PORT}"]
        )
        sender = await cast.start(
            net.leaves[0],
            "faults_kit.pouring:Pourer",
            nodeid="sender",
            seeds=[f"tcp://{net.hub.addresses[0]}:{PORT}"],
            send_limit=SEND_LIMIT,
            trace=False,
        )
        await sender.ask("up", node="reader")
        port = await target.ask("target")
        await target.ask("dawdle", seconds=0.0002)
        await sender.ask("warm", port=port, load=1_000, total=4 * MIB, within=60)
        before = {each: each.memory()["now"] for each in (sender, target)}
        for each in before:
            each.forget_peak()
        happened = await sender.ask(
            "pour", port=port, load=1_000, total=total, flush=True, within=900
        )
        peaks = [each.memory()["peak"] - bytes for each, bytes in before.items()]
    figures(
        limit_mib=SEND_LIMIT // MIB,
        poured_mib=total // MIB,
        sender_peak_mib=round(peaks[0] / MIB, 1),
        reader_peak_mib=round(peaks[1] / MIB, 1),
        reasons=happened["reasons"],
    )
    assert happened["reasons"] == {}
    assert peaks[0] <= SEND_LIMIT / 2 * ALLOWED
