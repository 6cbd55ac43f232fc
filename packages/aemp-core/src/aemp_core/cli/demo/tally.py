"""The tally: what has been counted, skipped, sent and lost so far, and what it says at the end."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from ...reason import describe
from ..text import printable
from .wordcount import Count

__all__ = ["Loss", "Tally"]

SHOWN_FILES = 10


@dataclass
class Loss:
    """A worker that was killed, and how it was noticed.

    Attributes:
        node: its node ID.
        killed_at: when we sent SIGKILL, in seconds of the monotonic clock; None: not by us.
        noticed_ms: milliseconds from there until its monitor fired.
        reason: what the monitor told.
        given_back: how many unfinished files went to others.
    """

    node: str
    killed_at: float | None = None
    noticed_ms: float | None = None
    reason: tuple[Any, ...] = ()
    given_back: int = 0


@dataclass
class Tally:
    """The state of the job; the driver fills it, the screen and the report read it."""

    total: int
    workers: int
    counted: dict[bytes, Count] = field(default_factory=dict)
    skipped: dict[bytes, tuple[str, str]] = field(default_factory=dict)
    messages: int = 0
    seconds: float = 0.0
    losses: list[Loss] = field(default_factory=list)
    direct_words: int | None = None
    differing: list[bytes] = field(default_factory=list)
    folders: list[tuple[bytes, str]] = field(default_factory=list)

    @property
    def done(self) -> int:
        """Files that need no more work."""
        return len(self.counted) + len(self.skipped)

    @property
    def words(self) -> int:
        """All words counted by the workers."""
        return sum(count.words for count in self.counted.values())

    @property
    def rate(self) -> float:
        """Messages per second between driver and workers."""
        return self.messages / self.seconds if self.seconds else 0.0

    @property
    def equal(self) -> bool:
        """Whether the workers' totals are those of the direct count, file by file."""
        return self.direct_words == self.words and not self.differing

    def rows(self) -> list[tuple[str, str]]:
        """What the table at the end says."""
        rows = [("files counted", f"{len(self.counted):,}")]
        for kind, number in sorted(Counter(kind for kind, _ in self.skipped.values()).items()):
            rows.append((f"files skipped: {kind}", f"{number:,}"))
        rows += [
            ("words", f"{self.words:,}"),
            ("words, counted directly", f"{self.direct_words or 0:,}"),
            ("bytes", f"{sum(count.size for count in self.counted.values()):,}"),
            ("worker processes", f"{self.workers:,}"),
            ("messages", f"{self.messages:,}"),
            ("messages/s", f"{self.rate:,.0f}"),
            ("seconds", f"{self.seconds:.2f}"),
        ]
        for loss in self.losses:
            what = "worker lost" if loss.killed_at is None else "worker killed"
            rows.append((what, f"{loss.node}, {describe(loss.reason)}"))
            if loss.noticed_ms is not None:
                rows.append(("time to notice", f"{loss.noticed_ms:.1f} ms"))
            rows.append(("files given to others", f"{loss.given_back}"))
        return rows

    def remarks(self) -> list[str]:
        """Files a person should know of: those skipped though not binary, those that differ."""
        odd = [f"unreadable directory: {shown(path)}: {text}" for path, text in self.folders]
        odd += [
            f"{kind}: {shown(path)}: {text}"
            for path, (kind, text) in self.skipped.items()
            if kind != "binary"
        ]
        rest = len(odd) - SHOWN_FILES
        odd[SHOWN_FILES:] = [f"... and {rest:,} more, --json lists all"] if rest > 0 else []
        return odd + [f"counts differ: {shown(path)}" for path in self.differing[:SHOWN_FILES]]

    def as_json(self) -> dict[str, Any]:
        """The same as one JSON object, complete but for the names of binary files."""
        kinds = Counter(kind for kind, _ in self.skipped.values())
        return {
            "equal": self.equal,
            "files": len(self.counted),
            "words": self.words,
            "direct_words": self.direct_words,
            "bytes": sum(count.size for count in self.counted.values()),
            "skipped": dict(sorted(kinds.items())),
            "not_counted": [
                {"file": shown(path), "kind": kind, "text": text}
                for path, (kind, text) in self.skipped.items()
                if kind != "binary"
            ],
            "unreadable_directories": [
                {"directory": shown(path), "text": text} for path, text in self.folders
            ],
            "differing": [shown(path) for path in self.differing],
            "workers": self.workers,
            "messages": self.messages,
            "messages_per_second": round(self.rate, 1),
            "seconds": round(self.seconds, 3),
            "losses": [
                {
                    "node": loss.node,
                    "killed": loss.killed_at is not None,
                    "noticed_ms": None if loss.noticed_ms is None else round(loss.noticed_ms, 3),
                    "reason": list(loss.reason),
                    "given_back": loss.given_back,
                }
                for loss in self.losses
            ],
        }


def shown(path: bytes) -> str:
    """A file name that is safe to print: whatever bytes it has, no control characters."""
    return printable(os.fsdecode(path))
