"""The inflow: what a stream has read, decoded and delivered in portions.

What comes in is decoded when it can be handled, not before. A busy peer fills a read of 256 KiB
with thousands of messages: decoded together they fill the caches of the processor, and as they all
live at once, Python's garbage collector looks at each of them again and again. So a read is cut
into *portions* of so many bytes as about `PORTION` messages took of late, one for each turn of the
loop. What is behind that is kept as it came, and from `KEPT_BYTES` of it on, reading pauses.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from .link import Observer
from .outflow import Outflow
from .wire import Decoder

__all__ = ["KEPT_BYTES", "PORTION", "Inflow"]

#: Bytes kept of a peer that sends more than is handled, or before the link is started; then
#: reading pauses.
KEPT_BYTES = 65_536
#: Messages decoded together: fewer than the run queue handles in one turn of the loop.
PORTION = 192
#: Bytes of the first portion, and of the longest one.
FIRST_BYTES, MOST_BYTES = 8_192, 1_048_576


class Inflow(Outflow):
    """The reading half of a `Stream`.

    `_open` says that both sides have proved themselves, and the link is neither closed nor lost;
    `_live`, that it is started, too: what comes in is delivered.
    `_going` says that `_go_on` will come by itself, and deliver what is kept.
    """

    __slots__ = (
        "_at", "_begun", "_decoder", "_going", "_kept", "_kept_size", "_live", "_observer", "_open",
        "_paused", "_portion", "_reading", "_received",
    )  # fmt: skip

    # Of a live stream: what reads it, and who is told.
    _decoder: Decoder
    _received: Callable[[Sequence[list[Any]], int], None]

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._observer: Observer | None = None
        self._open = False
        self._begun = False  # the observer is being told
        self._live = False
        self._reading, self._paused = True, False
        self._kept: deque[bytes] = deque()
        self._kept_size = 0
        self._at = 0  # where what is kept begins, in the first of it
        self._portion = FIRST_BYTES
        self._going = False

    def _receive(self, data: bytes) -> None:
        """Take bytes that are not for the observer, or not yet."""
        raise NotImplementedError

    def _begin(self) -> None:
        """Tell the observer what came in before it was there, if it may be told."""
        raise NotImplementedError

    def _blame(self, text: str) -> None:
        """The peer broke the protocol."""
        raise NotImplementedError

    def data_received(self, data: bytes) -> None:
        """Deliver, or go on with the handshake."""
        if not self._live:
            self._receive(data)
        elif len(data) <= self._portion and not self._kept:
            self._deliver(data)
        else:
            self._keep(data)
            if not self._going:
                self._go_on()

    def _deliver(self, data: bytes) -> int:
        """Decode, and tell the observer; return how many messages there were."""
        decoder = self._decoder
        messages = decoder.decode(data)
        if self._waiting:
            self._received(messages, len(data))
        else:
            # What is sent meanwhile is written when this is handled: a turn of the loop earlier.
            self._waiting = True
            try:
                self._received(messages, len(data))
            finally:
                self._waiting = False
                if self.waiting:
                    self._flush()
        if decoder.error is not None:
            self._blame(str(decoder.error))
        return len(messages)

    def _keep(self, data: bytes) -> None:
        self._kept.append(data)
        self._kept_size += len(data)
        if self._kept_size >= KEPT_BYTES:
            self._read(False)

    def _go_on(self) -> None:
        """Deliver a portion of what is kept."""
        self._going = False
        if not (self._live and self._kept) or self._paused:
            return  # `resume` has us come again
        portion = self._kept[0][self._at : self._at + self._portion]
        self._at += len(portion)
        self._kept_size -= len(portion)
        if self._at == len(self._kept[0]):
            self._kept.popleft()
            self._at = 0
        if self._kept:
            self._go_on_soon()  # also if a handler raises what leaves the loop
        else:
            self._read(True)
        try:
            count = self._deliver(portion)
        except Exception:
            self._break()
            raise
        # A message that is longer than a portion takes as much as there is.
        likely = len(portion) // count * PORTION if count else 4 * self._portion
        self._portion = max(PORTION, min(likely, MOST_BYTES))

    def _go_on_soon(self) -> None:
        if not self._going:
            self._going = True
            self.loop.call_soon(self._go_on)

    def _deliver_kept(self) -> None:
        """The connection is at its end: deliver all that came over it."""
        if self._live and self._kept:
            self._deliver(self._take_kept())

    def _take_kept(self) -> bytes:
        kept = b"".join(self._kept)[self._at :]
        self._drop_kept()
        return kept

    def _drop_kept(self) -> None:
        self._kept.clear()
        self._kept_size = self._at = 0

    def _break(self) -> None:
        """What was read could not be delivered: it is lost, and so must be the link.

        Transports do so themselves where `data_received` raises.
        """
        self._drop_kept()
        self._transport.abort()

    def pause(self) -> None:
        """See `Link`."""
        self._paused = True
        if self._open:  # else we read for the end of file only
            self._read(False)

    def resume(self) -> None:
        """See `Link`."""
        self._paused = False
        if self._live and self._kept:
            self._go_on_soon()
        elif self._begun:
            self._read(True)
        elif self._observer is not None:
            self.loop.call_soon(self._begin)

    def _read(self, wanted: bool) -> None:
        if wanted is not self._reading and not self._transport.is_closing():
            self._reading = wanted
            if wanted:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()
