"""A pipe behaves as the two ends of a TCP connection."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from stream_kit import Script

from aemp_core.pipe import End, pipe
from aemp_core.testing import virtual_clock


class Writer(Script):
    """Also notes when it is told to hold back."""

    def __init__(self) -> None:
        super().__init__()
        self.flow: list[str] = []
        self.error: Exception | None = None

    def pause_writing(self) -> None:
        self.flow.append("pause")

    def resume_writing(self) -> None:
        self.flow.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.error = exc


def connected(**options: Any) -> tuple[Writer, Writer]:
    one, other = Writer(), Writer()
    ends = pipe(asyncio.get_running_loop(), (one, {"name": "one"}), (other, {}), **options)
    for end in ends:
        end.open()
    return one, other


async def settle() -> None:
    await asyncio.sleep(0.001)


@virtual_clock
async def test_bytes_arrive_in_order_and_never_inside_write() -> None:
    one, other = connected()
    for number in range(100):
        one.transport.write(b"%d," % number)
    assert not other.data
    await settle()
    assert bytes(other.data) == b"".join(b"%d," % number for number in range(100))
    assert one.transport.get_extra_info("name") == "one"


@virtual_clock
async def test_water_marks_hold_the_writer_back() -> None:
    one, other = connected(capacity=100)
    one.transport.set_write_buffer_limits(high=50, low=10)
    assert one.transport.get_write_buffer_limits() == (10, 50)
    other.transport.pause_reading()
    one.transport.write(b"x" * 150)
    assert (one.flow, one.transport.get_write_buffer_size()) == ([], 50)
    one.transport.write(b"x")
    assert one.flow == ["pause"]
    await settle()
    assert not other.data
    other.transport.resume_reading()
    await settle()
    assert one.flow == ["pause", "resume"]
    assert len(other.data) == 151
    with pytest.raises(ValueError):
        one.transport.set_write_buffer_limits(high=1, low=2)


@virtual_clock
async def test_close_lets_what_was_written_arrive() -> None:
    one, other = connected(capacity=10)
    other.transport.pause_reading()
    one.transport.write(b"x" * 1_000)
    one.transport.close()
    one.transport.write(b"too late")
    await settle()
    assert not one.ended, "the buffer is not written out yet"
    other.transport.resume_reading()
    await settle()
    assert (len(other.data), other.ended, other.error) == (1_000, "eof", None)
    assert (one.ended, one.error) == ("closed", None)


@virtual_clock
async def test_half_closed_it_still_carries_the_other_way() -> None:
    one, other = connected()
    other.keep_open = True
    one.transport.write(b"question")
    one.transport.write_eof()
    with pytest.raises(RuntimeError):
        one.transport.write(b"more")
    await settle()
    assert (bytes(other.data), other.ended) == (b"question", "eof")
    other.transport.write(b"answer")
    other.transport.close()
    await settle()
    assert (bytes(one.data), one.ended) == (b"answer", "eof")
    assert one.transport.is_closing() and other.transport.is_closing()


@virtual_clock
async def test_abort_resets_the_other_end_and_drops_what_is_on_the_way() -> None:
    one, other = connected()
    other.transport.pause_reading()
    one.transport.write(b"lost")
    one.transport.abort()
    one.transport.abort()
    await settle()
    assert not other.data
    assert isinstance(other.error, ConnectionResetError)
    assert one.error is None and one.ended == "closed"


@virtual_clock
async def test_a_writer_whose_reader_has_closed_does_not_wait() -> None:
    one, other = connected(capacity=10)
    one.keep_open = True
    other.transport.close()
    one.transport.set_write_buffer_limits(high=0)
    one.transport.write(b"x" * 1_000)
    await settle()
    assert one.transport.get_write_buffer_size() == 0
    assert one.flow == ["pause", "resume"]
    one.transport.close()
    await settle()
    assert one.transport.get_protocol() is one


@virtual_clock
async def test_another_protocol_can_take_over() -> None:
    one, other = connected()
    heir = Writer()
    end: End = other.transport
    end.set_protocol(heir)
    one.transport.write(b"hello")
    await settle()
    assert bytes(heir.data) == b"hello" and not other.data
