"""Timers: `after` and `every`, which belong to the port that began them and end with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING

from .monitor import Guard

if TYPE_CHECKING:
    from .node import Node
    from .ports import Port

__all__ = ["Timer"]


class Timer(Guard):
    """One timer; a repeated one keeps to its beat, whatever the callbacks take."""

    __slots__ = ("_action", "_due", "_handle", "_interval", "_node", "_owner")

    def __init__(
        self,
        node: Node,
        owner: Port | None,
        seconds: float,
        action: Callable[[], object],
        *,
        repeat: bool,
    ) -> None:
        self._node = node
        self._owner = owner
        self._action = action
        self._interval = seconds if repeat else None
        self._due = node.loop.time() + seconds
        self._handle: asyncio.TimerHandle | None = None
        node.add_job(owner, self)
        self._arm()

    def _arm(self) -> None:
        self._handle = self._node.loop.call_at(self._due, self._fire, context=Context())

    def _fire(self) -> None:
        if self._interval is None:
            self.cancel()
        else:
            # Beats missed in a stall are left out, not made up for all at once.
            now = self._node.loop.time()
            missed = max(0, int((now - self._due) / self._interval))
            self._due += (missed + 1) * self._interval
            self._arm()
        self._node.call_in(self._owner, self._action)

    def cancel(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
            self._node.drop_job(self._owner, self)
