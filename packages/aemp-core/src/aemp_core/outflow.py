"""The outflow: what a stream has to write, joined and counted.

Frames of one loop turn are joined and written once. The transport below is left holding at most
one write that the operating system did not take at once; everything after it waits here. So
`buffered` is exact, a slow peer costs no copies of what waits for it, and whenever that one
write has gone, `_written` is told.
"""

from __future__ import annotations

import asyncio

__all__ = ["WRITE_BYTES", "Outflow"]

#: Bytes handed to the transport in one write, unless a single frame is longer.
WRITE_BYTES = 1_048_576
#: So many frames that wait are joined: each small one would take more memory than its bytes.
JOIN_FRAMES = 256


class Outflow(asyncio.Protocol):
    """The writing half of a `Stream`.

    Attributes:
        loop: the loop of the node.
        buffered: bytes sent that the operating system has not taken; what the transport holds
            of them (`_base`) is looked up by `measure` only.
    """

    __slots__ = ("_base", "_choked", "_frames", "_joined", "_transport", "buffered", "loop")

    _transport: asyncio.Transport

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.buffered = 0
        self._base = 0
        self._frames: list[bytes] = []
        self._joined = 0  # how many of them, from the first, are pieces joined
        self._choked = False

    def _put(self, frame: bytes) -> None:
        """Have `frame` written at the end of this loop turn."""
        frames = self._frames
        if not frames:
            self.loop.call_soon(self._flush)
        frames.append(frame)
        self.buffered += len(frame)

    def _written(self) -> None:
        """The operating system took what it had not taken at once; more may wait here."""
        raise NotImplementedError

    def _drop_frames(self) -> None:
        self._frames.clear()
        self.buffered = self._base = self._joined = 0

    def measure(self) -> int:
        """See `Link`."""
        if len(self._frames) - self._joined >= JOIN_FRAMES:
            self._join()
        if self._choked and self.buffered:
            here = self.buffered - self._base
            self._base = self._transport.get_write_buffer_size()
            self.buffered = self._base + here
        return self.buffered

    def _join(self) -> None:
        """Have what waits in few pieces, so that it takes little more memory than its bytes."""
        frames, place = self._frames, self._joined
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
        frames = self._frames
        transport = self._transport
        if not frames or self._choked or transport.is_closing():
            return
        # Not choked, so the transport holds nothing: `buffered` is the size of `frames`.
        here = self.buffered
        if here <= WRITE_BYTES:
            data = b"".join(frames)
            frames.clear()
            here = self._joined = 0
            transport.write(data)
        else:
            while frames and not self._choked:
                count = size = 0
                while count < len(frames) and size < WRITE_BYTES:
                    size += len(frames[count])
                    count += 1
                data = b"".join(frames[:count])
                del frames[:count]
                self._joined = max(0, self._joined - count)
                here -= size
                transport.write(data)
        self._base = transport.get_write_buffer_size() if self._choked else 0
        self.buffered = self._base + here

    def pause_writing(self) -> None:
        """The operating system did not take all of a write."""
        self._choked = True

    def resume_writing(self) -> None:
        """It has taken the rest."""
        self._choked = False
        self.buffered -= self._base
        self._base = 0
        self._flush()
        self._written()
