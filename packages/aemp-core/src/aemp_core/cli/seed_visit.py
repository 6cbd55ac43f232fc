"""A visit to a seed, step by step: its name, the connection, the greeting, the proof, the link.

Each step that fails is a finding that says what it is about and what mends it, since an error
alone says what was seen and not what was meant.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from ..errors import AempError, CallTimeout, PeerRefused, PortKilled, TransportError
from ..finding import OK, PROBLEM, WARNING, Finding
from ..link import Candidate
from ..node import Node
from ..reason import text_of

__all__ = ["Visit"]

#: Seconds that a clock may differ before it is told of.
SKEW_SECONDS = 5.0

_HOST_PORT = re.compile(r"(?:[a-z][a-z0-9+.-]*://)?(\[[^\]]+\]|[^:/\[\]]*):([0-9]+)\Z")

#: What an error of a transport is about, by what it says, and what mends it.
REMEDIES = [
    (r"no secret is configured", "secret", ""),
    (
        r"protocol version",
        "version",
        "bring both nodes to the same version of AEMP",
    ),
    (
        r"no AEMP greeting",
        "greeting",
        "something else listens there, or it is a tls:// address: mend the address",
    ),
    (
        r"no common authentication method.*tls_",
        "secret",
        "set the same 'secret' on both nodes, or on neither",
    ),
    (
        r"no common authentication method",
        "greeting",
        "have auth_offer here name a method that auth_accept there names",
    ),
    (r"no common framing", "greeting", "have framings here and there name one and the same"),
    (
        r"our own node ID|echoes our own",
        "node ID",
        "it is the address of this node itself, or of a second node with its ID: give each an ID "
        "of its own",
    ),
    (
        r"the token of the peer is wrong",
        "secret",
        "give both nodes the same secret: 'aemp config set secret -', AEMP_SECRET",
    ),
    (
        r"certificate|TLS|tls://|CA\b",
        "certificate",
        "compare 'aemp ca show' with the certificates of both nodes, and copy network.pem to both",
    ),
    (
        r"does a node listen there",
        "connection",
        "start the node there, as the same user",
    ),
    (
        r"no complete handshake",
        "greeting",
        "something that does not speak AEMP listens there: mend the address",
    ),
]


class Visit:
    """One visit.

    Args:
        visitor: the node that visits.
        address: the address of the seed.
        own_id: the node ID of the node that would join there; None: another one each time.
        timeout: seconds to wait for each thing that has to happen.
    """

    def __init__(self, visitor: Node, address: str, own_id: str | None, timeout: float) -> None:
        self._visitor = visitor
        self._address = address
        self._own_id = own_id
        self._timeout = timeout

    async def findings(self) -> AsyncIterator[Finding]:
        """Look at everything, in the order of a handshake, up to the first problem."""
        visitor, address = self._visitor, self._address
        try:
            transport = visitor.transport(address)
            transport.check(address)
        except AempError as error:
            yield self._see("address", PROBLEM, str(error))
            return
        found = _HOST_PORT.match(address)
        if found is not None:
            async for each in self._reach(found[1].strip("[]") or "localhost", found[2]):
                yield each
                if each.state == PROBLEM:
                    return
        try:
            candidate = await self._within(transport.dial(address))
        except asyncio.TimeoutError:
            text = f"it did not greet within {self._timeout:g} s"
            remedy = "look whether the node there hangs, and what it logs"
            yield self._see("greeting", PROBLEM, text, remedy)
            return
        except PeerRefused as error:
            text = str(error).partition(" before it was a link")[0]
            remedy = (
                "perhaps it wants links of another kind there, tls:// or tcp://, or has too many; "
                "look at what the node there logs"
            )
            yield self._see("greeting", PROBLEM, _bare(text), remedy)
            return
        except (AempError, OSError) as error:
            yield self._fault("greeting", str(error))
            return
        peer = candidate.peer
        if peer.id == self._own_id:
            candidate.close("only a look")
            text = f"the node {self._own_id} itself is there, or a second one with its ID"
            remedy = "if it is not the node examined, give each an ID of its own"
            yield self._see("node ID", WARNING, text, remedy)
            return
        provider = f", {peer.provider}" if peer.provider else ""
        text = f"node {peer.id}{provider}: method and framing in common"
        yield self._see("greeting", OK, text)
        if visitor.node_is_up(peer.id):
            candidate.close("only a look")
            yield self._see("link", OK, "the node of another seed, over another address")
            return
        async for each in self._link(candidate):
            yield each
            if each.state == PROBLEM:
                return
        async for each in self._ask(peer.id):
            yield each

    async def _reach(self, host: str, port: str) -> AsyncIterator[Finding]:
        loop = asyncio.get_running_loop()
        try:
            found = await self._within(loop.getaddrinfo(host, int(port), type=socket.SOCK_STREAM))
        except asyncio.TimeoutError:
            text = f"the name {host!r} was not resolved within {self._timeout:g} s"
            yield self._see("name", PROBLEM, text, "look at the name server")
            return
        except (OSError, UnicodeError) as error:
            text = f"the name {host!r} cannot be resolved: {error}"
            remedy = "mend the name, or the name server, or use an IP address"
            yield self._see("name", PROBLEM, text, remedy)
            return
        addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
        if addresses != [host]:
            yield self._see("name", OK, f"{host} is {', '.join(addresses)}")
        failures = []
        for each in addresses:
            try:
                _, writer = await self._within(asyncio.open_connection(each, int(port)))
            except asyncio.TimeoutError:
                failures.append(f"{each} did not answer within {self._timeout:g} s")
            except OSError as error:
                text = os.strerror(error.errno) if error.errno else str(error)
                failures.append(f"{each}: {text}")
            else:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()
                yield self._see("connection", OK, f"{each} answers")
                return
        remedy = (
            "start the node there, and have it bind an address that can be reached from here"
            if "refused" in " ".join(failures)
            else "look whether the machine is up, and which firewalls are on the way"
        )
        yield self._see("connection", PROBLEM, "; ".join(failures), remedy)

    async def _link(self, candidate: Candidate) -> AsyncIterator[Finding]:
        visitor, peer = self._visitor, candidate.peer
        meeting = visitor.rendezvous.meet(candidate)
        try:
            linked = await self._within(asyncio.shield(meeting))
        except asyncio.TimeoutError:
            candidate.close("gave up")
            text = f"neither proved nor refused within {self._timeout:g} s"
            yield self._see("proof", PROBLEM, text, "look at what the node there logs")
            return
        if linked or visitor.node_is_up(peer.id):
            how = f", certificate {peer.identity}" if peer.identity else ""
            yield self._see("proof", OK, f"both sides proved themselves{how}")
            return
        try:
            await self._within(candidate.proved())
        except asyncio.TimeoutError:
            pass
        except PeerRefused as error:
            text = str(error).partition(" before it was a link")[0]
            yield self._see("proof", PROBLEM, _bare(text), self._twin())
            return
        except TransportError as error:
            yield self._fault("proof", str(error))
            return
        text = "the connection was ended, though both sides proved themselves"
        yield self._see("link", PROBLEM, text, self._twin())

    async def _ask(self, peer: str) -> AsyncIterator[Finding]:
        """Ask a node there is a link to for its time, and whom it knows."""
        visitor = self._visitor
        try:
            begin, asked = time.time(), time.monotonic()
            (there,) = await visitor.cal(peer, "time", timeout=self._timeout)
            trip = time.monotonic() - asked
        except CallTimeout:
            text = f"up, but no answer within {self._timeout:g} s"
            yield self._see("link", PROBLEM, text, "look whether the node there hangs")
            return
        except (AempError, ValueError) as error:
            text = text_of(error) if not isinstance(error, PortKilled) else str(error)
            yield self._see("link", PROBLEM, f"it was ended at once: {text}", self._twin())
            return
        yield self._see("link", OK, f"up, an answer takes {trip * 1000:.1f} ms")
        skew = float(there) - begin - trip / 2
        state = OK if abs(skew) <= SKEW_SECONDS + trip else WARNING
        text = f"{abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} the clock here"
        yield self._see(
            "clock",
            state,
            "as here" if state == OK else text,
            "" if state == OK else "set both clocks, by NTP: certificates and restarts need them",
        )
        if self._own_id is None or self._own_id == visitor.id:
            return
        up: tuple[Any, ...] = ()
        with suppress(AempError):  # it need not answer that
            up = await visitor.cal(peer, "up_nodes", timeout=self._timeout)
        if self._own_id in up:
            text = f"a node {self._own_id} is up in that network"
            remedy = "if it is not the node examined, give each an ID of its own"
            yield self._see("node ID", WARNING, text, remedy)

    async def _within(self, waiting: Any) -> Any:
        return await asyncio.wait_for(waiting, self._timeout)

    def _see(self, step: str, state: str, text: str, remedy: str = "") -> Finding:
        return Finding(f"seed {self._address}: {step}", state, text, remedy)

    def _fault(self, step: str, text: str) -> Finding:
        """An error of a transport, with what it is about and what mends it."""
        text = _bare(text)
        for pattern, topic, remedy in REMEDIES:
            if re.search(pattern, text):
                return self._see(topic, PROBLEM, text, remedy)
        return self._see(step, PROBLEM, text, "look at what the node there logs")

    def _twin(self) -> str:
        visitor = self._visitor
        secret = "both nodes have the same secret, " if visitor.settings.secret is not None else ""
        return f"look whether {secret}another node {visitor.id} is up, and what the node there logs"


def _bare(text: str) -> str:
    """The text of an error without the addresses it begins with."""
    return re.sub(r"\A(?:[a-z0-9+.-]+://\S+: )+", "", text)
