"""The greeting: the first line each side of a connection writes, and what it says.

    aemp;1;NODEID;AUTHS;FRAMINGS;key=value;key=value...

AUTHS and FRAMINGS are what the writer *accepts*, most preferred first: they tell the reader
what to send. Keys, methods and framings the reader does not know are harmless. The keys we
write and read are ``provider peeraddr incarnation heartbeat frame features``.

The nonce line that follows is 66 random bytes in base64. Both lines together make every
handshake its own: the tokens of the auth lines are computed over them.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version

from ..errors import LocalProtocolError, RemoteProtocolError
from ..ids import is_incarnation, is_node_id
from ..link import PeerInfo

__all__ = ["MAX_LINE", "MIN_NONCE_BYTES", "NONCE_BYTES", "PROVIDER", "Greeting"]

#: The longest line of a handshake in bytes, its line end included.
MAX_LINE = 4_096
#: The random bytes behind our nonce line.
NONCE_BYTES = 66
#: A peer's nonce of fewer bytes is refused: it may be guessed or seen twice.
MIN_NONCE_BYTES = 32

PROTOCOL = "aemp"
VERSION = "1"

#: Seconds of silence a peer may ask us to keep below; asking for less or more is cut to this.
MIN_HEARTBEAT, MAX_HEARTBEAT = 1.0, 3_600.0

try:
    PROVIDER = f"aemp-py-{version('aemp-core')}"
except PackageNotFoundError:  # the source tree on the path, not installed
    PROVIDER = "aemp-py"

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_BYTES = re.compile(r"[1-9][0-9]{0,14}")


def quote(data: bytes | str) -> str:
    """What a peer wrote, for an error text: as `repr`, cut to 100 characters."""
    text = repr(data[:100])
    return text if len(text) <= 100 else text[:97] + "..."


@dataclass(frozen=True)
class Greeting:
    """What one side says of itself in its first line.

    Attributes:
        node_id: the node ID it goes by.
        auths: names of the authentication methods it accepts, most preferred first.
        framings: names of the framings it reads, most preferred first.
        attributes: the ``key=value`` pairs; of a key said twice the last counts.
    """

    node_id: str
    auths: tuple[str, ...]
    framings: tuple[str, ...]
    attributes: Mapping[str, str] = field(default_factory=dict)

    def line(self) -> bytes:
        """The greeting as it goes over the wire, without its line end.

        Raises:
            LocalProtocolError: it would not be read back as it is, or is longer than a line may be.
        """
        fields = [PROTOCOL, VERSION, self.node_id, ",".join(self.auths), ",".join(self.framings)]
        fields += [f"{key}={value}" for key, value in self.attributes.items()]
        line = ";".join(fields).encode("utf-8", "replace")
        if len(line) >= MAX_LINE:
            raise LocalProtocolError(
                f"our greeting takes {len(line)} bytes of the {MAX_LINE - 1} of a line: "
                "configure fewer methods and framings"
            )
        try:
            read_back = Greeting.parse(line)
        except RemoteProtocolError as error:
            raise LocalProtocolError(f"our greeting would be refused: {error}") from None
        if read_back != self:
            raise LocalProtocolError(
                f"our greeting would be read as {read_back}: leave ; , = out of its fields"
            )
        return line

    @classmethod
    def parse(cls, line: bytes) -> Greeting:
        """Read a greeting line, given without its line end.

        Raises:
            RemoteProtocolError: it is no greeting of protocol version 1.
        """
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            raise RemoteProtocolError(f"the greeting is not UTF-8: {quote(line)}") from None
        if _CONTROL.search(text):
            raise RemoteProtocolError(f"the greeting holds control characters: {quote(line)}")
        protocol, *fields = text.split(";")
        if protocol != PROTOCOL:
            raise RemoteProtocolError(f"no AEMP greeting, but {quote(line)}")
        if fields and fields[0] != VERSION:
            raise RemoteProtocolError(
                f"the peer speaks protocol version {quote(fields[0])}, we speak {VERSION}"
            )
        if len(fields) < 4:
            raise RemoteProtocolError(f"the greeting lacks fields: {quote(line)}")
        _, node_id, auths, framings, *pairs = fields
        if not is_node_id(node_id):
            raise RemoteProtocolError(f"{quote(node_id)} in the greeting is no node ID")
        attributes = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
        return cls(node_id, _names(auths), _names(framings), attributes)

    def peer_info(self, origin: str = "") -> PeerInfo:
        """What the greeting says, for core; `origin` is the address of the connection.

        Raises:
            RemoteProtocolError: the value of a key we know cannot be one.
        """
        known = self.attributes
        incarnation = known.get("incarnation")
        if incarnation is not None and not is_incarnation(incarnation):
            raise RemoteProtocolError(f"incarnation={quote(incarnation)} is no incarnation")
        heartbeat = frame_limit = None
        if "heartbeat" in known:
            if not _SECONDS.fullmatch(known["heartbeat"]):
                raise RemoteProtocolError(f"heartbeat={quote(known['heartbeat'])} is no seconds")
            heartbeat = min(max(float(known["heartbeat"]), MIN_HEARTBEAT), MAX_HEARTBEAT)
        if "frame" in known:
            if not _BYTES.fullmatch(known["frame"]):
                raise RemoteProtocolError(f"frame={quote(known['frame'])} is no number of bytes")
            frame_limit = int(known["frame"])
        return PeerInfo(
            id=self.node_id,
            incarnation=incarnation,
            heartbeat=heartbeat,
            frame_limit=frame_limit,
            provider=known.get("provider", ""),
            features=frozenset(_names(known.get("features", ""))),
            attributes=known,
            origin=origin,
        )


def nonce_line(nonce: bytes) -> bytes:
    """The line that carries `nonce`, without its line end."""
    return base64.b64encode(nonce)


def parse_nonce(line: bytes) -> bytes:
    """The bytes behind a peer's nonce line; raise `RemoteProtocolError` if it may not be used."""
    try:
        nonce = base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        raise RemoteProtocolError(f"the nonce is not base64: {quote(line)}") from None
    if len(nonce) < MIN_NONCE_BYTES:
        raise RemoteProtocolError(
            f"the nonce has {len(nonce)} bytes, at least {MIN_NONCE_BYTES} are asked for"
        )
    return nonce


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)
