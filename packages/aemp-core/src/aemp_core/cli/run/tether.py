"""The tether: what a process that runs a node and its overseer tell each other.

A pair of sockets. The process writes lines, each a JSON list of a word and what belongs to it:
``beat`` every second from its event loop, ``up`` with the node ID and addresses, ``reloaded``, and
``restart`` if it was asked to be restarted and is about to end. The overseer writes nothing: its
end of the pair tells that it is gone, and then the node leaves the network.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

__all__ = ["BEAT_SECONDS", "Lines", "Tether"]

BEAT_SECONDS = 1.0


class Tether:
    """The end of the process that runs a node.

    Args:
        fd: the file descriptor it was started with.
        lost: called when the overseer is gone; the loop is running.
    """

    def __init__(self, fd: int, lost: Callable[[], None]) -> None:
        self._socket = socket.socket(fileno=fd)
        self._socket.setblocking(False)
        self._socket.set_inheritable(False)
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._read)

    def say(self, word: str, *values: Any) -> None:
        """Tell the overseer."""
        # One that does not read is stopped, or gone; what it misses it does not need then.
        with suppress(OSError):
            self._socket.send(json.dumps([word, *values]).encode() + b"\n")

    def _read(self) -> None:
        with suppress(BlockingIOError):
            try:
                gone = not self._socket.recv(1)
            except ConnectionError:
                gone = True
            if gone:
                self._loop.remove_reader(self._socket)
                self._lost()

    def close(self) -> None:
        """Listen no more."""
        self._loop.remove_reader(self._socket)


class Lines:
    """The end of the overseer: what the process says.

    Args:
        end: the socket.

    Attributes:
        over: whether nothing more can come.
    """

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._socket = end
        self._rest = b""
        self.over = False

    def fileno(self) -> int:
        """For selectors."""
        return self._socket.fileno()

    def read(self) -> list[list[Any]]:
        """What was said since the last time."""
        chunks = [self._rest]
        with suppress(BlockingIOError, ConnectionError):
            while chunk := self._socket.recv(65_536):
                chunks.append(chunk)
            self.over = True
        *lines, self._rest = b"".join(chunks).split(b"\n")
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        """Read no more."""
        self._socket.close()
