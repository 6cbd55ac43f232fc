"""The TLS transport: ``tls://host:port``.

TLS 1.3 from the first byte, with certificates of the network's own CA on both sides; inside it the
AEMP handshake, whose greeting must name a node ID that the peer's certificate grants (`names`),
and whose token binds it to both certificates (`proof`). A configured secret is required in
addition. Without a certificate nothing is bound, dialled or accepted.
"""

from __future__ import annotations

from dataclasses import replace

from aemp_core.conversation import Locate, Origin
from aemp_core.errors import ConfigError, RemoteProtocolError
from aemp_core.link import Accept, PeerInfo
from aemp_core.lobby import Door
from aemp_core.stream import Stream
from aemp_core.wire import NONCE_BYTES, Connection, Role
from aemp_tcp import sockets
from aemp_tcp.sockets import Endpoint
from aemp_tcp.tcp import TcpTransport, locate
from aemp_tcp.trust import Trust as SecretTrust

from .channel import Channel
from .identity import Identity
from .keeper import Keeper
from .proof import CertificateProof

__all__ = ["SCHEME", "TlsStream", "TlsTransport"]

SCHEME = "tls"


class TlsStream(Stream):
    """A stream inside a `Channel`.

    Attributes:
        channel: the TLS below it.
        proof: how both sides prove themselves on it.
        keeper: the credentials of the node.
        announced: a new certificate of the peer's that waits to be believed, and a signature.
        doubted: since when its certificate is not believed any more, in seconds on the clock of the
            loop; None if it is.
    """

    HINT = "does the peer believe our CA, and has it not revoked our certificate?"

    channel: Channel
    proof: CertificateProof
    keeper: Keeper
    announced: tuple[bytes, bytes] | None = None
    doubted: float | None = None

    @property
    def identity(self) -> Identity | None:
        """The peer's certificate; None before TLS is there."""
        return getattr(self.channel, "peer", None)

    @property
    def is_link(self) -> bool:
        """Whether both sides have proved themselves, and neither has ended it."""
        return self._open

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone."""
        super().connection_lost(exc)
        self.keeper.leave(self)


class TlsDoor(Door):
    """A listener's way in, through TLS: `Door` as a factory of channels.

    Args:
        transport: the transport of the node.
        accept: see `Door`.
        locate: see `Door`.
    """

    def __init__(self, transport: TlsTransport, accept: Accept, locate: Locate) -> None:
        super().__init__(transport.keeper.node, accept, locate, _never)
        self._transport = transport

    def __call__(self) -> Channel:  # type: ignore[override]
        return self._transport.channel("accept", self._locate, self)


class TlsTransport(TcpTransport):
    """The scheme ``tls`` of one node.

    Args:
        keeper: the credentials of the node, and the streams that were made with them.
    """

    scheme = SCHEME
    private = True

    def __init__(self, keeper: Keeper) -> None:
        super().__init__(keeper.node)
        self.keeper = keeper

    def channel(self, role: Role, locate: Locate, door: Door | None = None) -> Channel:
        """TLS for a connection about to be made over any bytes, with a stream of AEMP in it.

        Args:
            role: "dial" if our side opens the connection, "accept" if it takes it.
            locate: see `Stream`.
            door: see `Stream`.
        """
        keeper = self.keeper
        credentials = keeper.credentials

        def examine(peer: Identity) -> None:
            # Those of now: a certificate may have been revoked since the connection was made.
            flaw = keeper.credentials.flaw(peer, keeper.now())
            if flaw is not None:
                raise ConfigError(flaw)

        context = credentials.dialling if role == "dial" else credentials.accepting
        channel = Channel(self._node.loop, context, role, examine)
        proof = CertificateProof(
            self._node.settings.secret is not None,
            lambda: (credentials.identity.fingerprint, channel.peer.fingerprint),
        )

        def converse(transport: object, origin: Origin) -> Connection:
            return self._connection(role, origin, channel, proof)

        stream = TlsStream(self._node.loop, locate, converse, door)
        stream.channel, stream.proof, stream.keeper = channel, proof, keeper
        channel.stream = stream
        keeper.enter(stream)
        return channel

    def _connection(
        self, role: Role, origin: Origin, channel: Channel, proof: CertificateProof
    ) -> Connection:
        """How the node speaks AEMP inside a channel."""
        node = self._node
        settings = node.settings
        return Connection(
            role,
            replace(node.greeting(origin.peeraddr), auths=(proof.name,)),
            node.entropy(NONCE_BYTES),
            secret=settings.secret or b"",
            auth_offer=[proof],
            auth_accept=[proof],
            framings=[node.framings[name] for name in settings.framings],
            frame_limit=settings.frame_limit,
            origin=origin.address,
            loopback=origin.loopback,
            admit=lambda peer: _admit(peer, channel.peer),
        )

    # -- what of TCP is done otherwise ---------------------------------------------------------

    def check(self, address: str, /) -> None:
        """See `Transport`; `ConfigError` if the node has no certificate to dial with."""
        super().check(address)
        self._trust()

    def _trust(self) -> SecretTrust:
        _ = self.keeper.credentials  # or there is none, and it says so
        return SecretTrust(self._node.settings.secret or b"", local=False)

    def _door(self, accept: Accept, trust: SecretTrust) -> Door:
        return TlsDoor(self, accept, locate(self.scheme, local=False))

    async def _connect(self, endpoint: Endpoint, trust: SecretTrust) -> Stream:
        locating = locate(self.scheme, local=False)
        channel = await sockets.connect(
            self._node.loop, endpoint, lambda: self.channel("dial", locating)
        )
        return channel.stream


def _admit(peer: PeerInfo, identity: Identity) -> PeerInfo:
    """What to tell of a peer that greeted, if its certificate lets it go by that ID."""
    grant = identity.grant_for(peer.id)
    if grant is None:
        raise RemoteProtocolError(
            f"the peer goes by {peer.id!r}, and its certificate is that of {identity}"
        )
    return replace(peer, identity=str(grant))


def _never(*_: object) -> Connection:
    raise AssertionError("a channel makes its stream with a conversation of its own")
