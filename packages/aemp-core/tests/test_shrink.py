"""Shrinking: of a list that makes something fail, the few items that do."""

from __future__ import annotations

import random

import pytest

from aemp_core.testing.shrink import minimise


class Failing:
    """Fails for lists that hold all of some items; counts what it was asked."""

    def __init__(self, *guilty: int) -> None:
        self.guilty = set(guilty)
        self.asked: list[list[int]] = []

    def __call__(self, items: list[int]) -> bool:
        self.asked.append(items)
        return self.guilty <= set(items)


def test_what_has_nothing_to_do_with_it_is_left_out() -> None:
    fails = Failing(3, 17)
    assert minimise(range(24), fails, budget=1_000) == [3, 17]


def test_if_nothing_is_needed_one_call_finds_it() -> None:
    fails = Failing()
    assert minimise(range(24), fails, budget=1_000) == []
    assert fails.asked == [[]]


def test_what_is_all_needed_stays() -> None:
    assert minimise([1, 2, 3], Failing(1, 2, 3), budget=1_000) == [1, 2, 3]


def test_a_single_item_stays() -> None:
    assert minimise([1], Failing(1), budget=1_000) == [1]


def test_the_order_is_kept() -> None:
    assert minimise([9, 4, 7, 1, 8, 2], Failing(8, 9, 4), budget=1_000) == [9, 4, 8]


def test_equal_items_are_several_items() -> None:
    found = minimise(["a", "b", "a", "a"], lambda items: items.count("a") >= 2, budget=1_000)
    assert found == ["a", "a"]


def test_the_same_part_is_never_tried_twice() -> None:
    fails = Failing(0, 11, 12, 23)
    minimise(range(24), fails, budget=1_000)
    assert len(fails.asked) == len({tuple(items) for items in fails.asked})
    assert list(range(24)) not in fails.asked


@pytest.mark.parametrize("budget", [0, 1, 2, 5, 20])
def test_the_budget_is_kept_and_what_comes_back_still_fails(budget: int) -> None:
    fails = Failing(0, 9, 23)
    found = minimise(range(24), fails, budget=budget)
    assert len(fails.asked) <= budget
    assert fails(found)


def test_a_greater_budget_finds_no_longer_list() -> None:
    sizes = [len(minimise(range(40), Failing(5, 21, 22), budget=budget)) for budget in range(120)]
    assert sizes == sorted(sizes, reverse=True)
    assert (sizes[0], sizes[-1]) == (40, 3)


@pytest.mark.parametrize("seed", range(20))
def test_with_budget_enough_nothing_more_can_be_left_out(seed: int) -> None:
    chance = random.Random(seed)
    groups = [set(chance.sample(range(20), chance.randint(1, 5))) for _ in range(3)]

    def fails(items: list[int]) -> bool:
        return any(group <= set(items) for group in groups)

    found = minimise(range(20), fails, budget=10_000)
    assert fails(found)
    assert not any(fails(found[:place] + found[place + 1 :]) for place in range(len(found)))
    assert found == minimise(range(20), fails, budget=10_000)
