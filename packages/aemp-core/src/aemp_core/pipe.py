"""A pipe: two transports wired to each other in memory, behaving as two ends of a TCP connection.

    End --write--> Flow --data_received--> End          one Flow per direction

A `Flow` holds what was written and not yet read: up to its capacity as the operating system would
hold it, beyond that it counts as the writer's buffer and `pause_writing` is called as the water
marks say. Everything happens by `call_soon`, so a run is as deterministic as the loop is. Closing
an end lets what was written arrive, and then an end of file; aborting it resets the other end.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Any, cast

__all__ = ["CAPACITY", "End", "Flow", "pipe"]

#: Bytes on the way that do not count as buffered by the writer.
CAPACITY = 65_536
#: Bytes given to a protocol at once, unless a single write was longer.
READ_BYTES = 262_144


class Flow:
    """One direction of a pipe: the bytes between one end's `write` and the other's protocol."""

    def __init__(self, loop: asyncio.AbstractEventLoop, capacity: int) -> None:
        self.capacity = capacity
        self.size = 0
        self.source: End
        self.sink: End
        self._loop = loop
        self._chunks: deque[bytes] = deque()
        self._ended = self._reset = self._armed = False

    def put(self, data: bytes) -> None:
        """Take bytes of the source."""
        self._chunks.append(data)
        self.size += len(data)
        self.arm()

    def end(self) -> None:
        """An end of file follows what was put."""
        self._ended = True
        self.arm()

    def reset(self) -> None:
        """Drop everything and reset the sink."""
        self._chunks.clear()
        self.size = 0
        self._reset = True
        self.arm()

    def arm(self) -> None:
        """Have something carried soon, if there is something and the sink takes it."""
        if self._armed or not (self._chunks or self._ended or self._reset):
            return
        if self.sink.is_reading() or self.sink.is_closing() or self._reset:
            self._armed = True
            self._loop.call_soon(self._carry)

    def _carry(self) -> None:
        self._armed = False
        sink = self.sink
        if self._reset:
            sink.lose(ConnectionResetError("reset by the other end"))
        elif sink.is_closing():
            # Nobody reads there any more; our end learns it from the end of file it was sent.
            self._chunks.clear()
            self.size = 0
            self.source.drained()
        elif not sink.is_reading():
            return
        elif self._chunks:
            data = self._take()
            self.size -= len(data)
            sink.feed(data)
            self.source.drained()
            self.arm()
        else:
            self._ended = False
            sink.feed_eof()

    def _take(self) -> bytes:
        data = self._chunks.popleft()
        if not self._chunks:
            return data
        parts, size = [data], len(data)
        while self._chunks and size + len(self._chunks[0]) <= READ_BYTES:
            data = self._chunks.popleft()
            parts.append(data)
            size += len(data)
        return b"".join(parts)


class End(asyncio.Transport):
    """One end of a pipe.

    Args:
        loop: the loop of both ends.
        protocol: what is told of this end.
        extra: answers of `get_extra_info`.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        protocol: asyncio.Protocol,
        extra: Mapping[str, Any],
    ) -> None:
        super().__init__(dict(extra))
        self._loop = loop
        self._protocol = protocol
        self._reading = True
        self._closing = self._gone = self._eof = self._choked = False
        self._high, self._low = 65_536, 16_384
        self._inward: Flow
        self._outward: Flow

    def wire(self, inward: Flow, outward: Flow) -> None:
        """Connect the end to both directions."""
        self._inward, self._outward = inward, outward
        inward.sink = outward.source = self

    def open(self) -> None:
        """Tell the protocol that the connection is made."""
        self._protocol.connection_made(self)

    # -- called by the flows -----------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Bytes arrived."""
        self._protocol.data_received(data)

    def feed_eof(self) -> None:
        """The other end sends no more."""
        if not self._protocol.eof_received():
            self.close()

    def drained(self) -> None:
        """Some of what was written has left."""
        size = self.get_write_buffer_size()
        if self._choked and size <= self._low:
            self._choked = False
            if not self._gone:
                self._protocol.resume_writing()
        if self._closing and not self._gone and not self.get_write_buffer_size():
            self._finish()

    def lose(self, error: Exception | None) -> None:
        """End this end now."""
        if not self._gone:
            self._gone = self._closing = True
            self._loop.call_soon(self._protocol.connection_lost, error)

    def _finish(self) -> None:
        self._outward.end()
        self.lose(None)

    # -- asyncio.Transport -------------------------------------------------------------------

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The protocol."""
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Have another protocol told from now on."""
        self._protocol = cast(asyncio.Protocol, protocol)

    def is_closing(self) -> bool:
        """Whether this end was closed, aborted or reset."""
        return self._closing

    def is_reading(self) -> bool:
        """Whether what arrives is given to the protocol."""
        return self._reading and not self._closing

    def pause_reading(self) -> None:
        """Let what arrives wait."""
        self._reading = False

    def resume_reading(self) -> None:
        """Give it to the protocol again."""
        self._reading = True
        self._inward.arm()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the water marks, as in `asyncio.WriteTransport`."""
        if high is None:
            high = 65_536 if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self._high, self._low = high, low

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """The water marks, low and high."""
        return self._low, self._high

    def get_write_buffer_size(self) -> int:
        """Bytes written beyond the capacity of the pipe."""
        return max(0, self._outward.size - self._outward.capacity)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes."""
        if self._eof:
            raise RuntimeError("cannot write after write_eof")
        if self._closing or not data:
            return
        self._outward.put(bytes(data))
        if not self._choked and self.get_write_buffer_size() > self._high:
            self._choked = True
            self._protocol.pause_writing()

    def can_write_eof(self) -> bool:
        """Yes."""
        return True

    def write_eof(self) -> None:
        """Close this direction once what was written has arrived."""
        if not self._eof and not self._closing:
            self._eof = True
            self._outward.end()

    def close(self) -> None:
        """Read no more; let what was written arrive, then end."""
        if not self._closing:
            self._closing = True
            self._inward.arm()
            if not self.get_write_buffer_size():
                self._finish()

    def abort(self) -> None:
        """End now; what was written and not read is dropped, the other end is reset."""
        if not self._gone:
            self._outward.reset()
            self.lose(None)


def pipe(
    loop: asyncio.AbstractEventLoop,
    left: tuple[asyncio.Protocol, Mapping[str, Any]],
    right: tuple[asyncio.Protocol, Mapping[str, Any]],
    *,
    capacity: int = CAPACITY,
) -> tuple[End, End]:
    """Wire two protocols to each other; each is given with the extra info of its end.

    Nothing happens before `End.open` of both.
    """
    one, other = End(loop, *left), End(loop, *right)
    there, back = Flow(loop, capacity), Flow(loop, capacity)
    one.wire(back, there)
    other.wire(there, back)
    return one, other
