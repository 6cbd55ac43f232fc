"""Families: the entries of all visible owners, by family and key, and who watches them.

Two owners may write the same key: the value of the smaller owner ID shows, everywhere, and when it
goes the other one appears. Watchers are told once per loop turn which keys changed since they
were told last; what changed and changed back in between is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .entries import GONE, Key
from .owners import same

__all__ = ["Families", "FamilyWatch"]


class FamilyWatch:
    """One watcher of one family: what it was told, and which keys may differ from that.

    Args:
        told: called with the report of `FamilyWatch.report`.
    """

    __slots__ = ("begun", "dirty", "family", "last", "told")

    def __init__(self, family: str, told: Callable[[FamilyWatch], None]) -> None:
        self.family = family
        self.told = told
        self.begun = False
        self.last: dict[str, Any] = {}
        self.dirty: dict[str, None] = {}

    def report(
        self, families: Families
    ) -> tuple[dict[str, Any], list[str], list[str], list[str]] | None:
        """The family now, and the keys added, changed and deleted since the last report.

        None if nothing did; the first report is never None.
        """
        now = families.values(self.family)
        keys = list(self.dirty) if self.begun else list(now)
        self.dirty = {}
        added, changed, deleted = [], [], []
        for key in keys:
            before, after = self.last.get(key, GONE), now.get(key, GONE)
            if before is GONE and after is not GONE:
                added.append(key)
            elif before is not GONE and after is GONE:
                deleted.append(key)
            elif not same(before, after):
                changed.append(key)
        if self.begun and not (added or changed or deleted):
            return None
        self.begun = True
        for key in deleted:
            del self.last[key]
        for key in (*added, *changed):
            self.last[key] = now[key]
        return self.last, added, changed, deleted


class Families:
    """Every visible entry.

    Args:
        wake: called when a watcher has something to be told; `tell` does it, later.
        admits: whether an owner may write under a key; what it may not does not show.
    """

    def __init__(
        self,
        wake: Callable[[], None],
        admits: Callable[[str, Key], bool] = lambda owner, key: True,
    ) -> None:
        self._wake = wake
        self._admits = admits
        # By family and key: the values by owner, and the owner that shows.
        self._entries: dict[str, dict[str, dict[str, Any]]] = {}
        self._shown: dict[str, dict[str, str]] = {}
        self._values: dict[str, dict[str, Any]] = {}
        self._watches: dict[str, dict[FamilyWatch, None]] = {}
        self._eager: dict[str, dict[Callable[[str], None], None]] = {}
        self._due: dict[FamilyWatch, None] = {}

    # -- changing ----------------------------------------------------------------------------

    def put(self, owner: str, key: Key, value: Any) -> None:
        """`owner` has written `value`, or deleted it (`GONE`)."""
        family, name = key
        if value is not GONE and not self._admits(owner, key):
            value = GONE
        entries = self._entries.get(family)
        if entries is None:
            if value is GONE:
                return
            entries = self._entries[family] = {}
            self._shown[family] = {}
            self._values[family] = {}
        owners = entries.get(name)
        if value is not GONE:
            if owners is None:
                owners = entries[name] = {}
            owners[owner] = value
        elif owners is None or owners.pop(owner, GONE) is GONE:
            return
        if owners:
            shown = owner if len(owners) == 1 and owner in owners else min(owners)
            self._shown[family][name] = shown
            self._values[family][name] = owners[shown]
        else:
            del entries[name], self._shown[family][name], self._values[family][name]
            if not entries:
                del self._entries[family], self._shown[family], self._values[family]
        self._changed(family, name)

    def _changed(self, family: str, name: str) -> None:
        for eager in self._eager.get(family, ()):
            eager(name)
        for watch in self._watches.get(family, ()):
            watch.dirty[name] = None
            self._call(watch)

    # -- reading -----------------------------------------------------------------------------

    def values(self, family: str) -> dict[str, Any]:
        """Value by key, not to be changed by the caller."""
        return self._values.get(family, {})

    def sizes(self) -> dict[str, int]:
        """How many keys each family has."""
        return {family: len(values) for family, values in self._values.items() if values}

    def shown(self, family: str, name: str) -> tuple[str, Any] | None:
        """The owner that shows under a key, and its value."""
        owner = self._shown.get(family, {}).get(name)
        return None if owner is None else (owner, self._values[family][name])

    # -- watching ----------------------------------------------------------------------------

    def watch(self, watch: FamilyWatch) -> None:
        """Have a watcher told; of all there is, first."""
        self._watches.setdefault(watch.family, {})[watch] = None
        self._call(watch)

    def unwatch(self, watch: FamilyWatch) -> None:
        """Have it told no more."""
        watches = self._watches.get(watch.family, {})
        watches.pop(watch, None)
        if not watches:
            self._watches.pop(watch.family, None)
        self._due.pop(watch, None)

    def listen(self, family: str, listener: Callable[[str], None]) -> None:
        """Have `listener` called with each key at once when it may have changed."""
        self._eager.setdefault(family, {})[listener] = None

    def unlisten(self, family: str, listener: Callable[[str], None]) -> None:
        """Have it called no more."""
        listeners = self._eager.get(family, {})
        listeners.pop(listener, None)
        if not listeners:
            self._eager.pop(family, None)

    def _call(self, watch: FamilyWatch) -> None:
        if not self._due:
            self._wake()
        self._due[watch] = None

    def tell(self) -> None:
        """Tell every watcher that waits."""
        due, self._due = self._due, {}
        for watch in due:
            if watch in self._watches.get(watch.family, ()):
                watch.told(watch)
