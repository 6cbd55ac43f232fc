"""The TCP transport: ``tcp://host:port``.

Both sides prove that they know the secret; what follows is neither encrypted nor protected
against who sits on the path. Names are resolved anew at each dial and their addresses tried one
after the other. Without a configured secret only loopback is bound, dialled and accepted, judged
by the resolved address and not by the name.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

from aemp_core.conversation import Locate, Origin, StreamNode, connections
from aemp_core.errors import ConfigError, TransportError
from aemp_core.link import Accept
from aemp_core.lobby import Door
from aemp_core.stream import Stream

from . import sockets
from .address import EVERY, is_loopback, join, parse_tcp, source_of
from .sockets import Endpoint
from .trust import REMEDY, Trust, trust_of

__all__ = ["TcpListener", "TcpTransport", "locate"]


class TcpListener:
    """Sockets that listen for one address."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        addresses: Sequence[str],
        servers: Sequence[asyncio.AbstractServer],
        door: Door,
    ) -> None:
        self.addresses = addresses
        self._loop = loop
        self._servers = servers
        self._door = door

    async def close(self) -> None:
        """See `Listener`."""
        servers, self._servers = self._servers, ()
        await sockets.stop_serving(self._loop, servers)
        await self._door.close()


class TcpTransport:
    """The scheme ``tcp`` of one node.

    A transport over TCP with another way to speak on a connection is a subclass: of its own are
    `scheme`, `_trust`, `_door` and `_connect`.
    """

    scheme = "tcp"

    def __init__(self, node: StreamNode) -> None:
        self._node = node

    def check(self, address: str, /) -> None:
        """See `Transport`."""
        parse_tcp(address, self.scheme, listening=False)

    async def listen(self, address: str, accept: Accept, /) -> TcpListener:
        """See `Transport`."""
        host, port = parse_tcp(address, self.scheme, listening=True)
        trust = self._trust()
        loop = self._node.loop
        endpoints = await sockets.resolve(loop, address, host, port)
        if trust.local:
            for endpoint in endpoints:
                if not is_loopback(endpoint.host):
                    where = "all addresses" if host == EVERY else endpoint.host
                    raise TransportError(
                        f"{address} binds {where}, which other machines can reach, and no secret "
                        f"is configured: {REMEDY}"
                    )
        door = self._door(accept, trust)
        bound = sockets.bind(address, endpoints)
        addresses = [f"{self.scheme}://{each}" for each in sockets.reachable(bound)]
        servers: list[asyncio.AbstractServer] = []
        try:
            for one in bound:
                servers.append(await loop.create_server(door, sock=one, backlog=sockets.BACKLOG))
        except BaseException:
            for server in servers:
                server.close()
            for one in bound[len(servers) :]:
                one.close()
            raise
        return TcpListener(loop, addresses, servers, door)

    async def dial(self, address: str, /) -> Stream:
        """See `Transport`."""
        host, port = parse_tcp(address, self.scheme, listening=False)
        try:
            trust = self._trust()
        except ConfigError as error:
            raise TransportError(f"{address}: {error}") from None
        endpoints = await sockets.resolve(self._node.loop, address, host, port)
        if trust.local:
            local = [endpoint for endpoint in endpoints if is_loopback(endpoint.host)]
            if not local:
                raise TransportError(
                    f"{address} leads to {endpoints[0].host}, on another machine, and no secret "
                    f"is configured: {REMEDY}"
                )
            endpoints = local
        failures = []
        for endpoint in endpoints:
            try:
                return await (await self._connect(endpoint, trust)).greeted()
            except TransportError as error:
                failures.append((endpoint, error))
        if len(failures) == 1:
            raise type(failures[0][1])(f"{address}: {failures[0][1]}")
        texts = (f"{endpoint.host}: {error}" for endpoint, error in failures)
        raise TransportError(f"{address}: {'; '.join(texts)}")

    def _trust(self) -> Trust:
        return trust_of(self._node)

    def _door(self, accept: Accept, trust: Trust) -> Door:
        converse = connections(self._node, "accept", trust.secret)
        return Door(self._node, accept, locate(self.scheme, local=trust.local), converse)

    async def _connect(self, endpoint: Endpoint, trust: Trust) -> Stream:
        loop = self._node.loop
        converse = connections(self._node, "dial", trust.secret)
        locating = locate(self.scheme, local=trust.local)
        return await sockets.connect(loop, endpoint, lambda: Stream(loop, locating, converse))


def locate(scheme: str, *, local: bool) -> Locate:
    """Tells where a TCP connection leads, and sets its options.

    Args:
        local: refuse what does not lead to this machine.
    """

    def locate(transport: asyncio.Transport) -> Origin:
        peername = transport.get_extra_info("peername")
        if peername is None:
            raise TransportError("the peer has gone again")
        host, port = peername[:2]
        address = f"{scheme}://{join(host, port)}"
        loopback = is_loopback(host)
        if local and not loopback:
            raise TransportError(
                f"{address} is another machine, and no secret is configured: {REMEDY}"
            )
        connection: socket.socket = transport.get_extra_info("socket")
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        except OSError:  # some systems say so of a connection that was reset already
            raise TransportError(f"{address}: the peer has gone again") from None
        return Origin(address, source_of(host), loopback, join(host, port))

    return locate
