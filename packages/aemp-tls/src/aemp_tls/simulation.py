"""Simulated networks with TLS: `aemp_core.testing.simulate` on links that certificates prove.

    python -m aemp_core.testing.simulate --driver aemp_tls.simulation:TlsDriver --seeds 1000

Everything is as there: the plans, the network and its faults, the judge. But each node has a
certificate, and its ``memory://`` links are those of `TlsTransport`, whose bytes the simulated
cables carry instead of sockets. More is asked of them:

- Bits that flip on the way excuse nothing: no link may pass on what was altered.
- Strangers hold a certificate of another CA with the name they claim, or one of the network's own
  with another name. Who connects two listeners does so inside TLS, as a member, with a certificate
  that grants every name.
- Nodes get new certificates while they run, and are revoked. In the end all have good ones.

OpenSSL draws its own randomness, and Python cannot replace it: the bytes on the cables are never
the same twice. But keys and serial numbers come from the seed, and Ed25519 gives the same signature
to the same text, so all records have the *lengths* of the seed, and what is inside TLS is as ever.
So the same seed gives the same history, which tells of bytes only how many they were. OpenSSL has
its own clock, too: the certificates are good in its year and in that of the world.
"""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from aemp_core.conversation import Origin
from aemp_core.link import Accept
from aemp_core.memory import (
    MemoryListener,
    MemoryNetwork,
    locate_dialler,
    locate_listener,
    memory_name,
)
from aemp_core.node import Node
from aemp_core.settings import Settings
from aemp_core.stream import Stream
from aemp_core.testing.agents import Agent
from aemp_core.testing.driver import SECRET, Driver
from aemp_core.testing.faults import GAPS, Fault, Plan, draw
from aemp_core.testing.mischief import Joint, Stranger
from aemp_core.testing.world import Process, World

from . import pem
from .certificates import ca_certificate, node_certificate, revocation_list
from .channel import Channel
from .credentials import Credentials
from .names import Grant
from .tls import TlsDoor, TlsStream, TlsTransport

__all__ = ["Notary", "TlsDriver", "TlsInMemory"]

PEM = Encoding.PEM
NETWORK = "simulation"
#: Seconds since the epoch between which certificates are good: the years of OpenSSL and the world.
BEGINS, ENDS = 0.0, 4_000_000_000.0
#: How long serial numbers are, in bits but the first one: all are of one length.
SERIAL_BITS = 157
#: Seconds between two attempts to connect.
CONNECT_INTERVAL = 5
#: Faults of certificates among the others.
CHANGES = 4


class TlsInMemory(TlsTransport):
    """TLS over ``memory://``: no sockets, so it runs on any clock, and on simulated networks."""

    scheme = "memory"

    def check(self, address: str, /) -> None:
        """See `Transport`."""
        memory_name(address)
        self._trust()

    async def listen(self, address: str, accept: Accept, /) -> MemoryListener:  # type: ignore[override]
        """See `Transport`."""
        name = memory_name(address)
        network = MemoryNetwork.of(self._node.loop)
        door = TlsDoor(self, accept, locate_dialler)
        network.bind(name, door, self._node.id)
        return MemoryListener(network, name, door)

    async def dial(self, address: str, /) -> Stream:
        """See `Transport`."""
        name = memory_name(address)
        network = MemoryNetwork.of(self._node.loop)
        await network.reach(name, self._node.id)
        channel = self.channel("dial", locate_listener)
        network.connect(self._node.loop, name, channel, self._node.id)
        return await channel.stream.greeted()


class TlsNode(Node):
    """A node whose ``memory://`` links are TLS."""

    def _ask_plugins(self, node: Node) -> None:
        super()._ask_plugins(node)
        tls = self._transports["tls"]
        assert isinstance(tls, TlsTransport)
        self._transports["memory"] = TlsInMemory(tls.keeper)


# -- certificates ------------------------------------------------------------------------------


