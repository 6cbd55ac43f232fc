"""The directory: where nodes can be dialled, and which of what they say counts here.

Every node registers a *record* of itself in a family of ours: its addresses, and which host and
process it is in. An address that leads to the same host for everyone who reads it, loopback and
unix sockets, counts only where the host is the same; a memory address only in the same process.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import uuid
from functools import lru_cache
from pathlib import Path
from typing import Any

from aemp_core.errors import AempError
from aemp_core.node import Node

from .entries import OURS

__all__ = ["NODES", "check_record", "record_of", "usable"]

#: The family of the records, by node ID.
NODES = OURS + "n"
#: Addresses a record may have, and characters of each.
ADDRESSES = 16
ADDRESS_LENGTH = 300

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@lru_cache(maxsize=1)
def host_id() -> str:
    """A text that is the same for all processes of this host, and for no other host.

    Containers have loopback interfaces of their own, so the network namespace counts, too.
    """
    parts = [str(uuid.getnode())]
    try:
        parts = [_BOOT_ID.read_text().strip(), os.readlink("/proc/self/ns/net")]
    except OSError:
        pass  # no Linux: the hardware address will do
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


_PROCESS = uuid.uuid4().hex[:8]


def process_id() -> str:
    """A text for this process."""
    return f"{_PROCESS}.{os.getpid()}"


def record_of(node: Node) -> list[Any]:
    """What a node says of itself: host, process, addresses."""
    return [host_id(), process_id(), list(node.addresses)[:ADDRESSES]]


def check_record(record: Any) -> tuple[str, str, list[str]]:
    """Host, process and addresses of a record; `ValueError` if it is none."""
    if not isinstance(record, (list, tuple)) or len(record) != 3:
        raise ValueError(f"{record!r:.100} is no record of a node")
    host, process, addresses = record
    if not isinstance(host, str) or not isinstance(process, str) or len(host + process) > 200:
        raise ValueError(f"{record!r:.100} names no host and process")
    if not isinstance(addresses, (list, tuple)) or len(addresses) > ADDRESSES:
        raise ValueError(f"{record!r:.100} has no list of at most {ADDRESSES} addresses")
    for address in addresses:
        if not isinstance(address, str) or not 0 < len(address) <= ADDRESS_LENGTH:
            raise ValueError(f"{address!r:.100} is no address")
    return host, process, list(addresses)


def usable(node: Node, record: Any) -> list[str]:
    """The addresses of a record that `node` may dial; none if it is no record."""
    try:
        host, process, addresses = check_record(record)
    except ValueError:
        return []
    found = []
    for address in addresses:
        scheme, _, rest = address.partition("://")
        if scheme == "relay":
            counts = False  # the way through a global is found, not told
        elif scheme == "memory":
            counts = process == process_id()
        elif scheme == "unix":
            counts = host == host_id()
        else:
            counts = _leads_out(rest) or (host == host_id() and not _leads_nowhere(rest))
        if counts and _can_be_dialled(node, address):
            found.append(address)
    return found


def near(addresses: list[str]) -> list[str]:
    """Those of usable addresses that are unix sockets this process may enter."""
    return [
        address
        for address in addresses
        if address.startswith("unix://") and os.access(address.removeprefix("unix://"), os.W_OK)
    ]


def _can_be_dialled(node: Node, address: str) -> bool:
    try:
        node.transport(address).check(address)
    except AempError:
        return False
    return True


def _ip(rest: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    host = rest.rpartition(":")[0].strip("[]").partition("%")[0]
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return None
    return getattr(ip, "ipv4_mapped", None) or ip


def _leads_out(rest: str) -> bool:
    """Whether ``host:port`` means the same from every host."""
    ip = _ip(rest)
    if ip is None:
        name = rest.rpartition(":")[0].rstrip(".").lower()
        return bool(name) and name != "localhost" and not name.endswith(".localhost")
    return not (ip.is_loopback or ip.is_link_local or _leads_nowhere(rest))


def _leads_nowhere(rest: str) -> bool:
    ip = _ip(rest)
    return ip is not None and (ip.is_unspecified or ip.is_multicast)
