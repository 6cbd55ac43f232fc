"""Dialling: seeds for ever, peers while something waits for them.

A *seed* is an address dialled from the start and again for ever, with a jittered back-off of at
most `connect_interval` seconds; core with seeds and one transport is already a network. A *peer*
for which something waits is dialled over every address known for its ID (learnt by `learn`, or
named by plugins), all at once, again and again, until a link is up or the dial deadline is over;
seeds are hurried meanwhile, since one of them may be that peer. One failed connection proves
nothing. Names are resolved anew at each attempt. A seed that is told to *rest* is left alone until
it is wanted again.

While nobody answers, another connection is asked for beside those that wait: an operating system
asks again after pauses that double, so that after a break in the network of a minute a connection
it waits for comes half a minute late.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

from .errors import AempError, OwnAddress, TransportError
from .link import Candidate

if TYPE_CHECKING:
    from .node import Node
    from .peer import Peer

__all__ = ["Dialler"]

log = logging.getLogger("aemp_core.dial")

#: Seconds one attempt may take, from resolving the name to the peer's greeting,
ATTEMPT_SECONDS = 20.0
#: and after which another connection is asked for beside those that nobody answered.
AGAIN_SECONDS = 3.0
FIRST_PAUSE = 0.1
#: Pause before a seed is asked again that says it is a node there is a link to, or this one.
LINKED_PAUSE = 60.0
#: Redials after a loss are spread over so many seconds,
JITTER_SECONDS = 0.25
#: and what is dialled for within so many seconds of a loss is one: others lost that node, too.
REDIAL_SECONDS = 1.0
#: Addresses kept per node ID.
ADDRESS_LIMIT = 16


class Unanswered(TransportError):
    """Nobody greeted, and nobody refused."""


class Seed:
    """One seed address: whom we found there, who last claimed to be, and a way to hurry it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.node_id: str | None = None
        self.claimed: str | None = None
        self.failure = ""
        self.own = False  # this node itself listens there
        self.hurry = asyncio.Event()
        self.task: asyncio.Task[None] | None = None


