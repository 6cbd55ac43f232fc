"""Figures: what a series of measurements comes to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["Figures", "Size", "growth", "quantile", "spread"]

#: The fixture `size`: of two counts, the one for the quick size and the one for the full.
Size = Callable[[Any, Any], Any]
#: The fixture `figures`: notes what was measured, by keyword.
Figures = Callable[..., None]


def quantile(samples: Sequence[float], share: float) -> float:
    """The smallest sample that at least `share` of all do not exceed."""
    ranked = sorted(samples)
    return ranked[max(0, -int(-len(ranked) * share // 1) - 1)]


def spread(samples: Sequence[float], digits: int = 4) -> dict[str, float]:
    """Count, least, median, 99th percentile and greatest of some samples."""
    values = {
        "min": min(samples),
        "p50": quantile(samples, 0.50),
        "p99": quantile(samples, 0.99),
        "max": max(samples),
    }
    return {"count": len(samples), **{key: round(value, digits) for key, value in values.items()}}


def growth(points: Sequence[tuple[float, float]]) -> float:
    """How much the value grows over the points, by the line that fits them best.

    One point that is off, a buffer that was grown once say, moves the line only a little.
    """
    count = len(points)
    mean_x = sum(x for x, _ in points) / count
    mean_y = sum(y for _, y in points) / count
    over = sum((x - mean_x) * (y - mean_y) for x, y in points)
    under = sum((x - mean_x) ** 2 for x, _ in points)
    return over / under * (points[-1][0] - points[0][0])
