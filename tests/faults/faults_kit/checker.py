"""The checker of numbered traffic: what was promised of it, judged by two logs.

A *stream* is what one sender sends to one port: the numbers 0, 1, 2, ... The sender logs how many
it sent and the *watches* it set on the port, each with the first number sent after it was set and
the first one sent after it fired. The receiver logs the numbers in the order they arrived, as
*runs* of consecutive ones. `violations` compares both with the promise, in its own words:

- *order and once*: the numbers that arrive rise;
- *no holes*: of the numbers sent under a watch, those that arrive are a prefix;
- *told*: under a watch that did not fire everything arrived;
- *watches* fire at most once, and never once cancelled.

Nothing here knows how messages travel, and nothing is imported that does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Runs", "Watch", "violations"]

#: Violations of one kind that are told of a stream.
TOLD = 5


class Runs:
    """Numbers in the order they arrived, kept as runs ``[first, last]``."""

    def __init__(self, runs: Iterable[Sequence[int]] = ()) -> None:
        self.runs = [[first, last] for first, last in runs]

    def add(self, number: int) -> None:
        """One more arrived."""
        if self.runs and self.runs[-1][1] + 1 == number:
            self.runs[-1][1] = number
        else:
            self.runs.append([number, number])

    @property
    def count(self) -> int:
        """How many arrived."""
        return sum(last - first + 1 for first, last in self.runs)


@dataclass
class Watch:
    """A monitor of the sender on the port.

    Attributes:
        first: the first number sent after it was set.
        end: the first number sent after it fired or was cancelled; None: it still watches.
        fired: how often it fired.
        cancelled: whether it was cancelled; then `late` counts the times it fired afterwards.
    """

    first: int
    end: int | None = None
    fired: int = 0
    cancelled: bool = False
    late: int = 0


def violations(sent: int, arrived: Runs, watches: Iterable[Watch]) -> list[str]:
    """What broke the promise on one stream, empty if nothing did.

    To be called when everything has settled: what is to arrive has arrived, what is to fire has
    fired.

    Args:
        sent: how many numbers were sent.
        arrived: what arrived, in order.
        watches: every watch of the sender on the port.
    """
    found = _order(sent, arrived)
    for watch in watches:
        found += _watch(sent, arrived, watch)
    return found


def _order(sent: int, arrived: Runs) -> list[str]:
    found = []
    before = -1
    for first, last in arrived.runs:
        if first <= before:
            found.append(f"{first} arrived after {before}: out of order, or a second time")
        before = max(before, last)
    if before >= sent:
        found.append(f"{before} arrived and only {sent} were sent")
    return found[:TOLD]


def _watch(sent: int, arrived: Runs, watch: Watch) -> list[str]:
    found = []
    name = f"the watch set before {watch.first}"
    if watch.late:
        found.append(f"{name} fired {watch.late} times after it was cancelled")
    if watch.fired > 1:
        found.append(f"{name} fired {watch.fired} times")
    if watch.fired and not watch.cancelled and watch.end is None:
        raise ValueError(f"{name} fired, and the log does not say when: give its end")
    end = sent if watch.end is None else watch.end
    due = watch.first  # everything below it that was sent under the watch has arrived
    missing = None
    for first, last in arrived.runs:
        first, last = max(first, watch.first), min(last, end - 1)
        if first > last:
            continue
        if first > due and missing is None:
            missing = due
            found.append(
                f"{name} was to see a prefix of {watch.first}..{end - 1}: {due} is missing, and "
                f"{first} arrived"
            )
        due = max(due, last + 1)
    if not watch.fired and not watch.cancelled and due < end:
        found.append(f"{name} never fired, and {due}..{end - 1} did not arrive")
    return found[:TOLD]
