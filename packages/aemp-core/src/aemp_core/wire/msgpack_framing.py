"""The framing ``msgpack``: packed messages, one after the other.

The decoder has two gaits. *Fast* hands the bytes to one `msgpack.Unpacker` that lives as long as
the connection. An unpacker makes a list as soon as it has read the declared length, and lists
inside it likewise, before any element is there; so it is told to stop at lists of more than
`LONG_LIST` elements. *Careful* reads such frames, and very long ones: it looks for the end of
the frame without building anything, and unpacks once all of it is there. So a length that is
only declared costs nothing, and of an incomplete frame at most its bytes are held, twice.

That the messages of a chunk hold scalars only, as mostly, is told by the bytes, in a fraction of
the time that a look at each value takes.

A chunk that holds one short frame, and nothing else, needs no gait at all: where the last one did,
the next is tried as one, which takes a third of the time.
"""

from __future__ import annotations

import re
from typing import Any

import msgpack

from ..errors import RemoteProtocolError
from .values import HEARTBEAT, SCALARS, sift

__all__ = ["MsgpackFraming"]

#: The longest list that the fast gait reads: 1,024 of them inside each other take 8 MiB.
LONG_LIST = 1_024
#: The longest frame in bytes that the fast gait reads; it keeps a buffer of up to twice that.
LONG_FRAME = 2_097_152
#: What that buffer begins with.
SMALL_BUFFER = 2_048

#: The longest chunk in bytes that is tried as one frame.
ALONE = 1_024

#: MessagePack: the greatest length that needs no head of five bytes, and what those begin with.
MAX_SHORT_LENGTH, LONG_HEAD, LONG_VALUES = 65_535, 5, b"\xc6\xdb"

#: Bytes of a message on average; of longer ones, the values are looked at faster than the bytes.
WIDE = 160
#: What lists, dicts and floats begin with, and what does not.
HEADS = bytes([*range(0x80, 0xA0), 0xCA, 0xCB, *range(0xDC, 0xE0)])
NO_HEADS = bytes(set(range(256)) - set(HEADS))

_LONG_LIST = re.compile(r"([0-9]+) exceeds max_array_len")


class MsgpackFraming:
    """MessagePack values with nothing between them: what `pack` made goes out as it is."""

    name = "msgpack"

    def encode(self, packed: bytes) -> bytes:
        """The frame of `packed` is `packed`."""
        return packed

    def decoder(self, limit: int) -> MsgpackDecoder:
        """A decoder that refuses frames of more than `limit` bytes."""
        return MsgpackDecoder(limit)


