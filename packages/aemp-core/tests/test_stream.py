"""A stream: deadlines, bounds, coalescing, and how it ends, on a virtual clock."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from core_kit import settle
from stream_kit import SECRET, Scene, Script

from aemp_core.conversation import Origin, connections
from aemp_core.errors import LocalProtocolError, PeerRefused, TransportError
from aemp_core.inflow import KEPT_BYTES
from aemp_core.outflow import WRITE_BYTES
from aemp_core.pipe import pipe
from aemp_core.stream import CLOSE_SECONDS, HANDSHAKE_SECONDS, LINGER_SECONDS, Stream
from aemp_core.testing import StandIn, virtual_clock
from aemp_core.wire import MAX_LINE, pack


def now() -> float:
    return asyncio.get_running_loop().time()


async def seconds_until_closed(stream: Stream) -> float:
    began = now()
    await stream.wait_closed()
    return now() - began


# -- strangers -------------------------------------------------------------------------------


@virtual_clock
async def test_a_silent_connection_ends_after_ten_seconds(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    assert await seconds_until_closed(scene.stream) == pytest.approx(HANDSHAKE_SECONDS)
    assert "test://somewhere" in caplog.text and "no complete handshake" in caplog.text


@virtual_clock
async def test_a_slow_dripping_greeting_does_not_extend_the_deadline() -> None:
    scene = Scene()
    greeting = scene.peer.outgoing()

    async def drip() -> None:
        for byte in greeting:
            scene.write(bytes([byte]))
            await asyncio.sleep(0.5)

    dripping = asyncio.ensure_future(drip())
    assert await seconds_until_closed(scene.stream) == pytest.approx(HANDSHAKE_SECONDS)
    dripping.cancel()


@virtual_clock
async def test_a_proof_that_never_comes_ends_the_connection_too() -> None:
    scene = Scene()
    began = now()
    await scene.greet()
    scene.stream.confirm()
    with pytest.raises(TransportError, match="no complete handshake within 10 s"):
        await scene.stream.proved()
    assert now() - began == pytest.approx(HANDSHAKE_SECONDS)


@virtual_clock
async def test_a_candidate_nobody_wants_ends_without_blaming_the_peer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = Scene()
    await scene.greet()
    scene.write(scene.peer.prove())
    assert await seconds_until_closed(scene.stream) == pytest.approx(HANDSHAKE_SECONDS)
    assert not caplog.records
    with pytest.raises(TransportError):
        scene.stream.confirm()


@virtual_clock
async def test_a_link_has_no_deadline() -> None:
    scene = Scene()
    link = await scene.link()
    await asyncio.sleep(1_000)
    scene.write(scene.frame("port", 1))
    await settle()
    assert scene.witness.messages == [["port", 1]]
    link.abort()


@virtual_clock
async def test_an_endless_greeting_is_cut_at_the_line_limit(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = Scene()
    for _ in range(100):
        scene.write(b"x" * 1_000)
        await asyncio.sleep(0)
        if scene.script.ended:
            break
    await settle()
    assert scene.script.ended
    assert f"longer than {MAX_LINE} bytes" in caplog.text
    assert len(caplog.text) < 1_000


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\n",
        b"\n\n\n",
        b"aemp;2;other;hmac_sha3_512_role;msgpack\nAAAA\n",
        b"aemp;1;script;hmac_sha3_512_role;msgpack\nAAAA\n",
        b"aemp;1;stream;hmac_sha3_512_role;msgpack\n" + b"A" * 88 + b"\n",
        b"aemp;1;script;unheard_of;msgpack\n" + b"A" * 88 + b"\n",
        b"aemp;1;script;hmac_sha3_512_role;unheard_of\n" + b"A" * 88 + b"\n",
        b"aemp;1;script;hmac_sha3_512_role;msgpack\n" + b"A" * 88 + b"\nnonsense\n",
        b"aemp;1;script;hmac_sha3_512_role;msgpack\n"
        + b"A" * 88
        + b"\nhmac_sha3_512_role;"
        + b"0" * 128
        + b";msgpack\n",
    ],
)
@pytest.mark.parametrize("role", ["dial", "accept"])
def test_who_breaks_the_protocol_learns_only_that_it_was_refused(
    garbage: bytes, role: Any, caplog: pytest.LogCaptureFixture
) -> None:
    @virtual_clock
    async def run() -> None:
        scene = Scene(role=role)
        await settle()
        said = bytes(scene.script.data)
        assert said.count(b"\n") == 2  # greeting and nonce, as to anybody
        scene.write(garbage)
        await settle()
        assert scene.script.ended
        assert bytes(scene.script.data) == said
        with pytest.raises(TransportError):
            await scene.stream.proved()
        (record,) = caplog.records
        assert "test://somewhere" in record.getMessage()

    run()


@virtual_clock
async def test_an_echo_is_refused() -> None:
    scene = Scene(role="dial")
    await settle()
    scene.write(bytes(scene.script.data))
    with pytest.raises(TransportError, match="echoes our own greeting"):
        await scene.stream.greeted()


class Pump(asyncio.Protocol):
    """One of two protocols that pass each other's bytes on: a man in the middle."""

    other: Pump

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.other.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.other.transport.abort()


