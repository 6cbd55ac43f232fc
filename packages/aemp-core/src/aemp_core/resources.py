"""Resources: things that are cancelled, closed or called when a port dies (`mon_guard`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .errors import UsageError
from .monitor import Guard

if TYPE_CHECKING:
    from .ports import Port
    from .router import Router

__all__ = ["ResourceGuard", "release_all", "releaser"]


class ResourceGuard(Guard):
    """Things released when a port dies, unless cancelled."""

    __slots__ = ("_port", "_things")

    def __init__(self, port: Port, things: tuple[Any, ...]) -> None:
        self._port = port
        self._things = things

    def cancel(self) -> None:
        self._things = ()
        if self._port.resources is not None:
            self._port.resources.pop(self, None)

    def release(self) -> None:
        """Cancel, close or call each thing, last first, as code of no port."""
        things, self._things = self._things, ()
        release_all(self._port.node, things)


def release_all(node: Router, things: tuple[Any, ...]) -> None:
    """Cancel, close or call each thing, last first, as code of no port."""
    for thing in reversed(things):
        node.call_in(None, releaser(thing))


def releaser(thing: Any) -> Callable[[], object]:
    """How a guarded resource is released: its `cancel`, its `close`, or a call of it."""
    for name in ("cancel", "close"):
        method = getattr(thing, name, None)
        if callable(method):
            release: Callable[[], object] = method
            return release
    if callable(thing):
        call: Callable[[], object] = thing
        return call
    raise UsageError(f"{thing!r} cannot be guarded: it has no cancel(), no close(), no call")
