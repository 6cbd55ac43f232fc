"""`configure`: the one node of a program, from its configuration.

`config.load` collects the settings; here they become a node. Configuring twice with equal
settings gives the node that is open already, so that a cell of a notebook can be run again.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Generator
from typing import Any
from weakref import WeakKeyDictionary

from .config import load
from .errors import AlreadyConfigured
from .node import Node
from .settings import Settings

__all__ = ["configure"]


class Configured:
    """What `configure` returns: awaited or entered with ``async with``, it gives the node."""

    def __init__(self, profile: str | None, defaults: dict[str, Any], where: str) -> None:
        self._profile = profile
        self._defaults = defaults
        self._where = where
        self._node: Node | None = None

    async def _configure(self) -> Node:
        loop = asyncio.get_running_loop()
        settings = load(self._profile, self._defaults)
        before = _configured.get(loop)
        if before is not None and not before.node.closing:
            if before.settings == settings:
                await before.started.wait()
                return before.node
            raise AlreadyConfigured(
                f"node {before.node.id} was configured at {before.where} with other settings: "
                "close it first, or make a Node(...) beside it"
            )
        node = Node.of(settings)
        entry = _configured[loop] = _Entry(node, settings, self._where)
        try:
            await node.start()
        except BaseException:
            del _configured[loop]
            raise
        finally:
            entry.started.set()
        return node

    def __await__(self) -> Generator[Any, None, Node]:
        return self._configure().__await__()

    async def __aenter__(self) -> Node:
        self._node = await self._configure()
        return self._node

    async def __aexit__(self, *_: object) -> None:
        if self._node is not None:
            await self._node.close()


class _Entry:
    def __init__(self, node: Node, settings: Settings, where: str) -> None:
        self.node = node
        self.settings = settings
        self.where = where
        self.started = asyncio.Event()


_configured: WeakKeyDictionary[asyncio.AbstractEventLoop, _Entry] = WeakKeyDictionary()


def configure(profile: str | None = None, /, **defaults: Any) -> Configured:
    """Open the node that the configuration describes, as ``await`` or as ``async with``.

    Args:
        profile: the profile's name in the configuration file; None: the top level alone.
        defaults: settings for what the configuration leaves open: programs give defaults,
            operators decide.

    Returns:
        An awaitable and async context manager of the `Node`; leaving the block closes it. With
        the settings of a node that is open on this loop already, that node.

    Raises:
        AlreadyConfigured: a node with other settings is open; the text says where from.
        ConfigError: the configuration is wrong; the text names the file and the key.
    """
    frame = traceback.extract_stack(limit=2)[0]
    return Configured(profile, defaults, f"{frame.filename}:{frame.lineno}")
