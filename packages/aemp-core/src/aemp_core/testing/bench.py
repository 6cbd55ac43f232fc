"""The bench of the conformance kit: two stand-ins for nodes, a transport between them, witnesses.

A `Harness` says how to get the transport under test; it is all that a transport's author writes.
A `Bench` uses it to make candidates and links, and ends them all afterwards. A `Witness` observes
one link, writes down what it is told, and objects to what no link may do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TypeVar

from ..link import Candidate, Link, Listener, Transport
from ..reason import TRANSPORT_ERROR, Reason
from ..wire import pack
from .standin import StandIn

__all__ = ["Bench", "Check", "Harness", "HarnessFactory", "Side", "Violation", "Witness", "demand"]

T = TypeVar("T")

#: Seconds after which something that must happen counts as not happening. Less than an
#: unauthenticated connection may live, so that its deadline does not cover up for a lapse.
PATIENCE = 8.0
SECRET = b"the secret of the conformance kit"


class Violation(AssertionError):
    """The transport does not keep to `aemp_core.link`."""


def demand(condition: object, sentence: str) -> None:
    """Raise `Violation` with `sentence`, which says what should be, unless `condition` holds."""
    if not condition:
        raise Violation(sentence)


@dataclass
class Harness:
    """How to get the transport under test.

    Attributes:
        transport: makes the transport of a node.
        address: an address to listen on, another one at each call.
        nowhere: an address where nobody listens.
        settings: what all nodes are configured with.
    """

    transport: Callable[[Any], Transport]
    address: Callable[[], str]
    nowhere: Callable[[], str]
    settings: Mapping[str, Any] = field(default_factory=lambda: {"secret": SECRET})


HarnessFactory = Callable[[], AbstractAsyncContextManager[Harness]]


class Witness:
    """Observes a link.

    Attributes:
        messages: every message that was delivered, in order.
        batches: how many messages came with how many bytes, for each delivery.
        reason: why the link was lost; None before.
        writables: how often `writable` was told.
    """

    def __init__(self) -> None:
        self.messages: list[list[Any]] = []
        self.batches: list[tuple[int, int]] = []
        self.reason: Reason | None = None
        self.writables = 0
        self.then: Callable[[], None] | None = None
        self._changed = asyncio.Event()
        self._objections: list[str] = []

    def received(self, messages: Sequence[list[Any]], size: int) -> None:
        """See `Observer`."""
        if self.reason is not None:
            self._objections.append("received was told after lost")
        if size <= 0:
            self._objections.append(f"received was told of {size} bytes")
        for message in messages:
            if not (type(message) is list and message and type(message[0]) is str):
                self._objections.append(f"{message!r:.100} was delivered as a message")
        self.messages += messages
        self.batches.append((len(messages), size))
        self._changed.set()
        if self.then is not None:
            self.then()

    def writable(self) -> None:
        """See `Observer`."""
        if self.reason is not None:
            self._objections.append("writable was told after lost")
        self.writables += 1
        self._changed.set()

    def lost(self, reason: Reason) -> None:
        """See `Observer`."""
        if self.reason is not None:
            self._objections.append("lost was told twice")
        if not (len(reason) == 2 and reason[0] == TRANSPORT_ERROR and isinstance(reason[1], str)):
            self._objections.append(f"lost was told {reason!r}, not ('transport_error', text)")
        self.reason = reason
        self._changed.set()

    async def until(self, condition: Callable[[], object], sentence: str) -> None:
        """Wait for `condition`, looked at after everything the link tells."""
        while not condition():
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), PATIENCE)
            except asyncio.TimeoutError:
                raise Violation(f"{sentence} (waited {PATIENCE:g} s)") from None

    async def until_lost(self) -> Reason:
        """Wait for the loss of the link."""
        await self.until(lambda: self.reason is not None, "the link should be lost, once")
        assert self.reason is not None
        return self.reason

    def verify(self) -> None:
        """Raise `Violation` if anything was told that may not be."""
        demand(not self._objections, "; ".join(self._objections))


@dataclass
class Side:
    """One end of a link: the link, and the witness that observes it."""

    link: Link
    candidate: Candidate
    witness: Witness

    def send(self, *message: Any) -> None:
        """Pack, frame and send a message."""
        self.link.send(self.link.encode(pack(message)))


class Bench:
    """What one check works with; an async context manager that leaves nothing behind."""

    def __init__(self, harness: Harness) -> None:
        self.harness = harness
        self._listeners: list[Listener] = []
        self._candidates: list[Candidate] = []
        self._witnesses: list[Witness] = []

    async def __aenter__(self) -> Bench:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for candidate in self._candidates:
            candidate.close("the check is over")
            abort = getattr(candidate, "abort", None)
            if abort is not None:
                abort("the check is over")
        for listener in self._listeners:
            await self.soon(listener.close(), "a listener should close")
        for candidate in self._candidates:
            await self.soon(candidate.wait_closed(), "a closed connection should end")
        if kind is None:
            for witness in self._witnesses:
                witness.verify()

    async def soon(self, what: Awaitable[T], sentence: str) -> T:
        """Await `what`; raise `Violation` with `sentence` if it takes too long."""
        task = asyncio.ensure_future(what)
        try:
            await asyncio.wait({task}, timeout=PATIENCE)
            demand(task.done(), f"{sentence} (waited {PATIENCE:g} s)")
            demand(not task.cancelled(), f"{sentence} (it was cancelled, and not by who waited)")
            return task.result()
        finally:
            task.cancel()

    async def idle(self) -> None:
        """Give what must not happen the time to happen."""
        for _ in range(10):
            await asyncio.sleep(0.005)

    def node(self, name: str, **settings: Any) -> Transport:
        """The transport of a new node."""
        return self.harness.transport(StandIn(name, **{**self.harness.settings, **settings}))

    async def listen(
        self,
        transport: Transport,
        accept: Callable[[Candidate], None],
        address: str | None = None,
    ) -> Listener:
        """Listen with `transport`; closed when the check is over."""

        def note(candidate: Candidate) -> None:
            self._candidates.append(candidate)
            accept(candidate)

        listener = await transport.listen(address or self.harness.address(), note)
        self._listeners.append(listener)
        return listener

    async def dial(self, transport: Transport, address: str) -> Candidate:
        """Dial with `transport`; closed when the check is over."""
        candidate = await self.soon(transport.dial(address), f"{address} should be reached")
        self._candidates.append(candidate)
        return candidate

    async def candidates(
        self,
        *,
        dialling: Mapping[str, Any] | None = None,
        listening: Mapping[str, Any] | None = None,
    ) -> tuple[Candidate, Candidate]:
        """Both sides of one connection: dialled and accepted; arguments: settings of the nodes."""
        came: asyncio.Queue[Candidate] = asyncio.Queue()
        listener = await self.listen(self.node("listening", **(listening or {})), came.put_nowait)
        dialler = self.node("dialling", **(dialling or {}))
        dialled = await self.dial(dialler, listener.addresses[0])
        accepted = await self.soon(came.get(), "the listener should hand over the connection")
        return dialled, accepted

    async def confirmed(self, one: Candidate, other: Candidate) -> tuple[Link, Link]:
        """Confirm both, then wait until both are proved."""
        links = one.confirm(), other.confirm()
        for candidate in (one, other):
            await self.soon(candidate.proved(), "a confirmed peer should be proved")
        return links

    async def links(
        self, *, start: bool = True, listening: Mapping[str, Any] | None = None
    ) -> tuple[Side, Side]:
        """Both ends of one link: the dialling and the listening side, started unless told not."""
        pair = await self.candidates(listening=listening)
        one, other = await self.confirmed(*pair)
        return self.side(one, pair[0], start=start), self.side(other, pair[1], start=start)

    def side(self, link: Link, candidate: Candidate, *, start: bool = True) -> Side:
        """One end of a link: give it a witness."""
        side = Side(link, candidate, Witness())
        self._witnesses.append(side.witness)
        if start:
            link.start(side.witness)
        return side


#: One check of the kit.
Check = Callable[[Bench], Awaitable[None]]
