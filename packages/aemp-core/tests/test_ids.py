"""Names of things: an incarnation tells a later life of a node from an earlier one."""

from __future__ import annotations

from aemp_core.ids import base62, is_incarnation, new_incarnation


def test_a_later_life_has_the_greater_incarnation() -> None:
    """As text, whatever the random part: the time is in front, and its digits sort."""
    millis = [*range(62**2 + 62), *(1_700_000_000_000 + n * 86_400_000 for n in range(500))]
    lives = [
        new_incarnation((milli + 0.5) / 1000, (b"\xff" if number % 2 else b"\0") * 8)
        for number, milli in enumerate(millis)
    ]
    assert lives == sorted(lives)
    assert len({*lives}) == len(lives)
    assert all(map(is_incarnation, lives))


def test_two_lives_of_one_moment_differ_by_chance() -> None:
    lives = {new_incarnation(1.7e9, number.to_bytes(8, "big")) for number in range(1_000)}
    assert len(lives) == 1_000
    assert len({life[:8] for life in lives}) == 1


def test_base_62_is_padded_with_zeros() -> None:
    assert base62(0, 3) == "000"
    assert base62(61) == "z"
    assert base62(62, 3) == "010"
