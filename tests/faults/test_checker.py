"""The checker of numbered traffic finds what it is there to find, and nothing else."""

from __future__ import annotations

import random

import pytest
from faults_kit.checker import Runs, Watch, violations


def judged(sent: int, arrived: list[int], *watches: Watch) -> list[str]:
    runs = Runs()
    for number in arrived:
        runs.add(number)
    assert runs.count == len(arrived)
    return violations(sent, Runs(runs.runs), watches)


ALL = [*range(10)]


@pytest.mark.parametrize(
    ("sent", "arrived", "watches"),
    [
        (10, ALL, [Watch(0)]),
        (0, [], [Watch(0)]),
        (10, [0, 1, 2, 7, 8, 9], [Watch(0, end=7, fired=1), Watch(7)]),
        (10, [0, 1, 2, 5, 6, 7, 8, 9], [Watch(0, end=5, fired=1), Watch(5)]),
        (10, [7, 8, 9], [Watch(0, end=7, fired=1), Watch(7)]),
        (10, [0, 1, 2], [Watch(0, end=10, fired=1), Watch(10)]),
        (10, ALL, [Watch(0, end=6, fired=1), Watch(6)]),  # told of a loss that was none
        (10, [0, 1, 2, 8, 9], [Watch(0, end=8, fired=1), Watch(2, end=8, fired=1), Watch(8)]),
        (10, [0, 1, 5, 6, 7, 8, 9], []),  # nobody watched: order only
        (10, [0, 1, 2], [Watch(0, end=9, cancelled=True)]),
    ],
)
def test_kept_promises_pass(sent: int, arrived: list[int], watches: list[Watch]) -> None:
    assert judged(sent, arrived, *watches) == []


@pytest.mark.parametrize(
    ("sent", "arrived", "watches", "finding"),
    [
        (10, [0, 1, 1, 2], [], "second time"),
        (10, [0, 2, 1, 3], [], "out of order"),
        (10, [0, 1, 2, 3, 0, 1], [], "second time"),
        (10, [*ALL, 10], [], "only 10 were sent"),
        (10, [0, 1, 3, 4, 5, 6, 7, 8, 9], [Watch(0)], "2 is missing"),
        (10, [0, 1, 5, 9], [Watch(0, end=7, fired=1), Watch(7)], "2 is missing"),
        (10, [1, 2], [Watch(0, end=10, fired=1)], "0 is missing"),
        (10, [0, 1, 2, 8, 9], [Watch(0, end=9, fired=1)], "3 is missing"),
        (10, [0, 1, 2], [Watch(0)], "never fired, and 3..9"),
        (10, [], [Watch(0)], "never fired, and 0..9"),
        (10, ALL, [Watch(0, end=10, fired=2)], "fired 2 times"),
        (10, ALL, [Watch(0, end=5, cancelled=True, late=1)], "after it was cancelled"),
        (10, [0, 2, 3], [Watch(0, end=5, cancelled=True)], "1 is missing"),
    ],
)
def test_broken_promises_are_found(
    sent: int, arrived: list[int], watches: list[Watch], finding: str
) -> None:
    found = judged(sent, arrived, *watches)
    assert any(finding in each for each in found), found


def test_a_hole_anywhere_is_found_unless_the_watch_ended_before_delivery_resumed() -> None:
    draw = random.Random(20)
    for _ in range(2_000):
        sent = draw.randrange(3, 40)
        begin = draw.randrange(1, sent - 1)
        end = draw.randrange(begin + 1, sent)
        arrived = [*range(begin), *range(end, sent)]
        told = draw.randrange(begin, sent)  # when the watch fired
        found = judged(sent, arrived, Watch(0, end=told, fired=1), Watch(told))
        # Before the end of the hole: the next watch covers the rest of it and has to fire, too.
        assert bool(found) is not (told == end), (begin, end, told, found)