class Notary:
    """A CA without chance: the same seed gives the same certificates, all of one length.

    Args:
        directory: where its files lie.
        chance: where its keys come from.

    Attributes:
        directory: as given.
    """

    def __init__(self, directory: Path, chance: Random) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._chance = chance
        self._key = self._new_key()
        serial = self._new_serial()
        self._certificate = ca_certificate(NETWORK, 1, self._key, BEGINS, ENDS, serial)
        self._revoked: dict[int, float] = {}
        self._issued: dict[str, list[int]] = {}
        self._publish()

    @property
    def trust(self) -> bytes:
        """Its certificate and its revocation list."""
        revoked = sorted(self._revoked.items())
        crl = revocation_list(self._certificate, self._key, BEGINS, revoked)
        return self._certificate.public_bytes(PEM) + crl.public_bytes(PEM)

    def issue(self, name: str, file: str = "") -> str:
        """The path of a file with a new certificate for `name` and its key."""
        key, serial = self._new_key(), self._new_serial()
        certificate = node_certificate(
            Grant.of(NETWORK, name), key, BEGINS, ENDS, self._certificate, self._key, serial
        )
        self._issued.setdefault(name, []).append(serial)
        data = pem.key_pem(key, None) + certificate.public_bytes(PEM)
        path = self.directory / f"{file or name}.pem"
        pem.write(path, data, private=True, replace=True)
        return str(path)

    def issued(self, name: str, serial: int) -> bool:
        """Whether a certificate is one that was issued for `name`."""
        return serial in self._issued.get(name, ())

    def good(self, name: str, serial: int) -> bool:
        """Whether it was not taken back, either."""
        return self.issued(name, serial) and serial not in self._revoked

    def revoke(self, name: str) -> None:
        """Take back all that was issued for `name` so far."""
        self._revoked.update((serial, BEGINS) for serial in self._issued.get(name, ()))
        self._publish()

    def believe(self, other: Notary) -> None:
        """Have those with certificates of this one believe another one, too."""
        self._publish(other.trust)

    def _publish(self, more: bytes = b"") -> None:
        path = self.directory / "network.pem"
        pem.write(path, self.trust + more, private=False, replace=True)

    def _new_key(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self._chance.randbytes(32))

    def _new_serial(self) -> int:
        return self._chance.getrandbits(SERIAL_BITS) | 1 << SERIAL_BITS


# -- mischief ----------------------------------------------------------------------------------


class TlsJoint(Joint):
    """A `Joint` that hands on what is said inside TLS, as who holds a good certificate can."""

    origin = Origin("a listener", source=Stranger.NAME)

    def __init__(self, credentials: Credentials) -> None:
        super().__init__()
        self._credentials = credentials

    def protocol(self) -> Channel:
        """See `Joint`."""
        loop = asyncio.get_running_loop()
        channel = Channel(loop, self._credentials.dialling, "dial", lambda peer: None)
        channel.stream = self  # type: ignore[assignment]  # all a channel asks of a stream
        return channel

    def abort(self, reason: str = "") -> None:
        """See `Stream`."""
        self._hang_up()


class Impostor(TlsNode):
    """A node that shows a certificate with another name than its own."""

    def __init__(self, node_id: str, shown: str, /, **settings: Any) -> None:
        super().__init__(node_id, **settings)
        self._shown = shown

    def _ask_plugins(self, node: Node) -> None:
        super()._ask_plugins(node)
        shown = Settings.of(nodeid=Stranger.NAME, cert=self._shown)
        tls = self._transports["memory"]
        assert isinstance(tls, TlsInMemory)
        tls.keeper._credentials = Credentials.load(shown, Stranger.NAME, self.wall_clock())


class TlsStranger(Stranger):
    """A `Stranger` that knows the secret, and has a certificate: not the one it should have.

    Args:
        network: see `Stranger`.
        process: see `Stranger`.
        ports: see `Stranger`.
        notary: whose certificates count.
        foreign: another one.
    """

    def __init__(
        self, network: Any, process: Process, ports: Sequence[str], notary: Notary, foreign: Notary
    ) -> None:
        super().__init__(network, process, ports)
        self._notary = notary
        self._foreign = foreign

    _numbers = itertools.count(1)  # of files, so that nobody finds another one's

    def make_node(self, claimed: str, address: str) -> Node:
        """See `Stranger`: with the name claimed and of another CA, or with another name."""
        world = self._process.world
        self._foreign.believe(self._notary)
        settings: dict[str, Any] = {
            "seeds": [address],
            "secret": SECRET,
            "cert": self._foreign.issue(claimed, f"{claimed} {next(self._numbers)}"),
            "entropy": self._process.entropy,
            "wall_clock": self._process.wall_clock,
        }
        if world.random.random() < 0.5:
            return TlsNode(claimed, **settings)
        return Impostor(claimed, self._notary.issue(self.NAME), **settings)


