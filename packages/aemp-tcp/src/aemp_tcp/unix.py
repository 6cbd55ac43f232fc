"""The transport of unix sockets: ``unix:///path``, between nodes of one user on one machine.

Who may connect is for the operating system to say: the socket lies in a directory that only its
owner can enter, nobody else may use it, and the user at the other end of every connection is
asked of the kernel, on both sides. The secret is needed all the same.

A socket file outlives a process that was killed. It is replaced only when nobody listens behind
it; who looks, removes and binds holds a lock on the directory meanwhile, so that of two nodes
that find a dead socket neither removes the other's new one.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import socket
import stat
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aemp_core.conversation import Locate, Origin, StreamNode, connections
from aemp_core.errors import ConfigError, TransportError
from aemp_core.link import Accept
from aemp_core.lobby import LOCAL_SOURCE, Door
from aemp_core.stream import Stream

from .address import parse_unix
from .sockets import BACKLOG, stop_serving
from .trust import trust_of

__all__ = ["UnixListener", "UnixTransport"]

#: Seconds another node may hold the lock on the directory.
LOCK_SECONDS = 5.0
LOCK_PAUSE = 0.02
#: The user at the other end of a socket that is not connected after all.
NOBODY = 2**32 - 1


class UnixListener:
    """A bound socket file."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        path: str,
        server: asyncio.AbstractServer,
        door: Door,
    ) -> None:
        self.addresses: Sequence[str] = (f"unix://{path}",)
        self._loop = loop
        self._path = path
        self._identity = _identity(path)
        self._server: asyncio.AbstractServer | None = server
        self._door = door

    async def close(self) -> None:
        """See `Listener`."""
        server, self._server = self._server, None
        if server is not None:
            # While we still listen: nobody takes the file for a dead one and puts theirs here.
            if _identity(self._path) == self._identity:
                os.unlink(self._path)
            await stop_serving(self._loop, [server])
        await self._door.close()


class UnixTransport:
    """The scheme ``unix`` of one node."""

    private = True

    def __init__(self, node: StreamNode) -> None:
        self._node = node

    def check(self, address: str, /) -> None:
        """See `Transport`."""
        parse_unix(address)

    async def listen(self, address: str, accept: Accept, /) -> UnixListener:
        """See `Transport`."""
        path = parse_unix(address)
        loop = self._node.loop
        converse = connections(self._node, "accept", trust_of(self._node).secret)
        door = Door(self._node, accept, _locate(address), converse)
        bound = await _bind(address, path)
        try:
            # Since 3.13 asyncio would remove the file too, and after it has stopped listening.
            own: dict[str, Any] = {}
            if sys.version_info >= (3, 13) and isinstance(loop, asyncio.BaseEventLoop):
                own["cleanup_socket"] = False
            server = await loop.create_unix_server(door, sock=bound, backlog=BACKLOG, **own)
        except BaseException:
            bound.close()
            os.unlink(path)
            raise
        return UnixListener(loop, path, server, door)

    async def dial(self, address: str, /) -> Stream:
        """See `Transport`."""
        path = parse_unix(address)
        loop = self._node.loop
        try:
            converse = connections(self._node, "dial", trust_of(self._node).secret)
        except ConfigError as error:
            raise TransportError(f"{address}: {error}") from None
        try:
            _, stream = await loop.create_unix_connection(
                lambda: Stream(loop, _locate(address), converse), path
            )
        except OSError as error:
            text = error.strerror or error
            raise TransportError(f"{address}: {text}: does a node listen there?") from None
        return await stream.greeted()


# -- who is at the other end -----------------------------------------------------------------


def _locate(address: str) -> Locate:
    def locate(transport: asyncio.Transport) -> Origin:
        process, user = _credentials(transport)
        if user == NOBODY:
            raise TransportError(f"{address}: too many connections wait there: try again later")
        if user != os.geteuid():
            raise TransportError(
                f"{address}: the other end is process {process} of the user with ID {user}, "
                f"not {os.geteuid()}: run both nodes as one user, or use tcp:// with a secret"
            )
        return Origin(f"{address} (process {process})", LOCAL_SOURCE, loopback=True)

    return locate


def _credentials(transport: asyncio.Transport) -> tuple[int, int]:
    """Process and effective user at the other end, as the kernel knows them; process 0: unknown."""
    connection: socket.socket = transport.get_extra_info("socket")
    if sys.platform == "linux":
        layout = struct.Struct("iII")
        packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, layout.size)
        process, user, _ = layout.unpack(packed)
        return process, user
    if sys.platform == "darwin" or "bsd" in sys.platform:
        layout = struct.Struct("2Ih16I")  # struct xucred
        packed = connection.getsockopt(0, 1, layout.size)  # LOCAL_PEERCRED
        return 0, layout.unpack(packed)[1]
    raise TransportError("this system does not tell who is at the other end: use tcp://")


# -- the socket file -------------------------------------------------------------------------


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


async def _bind(address: str, path: str) -> socket.socket:
    """A listening socket at `path`; a dead one there is removed."""
    directory = _check_directory(address, Path(path).parent)
    handle = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        await _lock(address, handle)
        try:
            return _listen(path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        _remove_dead(address, path)
        return _listen(path)
    except TransportError:
        raise
    except OSError as error:
        raise TransportError(f"{address}: {error.strerror or error}: take another path") from None
    finally:
        os.close(handle)  # and with it the lock


def _check_directory(address: str, directory: Path) -> Path:
    try:
        try:
            directory.mkdir(mode=0o700)
        except FileExistsError:
            pass
        status = directory.stat()
    except OSError as error:
        raise TransportError(
            f"{address}: {directory}: {error.strerror}: make the directory, for you alone"
        ) from None
    if status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise TransportError(
            f"{address}: others can enter {directory} (owner {status.st_uid}, mode "
            f"{stat.S_IMODE(status.st_mode):04o}): use a directory of your own with mode 0700"
        )
    return directory


async def _lock(address: str, handle: int) -> None:
    for _ in range(int(LOCK_SECONDS / LOCK_PAUSE)):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            await asyncio.sleep(LOCK_PAUSE)
        else:
            return
    raise TransportError(
        f"{address}: another node has been binding a socket in the same directory for "
        f"{LOCK_SECONDS:g} s: end it if it hangs"
    )


def _listen(path: str) -> socket.socket:
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bound.bind(path)
        os.chmod(path, 0o600)
        bound.listen(BACKLOG)
        bound.setblocking(False)
    except BaseException:
        bound.close()
        raise
    return bound


def _remove_dead(address: str, path: str) -> None:
    """Remove the socket file nobody listens behind; `TransportError` if it is something else."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise TransportError(
                f"{address}: there is a file of another kind: remove it, or take another path"
            )
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            probe.connect(path)
    except FileNotFoundError:
        return
    except ConnectionRefusedError:
        os.unlink(path)
        return
    except BlockingIOError:
        pass  # somebody listens, and is busy
    raise TransportError(
        f"{address} is in use: end the node that listens there, or take another path"
    )
