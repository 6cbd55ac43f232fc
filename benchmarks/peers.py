"""Peers: systems of others that do the same work, measured in turn with ours by ``--peers``.

Each is used as its own documentation recommends: with the same message, packed by msgpack where a
system leaves that to its users, and as many messages in a turn of the loop where it has one. What
counts is what the receiver got. Sharing a processor means all of a system; with two, a broker
between both sides may use either.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

__all__ = ["PEERS", "Distribution", "Peer", "Program", "Work", "pick", "program", "works_of"]


def program(name: str) -> str | None:
    """The path of a program; Debian keeps some servers where only root looks."""
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")


@dataclass(frozen=True)
class Distribution:
    """What pip installs."""

    name: str

    @property
    def install(self) -> str:
        """The command that does."""
        return f"pip install {self.name}"

    def version(self) -> str | None:
        """Which is installed, None if none is."""
        try:
            return importlib.metadata.version(self.name)
        except importlib.metadata.PackageNotFoundError:
            return None


@dataclass(frozen=True)
class Program:
    """What the system's package manager installs.

    Attributes:
        name: of the program.
        package: of Debian.
        ask: arguments with which the program writes a line that ends with its version.
    """

    name: str
    package: str
    ask: tuple[str, ...]

    @property
    def install(self) -> str:
        """The command that does."""
        return f"apt-get install {self.package}"

    def version(self) -> str | None:
        """Which is installed, None if none is."""
        path = program(self.name)
        if path is None:
            return None
        done = subprocess.run(
            [path, *self.ask], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
        )
        return done.stdout.split()[-1].lstrip("v")


@dataclass(frozen=True)
class Work:
    """How a peer does a workload.

    Attributes:
        where: the contestant, ``module:function``.
        part: how much of the work it does, as it takes shorter or longer for it.
    """

    where: str
    part: float = 1.0


@dataclass(frozen=True)
class Peer:
    """A system of others.

    Attributes:
        name: for the command line, and for people.
        needs: what must be installed.
        works: what it can do, by the name of the workload.
    """

    name: str
    needs: tuple[Distribution | Program, ...]
    works: Mapping[str, Work]

    def missing(self) -> list[str]:
        """The commands that install what it needs and is not there."""
        return [need.install for need in self.needs if need.version() is None]

    def title(self) -> str:
        """Its name, and the versions of what it needs; for one that is installed."""
        first, *others = self.needs
        own = f"{self.name} {first.version()}"
        return ", ".join([own, *(f"{other.name} {other.version()}" for other in others)])


ZMQ = Distribution("pyzmq")
OTP_RELEASE = "io:put_chars(erlang:system_info(otp_release)), halt()."

PEERS = (
    Peer(
        "Erlang",
        (Program("erl", "erlang-base", ("-noshell", "-eval", OTP_RELEASE)),),
        {
            "local-paced": Work("peer_erlang:paced", 4),
            "local-burst": Work("peer_erlang:burst"),
            "local-fan-out": Work("peer_erlang:fan_out", 4),
            "ports": Work("peer_erlang:processes"),
            "remote-bursts": Work("peer_erlang:bursts"),
            "remote-single": Work("peer_erlang:bursts", 2),
            "ping-pong": Work("peer_erlang:ping_pong"),
            "calls": Work("peer_erlang:calls"),
            "blobs": Work("peer_erlang:blobs", 2),
        },
    ),
    Peer(
        "Pykka",
        (Distribution("Pykka"),),
        {
            "local-paced": Work("peer_pykka:paced", 0.4),
            "ports": Work("peer_pykka:actors", 0.005),
        },
    ),
    Peer(
        "pyzmq",
        (ZMQ,),
        {
            "remote-bursts": Work("peer_pyzmq:bursts"),
            "ping-pong": Work("peer_pyzmq:ping_pong", 0.5),
            "calls": Work("peer_pyzmq:calls"),
            "blobs": Work("peer_pyzmq:blobs"),
        },
    ),
    Peer(
        "pyzmq-asyncio",
        (ZMQ,),
        {
            "remote-bursts": Work("peer_pyzmq_asyncio:bursts", 0.2),
            "remote-single": Work("peer_pyzmq_asyncio:bursts", 0.4),
            "ping-pong": Work("peer_pyzmq_asyncio:ping_pong", 0.3),
            "calls": Work("peer_pyzmq_asyncio:calls", 0.2),
            "blobs": Work("peer_pyzmq_asyncio:blobs"),
        },
    ),
    Peer(
        "nats-py",
        (Distribution("nats-py"), Program("nats-server", "nats-server", ("-v",))),
        {
            "remote-bursts": Work("peer_nats:bursts", 0.4),
            "remote-single": Work("peer_nats:bursts", 0.5),
            "ping-pong": Work("peer_nats:ping_pong", 0.2),
            "calls": Work("peer_nats:calls", 0.3),
            "blobs": Work("peer_nats:blobs", 0.4),
        },
    ),
    Peer(
        "xoscar",
        (Distribution("xoscar"),),
        {
            "local-paced": Work("peer_xoscar:paced", 0.05),
            "ports": Work("peer_xoscar:actors", 0.05),
            "remote-bursts": Work("peer_xoscar:bursts", 0.03),
            "remote-single": Work("peer_xoscar:bursts", 0.1),
            "ping-pong": Work("peer_xoscar:ping_pong", 0.1),
            "calls": Work("peer_xoscar:calls", 0.1),
            "blobs": Work("peer_xoscar:blobs", 0.4),
        },
    ),
)


def pick(names: Iterable[str], peers: Iterable[Peer] = PEERS) -> list[Peer]:
    """The peers that are named, or all that are installed, if none is.

    Those left out are told, with the command that installs them. Raises `ValueError` for a name
    that is that of no peer, and for a peer that is named but not installed.
    """
    known = {peer.name: peer for peer in peers}
    names = list(names)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"there is no peer {', '.join(unknown)}: take some of {', '.join(known)}")
    there = []
    for name in names or known:
        missing = " && ".join(known[name].missing())
        if not missing:
            there.append(known[name])
        elif names:
            raise ValueError(f"{name} is not installed: {missing}")
        else:
            print(f"{name} is not installed and left out: {missing}")
    return there


def works_of(peers: Iterable[Peer], workload: str) -> dict[str, Work]:
    """How those of the peers that can do a workload do it, by their titles."""
    return {peer.title(): peer.works[workload] for peer in peers if workload in peer.works}
