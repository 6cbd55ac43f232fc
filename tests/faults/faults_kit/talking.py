"""The role of the tests of bad links: nodes that send each other numbered messages.

A talker sends streams to ports of others, keeps watches on them, and logs both for the `checker`;
the ports it offers log what arrives there.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import aemp_core as mp

from .actor import Actor, notice_bytes
from .checker import Runs

__all__ = ["Talker"]

#: Seconds between two bursts of a stream, and how many numbers one has at most.
PAUSE = 0.01
BURST = 12
#: How likely a burst begins with setting or cancelling one more watch.
FICKLE = 0.02
#: Payloads in bytes: most are small, some take several packets, a few many.
LOADS = [b"x" * size for size in [10] * 30 + [3_000] * 4 + [60_000]]


class Stream:
    """Numbers sent to one port, and the watches on it."""

    def __init__(self, node: mp.Node, port: str, name: str, draw: random.Random) -> None:
        self.node = node
        self.port = port
        self.name = name
        self.sent = 0
        self.watches: list[dict[str, Any]] = []
        self.reasons: list[str] = []
        self._guards: list[tuple[dict[str, Any], mp.Guard]] = []
        self._draw = draw
        self._always()

    def burst(self) -> None:
        """Send some numbers; now and then set a watch, or take one back."""
        if self._draw.random() < FICKLE:
            if self._guards:
                watch, guard = self._guards.pop(self._draw.randrange(len(self._guards)))
                if not watch["fired"]:
                    guard.cancel()
                    watch.update(cancelled=True, end=self.sent)
            else:
                self._guards.append(self._watch(lambda: None))
        for _ in range(self._draw.randrange(BURST)):
            self.send()

    def send(self) -> None:
        """Send the next number."""
        self.node.snd(self.port, "number", self.name, self.sent, self._draw.choice(LOADS))
        self.sent += 1

    def _always(self) -> None:
        """Keep one watch set at all times: when it fires the next is set at once."""
        self._watch(self._always)

    def _watch(self, then: Any) -> tuple[dict[str, Any], mp.Guard]:
        watch = {"first": self.sent, "end": None, "fired": 0, "cancelled": False, "late": 0}
        self.watches.append(watch)

        def fired(reason: tuple[Any, ...]) -> None:
            self.reasons.append(" ".join(map(str, reason[:2])))
            watch["fired"] += 1
            if watch["cancelled"]:
                watch["late"] += 1
            elif watch["fired"] == 1:
                watch["end"] = self.sent
                then()

        return watch, self.node.mon(self.port, fired)


class Talker(Actor):
    """A node that talks and listens."""

    async def open(self, nodeid: str, **settings: Any) -> None:
        self.silence: dict[str, float] = {}
        notice_bytes(self._silent)
        await super().open(nodeid, **settings)
        self.streams: dict[str, Stream] = {}
        self.arrived: dict[str, Runs] = {}
        self.changes: list[tuple[float, str, bool]] = []
        self.port = self.node.port()
        self.node.rcv(self.port, number=self._arrive)
        self.node.mon_nodes(
            lambda node, up, reason: self.changes.append((time.monotonic(), node, up))
        )

    def target(self) -> str:
        """The port that takes numbers."""
        return self.port

    def learn(self, node: str, address: str) -> None:
        """Note an address of another node."""
        self.node.learn(node, address)

    def talk(self, port: str, name: str, seed: int) -> None:
        """Begin a stream to a port, and go on until told to hush."""
        stream = self.streams[name] = Stream(self.node, port, name, random.Random(seed))
        self.node.task(self._talk(stream))

    def hush(self) -> None:
        """Send no more."""
        self.talking = False

    async def through(self, name: str, seconds: float) -> float:
        """Wait until a number that is sent from now on arrives; returns the moment.

        It is sent by whoever talks anyway: this looks at what arrived.
        """
        before = self.arrived[name].runs[-1][1] if name in self.arrived else -1
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            if name in self.arrived and self.arrived[name].runs[-1][1] > before:
                return time.monotonic()
            await asyncio.sleep(0.01)
        raise TimeoutError(f"nothing of {name} arrived after number {before}")

    async def settle(self) -> None:
        """Wait until what was sent is with the other nodes."""
        for stream in self.streams.values():
            await self.node.flush(stream.port)

    def log(self) -> dict[str, Any]:
        """Everything the checker needs, and what the links went through."""
        return {
            "streams": {
                name: {"sent": each.sent, "watches": each.watches, "reasons": each.reasons}
                for name, each in self.streams.items()
            },
            "arrived": {name: runs.runs for name, runs in self.arrived.items()},
            "changes": self.changes,
            "silence": self.silence,
        }

    talking = True

    async def _talk(self, stream: Stream) -> None:
        while self.talking:
            stream.burst()
            await asyncio.sleep(PAUSE)

    def _arrive(self, name: str, number: int, load: bytes) -> None:
        self.arrived.setdefault(name, Runs()).add(number)

    def _silent(self, node: str, seconds: float) -> None:
        self.silence[node] = max(seconds, self.silence.get(node, 0.0))
