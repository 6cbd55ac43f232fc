"""Shrinking: of a list that makes something fail, the few items that do.

Delta debugging (Zeller's *ddmin*): leave out halves, then quarters, then smaller parts, for as long
as what is left still fails. With calls enough the result is *1-minimal*: no single item of it can
be left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeVar

__all__ = ["minimise"]

T = TypeVar("T")


class _BudgetSpent(Exception):
    """No further call of `fails` is granted."""


def minimise(items: Sequence[T], fails: Callable[[list[T]], bool], *, budget: int) -> list[T]:
    """The smallest part of `items` found that still fails, in their order.

    Args:
        items: what is known to fail; it is not tried again as a whole.
        fails: whether a part fails. It must answer the same for the same part, and is never asked
            twice about one.
        budget: the most calls of `fails`; 0 gives `items` back.

    Returns:
        A new list; the same one for the same arguments, always.
    """
    kept = tuple(range(len(items)))
    answers: dict[tuple[int, ...], bool] = {kept: True}

    def fail(part: tuple[int, ...]) -> bool:
        if part not in answers:
            if len(answers) > budget:
                raise _BudgetSpent
            answers[part] = fails([items[place] for place in part])
        return answers[part]

    try:
        if fail(()):
            return []
        parts = 2
        while len(kept) > 1:
            smaller = next((part for part in _smaller(kept, parts) if fail(part)), None)
            if smaller is not None:
                # A part of the rest is as fine-grained as before; one part alone starts anew.
                parts = max(2, parts - 1) if 2 * len(smaller) >= len(kept) else 2
                kept = smaller
            elif parts < len(kept):
                parts = min(2 * parts, len(kept))
            else:
                break
    except _BudgetSpent:
        pass
    return [items[place] for place in kept]


def _smaller(kept: tuple[int, ...], parts: int) -> list[tuple[int, ...]]:
    """`kept` cut into so many parts: each part alone, then each left out."""
    cuts = [len(kept) * part // parts for part in range(parts + 1)]
    spans = list(pairwise(cuts))
    alone = [kept[begin:end] for begin, end in spans]
    return alone + [kept[:begin] + kept[end:] for begin, end in spans]