@virtual_clock
async def test_two_listeners_piped_together_do_not_trust_each_other() -> None:
    """Reflection: whoever reaches two listeners must not make them talk as if one had dialled."""
    loop = asyncio.get_running_loop()
    left, right = Pump(), Pump()
    left.other, right.other = right, left
    streams, ends = [], []
    for name, pump in (("one", left), ("other", right)):
        origin = Origin("test://pipe", "pipe")
        node = StandIn(name, secret=SECRET)
        stream = Stream(loop, lambda _, origin=origin: origin, connections(node, "accept", SECRET))
        streams.append(stream)
        ends += pipe(loop, (pump, {}), (stream, {}))
    for end in ends[0], ends[2], ends[1], ends[3]:
        end.open()
    for stream in streams:
        await stream.greeted()
    for stream in streams:
        stream.confirm()
    refusals = [stream.proved() for stream in streams]
    for refusal in await asyncio.gather(*refusals, return_exceptions=True):
        assert isinstance(refusal, TransportError)


@virtual_clock
async def test_a_peer_that_hangs_up_is_told_from_one_that_breaks_the_protocol() -> None:
    scene = Scene()
    scene.script.transport.close()
    with pytest.raises(PeerRefused, match="same secret"):
        await scene.stream.greeted()


@virtual_clock
async def test_a_node_may_refuse_a_connection_unheard(caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.get_running_loop()

    def locate(transport: asyncio.Transport) -> Origin:
        raise TransportError("test://far is too far away")

    node = StandIn("stream", secret=SECRET)
    stream = Stream(loop, locate, connections(node, "accept", SECRET))
    script = Script()
    end, far = pipe(loop, (stream, {}), (script, {}))
    far.open()
    end.open()
    await stream.wait_closed()
    await settle()
    assert script.ended and not script.data
    assert "test://far is too far away" in caplog.text


# -- before the link is started ----------------------------------------------------------------


@virtual_clock
async def test_what_is_kept_before_start_is_bounded() -> None:
    scene = Scene()
    await scene.link(start=False)
    frame = scene.frame("port", b"x" * 1_000)
    for _ in range(2_000):
        scene.write(frame)
        await asyncio.sleep(0)
    await settle()
    assert scene.stream._kept_size < KEPT_BYTES + 300_000
    assert scene.script.transport.get_write_buffer_size() > 1_000_000
    scene.stream.start(scene.witness)
    await settle()
    assert len(scene.witness.messages) == 2_000


@virtual_clock
async def test_nothing_is_read_or_sent_before_both_sides_proved_themselves() -> None:
    scene = Scene()
    await scene.greet()
    scene.stream.confirm()
    with pytest.raises(LocalProtocolError):
        scene.stream.start(scene.witness)
    with pytest.raises(LocalProtocolError):
        scene.stream.send(b"\x91\xa0")


@virtual_clock
async def test_a_link_paused_at_once_delivers_when_resumed() -> None:
    scene = Scene()
    await scene.link(start=False)
    scene.write(scene.frame("port", 1))
    await settle()
    scene.stream.start(scene.witness)
    scene.stream.pause()
    await settle()
    assert not scene.witness.messages
    scene.stream.resume()
    await settle()
    assert scene.witness.messages == [["port", 1]]


@virtual_clock
async def test_a_link_paused_at_once_is_still_told_of_its_loss() -> None:
    scene = Scene()
    await scene.link(start=False)
    scene.stream.start(scene.witness)
    scene.stream.pause()
    await settle()
    scene.script.transport.abort()
    await scene.witness.until_lost()


# -- writing ---------------------------------------------------------------------------------


@virtual_clock
async def test_frames_of_one_loop_turn_are_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    link = await scene.link()
    writes = []
    write = scene.end.write
    monkeypatch.setattr(scene.end, "write", lambda data: (writes.append(data), write(data)))
    for number in range(1_000):
        link.send(link.encode(pack(("port", number))))
    assert not writes
    await settle()
    assert len(writes) == 1
    assert [message[1] for message in scene.read()] == list(range(1_000))


@virtual_clock
async def test_buffered_is_what_was_sent_and_not_taken() -> None:
    scene = Scene(capacity=100_000)
    link = await scene.link()
    scene.script.transport.pause_reading()
    frame = link.encode(pack(("port", b"x" * 997)))
    for _ in range(5_000):
        link.send(frame)
    assert link.buffered == link.measure() == 5_000 * len(frame)
    await settle()
    assert link.measure() == link.buffered == 5_000 * len(frame) - 100_000
    for _ in range(100):  # sent later, while the transport is choked
        link.send(frame)
        await asyncio.sleep(0)
    assert link.measure() == 5_100 * len(frame) - 100_000
    assert not scene.witness.writables
    scene.script.transport.resume_reading()
    await scene.witness.until(lambda: link.measure() == 0, "it should drain")
    assert scene.witness.writables
    await settle()
    assert len(scene.read()) == 5_100


@virtual_clock
async def test_a_stopped_reader_costs_one_write_in_the_transport() -> None:
    scene = Scene()
    link = await scene.link()
    scene.script.transport.pause_reading()
    frame = link.encode(pack(("port", b"x" * 1_000)))
    for _ in range(10):
        for _ in range(1_000):
            link.send(frame)
        await asyncio.sleep(0)
    assert link.measure() > 9_000_000
    assert scene.end.get_write_buffer_size() <= WRITE_BYTES + len(frame)


# -- ending ----------------------------------------------------------------------------------


@virtual_clock
async def test_close_gives_up_on_a_peer_that_does_not_read() -> None:
    scene = Scene()
    link = await scene.link()
    scene.script.transport.pause_reading()
    link.send(link.encode(pack(("port", b"x" * 1_000_000))))
    link.close("enough")
    assert scene.witness.reason is None
    assert await seconds_until_closed(scene.stream) == pytest.approx(CLOSE_SECONDS)
    assert scene.witness.reason == ("transport_error", "enough")


@virtual_clock
async def test_close_does_not_wait_long_for_a_peer_that_stays() -> None:
    scene = Scene()
    link = await scene.link()
    scene.script.keep_open = True
    link.send(link.encode(pack(("port", 1))))
    link.close()
    assert await seconds_until_closed(scene.stream) == pytest.approx(LINGER_SECONDS)
    assert scene.read() == [["port", 1]]
    assert scene.script.ended == "eof"


@virtual_clock
async def test_close_of_a_peer_that_answers_takes_no_time() -> None:
    scene = Scene()
    link = await scene.link()
    link.close()
    assert await seconds_until_closed(scene.stream) == pytest.approx(0)


@virtual_clock
async def test_a_closed_link_delivers_nothing_more() -> None:
    scene = Scene()
    link = await scene.link()
    scene.script.keep_open = True
    link.close()
    link.pause()  # must not keep it from seeing the end
    scene.write(scene.frame("port", 1))
    await settle()
    scene.script.transport.close()
    assert await seconds_until_closed(scene.stream) == pytest.approx(0)
    assert not scene.witness.batches
    scene.witness.verify()


@virtual_clock
async def test_good_messages_before_garbage_are_delivered() -> None:
    scene = Scene()
    await scene.link()
    scene.write(scene.frame("port", 1) + scene.frame("port", 2) + b"\xc1" + scene.frame("port", 3))
    reason = await scene.witness.until_lost()
    assert scene.witness.messages == [["port", 1], ["port", 2]]
    assert reason[0] == "transport_error"


ENDS = ["close", "abort", "eof", "reset", "garbage", "message"]


@pytest.mark.parametrize("ends", list(itertools.permutations(ENDS, 3)), ids="-".join)
@pytest.mark.parametrize("turns", [0, 1])
@pytest.mark.parametrize("started", [True, False])
def test_lost_is_told_once_and_last_whatever_coincides(
    ends: tuple[str, ...], turns: int, started: bool
) -> None:
    @virtual_clock
    async def run() -> None:
        scene = Scene()
        link = await scene.link(start=started)
        link.send(link.encode(pack(("port", "ours"))))
        happen = {
            "close": lambda: link.close("closed"),
            "abort": lambda: link.abort("aborted"),
            "eof": scene.script.transport.close,
            "reset": scene.script.transport.abort,
            "garbage": lambda: scene.write(b"\xc1\xc1"),
            "message": lambda: scene.write(scene.frame("port", "theirs")),
        }
        for end in ends:
            happen[end]()
            for _ in range(turns):
                await asyncio.sleep(0)
        if not started:
            link.start(scene.witness)
        await asyncio.sleep(CLOSE_SECONDS + LINGER_SECONDS)
        assert scene.witness.reason is not None
        scene.witness.verify()
        await link.wait_closed()
        assert link.buffered == link.measure() == 0

    run()


@virtual_clock
async def test_a_cancelled_greeting_ends_the_connection() -> None:
    scene = Scene(role="dial")
    waiting = asyncio.ensure_future(scene.stream.greeted())
    await asyncio.sleep(0)
    waiting.cancel()
    await scene.stream.wait_closed()
    await settle()
    assert scene.script.ended
    assert waiting.cancelled()
