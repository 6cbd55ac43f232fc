"""A relay stream: one end of a byte stream that runs through a global node.

It is to its protocol what a socket's transport is. What is written goes out in chunks, as far as
the other end has given *credit*: `WINDOW` bytes at first, and again what was read there. So the
global in between never holds more of a stream than that, however slow its reader is.

    open ->          the dialling end begins; the accepting one is told `incoming`
    data, credit <-> bytes; how many more may come
    eof <->          no more bytes will come
    reset <->        the stream is over, at once
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, cast

__all__ = ["WINDOW", "RelayStream"]

#: Bytes on their way from one end to the other.
WINDOW = 262_144
#: Bytes in one message: also written as JSON, they fit into every frame.
CHUNK_BYTES = 10_240

Send = Callable[..., bool]


class RelayStream(asyncio.Transport):
    """One end.

    Args:
        loop: the loop of the node.
        send: sends the other end a word and its arguments; False: there is no way any more.
        ended: called when the end is of no use any more.
        protocol: what is told of this end.
        extra: answers of `get_extra_info`.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        send: Send,
        ended: Callable[[], None],
        protocol: asyncio.Protocol,
        extra: Mapping[str, Any],
    ) -> None:
        super().__init__(dict(extra))
        self._loop = loop
        self._send_word = send
        self._ended = ended
        self._protocol = protocol
        self._closing = self._gone = False
        # Writing.
        self._out: deque[bytes] = deque()
        self._out_size = 0
        self._credit = WINDOW
        self._eof = self._eof_sent = self._choked = False
        self._high, self._low = 65_536, 16_384
        # Reading.
        self._reading = True
        self._in: deque[bytes] = deque()
        self._in_size = 0
        self._owed = 0  # bytes read that the other end has no new credit for yet
        self._eof_seen = False

    def open(self) -> None:
        """Tell the protocol that the connection is made."""
        self._protocol.connection_made(self)

    # -- what the other end says -------------------------------------------------------------

    def heard(self, word: str, argument: Any) -> None:
        """A word of the other end; `ValueError` if it breaks the rules."""
        if self._gone:
            return
        if word == "data":
            self._take(argument.encode("latin-1") if isinstance(argument, str) else argument)
        elif word == "credit":
            if not isinstance(argument, int) or not 0 < argument <= WINDOW - self._credit:
                raise ValueError(f"{argument!r:.50} is no credit")
            self._credit += argument
            self._push()
        elif word == "eof":
            self._eof_seen = True
            self._deliver()
        elif word == "reset":
            self.lose(ConnectionResetError(f"{argument!s:.200}"))
        else:
            raise ValueError(f"{word!r:.50} is no word of a stream")

    def _take(self, data: Any) -> None:
        if not isinstance(data, bytes) or not data or self._eof_seen:
            raise ValueError(f"{data!r:.50} is no data")
        if self._in_size + self._owed + len(data) > WINDOW:
            raise ValueError("it sent more than its credit")
        if self._closing:
            return  # nobody reads any more
        self._in.append(data)
        self._in_size += len(data)
        self._deliver()

    def _deliver(self) -> None:
        while self._in and self.is_reading():
            data = self._in.popleft()
            self._in_size -= len(data)
            self._owed += len(data)
            if self._owed >= WINDOW // 4:
                owed, self._owed = self._owed, 0
                self._send("credit", owed)
            self._protocol.data_received(data)
        if self._eof_seen and not self._in and self.is_reading():
            # Not at once: the messages before it are in the run queue, and come first.
            self._reading = False
            self._loop.call_soon(self._end_reading)

    def _end_reading(self) -> None:
        if not self._closing and not self._protocol.eof_received():
            self.close()

    def lose(self, error: Exception | None) -> None:
        """End this end now."""
        if not self._gone:
            self._gone = self._closing = True
            self._ended()
            self._loop.call_soon(self._protocol.connection_lost, error)

    def _send(self, word: str, argument: Any = None) -> bool:
        if self._gone:
            return False
        if not self._send_word(word, argument):
            self.lose(ConnectionResetError("the way through the relaying node is lost"))
            return False
        return True

    def _push(self) -> None:
        """Send what waits, as far as there is credit."""
        while self._out and self._credit and not self._gone:
            data = self._out.popleft()
            part = data[: min(CHUNK_BYTES, self._credit)]
            if len(part) < len(data):
                self._out.appendleft(data[len(part) :])
            self._out_size -= len(part)
            self._credit -= len(part)
            self._send("data", part)
        if self._gone:
            return
        if not self._out:
            if (self._eof or self._closing) and not self._eof_sent:
                self._eof_sent = True
                self._send("eof")
            if self._closing:
                self.lose(None)
                return
        if self._choked and self._out_size <= self._low:
            self._choked = False
            self._protocol.resume_writing()

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
        if not self._reading:
            self._reading = True
            self._loop.call_soon(self._deliver)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the water marks, as in `asyncio.WriteTransport`."""
        self._high = 65_536 if high is None else high
        self._low = self._high // 4 if low is None else low

    def get_write_buffer_size(self) -> int:
        """Bytes written for which there is no credit yet."""
        return self._out_size

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes."""
        if self._eof:
            raise RuntimeError("cannot write after write_eof")
        if self._closing or not data:
            return
        self._out.append(bytes(data))
        self._out_size += len(data)
        self._push()
        if not self._choked and self._out_size > self._high:
            self._choked = True
            self._protocol.pause_writing()

    def can_write_eof(self) -> bool:
        """Yes."""
        return True

    def write_eof(self) -> None:
        """Close this direction once what was written has been sent."""
        if not self._eof and not self._closing:
            self._eof = True
            self._push()

    def close(self) -> None:
        """Read no more; send what was written, then end."""
        if not self._closing:
            self._closing = True
            self._push()

    def abort(self) -> None:
        """End now; what was written and not sent is dropped, the other end is reset."""
        if not self._gone:
            self._send("reset", "reset by the other end")
            self.lose(None)
