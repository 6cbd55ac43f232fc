"""Addresses: the texts ``tcp://host:port`` and ``unix:///path``, and what an IP address tells.

Host and port are written ``host:port``, ``1.2.3.4:port`` or ``[v6]:port``. Where one listens,
``*:port`` and ``:port`` mean all addresses of the machine and port 0 lets the system choose; where
one dials, ``:port`` is this machine.
"""

from __future__ import annotations

import ipaddress
import re

from aemp_core.errors import AddressError
from aemp_core.lobby import LOCAL_SOURCE

__all__ = ["is_loopback", "join", "parse_tcp", "parse_unix", "source_of"]

_HOST_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252}[A-Za-z0-9_.])?\Z")
_PORT = re.compile(r"[0-9]{1,5}\Z")

#: The host of ``*:port``.
EVERY = "*"


def parse_tcp(address: str, scheme: str = "tcp", *, listening: bool) -> tuple[str, int]:
    """Host and port of `address`; the host of a wildcard is ``*``.

    Args:
        scheme: what the address must begin with.
        listening: whether it is to be listened on; else it is to be dialled.

    Raises:
        AddressError: it is no such address; the text says how to write one.
    """
    text = address.removeprefix(f"{scheme}://")
    host, colon, port = text.rpartition(":")
    if text == address or not colon or not _PORT.match(port) or int(port) > 65_535:
        raise _unreadable(address, scheme, "write host:port, [v6]:port or *:port")
    if not listening and (int(port) == 0 or host == EVERY):
        raise _unreadable(address, scheme, "only a listener can use port 0 or *; name both to dial")
    if host in ("", EVERY):
        return (EVERY if listening else "localhost"), int(port)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if not _is_ip(host, ipaddress.IPv6Address):
            raise _unreadable(address, scheme, f"{host!r} is no IPv6 address")
    elif ":" in host:
        raise _unreadable(address, scheme, f"write an IPv6 address in brackets: [{host}]:{port}")
    elif not _HOST_NAME.match(host):
        raise _unreadable(address, scheme, f"{host!r} is no host name")
    return host, int(port)


def _unreadable(address: str, scheme: str, remedy: str) -> AddressError:
    return AddressError(f"{address!r} is no address of the form {scheme}://host:port: {remedy}")


def _is_ip(text: str, kind: type[ipaddress.IPv6Address]) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return True


def parse_unix(address: str) -> str:
    """The path of a ``unix:///path`` address; `AddressError` if it is none."""
    path = address.removeprefix("unix://")
    if path == address or not path.startswith("/") or path.endswith("/") or "\0" in path:
        raise AddressError(
            f"{address!r} is no address of a unix socket: write unix:///path/to/socket, "
            "with a path that begins at the root"
        )
    return path


def join(host: str, port: int) -> str:
    """``host:port``, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    ip = ipaddress.ip_address(host.partition("%")[0])
    # What came over IPv4 to a socket for both families is IPv4.
    return getattr(ip, "ipv4_mapped", None) or ip


def is_loopback(host: str) -> bool:
    """Whether the IP address `host` cannot be reached from another machine."""
    return _ip(host).is_loopback


def source_of(host: str) -> str:
    """What unauthenticated connections from the IP address `host` are counted by.

    One IPv4 address, or one IPv6 network of 64 bits, which anyone who has one address in it can
    have all of; this machine is one source.
    """
    ip = _ip(host)
    if ip.is_loopback:
        return LOCAL_SOURCE
    if ip.version == 6:
        return str(ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)
