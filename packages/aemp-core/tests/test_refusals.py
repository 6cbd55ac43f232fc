"""Refusals: told, and never so often that they do harm themselves."""

from __future__ import annotations

import asyncio

import pytest

from aemp_core import refusals
from aemp_core.refusals import LINES, WINDOW_SECONDS
from aemp_core.testing import virtual_clock


@virtual_clock
async def test_a_flood_of_refusals_is_a_few_lines_and_a_count(
    caplog: pytest.LogCaptureFixture,
) -> None:
    loop = asyncio.get_running_loop()
    for number in range(1_000):
        refusals.warn(loop, "kind", "refused %s", number)
    assert [record.getMessage() for record in caplog.records] == [
        f"refused {number}" for number in range(LINES)
    ]
    caplog.clear()
    await asyncio.sleep(WINDOW_SECONDS)
    refusals.warn(loop, "kind", "refused %s", "another")
    refusals.warn(loop, "kind", "refused %s", "one more")
    assert [record.getMessage() for record in caplog.records] == [
        f"refused another (and {1_000 - LINES} more refusals of this kind before)",
        "refused one more",
    ]


@virtual_clock
async def test_a_flood_of_one_kind_does_not_hide_another(caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(1_000):
        refusals.warn(loop, "flood", "noise")
    refusals.warn(loop, "rare", "signal")
    assert "signal" in caplog.text


def test_every_loop_counts_for_itself(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):

        @virtual_clock
        async def flood() -> None:
            for _ in range(100):
                refusals.warn(asyncio.get_running_loop(), "kind", "noise")

        flood()
    assert len(caplog.records) == 2 * LINES
