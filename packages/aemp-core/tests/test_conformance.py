"""The conformance kit: it passes what conforms, and catches every planted fault."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from aemp_core import conversation, lobby, memory, pipe, stream
from aemp_core.memory import MemoryTransport
from aemp_core.stream import Stream
from aemp_core.testing import CHECKS, Harness, Violation, VirtualClockLoop, check_transport

_numbers = itertools.count()


@asynccontextmanager
async def harness() -> AsyncIterator[Harness]:
    yield Harness(
        MemoryTransport,
        address=lambda: f"memory://conformance/{next(_numbers)}",
        nowhere=lambda: f"memory://nowhere/{next(_numbers)}",
    )


def run_kit() -> None:
    loop = VirtualClockLoop()
    try:
        loop.run_until_complete(check_transport(harness))
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


def test_a_sound_transport_passes_without_pytest() -> None:
    run_kit()


def test_the_kit_is_large_enough_to_be_worth_running() -> None:
    assert len(CHECKS) >= 28
    assert all(check.__doc__ for check in CHECKS)


# -- planted faults: each is a transport with one thing wrong ----------------------------------

Plant = Callable[[pytest.MonkeyPatch], None]
FAULTS: dict[str, Plant] = {}


def fault(plant: Plant) -> Plant:
    FAULTS[plant.__name__] = plant
    return plant


def around(patch: pytest.MonkeyPatch, name: str, new: Callable[..., Any]) -> None:
    """Replace a method of `Stream` by `new(old, self, ...)`."""
    old = getattr(Stream, name)
    patch.setattr(Stream, name, lambda self, *args: new(old, self, *args))


@fault
def lost_is_told_twice(patch: pytest.MonkeyPatch) -> None:
    def tell(old: Any, self: Any) -> None:
        observer = self._observer
        old(self)
        if observer is not None:
            observer.lost(("transport_error", "again"))

    around(patch, "_tell_lost", tell)


@fault
def lost_is_never_told(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Stream, "_tell_lost", lambda self: None)


@fault
def lost_has_another_form(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(stream, "TRANSPORT_ERROR", "oops")


@fault
def delivery_inside_start(patch: pytest.MonkeyPatch) -> None:
    def start(old: Any, self: Any, observer: Any) -> None:
        old(self, observer)
        self._begin()

    around(patch, "start", start)


@fault
def early_bytes_are_dropped(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Stream, "_keep", lambda self, data: None)


@fault
def early_bytes_are_dropped_by_a_loss(patch: pytest.MonkeyPatch) -> None:
    def end(old: Any, self: Any, *args: Any) -> None:
        self._drop_kept()
        old(self, *args)

    around(patch, "_end", end)


@fault
def close_does_not_write_out(patch: pytest.MonkeyPatch) -> None:
    around(patch, "close", lambda old, self, reason="": Stream.abort(self, reason))


@fault
def close_resets_a_peer_that_is_sending(patch: pytest.MonkeyPatch) -> None:
    def goodbye(old: Any, self: Any) -> None:
        self._flush()
        self._transport.abort()

    around(patch, "_say_goodbye", goodbye)


@fault
def abort_tells_later(patch: pytest.MonkeyPatch) -> None:
    around(patch, "abort", lambda old, self, reason="": self.loop.call_soon(old, self, reason))


@fault
def delivery_after_abort(patch: pytest.MonkeyPatch) -> None:
    def abort(old: Any, self: Any, reason: str = "") -> None:
        observer = self._observer
        old(self, reason)
        if observer is not None:
            self.loop.call_soon(observer.received, [["port", 1]], 8)

    around(patch, "abort", abort)


@fault
def pause_is_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Stream, "pause", lambda self: None)


@fault
def resume_is_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Stream, "resume", lambda self: None)


@fault
def nothing_counts_as_buffered(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Stream, "measure", lambda self: 0)


@fault
def writable_is_never_told(patch: pytest.MonkeyPatch) -> None:
    def written(old: Any, self: Any) -> None:
        if self._closing is not None:
            old(self)

    around(patch, "_written", written)


@fault
def what_joins_those_that_wait_is_left_behind(patch: pytest.MonkeyPatch) -> None:
    def flush(old: Any, self: Any) -> None:
        frames, self.waiting = self.waiting, []
        self.waiting += frames
        old(self)

    around(patch, "_flush", flush)


@fault
def parts_go_out_in_another_order(patch: pytest.MonkeyPatch) -> None:
    def send_parts(old: Any, self: Any, parts: Any) -> None:
        old(self, parts[1:] + parts[:1])

    around(patch, "send_parts", send_parts)


@fault
def frames_go_out_backwards(patch: pytest.MonkeyPatch) -> None:
    def flush(old: Any, self: Any) -> None:
        self.waiting.reverse()
        old(self)

    around(patch, "_flush", flush)


@fault
def malformed_frames_are_skipped(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Stream, "_blame", lambda self, text: None)


@fault
def a_greeting_is_proof_enough(patch: pytest.MonkeyPatch) -> None:
    async def proved(self: Any) -> None:
        await self.greeted()

    patch.setattr(Stream, "proved", proved)


@fault
def cancelling_proved_cancels_it_for_all(patch: pytest.MonkeyPatch) -> None:
    async def proved(self: Any) -> None:
        failure = await self._proof
        if failure is not None:
            raise failure

    patch.setattr(Stream, "proved", proved)


@fault
def proved_hangs_when_the_connection_ends(patch: pytest.MonkeyPatch) -> None:
    async def proved(self: Any) -> None:
        if await asyncio.shield(self._proof) is not None:
            await asyncio.Event().wait()

    patch.setattr(Stream, "proved", proved)


@fault
def confirm_never_fails(patch: pytest.MonkeyPatch) -> None:
    def confirm(old: Any, self: Any) -> Any:
        return self if self._failure is not None else old(self)

    around(patch, "confirm", confirm)


@fault
def a_held_candidate_is_not_read(patch: pytest.MonkeyPatch) -> None:
    def receive(old: Any, self: Any, data: bytes) -> None:
        old(self, data)
        if self._proved and not self._confirmed:
            self._read(False)

    around(patch, "_receive", receive)


@fault
def what_is_sent_at_once_overtakes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Stream, "send_now", lambda self, frame: self._transport.write(frame))


@fault
def sending_on_a_lost_link_raises(patch: pytest.MonkeyPatch) -> None:
    def send(old: Any, self: Any, frame: bytes) -> None:
        if self._failure is not None:
            raise self._failure
        old(self, frame)

    around(patch, "send", send)


@fault
def a_cancelled_dial_stays_connected(patch: pytest.MonkeyPatch) -> None:
    async def greeted(self: Any) -> Any:
        failure = await asyncio.shield(self._greeting)
        if failure is not None:
            raise failure
        return self

    patch.setattr(Stream, "greeted", greeted)


@fault
def a_closed_listener_goes_on_accepting(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(memory.MemoryNetwork, "release", lambda self, name: None)


@fault
def a_closed_listener_keeps_its_candidates(patch: pytest.MonkeyPatch) -> None:
    async def close(self: Any) -> None:
        self._open = False

    patch.setattr(lobby.Door, "close", close)


@fault
def a_closing_listener_takes_links_along(patch: pytest.MonkeyPatch) -> None:
    def leave(self: Any, stream: Any) -> None:
        self._lobby.leave(stream)

    patch.setattr(lobby.Door, "leave", leave)


@fault
def the_second_to_bind_wins(patch: pytest.MonkeyPatch) -> None:
    def bind(self: Any, name: str, factory: Any, owner: str = "") -> None:
        self._names[name] = factory

    patch.setattr(memory.MemoryNetwork, "bind", bind)


@fault
def the_end_of_file_overtakes_bytes(patch: pytest.MonkeyPatch) -> None:
    def end(self: Any) -> None:
        self._chunks.clear()
        self.size = 0
        self._ended = True
        self.arm()

    patch.setattr(pipe.Flow, "end", end)


@fault
def the_origin_is_not_told(patch: pytest.MonkeyPatch) -> None:
    origin = conversation.Origin("", "source", loopback=True)
    patch.setattr(memory, "locate_dialler", lambda transport: origin)


@fault
def a_task_is_left_behind(patch: pytest.MonkeyPatch) -> None:
    tasks = []

    def settle(old: Any, self: Any) -> None:
        old(self)
        tasks.append(asyncio.ensure_future(asyncio.sleep(3_600)))

    around(patch, "_settle", settle)


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    FAULTS[name](monkeypatch)
    with pytest.raises(Violation):
        run_kit()
