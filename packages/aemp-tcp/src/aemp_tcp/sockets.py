"""Sockets: resolving, binding and connecting TCP, with errors that name the address and the remedy.

Everything here serves `TcpTransport` and whatever else runs over TCP.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from aemp_core.errors import TransportError

from .address import EVERY, join

__all__ = [
    "BACKLOG",
    "CONNECT_SECONDS",
    "Endpoint",
    "bind",
    "connect",
    "reachable",
    "resolve",
    "stop_serving",
]

P = TypeVar("P", bound=asyncio.Protocol)

#: Connections the operating system holds for us while the loop is busy.
BACKLOG = 1_024
#: Seconds one address of a host may take to answer, before the next one is tried.
CONNECT_SECONDS = 5.0
#: How often a port is chosen anew that is free for one address of a host and not for another.
PORT_CHOICES = 20

#: Where a datagram socket is pointed to see which of our addresses leads out; nothing is sent,
#: and nobody has these addresses.
_OUTSIDE = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
#: Errors that say that a machine lacks one address or family; the others of a host may do.
_LACKING = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT}


class Endpoint(NamedTuple):
    """One resolved address.

    Attributes:
        family: `socket.AF_INET` or `socket.AF_INET6`.
        sockaddr: as the socket module takes it; begins with host and port.
    """

    family: socket.AddressFamily
    sockaddr: Any

    @property
    def host(self) -> str:
        """The IP address."""
        return str(self.sockaddr[0])


async def resolve(
    loop: asyncio.AbstractEventLoop, address: str, host: str, port: int
) -> list[Endpoint]:
    """The endpoints of `host`, in the order to be tried, asked of the resolver each time.

    Raises:
        TransportError: the name cannot be resolved; the text names `address`.
    """
    if host == EVERY:
        return [
            Endpoint(socket.AF_INET, ("0.0.0.0", port)),
            Endpoint(socket.AF_INET6, ("::", port, 0, 0)),
        ]
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        pass  # a name
    else:
        if "%" not in host:
            family = socket.AF_INET if ip.version == 4 else socket.AF_INET6
            return [Endpoint(family, (host, port, 0, 0)[: 2 if ip.version == 4 else 4])]
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise TransportError(f"{address}: the name {host!r} cannot be resolved: {error}") from None
    endpoints = [
        Endpoint(socket.AddressFamily(family), sockaddr)
        for family, _, _, _, sockaddr in found
        if family in _OUTSIDE
    ]
    if not endpoints:
        raise TransportError(f"{address}: the name {host!r} has no IP address")
    return list(dict.fromkeys(endpoints))


# -- listening -------------------------------------------------------------------------------


def bind(address: str, endpoints: Sequence[Endpoint]) -> list[socket.socket]:
    """Listening sockets for the endpoints, all with the same port if that is left to the system.

    Endpoints this machine does not have are left out, as long as one remains.

    Raises:
        TransportError: the text names `address`, the port and the remedy.
    """
    for choices_left in reversed(range(PORT_CHOICES)):
        bound: list[socket.socket] = []
        lacking: OSError | None = None
        port = endpoints[0].sockaddr[1]
        chosen = port
        try:
            for endpoint in endpoints:
                try:
                    one = _bind_one(endpoint, chosen)
                except OSError as error:
                    if error.errno not in _LACKING:
                        raise
                    lacking = error
                else:
                    bound.append(one)
                    chosen = one.getsockname()[1]
            if not bound:
                assert lacking is not None
                raise lacking
            return bound
        except OSError as error:
            for one in bound:
                one.close()
            # The system chose a port that is free for the first address only: once more.
            if port == 0 and error.errno == errno.EADDRINUSE and bound and choices_left:
                continue
            raise TransportError(f"{address}: {_why_not_bound(error, chosen)}") from None
    raise AssertionError("the last choice returns or raises")


def _bind_one(endpoint: Endpoint, port: int) -> socket.socket:
    one = socket.socket(endpoint.family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere it would let others take the port away
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if endpoint.family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind((endpoint.host, port, *endpoint.sockaddr[2:]))
        # Here and not later: of two sockets bound to one port only one may listen.
        one.listen(BACKLOG)
        one.setblocking(False)
    except BaseException:
        one.close()
        raise
    return one


def _why_not_bound(error: OSError, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} is in use: stop what listens there, or bind another port "
            "(0 lets the system choose)"
        )
    if error.errno == errno.EACCES:
        return f"port {port} is reserved by the system: bind one above 1023"
    if error.errno in _LACKING:
        return "this machine has no such address: bind one of its own, or *"
    return str(error.strerror or error)


def reachable(bound: Sequence[socket.socket]) -> list[str]:
    """``host:port`` for each listening socket, as others reach it."""
    found: dict[str, None] = {}
    for one in bound:
        host, port = one.getsockname()[:2]
        if host in ("0.0.0.0", "::"):
            outward = _outward_address(one.family)
            if outward is None:
                continue
            host = outward
        found[join(host, port)] = None
    if not found:  # all addresses of a machine that has none but loopback
        for one in bound:
            host = "127.0.0.1" if one.family == socket.AF_INET else "::1"
            found[join(host, one.getsockname()[1])] = None
    return list(found)


def _outward_address(family: int) -> str | None:
    """Which of our addresses others see; None if no way leads out."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((_OUTSIDE[socket.AddressFamily(family)], 9))
        except OSError:
            return None
        host = str(probe.getsockname()[0])
    ip = ipaddress.ip_address(host.partition("%")[0])
    return None if ip.is_loopback or ip.is_link_local or ip.is_unspecified else host


