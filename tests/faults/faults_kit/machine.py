"""A network inside this machine: hosts that are network namespaces, joined by veth cables.

    hub --cable 0-- leaf 0          hub 10.99.0.1, leaf 10.99.0.2
     \\---cable 1-- leaf 1          hub 10.99.1.1, leaf 10.99.1.2 ...

TCP between them is that of the kernel. A `Cable` can be cut, made deaf or lossy; packets are
dropped where they come in, as they are on a wire: what is dropped where it goes out is an error
told to the sender's TCP.

The namespaces have no names: each lives as long as its holder, a process that reads from us and
is killed when we end, however we end. So nothing stays behind on the machine.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Literal

__all__ = ["Cable", "Host", "Network", "missing", "network"]

#: Seconds any of the programs used here may take.
SECONDS = 20
#: Which package holds a program.
PROGRAMS = {
    "ip": "iproute2",
    "nft": "nftables",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "unshare": "util-linux",
}
#: Where such programs are, whatever the PATH of the user.
PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
#: What is tried to see whether this machine will do, and what a failure of it means.
TRIALS = {
    "true": "network namespaces cannot be made: run as root, in a container with --privileged",
    "ip link add near type veth peer name far": "this kernel makes no veth pairs: modprobe veth",
    "nft add table inet t && nft 'add chain inet t c { type filter hook prerouting priority 0; }'"
    " && nft 'add rule inet t c numgen random mod 100 < 5 drop'": (
        "nft cannot drop packets at random: modprobe nf_tables nft_numgen"
    ),
}

Way = Literal["both", "to_hub", "to_leaf"]


def missing() -> str | None:
    """Why networks cannot be made here and what to do about it, or None if they can."""
    if sys.platform != "linux":
        return f"network namespaces are of Linux, and this is {sys.platform}"
    for program, package in PROGRAMS.items():
        if shutil.which(program, path=PATH) is None:
            return f"the program {program!r} is missing: apt-get install {package}"
    environment = {**os.environ, "PATH": PATH}
    for trial, meaning in TRIALS.items():
        done = subprocess.run(
            ["unshare", "--net", "sh", "-c", trial],
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        if done.returncode:
            return f"{meaning} ({done.stderr.strip()})"
    return None


class Host:
    """One network namespace.

    Attributes:
        name: for people.
        addresses: one for each cable.
    """

    def __init__(self, name: str, holder: asyncio.subprocess.Process) -> None:
        self.name = name
        self.addresses: list[str] = []
        self.pid = holder.pid

    @classmethod
    @asynccontextmanager
    async def made(cls, name: str) -> AsyncIterator[Host]:
        """A host that is there inside the block."""
        holder = await asyncio.create_subprocess_exec(
            *owned("unshare", "--net", "cat"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PATH": PATH},
        )
        assert holder.stdin is not None and holder.stdout is not None
        try:
            holder.stdin.write(b"there\n")  # comes back when the namespace is there
            assert await asyncio.wait_for(holder.stdout.readline(), SECONDS) == b"there\n"
            host = cls(name, holder)
            await host.run("ip", "link", "set", "lo", "up")
            yield host
        finally:
            holder.kill()
            await holder.wait()
            holder.stdin.close()

    def command(self, *words: str) -> list[str]:
        """The command that runs `words` in this host."""
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", *words]

    async def run(self, *words: str, input: str = "") -> str:
        """Run a program in this host and return what it writes; `RuntimeError` if it fails."""
        process = await asyncio.create_subprocess_exec(
            *owned(*self.command(*words)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "PATH": PATH},
        )
        output, _ = await asyncio.wait_for(process.communicate(input.encode()), SECONDS)
        if process.returncode:
            raise RuntimeError(f"{self.name}: {' '.join(words)}: {output.decode()}\n{input}")
        return output.decode()

    async def sysctl(self, **values: str) -> None:
        """Set kernel parameters of this host, below ``net.ipv4``."""
        for name, value in values.items():
            path = f"/proc/sys/net/ipv4/{name}"
            await self.run("sh", "-c", f"echo '{value}' > {path}")


def owned(*words: str) -> list[str]:
    """A command that is killed when we end, stopped or not."""
    return ["setpriv", "--pdeathsig", "KILL", *words]


class Cable:
    """The veth pair between the hub and one leaf."""

    def __init__(self, hub: Host, leaf: Host, number: int) -> None:
        self.hub = hub
        self.leaf = leaf
        self.hub_device = f"leaf{number}"
        self.leaf_device = "hub"
        self.hub_address = f"10.99.{number}.1"
        self.leaf_address = f"10.99.{number}.2"
        self._table = f"faults{number}"

    async def plug(self) -> None:
        """Make it."""
        hub, leaf = self.hub, self.leaf
        await hub.run(
            *("ip", "link", "add", self.hub_device, "type", "veth"),
            *("peer", "name", self.leaf_device, "netns", str(leaf.pid)),
        )
        for host, device, address in (
            (hub, self.hub_device, self.hub_address),
            (leaf, self.leaf_device, self.leaf_address),
        ):
            await host.run("ip", "address", "add", f"{address}/24", "dev", device)
            await host.run("ip", "link", "set", device, "up")
            host.addresses.append(address)

    async def down(self) -> None:
        """Take it out, at the leaf's end."""
        await self.leaf.run("ip", "link", "set", self.leaf_device, "down")

    async def up(self) -> None:
        """Put it in again."""
        await self.leaf.run("ip", "link", "set", self.leaf_device, "up")

    async def black_hole(self, way: Way = "both") -> None:
        """Let no packet arrive any more, one way or both."""
        await self._drop("drop", way)

    async def lose(self, percent: int) -> None:
        """Let so many packets of a hundred be lost, each way, drawn at random."""
        await self._drop(f"numgen random mod 100 < {percent} drop", "both")

    async def heal(self) -> None:
        """Let all packets arrive."""
        for host in (self.hub, self.leaf):
            await host.run("nft", "-f", "-", input=self._forget())

    async def _drop(self, rule: str, way: Way) -> None:
        if way != "to_leaf":
            await self._load(self.hub, self.hub_device, rule)
        if way != "to_hub":
            await self._load(self.leaf, self.leaf_device, rule)

    async def _load(self, host: Host, device: str, rule: str) -> None:
        text = (
            f"{self._forget()}table inet {self._table} {{\n chain arrives {{\n"
            "  type filter hook prerouting priority 0\n"
            f'  iifname "{device}" {rule}\n }}\n}}\n'
        )
        await host.run("nft", "-f", "-", input=text)

    def _forget(self) -> str:
        return f"table inet {self._table}\ndelete table inet {self._table}\n"


class Network:
    """A hub, leaves and the cables between them."""

    def __init__(self, hub: Host) -> None:
        self.hub = hub
        self.leaves: list[Host] = []
        self.cables: list[Cable] = []


@asynccontextmanager
async def network(leaves: int) -> AsyncIterator[Network]:
    """A network that is there inside the block."""
    async with AsyncExitStack() as stack:
        made = Network(await stack.enter_async_context(Host.made("hub")))
        for number in range(leaves):
            leaf = await stack.enter_async_context(Host.made(f"leaf {number}"))
            cable = Cable(made.hub, leaf, number)
            await cable.plug()
            made.leaves.append(leaf)
            made.cables.append(cable)
        yield made
