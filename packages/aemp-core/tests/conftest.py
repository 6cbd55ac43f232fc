"""Makes `core_kit`, what the tests of aemp-core share, importable; keeps siblings out of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aemp_core.plugins import plugin_manager

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def core_alone() -> Iterator[None]:
    """Which links there are is what aemp-core makes of it, also where aemp-global is installed."""
    manager = plugin_manager()
    sibling = manager.unregister(name="global") if manager.has_plugin("global") else None
    yield
    if sibling is not None:
        manager.register(sibling, name="global")
