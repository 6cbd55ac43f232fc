"""Presence: which nodes the network has, as far as one node can tell.

It can tell of those it has a link to, and of those its plugins know: with aemp-global every node
of the network. Commands and services that look at a whole network begin here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from .monitor import Guard
from .reason import Reason

if TYPE_CHECKING:
    from .node import Node

__all__ = ["Presence"]


class Presence(Guard):
    """The other nodes of the network, as a watch and as a collection of their IDs.

    Args:
        node: whose network it is.
        told: ``told(node_id, is_there)``, called for each node that is there, and whenever one
            comes or goes; never for `node` itself.
    """

    def __init__(self, node: Node, told: Callable[[str, bool], object]) -> None:
        self._node = node
        self._told = told
        # By node: who says that it is there. It is as long as anybody does.
        self._there: dict[str, set[object]] = {}
        self._guards: list[Guard] = [node.mon_nodes(self._linked)]
        for node_id in node.up_nodes():
            self._came("link", node_id)  # told again by the event, if that is queued
        for watch in node.presence_hooks:
            self._guards.append(watch(partial(self._changed, watch)))

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._there))

    def __contains__(self, node_id: object) -> bool:
        return node_id in self._there

    def cancel(self) -> None:
        """Tell of nothing more."""
        for guard in self._guards:
            guard.cancel()
        self._guards.clear()

    def _linked(self, node_id: str, is_up: bool, reason: Reason) -> None:
        if is_up:
            self._came("link", node_id)
        else:
            self._went("link", node_id)

    def _changed(self, source: object, added: Sequence[str], removed: Sequence[str]) -> None:
        for node_id in removed:
            self._went(source, node_id)
        for node_id in added:
            self._came(source, node_id)

    def _came(self, source: object, node_id: str) -> None:
        if node_id == self._node.id:
            return
        sources = self._there.setdefault(node_id, set())
        sources.add(source)
        if len(sources) == 1:
            self._told(node_id, True)

    def _went(self, source: object, node_id: str) -> None:
        sources = self._there.get(node_id)
        if sources is not None:
            sources.discard(source)
            if not sources:
                del self._there[node_id]
                self._told(node_id, False)
