"""AEMP between two processes over TLS: the same work as in `remote`, and handshakes."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import aemp_core as mp

from ..process import Figures, Run, partner
from . import remote


@contextmanager
def certificate() -> Iterator[str]:
    """The file of a certificate that is good for every node of the benchmarks."""
    from aemp_tls.authority import CA

    with tempfile.TemporaryDirectory(prefix="aemp-bench-") as name:
        directory = Path(name)
        ca = CA.init(directory / "ca", "bench")
        (directory / "network.pem").write_bytes(ca.trust.read_bytes())
        path = directory / "node.pem"
        path.touch(0o600)
        path.write_bytes(ca.issue("*"))
        yield str(path)


async def _over_tls(work: Callable[[Run], Awaitable[Figures]], run: Run) -> Figures:
    with certificate() as cert:
        more = {"bind": "tls://127.0.0.1:0", "settings": {"cert": cert}}
        return await work(replace(run, more=more))


async def bursts(run: Run) -> Figures:
    """See `remote`."""
    return await _over_tls(remote.bursts, run)


async def ping_pong(run: Run) -> Figures:
    """See `remote`."""
    return await _over_tls(remote.ping_pong, run)


async def blobs(run: Run) -> Figures:
    """See `remote`."""
    return await _over_tls(remote.blobs, run)


async def handshakes(run: Run) -> Figures:
    """Nodes that join and leave, one after the other: TLS, greeting, proof, and a node each."""
    return await _over_tls(_joins, run)


async def _joins(run: Run) -> Figures:
    async with partner("remote:listener", run) as line:
        address, _ = line.split()
        began = perf_counter()
        for number in range(run.count):
            async with mp.Node(f"client/{number}", seeds=[address], **run.more["settings"]) as node:
                await node.up("listener")
        return {"rate": run.count / (perf_counter() - began)}
