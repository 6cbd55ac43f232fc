"""Health: two questions about a node, answered over HTTP to whoever may restart or route to it.

    GET /healthz    200: the event loop answers
    GET /readyz     200: the node is up and part of its network; 503: it is not, and why

Answers are JSON. It is no web server: a request is read up to 4 KiB and for at most 5 seconds, one
per connection, at most 32 connections at a time. Nobody has to prove anything, so it listens on
loopback unless an address says otherwise, and tells no more than that.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
import stat
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus

from ...errors import TransportError

__all__ = ["Health"]

HEAD_BYTES = 4 * 1024
REQUEST_SECONDS = 5.0
CONNECTIONS = 32


class Health:
    """The answers of one node.

    Args:
        node_id: its ID.
        unready: why it is not part of its network; None: it is.
    """

    def __init__(self, node_id: str, unready: Callable[[], str | None]) -> None:
        self._node_id = node_id
        self._unready = unready
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.AbstractServer | None = None
        self._path: str | None = None

    async def listen(self, address: str) -> None:
        """Answer at ``HOST:PORT`` or at the path of a unix socket.

        Raises:
            TransportError: the address cannot be bound.
        """
        try:
            if address.startswith("/"):
                bound = _bind_unix(address)
                self._path = address
                self._server = await asyncio.start_unix_server(
                    self._connected, sock=bound, limit=HEAD_BYTES
                )
            else:
                host, _, port = address.rpartition(":")
                host = host.strip("[]") or "127.0.0.1"
                self._server = await asyncio.start_server(
                    self._connected, None if host == "*" else host, int(port), limit=HEAD_BYTES
                )
        except OSError as error:
            used = error.errno == errno.EADDRINUSE
            why = "is in use" if used else error.strerror or str(error)
            raise TransportError(
                f"health: {address}: {why}: end what listens there, or use another address"
            ) from None

    async def close(self) -> None:
        """Answer no more."""
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        if self._path is not None:
            with suppress(FileNotFoundError):
                os.unlink(self._path)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            if len(self._connections) <= CONNECTIONS:
                await asyncio.wait_for(self._answer(reader, writer), REQUEST_SECONDS)
        except (asyncio.TimeoutError, asyncio.CancelledError, ConnectionError):
            pass  # whoever asks has had their time, or is gone
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return
        except asyncio.LimitOverrunError:
            head = b""
        method, status, told = self._judge(head)
        body = json.dumps({"node": self._node_id, **told}).encode() + b"\n"
        lines = (
            f"HTTP/1.1 {status.value} {status.phrase}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            "Cache-Control: no-store",
            "Connection: close",
            *(["Allow: GET, HEAD"] if status is HTTPStatus.METHOD_NOT_ALLOWED else []),
            "",
            "",
        )
        writer.write("\r\n".join(lines).encode() + (b"" if method == b"HEAD" else body))
        await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
        # The end of file is read before the socket goes: closing one with unread bytes in it
        # resets the connection, and our answer may be lost.
        while await reader.read(HEAD_BYTES):
            pass

    def _judge(self, head: bytes) -> tuple[bytes, HTTPStatus, dict[str, object]]:
        words = head.split(b"\r\n", 1)[0].split(b" ")
        if not head:
            return b"", HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, {"error": "too long"}
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            return b"", HTTPStatus.BAD_REQUEST, {"error": "no HTTP/1.1"}
        method, target, _ = words
        if method not in (b"GET", b"HEAD"):
            return method, HTTPStatus.METHOD_NOT_ALLOWED, {"error": "use GET"}
        path = target.partition(b"?")[0]
        if path == b"/healthz":
            return method, HTTPStatus.OK, {"alive": True}
        if path == b"/readyz":
            why = self._unready()
            if why is None:
                return method, HTTPStatus.OK, {"ready": True}
            return method, HTTPStatus.SERVICE_UNAVAILABLE, {"ready": False, "why": why}
        return method, HTTPStatus.NOT_FOUND, {"error": "there are /healthz and /readyz"}


def _bind_unix(path: str) -> socket.socket:
    """A socket bound to `path`, for its owner alone; a dead one there is replaced."""
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        try:
            bound.bind(path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not _is_dead(path):
                raise
            os.unlink(path)
            bound.bind(path)
        os.chmod(path, 0o600)
    except BaseException:
        bound.close()
        raise
    return bound


def _is_dead(path: str) -> bool:
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        return probe.connect_ex(path) == errno.ECONNREFUSED
