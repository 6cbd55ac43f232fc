"""Owners and families, held against models of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aemp_global.entries import GONE
from aemp_global.families import Families, FamilyWatch
from aemp_global.owners import Claim, OwnerState, same

INCARNATION = "0HbXqHj6MEFQG2"
keys = st.tuples(st.sampled_from("fg"), st.sampled_from("abcdef"))
values = st.one_of(st.just(GONE), st.integers(0, 3))


def owner() -> OwnerState:
    return OwnerState("owner", Claim(INCARNATION, 1))


pairs = st.tuples(st.integers(0, 3), st.integers(1, 3))


@given(st.lists(st.one_of(st.tuples(keys, values), pairs), max_size=300))
def test_whoever_asks_from_any_version_ends_with_the_same_map(steps: list[Any]) -> None:
    """Three holders ask the owner, or each other, at any time, and from whatever they have."""
    source, *holders = all_of_them = [owner() for _ in range(4)]
    for step in steps:
        if isinstance(step[0], int):
            giver, taker = (all_of_them[place] for place in step)
            if giver.version > taker.version:
                before = dict(taker.entries)
                base, changes = giver.since(taker.version)
                changed = taker.apply(base, giver.version, changes)
                assert taker.entries == giver.entries
                different = {
                    key for key in {*before, *taker.entries}
                    if before.get(key) != taker.entries.get(key)
                }  # fmt: skip
                assert set(changed) == different
        else:
            key, value = step
            if value is not GONE or key in source.entries:
                source.write(key, value, 1)
    assert source.size == sum(size for _, size in source.entries.values())
    for holder in holders:
        if holder.version < source.version:
            base, changes = source.since(holder.version)
            holder.apply(base, source.version, changes)
        assert holder.entries == source.entries
        assert holder.size == source.size


def take(taker: OwnerState, giver: OwnerState) -> None:
    base, changes = giver.since(taker.version)
    taker.apply(base, giver.version, changes)


def test_what_a_holder_never_had_it_tells_was_deleted() -> None:
    """Who has a version from between that of a holder and the next one it got asks that holder."""
    source, early, late = owner(), owner(), owner()
    source.write(("f", "a"), 1, 1)
    take(early, source)
    source.write(("f", "b"), 1, 1)
    take(late, source)
    source.write(("f", "b"), GONE, 0)
    take(early, source)
    take(late, early)
    assert late.entries == early.entries == source.entries


def test_a_tail_is_told_and_not_the_whole() -> None:
    source = owner()
    for number in range(1_000):
        source.write(("f", str(number)), number, 1)
    base, changes = source.since(990)
    assert base == 990 and len(changes) == 10
    for _ in range(5_000):
        source.write(("f", "0"), 1, 1)
    base, changes = source.since(990)
    assert base == 0 and len(changes) == 1_000
    assert len(source._log) <= 1_000


@pytest.mark.parametrize(
    "mine, other, above",
    [
        ((INCARNATION, 3), (INCARNATION, 7), (INCARNATION, 8)),
        ((INCARNATION, 3), ("0HbXqHj6MEFQG3", 7), ("0HbXqHj6MEFQG4", 1)),
        ((INCARNATION, 3), ("0HbXqHj6MEFQzz", 7), ("0HbXqHj6MEFR00", 1)),
        ((INCARNATION, 3), ("0000000000000z", 7), (INCARNATION, 3)),
        ((INCARNATION, 3), (INCARNATION, 2**32 - 1), ("0HbXqHj6MEFQG3", 1)),
    ],
)
def test_a_claim_above_another(mine: Any, other: Any, above: Any) -> None:
    assert Claim(*mine).above(Claim(*other)) == Claim(*above) > Claim(*other)


def test_true_is_not_one() -> None:
    assert same([1, {"a": "x"}], [1, {"a": "x"}])
    for one, other in ((True, 1), (1, 1.0), ([1], [True]), ({"a": 1}, {"a": True}), ([], [1])):
        assert not same(one, other)


@given(st.lists(st.tuples(st.sampled_from(["x", "y", "z"]), keys, values), max_size=100),
       st.sets(st.integers(0, 99)))  # fmt: skip
def test_families_show_the_smallest_owner_and_reports_add_up(
    steps: list[Any], looks: set[int]
) -> None:
    model: dict[Any, dict[str, Any]] = {}
    state: dict[str, Any] = {}
    reports = 0

    def told(watch: FamilyWatch) -> None:
        nonlocal reports
        report = watch.report(families)
        if report is None:
            return
        reports += 1
        now, added, changed, deleted = report
        assert added or changed or deleted or reports == 1
        for key in deleted:
            del state[key]
        for key in (*added, *changed):
            assert (key in state) is (key in changed)
            state[key] = now[key]
        assert state == now

    families = Families(lambda: None)
    families.watch(FamilyWatch("f", told))
    for index, (name, key, value) in enumerate(steps):
        families.put(name, key, value)
        if value is GONE:
            model.get(key, {}).pop(name, None)
        else:
            model.setdefault(key, {})[name] = value
        if index in looks:
            families.tell()
    families.tell()
    for family in "fg":
        expected = {
            key: owners[min(owners)]
            for (of, key), owners in model.items()
            if of == family and owners
        }
        assert families.values(family) == expected
        for key, value in expected.items():
            assert families.shown(family, key) == (min(model[family, key]), value)
    assert state == families.values("f")