class Dialler:
    """Everything one node dials."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._seeds = [Seed(address) for address in node.settings.seeds]
        self._addresses: dict[str, dict[str, None]] = {}
        self._attempts: dict[str, dict[str, asyncio.Task[None]]] = {}
        self._failures: dict[str, str] = {}
        self._losses: dict[str, float] = {}  # when nodes were lost, oldest first
        self._resting: frozenset[str] = frozenset()

    def start(self) -> None:
        """Begin with the seeds."""
        for seed in self._seeds:
            # What can never be dialled is an error now, not a line in the log for ever.
            self._node.transport(seed.address).check(seed.address)
        for seed in self._seeds:
            seed.task = self._node.own_task(None, self._keep(seed))

    def reseed(self, addresses: Iterable[str]) -> None:
        """Dial these seeds from now on and no others; links that are there stay.

        Raises `AddressError` or `ConfigError` for one that can never be dialled, and changes
        nothing then.
        """
        addresses = list(addresses)
        for address in addresses:
            self._node.transport(address).check(address)
        former = {seed.address: seed for seed in self._seeds}
        self._seeds = [
            former.pop(address) if address in former else Seed(address) for address in addresses
        ]
        for seed in former.values():
            if seed.task is not None:
                seed.task.cancel()
        for seed in self._seeds:
            if seed.task is None:
                seed.task = self._node.own_task(None, self._keep(seed))

    # -- peers -------------------------------------------------------------------------------

    def learn(self, node_id: str, addresses: Iterable[str]) -> None:
        """Note addresses of a node, newest last; dial them at once if it is being dialled."""
        book = self._addresses.setdefault(node_id, {})
        for address in addresses:
            book.pop(address, None)
            book[address] = None
        while len(book) > ADDRESS_LIMIT:
            del book[next(iter(book))]
        if not book:
            del self._addresses[node_id]
        peer = self._node.peers.get(node_id)
        if peer is not None and peer.dialling:
            self._reach_all(peer)

    def forget(self, node_id: str, addresses: Iterable[str]) -> None:
        """Take back what `learn` noted; attempts that run end by themselves."""
        book = self._addresses.get(node_id, {})
        for address in addresses:
            book.pop(address, None)
        if not book:
            self._addresses.pop(node_id, None)

    def begin(self, peer: Peer) -> None:
        """Something waits for `peer`."""
        self._attempts[peer.id] = {}
        for hook in self._node.address_hooks:
            self.learn(peer.id, hook(peer.id))
        self._reach_all(peer)
        for seed in self._seeds:
            if not seed.own:
                seed.hurry.set()

    def end(self, peer: Peer) -> None:
        """The link is up, or the peer was given up."""
        for task in self._attempts.pop(peer.id, {}).values():
            task.cancel()
        self._failures.pop(peer.id, None)

    def last_failure(self, node_id: str) -> str:
        """Why the newest attempt to reach a node failed, "" if there was none."""
        if node_id in self._failures:
            return self._failures[node_id]
        failures = [seed.failure for seed in self._seeds if seed.failure and not seed.own]
        return failures[-1] if failures else "no address of it is known"

    def changed(self, node_id: str, up: bool) -> None:
        """A link came up or was lost: a lost seed is dialled again."""
        self._losses.pop(node_id, None)
        self._forget_losses()
        if not up:
            self._losses[node_id] = self._node.loop.time()
            for seed in self._seeds:
                if node_id in (seed.node_id, seed.claimed):
                    seed.hurry.set()

    def _reach_all(self, peer: Peer) -> None:
        attempts = self._attempts[peer.id]
        for address in self._addresses.get(peer.id, ()):
            if address not in attempts:
                attempts[address] = self._node.own_task(None, self._reach(peer, address))

    async def _reach(self, peer: Peer, address: str) -> None:
        pause = FIRST_PAUSE
        self._forget_losses()
        if peer.id in self._losses:
            await asyncio.sleep(self._node.random.uniform(0, JITTER_SECONDS))
        while peer.dialling:
            try:
                candidate = await self._connect(address)
            except TransportError as error:
                self._failures[peer.id] = str(error)
                pause = _after(error, pause)
            else:
                if candidate.peer.id == peer.id:
                    await asyncio.wait({self._node.rendezvous.meet(candidate)})
                else:
                    # Whoever says so has proved nothing: the address stays in the book.
                    self._failures[peer.id] = f"{address} greeted as {candidate.peer.id}"
                    candidate.close(f"dialled for {peer.id}")
            pause = await self._pause(pause)

    def _forget_losses(self) -> None:
        earliest = self._node.loop.time() - REDIAL_SECONDS
        while self._losses:
            oldest = next(iter(self._losses))
            if self._losses[oldest] >= earliest:
                break
            del self._losses[oldest]

    # -- seeds -------------------------------------------------------------------------------

    def rest(self, addresses: Iterable[str]) -> None:
        """Dial these seeds no more until they are left out of a later call; links stay."""
        self._resting = frozenset(addresses)
        for seed in self._seeds:
            if seed.address not in self._resting:
                seed.hurry.set()

    def seed_ids(self) -> dict[str, str]:
        """Which node was found at which seed, by node ID; what strangers claim does not count."""
        return {
            node_id: seed.address
            for seed in self._seeds
            for node_id in (seed.node_id, seed.claimed)
            if node_id is not None and self._node.node_is_up(node_id)
        }

    def unlinked(self) -> list[tuple[str, str | None, str]]:
        """The seeds of others without a link: address, who claimed to be there, and what failed."""
        return [
            (seed.address, seed.claimed, seed.failure or "nothing has answered yet")
            for seed in self._seeds
            if seed.address not in self._resting
            and not seed.own
            and not any(
                node_id is not None and self._node.node_is_up(node_id)
                for node_id in (seed.node_id, seed.claimed)
            )
        ]

    async def _keep(self, seed: Seed) -> None:
        """Have a link to whoever is at `seed`, for ever."""
        pause = FIRST_PAUSE
        node = self._node
        while not node.closing:
            while seed.node_id is not None and node.node_is_up(seed.node_id):
                seed.hurry.clear()
                await seed.hurry.wait()
                pause = FIRST_PAUSE
                await asyncio.sleep(node.random.uniform(0, JITTER_SECONDS))
            seed.hurry.clear()
            if seed.address in self._resting:
                await seed.hurry.wait()
                pause = FIRST_PAUSE
                continue
            try:
                candidate = await self._connect(seed.address)
            except TransportError as error:
                level = logging.DEBUG if seed.failure == str(error) else logging.INFO
                log.log(level, "seed %s: %s", seed.address, error)
                seed.failure = str(error)
                seed.own = isinstance(error, OwnAddress)
                pause = LINKED_PAUSE if seed.own else _after(error, pause)
            else:
                if seed.address in self._resting:
                    candidate.close("this seed is needed no more")
                    continue
                if await self._meet(seed, candidate):
                    continue
                pause = LINKED_PAUSE if not seed.failure else pause
            try:
                longest = self._spread(pause)
                await asyncio.wait_for(seed.hurry.wait(), longest)
                # Hurried: somebody waits. Yet not at once again, or a refusal becomes a storm.
                await asyncio.sleep(min(longest, FIRST_PAUSE))
            except asyncio.TimeoutError:
                pass
            pause = min(pause * 2, node.settings.connect_interval)

    async def _meet(self, seed: Seed, candidate: Candidate) -> bool:
        """Have a candidate considered; whether it became the link, which proves who is there."""
        seed.claimed = candidate.peer.id
        seed.failure = ""
        if self._linked(candidate):
            candidate.close("there is a link to that node already")
            return False
        meeting = self._node.rendezvous.meet(candidate)
        await asyncio.wait({meeting})
        if not meeting.cancelled() and meeting.exception() is None and meeting.result():
            seed.node_id = seed.claimed
            return True
        if not self._linked(candidate):
            seed.failure = f"{seed.address} greeted as {seed.claimed}, but no link came of it"
        return False

    def _linked(self, candidate: Candidate) -> bool:
        """Whether there is a link to this very life of the node, or so the greeting says."""
        peer = self._node.peers.get(candidate.peer.id)
        session = None if peer is None else peer.session
        return session is not None and session.info.incarnation == candidate.peer.incarnation

    # -- one attempt -------------------------------------------------------------------------

    async def _connect(self, address: str) -> Candidate:
        """Whoever greets first at an address; `TransportError` if it refuses, or nobody does."""
        try:
            transport = self._node.transport(address)
            return await self._first(lambda: transport.dial(address))
        except asyncio.TimeoutError:
            raise Unanswered(f"{address} did not answer in {ATTEMPT_SECONDS:g} s") from None
        except TransportError:
            raise
        except (AempError, OSError) as error:
            raise TransportError(f"{address}: {error}") from error

    async def _first(self, dial: Callable[[], Awaitable[Candidate]]) -> Candidate:
        """What the first of several dials comes to; `asyncio.TimeoutError` if none ends."""
        dials: list[asyncio.Future[Candidate]] = []
        left = ATTEMPT_SECONDS
        try:
            while left > 0:
                dials.append(asyncio.ensure_future(dial()))
                seconds = min(left, AGAIN_SECONDS)
                left -= seconds  # not of the clock: what it rounds away would be asked for, too
                await asyncio.wait(dials, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
                for each in dials:
                    if each.done():
                        dials.remove(each)
                        return each.result()
            raise asyncio.TimeoutError
        finally:
            for each in dials:
                each.cancel()
            for end in await asyncio.gather(*dials, return_exceptions=True):
                if not isinstance(end, BaseException):
                    end.close("another connection was faster")  # both in one turn of the loop

    async def _pause(self, pause: float) -> float:
        await asyncio.sleep(self._spread(pause))
        return min(pause * 2, self._node.settings.connect_interval)

    def _spread(self, pause: float) -> float:
        """Half of the pause and a random part: nodes that fail together do not retry together."""
        return pause * self._node.random.uniform(0.5, 1.0)


def _after(error: TransportError, pause: float) -> float:
    """The pause after a failed attempt: the next one as it is, but for silence, a pause itself."""
    return FIRST_PAUSE if isinstance(error, Unanswered) else pause
