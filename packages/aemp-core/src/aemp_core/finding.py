"""Findings: what ``aemp doctor`` sees of a node, good or bad, and what mends it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Finding"]

OK = "ok"
WARNING = "warning"
PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        about: what was looked at: ``certificate``, or the address of a seed and ``greeting``.
        state: ``ok``; ``warning``: it will do, though not for ever or not as well as it could;
            ``problem``: the node cannot start, or cannot join there.
        text: what was seen.
        remedy: what to do about it.
    """

    about: str
    state: str
    text: str
    remedy: str = ""