async def stop_serving(
    loop: asyncio.AbstractEventLoop, servers: Sequence[asyncio.AbstractServer]
) -> None:
    """Close listening sockets; connections that were accepted stay."""
    if isinstance(loop, asyncio.SelectorEventLoop):
        # asyncio accepts a connection in one turn of the loop and makes its transport in the
        # next. A server closed between the two leaves the connection open and forgotten, so the
        # loop first stops looking at the sockets.
        for server in servers:
            for listening in getattr(server, "sockets", ()):
                loop.remove_reader(listening.fileno())
        await asyncio.sleep(0)
    for server in servers:
        # Not wait_closed: since Python 3.12 it waits for the links, too.
        server.close()


# -- dialling --------------------------------------------------------------------------------


async def connect(
    loop: asyncio.AbstractEventLoop,
    endpoint: Endpoint,
    factory: Callable[[], P],
    **options: Any,
) -> P:
    """Connect a protocol of `factory`; `options` are those of `loop.create_connection`.

    Raises:
        TransportError: the endpoint cannot be reached.
    """
    scope = endpoint.sockaddr[3] if endpoint.family == socket.AF_INET6 else 0
    host = f"{endpoint.host}%{scope}" if scope and "%" not in endpoint.host else endpoint.host
    # The loop makes the socket itself: uvloop would not close one of ours that the peer, or
    # `factory`'s protocol, ends at once. And not `wait_for`: before Python 3.12 it may swallow a
    # cancellation, and who gave up dialling would be left with the connection.
    connecting = asyncio.ensure_future(
        loop.create_connection(
            factory, host, endpoint.sockaddr[1], family=endpoint.family, **options
        )
    )
    try:
        await asyncio.wait({connecting}, timeout=CONNECT_SECONDS)
    except asyncio.CancelledError:
        await _disconnect(connecting)
        raise
    if not connecting.done():
        await _disconnect(connecting)
        raise TransportError(f"no answer within {CONNECT_SECONDS:g} s")
    try:
        return connecting.result()[1]
    except OSError as error:
        remedy = ": does a node listen there?" if error.errno == errno.ECONNREFUSED else ""
        text = os.strerror(error.errno) if error.errno else str(error)
        raise TransportError(f"{text}{remedy}") from None


async def _disconnect(connecting: asyncio.Future[tuple[asyncio.Transport, P]]) -> None:
    """Stop connecting, or end what is connected already."""
    connecting.cancel()
    await asyncio.wait({connecting})
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result()[0].abort()
