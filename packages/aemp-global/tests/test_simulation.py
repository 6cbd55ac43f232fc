"""Every promise of aemp-core is held with aemp-global at work in every node, under every fault."""

from __future__ import annotations

import pytest

from aemp_global.testing.promises import TOPOLOGIES, over_relays, with_topology

#: Small queues on which what the exchange says was dropped and said again for ever.
FULL_QUEUES = (191, 226)


@pytest.mark.parametrize("topology", TOPOLOGIES)
@pytest.mark.parametrize("seed", [*range(8), *FULL_QUEUES])
def test_every_promise_is_held(seed: int, topology: str) -> None:
    verdict = with_topology(seed, topology)
    assert verdict.holds, str(verdict)


@pytest.mark.parametrize("seed", range(12))
def test_every_promise_is_held_over_relays(seed: int) -> None:
    verdict = over_relays(seed)
    assert verdict.holds, str(verdict)
