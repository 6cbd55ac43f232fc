"""A thousand nodes with three globals: joining costs what it asks for, not what there is."""

from __future__ import annotations

import pytest

from aemp_global.testing.size import grow


@pytest.mark.parametrize("count", [100, 1_000])
def test_many_nodes_join_three_globals(count: int) -> None:
    """The bounds in bytes are the same for both sizes."""
    size = grow(count)
    assert size.seconds < 60
    assert size.links == 1
    assert size.late_links <= size.peers + 1
    assert size.fewest > count / 5  # the homes share the load
    assert size.joined < 2_500
    assert size.late < 5_000
