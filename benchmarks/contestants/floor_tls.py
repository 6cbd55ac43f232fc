"""The floor of TLS: what `floor_remote` does, over asyncio's TLS 1.3 with the same certificates."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import replace
from time import perf_counter

from ..process import Figures, Run, partner
from . import floor_remote
from .tls import certificate


async def _over_tls(work: Callable[[Run], Awaitable[Figures]], run: Run) -> Figures:
    with certificate() as cert:
        return await work(replace(run, more={"cert": cert}))


async def bursts(run: Run) -> Figures:
    """See `floor_remote`."""
    return await _over_tls(floor_remote.bursts, run)


async def bursts_checked(run: Run) -> Figures:
    """See `floor_remote`."""
    return await _over_tls(floor_remote.bursts_checked, run)


async def ping_pong(run: Run) -> Figures:
    """See `floor_remote`."""
    return await _over_tls(floor_remote.ping_pong, run)


async def blobs(run: Run) -> Figures:
    """See `floor_remote`."""
    return await _over_tls(floor_remote.blobs, run)


async def handshakes(run: Run) -> Figures:
    """Connections made and closed, one after the other."""
    return await _over_tls(_connects, run)


async def _connects(run: Run) -> Figures:
    tls = floor_remote.tls_context(run, ssl.PROTOCOL_TLS_CLIENT)
    async with partner("floor_remote:listener", run) as address:
        host, port = address.split(":")
        began = perf_counter()
        for _ in range(run.count):
            _, writer = await asyncio.open_connection(host, int(port), ssl=tls)
            writer.close()
        return {"rate": run.count / (perf_counter() - began)}
