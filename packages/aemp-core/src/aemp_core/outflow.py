"""The outflow: what a stream has to write, joined and counted.

Frames of one loop turn are joined and written once; those that answer what was just read, as soon
as it is handled. The transport below is left holding at most
one write that the operating system did not take at once; everything after it waits here. So a
slow peer costs no copies of what waits for it, and whenever that one write has gone, `_written`
is told.
"""

from __future__ import annotations

import asyncio
from threading import get_ident

from .errors import NOT_HERE, WrongThread
from .wire import LONG

__all__ = ["WRITE_BYTES", "Outflow"]

#: Bytes handed to the transport in one write, unless a single frame is longer.
WRITE_BYTES = 1_048_576
#: So many frames that wait are joined: each small one would take more memory than its bytes.
JOIN_FRAMES = 256


class Outflow(asyncio.Protocol):
    """The writing half of a `Stream`.

    `_waiting` says that `_flush` will come by itself: at the end of this loop turn, when what was
    read is handled, or when the operating system has taken what it did not take at once.

    Attributes:
        loop: the loop of the node.
        waiting: frames that wait to be written; see `Link`. `_flush` will come if there is one.
    """

    __slots__ = (
        "_base", "_choked", "_joined", "_thread", "_transport", "_waiting", "loop", "waiting",
    )  # fmt: skip

    _transport: asyncio.Transport

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._base = 0  # what the transport held when that was looked up last
        self.waiting: list[bytes] = []
        self._joined = 0  # how many of them, from the first, are pieces joined
        self._choked = False
        self._waiting = False
        self._thread = get_ident()

    def _wait(self) -> None:
        """Have `_flush` called at the end of this loop turn; `WrongThread` in another thread."""
        if get_ident() != self._thread:
            raise WrongThread(NOT_HERE)
        self._waiting = True
        self.loop.call_soon(self._flush)

    @property
    def buffered(self) -> int:
        """See `Link`."""
        return self._base + sum(map(len, self.waiting))

    def _written(self) -> None:
        """The operating system took what it had not taken at once; more may wait here."""
        raise NotImplementedError

    def _drop_frames(self) -> None:
        self.waiting.clear()
        self._base = self._joined = 0

    def measure(self) -> int:
        """See `Link`."""
        if len(self.waiting) - self._joined >= JOIN_FRAMES:
            self._join()
        if self._choked and self._base:
            self._base = self._transport.get_write_buffer_size()
        return self.buffered

    def _join(self) -> None:
        """Have what waits in few pieces, so that it takes little more memory than its bytes."""
        frames, place = self.waiting, self._joined
        while place < len(frames):
            end, size = place, 0
            while end < len(frames) and size < WRITE_BYTES:
                size += len(frames[end])
                end += 1
            # In place: no more than one piece is here twice at a time.
            frames[place:end] = [b"".join(frames[place:end])]
            place += 1
        self._joined = place

    def _flush(self) -> None:
        frames = self.waiting
        transport = self._transport
        if self._choked:
            return  # `resume_writing` comes here again
        self._waiting = False
        if not frames or transport.is_closing():
            return
        if len(frames) == 1:
            self._joined = 0
            transport.write(frames.pop())
        elif sum(map(len, frames)) <= WRITE_BYTES:
            data = b"".join(frames)
            frames.clear()
            self._joined = 0
            transport.write(data)
        else:
            while frames and not self._choked:
                count = size = 0
                while count < len(frames) and size < WRITE_BYTES:
                    length = len(frames[count])
                    if length >= LONG and count:
                        break  # it is written by itself, without a copy
                    size = size + length if length < LONG else WRITE_BYTES
                    count += 1
                data = b"".join(frames[:count]) if count > 1 else frames[0]
                del frames[:count]
                self._joined = max(0, self._joined - count)
                transport.write(data)
        self._base = transport.get_write_buffer_size() if self._choked else 0

    def pause_writing(self) -> None:
        """The operating system did not take all of a write."""
        self._choked = self._waiting = True

    def resume_writing(self) -> None:
        """It has taken the rest."""
        self._choked = False
        self._base = 0
        self._flush()
        self._written()