# -- the driver --------------------------------------------------------------------------------


class TlsDriver(Driver):
    """A `Driver` of nodes with certificates; every other plan asks for a secret in addition."""

    def __init__(self, world: World, plan: Plan) -> None:
        super().__init__(world, plan)
        world.network.sealed = True
        self._files = tempfile.TemporaryDirectory(prefix="aemp-simulation-")
        directory, chance = Path(self._files.name), Random(f"certificates {plan.seed}")
        self._notary = Notary(directory / "network", chance)
        self._foreign = Notary(directory / "foreign", chance)
        self._certs: dict[str, str] = {}

    @staticmethod
    def draw(seed: int) -> Plan:  # type: ignore[override]
        """The plan of a seed, with some faults of certificates in it."""
        plan, chance = draw(seed), Random(f"tls {seed}")
        faults = list(plan.faults)
        for _ in range(CHANGES):
            verb = chance.choice(("renew", "renew", "revoke"))
            fault = Fault(chance.choice(GAPS), verb, (chance.choice(plan.machines),))
            faults.insert(chance.randint(0, len(faults)), fault)
        # Two handshakes a second of everybody who is refused would be all that is simulated.
        settings = {
            name: {**given, "connect_interval": CONNECT_INTERVAL}
            for name, given in plan.settings.items()
        }
        return replace(plan, settings=settings, faults=tuple(faults))

    async def run(self) -> None:
        """See `Driver`."""
        with self._files:
            await super().run()

    def make_node(self, node_id: str, **settings: Any) -> Node:
        """See `Driver`."""
        if node_id not in self._certs:
            self._certs[node_id] = self._notary.issue(node_id)
        if self.plan.seed % 2:
            settings["secret"] = None
        return TlsNode(node_id, cert=self._certs[node_id], **settings)

    def make_joint(self) -> Joint:
        """See `Driver`."""
        settings = Settings.of(nodeid=Stranger.NAME, cert=self._notary.issue("*", Stranger.NAME))
        return TlsJoint(Credentials.load(settings, Stranger.NAME, ENDS / 2))

    def make_stranger(self, process: Process) -> Stranger:
        """See `Driver`."""
        ports = self._ports[-5:]
        return TlsStranger(self._network, process, ports, self._notary, self._foreign)

    async def corrupt(self, one: str, other: str, chunks: int) -> None:
        """Bits flip, and whoever they reach must notice."""
        self._network.corrupt(one, other, chunks)

    async def renew(self, machine: str) -> None:
        """A node gets a new certificate; no link may suffer."""
        self._certs[machine] = self._notary.issue(machine)

    async def revoke(self, machine: str) -> None:
        """What a node has is revoked; it gets something new when it starts again, or at the end."""
        self._notary.revoke(machine)
        self._certs.pop(machine, None)

    def look_for_intruders(self, agent: Agent) -> None:
        """Note links, too, with other certificates than those that were issued for the peer."""
        super().look_for_intruders(agent)
        self._look_for_intruders(agent, self._notary.issued)

    def _judge_links(self) -> None:
        """In the end all certificates must be good ones."""
        super()._judge_links()
        for agent in self.agents.values():
            self._look_for_intruders(agent, self._notary.good)

    def _look_for_intruders(self, agent: Agent, good: Callable[[str, int], bool]) -> None:
        for node_id, peer in agent.node.peers.items():
            link = None if peer.session is None else peer.session.link
            identity = link.identity if isinstance(link, TlsStream) else None
            if link is not None and (identity is None or not good(node_id, identity.serial)):
                self.world.history.note("intruder", agent.life, node_id)

    async def _mend(self) -> None:
        for machine in self.plan.machines:
            if machine not in self._certs:
                await self.renew(machine)
        await super()._mend()
