"""Finds: inputs that broke something; replayed without instruments, made small, shown readably."""

from __future__ import annotations

import time

from .corpus import CORPUS
from .judge import prompt
from .targets import TARGETS, Target

__all__ = ["describe", "failure_of", "fixed_name", "shrink", "target_named"]

#: Seconds spent on making one find smaller.
SHRINK_SECONDS = 20.0


def failure_of(target: Target, data: bytes) -> Exception | None:
    """What an input breaks, None if nothing."""
    try:
        prompt(target.load(), data, target.slow)
    except Exception as failure:
        return failure
    return None


def shrink(target: Target, data: bytes) -> bytes:
    """A smaller input that still fails in the same way, by taking away and flattening parts."""
    wanted = _kind(failure_of(target, data))
    ends = time.monotonic() + SHRINK_SECONDS
    size = max(1, (len(data) - target.head) // 2)
    while size and time.monotonic() < ends:
        at, smaller = target.head, False
        while at < len(data) and time.monotonic() < ends:
            shorter = data[:at] + data[at + size :]
            if _kind(failure_of(target, shorter)) == wanted:
                data, smaller = shorter, True
            else:
                at += size
        if not smaller or size > 1:
            size //= 2
    for number in range(target.head):
        plainer = data[:number] + b"\x00" + data[number + 1 :]
        if data[number] and _kind(failure_of(target, plainer)) == wanted:
            data = plainer
    return data


def _kind(failure: Exception | None) -> str:
    """Failures of one kind differ in values only; the first words of their text tell the kind."""
    if failure is None:
        return ""
    return f"{type(failure).__name__}: {''.join(filter(str.isalpha, str(failure)))[:20]}"


def describe(target: Target, data: bytes) -> str:
    """An input as a person reads it."""
    head, rest = data[: target.head], data[target.head :]
    lines = [f"{target.name}: {len(data)} bytes, head {head.hex(' ')}"]
    lines += [f"    {part!r}" for part in rest.splitlines(keepends=True)]
    return "\n".join(lines)


def fixed_name(target: Target) -> str:
    """Where a find goes once it is fixed."""
    return str(CORPUS / target.name / "failed-WHAT-IT-BROKE")


def target_named(name: str) -> Target:
    """The target called `name`; `SystemExit` naming those there are."""
    if name not in TARGETS:
        raise SystemExit(f"{name!r} is no target: there are {', '.join(TARGETS)}")
    return TARGETS[name]
