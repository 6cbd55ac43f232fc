"""Makes `stateful_kit`, and what the tests of the wire protocol share, importable."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "wire")]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What fails is told in steps, not in the log lines of every example before."""
    logger = logging.getLogger("aemp_core")
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(logging.NOTSET)
