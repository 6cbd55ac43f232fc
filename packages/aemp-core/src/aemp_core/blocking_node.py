"""`blocking`: a node for programs that do not run asyncio themselves.

The node lives on an event loop in a thread of its own; the methods of `BlockingNode` may be
called from any other thread and wait there. Handlers and callbacks run in the node's thread.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, TypeVar

from .errors import FATAL, NodeClosed, WrongThread
from .ids import PortID
from .node import Node
from .ports import Handler

__all__ = ["BlockingNode", "blocking"]

Result = TypeVar("Result")
Message = tuple[Any, ...]


class BlockingNode:
    """A node in a thread of its own, used with ``with``; made by `blocking`."""

    def __init__(self, nodeid: str, settings: dict[str, Any]) -> None:
        self._nodeid = nodeid
        self._settings = settings
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._node: Node | None = None
        self._stopping = False
        #: Gets the SystemExit or KeyboardInterrupt that leaves the loop.
        self._fatal: concurrent.futures.Future[None] = concurrent.futures.Future()

    def __enter__(self) -> BlockingNode:
        loop = self._loop = asyncio.new_event_loop()
        self._stopping = False
        self._fatal = concurrent.futures.Future()
        self._thread = threading.Thread(
            target=self._serve, args=[loop], name="aemp node", daemon=True
        )
        self._thread.start()
        try:
            self._node = self.run(_opened(self._nodeid, self._settings))
        except BaseException:
            self._end()
            raise
        return self

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run the loop until the end, also when SystemExit in a handler leaves it."""
        while not self._stopping:
            try:
                loop.run_forever()
            except FATAL as error:
                fatal, self._fatal = self._fatal, concurrent.futures.Future()
                fatal.set_exception(error)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.run(self.node.close())
        finally:
            self._end()

    def _end(self) -> None:
        loop, thread = self._loop, self._thread
        self._loop = self._thread = self._node = None
        if loop is not None and thread is not None:
            self._stopping = True
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    @property
    def node(self) -> Node:
        """The node itself, whose verbs belong to its own thread."""
        if self._node is None:
            raise NodeClosed("this blocking node is not open: use it inside its `with` block")
        return self._node

    @property
    def id(self) -> str:
        """The node ID."""
        return self.node.id

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine in the node's thread and return its result.

        Raises:
            NodeClosed: outside the ``with`` block.
            WrongThread: called in the node's own thread, which would wait for itself.
            SystemExit: a handler raised it, while this waited; KeyboardInterrupt likewise.
        """
        loop = self._loop
        if loop is None:
            coroutine.close()
            raise NodeClosed("this blocking node is not open: use it inside its `with` block")
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise WrongThread("this is the node's own thread: await the coroutine instead")
        fatal = self._fatal
        future = asyncio.run_coroutine_threadsafe(coroutine, loop)
        try:
            waiting: list[concurrent.futures.Future[Any]] = [future, fatal]
            concurrent.futures.wait(waiting, return_when=concurrent.futures.FIRST_COMPLETED)
            if not future.done():
                fatal.result()
            return future.result()
        except FATAL:
            future.cancel()
            raise

    def call(self, function: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Result:
        """Call `function` in the node's thread, where every verb works; return its result."""

        async def calling() -> Result:
            with self.node.current():
                return function(*args, **kwargs)

        return self.run(calling())

    def port(self, handler: Handler | None = None, /, *, on_error: Any = None) -> PortID:
        """Create a port; its handlers run in the node's thread."""
        return self.call(self.node.port, handler, on_error=on_error)

    def snd(self, port: str, /, *message: Any) -> None:
        """Send a message; errors of the call are raised here."""
        self.call(self.node.snd, port, *message)

    def kil(self, port: str, /, *reason: Any) -> None:
        """Kill a port."""
        self.call(self.node.kil, port, *reason)

    def spawn(self, node: str, function: str | Callable[..., Any], /, *init: Any) -> PortID:
        """Create a port on another node."""
        return self.call(self.node.spawn, node, function, *init)

    def cal(self, port: str, /, *message: Any, timeout: float | None = None) -> Message:
        """Send a message and wait for the answer; errors as of `Node.cal`."""
        return self.run(self.node.cal(port, *message, timeout=timeout))

    def killed(self, port: str, /) -> Message:
        """Wait until a port dies, and return the reason."""
        return self.run(self.node.killed(port))

    def flush(self, node_or_port: str, /) -> None:
        """Wait until there is room on the way to a node or port."""
        self.run(self.node.flush(node_or_port))

    def up(self, node: str, /, timeout: float | None = None) -> None:
        """Wait until there is a link to a node."""
        self.run(self.node.up(node, timeout=timeout))


async def _opened(nodeid: str, settings: dict[str, Any]) -> Node:
    return await Node(nodeid, **settings).start()


def blocking(nodeid: str = "anon/", /, **settings: Any) -> BlockingNode:
    """A node for programs without asyncio: ``with blocking("alice", seeds=[...]) as node``.

    Args:
        nodeid: the node ID, as of `Node`.
        settings: as of `Node`.

    Returns:
        A context manager that gives a `BlockingNode`.
    """
    return BlockingNode(nodeid, settings)