class MsgpackDecoder:
    """Reads concatenated MessagePack values; see `Decoder`."""

    def __init__(self, limit: int) -> None:
        self.error: RemoteProtocolError | None = None
        self._limit = limit
        self._fast_limit = max(min(limit // 4, LONG_FRAME), 1)
        self._stride = max(self._fast_limit // 2, 1)
        self._alone_limit = min(ALONE, limit)
        self._flat = 0  # see `sift`
        self._unpacker: Any
        self._start_fast()
        #: Whether no frame is begun, and the last chunk, if there was one, was one frame.
        self._alone = True

    def decode(self, data: bytes) -> list[list[Any]]:
        """See `Decoder.decode`."""
        batch: list[Any] = []
        if self._alone and len(data) <= self._alone_limit:
            if data == HEARTBEAT:
                if self._unpacker is not None:  # nothing else may come for long
                    self._start_fast()
                    self._alone = True
                return batch
            try:
                message = msgpack.unpackb(data)
            except Exception:  # none, or not one, or a wrong one: the gaits will tell
                self._alone = False
            else:
                if type(message) is list and message and type(message[0]) is str:
                    for value in message:
                        if type(value) not in SCALARS:
                            break
                    else:
                        return [message]
                messages, flaw = sift([message])
                if flaw is None:
                    return messages
        if self.error is not None:
            return []
        self._flat = 0
        fault = None
        try:
            if len(data) <= self._stride:
                self._read(data, batch)
            else:
                for start in range(0, len(data), self._stride):
                    self._read(data[start : start + self._stride], batch)
        except (ValueError, msgpack.UnpackException) as error:
            fault = f"unreadable msgpack frame: {_text(error)}"
        messages, flaw = sift(batch, flat=self._flat)
        if flaw or fault:
            self.error = RemoteProtocolError(flaw or fault)
            self._drop_trail()
            self._alone = False
            self._unpacker = None
        return messages

    def _read(self, data: bytes, batch: list[Any]) -> None:
        while data:
            read = self._read_carefully if self._careful else self._read_fast
            data = read(data, batch)

    # The fast gait. It keeps its *trail*, the bytes read since the end of some frame, and how
    # many frames ended in it: the careful gait takes over at the beginning of a frame. They are
    # copied to one place. Holding the chunks themselves would have the C library get new memory
    # from the system for each long message, which takes longer than all the rest.

    def _start_fast(self) -> None:
        self._careful = False
        self._unpacker = None  # made when it is needed: it takes 40 KiB
        self._fed = 0
        self._checked = -1  # where the value began whose length was looked at last
        self._drop_trail()
        self._alone = False

    def _make_unpacker(self) -> Any:
        return msgpack.Unpacker(
            read_size=min(SMALL_BUFFER, self._fast_limit),
            max_buffer_size=2 * self._fast_limit,
            max_str_len=self._limit,
            max_bin_len=self._limit,
            max_array_len=LONG_LIST,
            max_map_len=self._limit,
            max_ext_len=0,
            ext_hook=_refuse_ext,
        )

    def _drop_trail(self) -> None:
        self._trail = bytearray()
        self._trailing = 0  # bytes of it that count
        self._ended = 0

    def _read_fast(self, data: bytes, batch: list[Any]) -> bytes:
        if self._trailing + len(data) > self._fast_limit:
            self._shorten_trail()
            if self._trailing + len(data) > self._fast_limit:
                return self._start_careful() + data
        unpacker = self._unpacker
        if unpacker is None:
            unpacker = self._unpacker = self._make_unpacker()
        unpacker.feed(data)
        self._fed += len(data)
        before, met_long_list = len(batch), False
        try:
            batch.append(next(unpacker))
            # One look per call at where a frame ends: one per message would be dear.
            boundary = unpacker.tell()
            batch.extend(unpacker)
        except StopIteration:
            pass
        except ValueError as error:
            declared = _LONG_LIST.match(str(error))
            if declared is None:
                raise
            self._check_length(int(declared[1]))
            met_long_list = True
        if len(batch) > before:
            after = self._fed - boundary
            self._trailing = 0
            self._ended = len(batch) - before - 1
            if after:
                rest = data[-after:] if after < len(data) else data
                self._keep(rest)
                if not before and are_flat(rest, self._ended):
                    self._flat = self._ended
            self._alone = not after
        else:
            self._keep(data)
            self._alone = False
        if met_long_list:
            return self._start_careful()
        waiting = self._fed - unpacker.tell()
        if waiting > MAX_SHORT_LENGTH:
            self._check_declared(waiting)
        return b""

    def _keep(self, data: bytes) -> None:
        begin, self._trailing = self._trailing, self._trailing + len(data)
        if self._trailing > len(self._trail):
            del self._trail[begin:]
        self._trail[begin : self._trailing] = data

    def _check_declared(self, waiting: int) -> None:
        """Refuse a text or bytes value whose declared length is over the limit.

        The unpacker would say so when all of it is there. It stands behind the head of the
        value, and `waiting` bytes came in since: more than any but the longest kind of head
        can declare.
        """
        begins = self._fed - waiting
        if begins == self._checked:
            return  # more of the same value
        self._checked = begins
        trail = self._shorten_trail()
        head = trail[-waiting - LONG_HEAD : -waiting]
        if head and head[0] in LONG_VALUES:
            self._check_length(int.from_bytes(head[1:], "big"))

    def _shorten_trail(self) -> bytes:
        """Cut off the frames that ended in the trail: return the incomplete frame it then is."""
        trail = bytes(memoryview(self._trail)[: self._trailing])
        if self._ended:
            finder = msgpack.Unpacker(max_buffer_size=len(trail))
            finder.feed(trail)
            for _ in range(self._ended):
                finder.skip()
            trail = trail[finder.tell() :]
            self._ended = self._trailing = 0
            self._keep(trail)
        return trail

    # The careful gait, for one frame or several in a row.

    def _start_careful(self) -> bytes:
        """Change the gait and return the beginning of the frame to read with it."""
        begun = self._shorten_trail()
        self._drop_trail()
        self._careful, self._frames = True, bytearray()
        most = self._limit + 2 * self._fast_limit
        self._unpacker = msgpack.Unpacker(read_size=min(SMALL_BUFFER, most), max_buffer_size=most)
        return begun

    def _read_carefully(self, data: bytes, batch: list[Any]) -> bytes:
        frames = self._frames
        frames += data
        finder = self._unpacker
        finder.feed(data)
        ends = []
        broken = None
        try:
            while True:
                finder.skip()
                ends.append(finder.tell())
        except msgpack.OutOfData:
            pass
        except msgpack.UnpackException as error:
            broken = _text(error)  # the error itself would keep this call, and the finder, alive
        start = 0
        if ends:
            del finder  # with its copy of the bytes, before they become values
            self._start_fast()
            self._frames = bytearray()
            with memoryview(frames) as view:
                for end in ends:
                    self._check_length(end - start)
                    batch.append(_unpack_frame(view[start:end]))
                    start = end
        if broken:
            raise ValueError(broken)
        self._check_length(len(frames) - start)
        return bytes(frames[start:]) if ends else b""

    def _check_length(self, length: int) -> None:
        if length > self._limit:
            raise ValueError(f"it is longer than {self._limit} bytes")


def are_flat(frames: bytes, count: int) -> bool:
    """Whether the `count` lists in `frames` hold scalars only, as far as their bytes can tell.

    `frames` has nothing else, but the beginning of one more list may end it. Each list begins with
    one of `HEADS`. So do lists, dicts and floats inside: then there are too many such bytes. That
    is so with some texts and ints, too; their lists are not known to be flat, and no harm is done.
    """
    if len(frames) > WIDE * count:
        return False  # it would take longer than to look at the values
    spare = len(frames) - len(frames.translate(None, HEADS)) - count
    if spare != 1:
        return not spare
    # That of the list that is only begun, if there is one: then what it begins is not complete.
    try:
        msgpack.unpackb(frames[len(frames.rstrip(NO_HEADS)) - 1 :])
    except Exception as error:
        return type(error) is ValueError  # others say that there is more, or something wrong
    return False


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__


def _refuse_ext(code: int, data: bytes) -> Any:
    raise ValueError(f"extension type {code} is no plain value")


def _unpack_frame(frame: memoryview) -> Any:
    return msgpack.unpackb(frame, max_ext_len=0, ext_hook=_refuse_ext)
