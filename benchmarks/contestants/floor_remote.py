"""The floor of two processes: a bare asyncio.Protocol and msgpack, frames of a turn in one write.

No nodes, no monitors, no limits, no proof of who is there: what remains is the codec, the event
loop and the operating system.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import msgpack

from aemp_core.wire import MsgpackFraming, pack

from ..process import Figures, Run, ended, partner, ready
from .pace import in_flight, one_way, round_trips, summary

LIMIT = 64 * 1024 * 1024
CLIENT = ssl.PROTOCOL_TLS_CLIENT


class Channel(asyncio.Protocol):
    """One end of a connection: handlers by tag, and a way to send."""

    def __init__(self, handlers: dict[str, Callable[..., object]]) -> None:
        self.handlers = handlers
        self._unpacker = msgpack.Unpacker(max_buffer_size=LIMIT)
        self._packer = msgpack.Packer(autoreset=False)
        self._pack = self._packer.pack
        self._loop = asyncio.get_running_loop()
        self._armed = False
        self._room: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        unpacker = self._unpacker
        unpacker.feed(data)
        handlers = self.handlers
        for tag, *arguments in unpacker:
            handlers[tag](*arguments)

    def send(self, *message: Any) -> None:
        self._pack(message)
        if not self._armed:
            self._armed = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._armed = False
        self.transport.write(self._packer.bytes())
        self._packer.reset()

    def pause_writing(self) -> None:
        self._room = self._loop.create_future()

    def resume_writing(self) -> None:
        room, self._room = self._room, None
        if room is not None:
            room.set_result(None)

    async def flush(self) -> None:
        if self._room is not None:
            await self._room


class CheckedChannel(Channel):
    """A channel with the codec of AEMP: values are checked on both ways, buffers are bounded."""

    def __init__(self, handlers: dict[str, Callable[..., object]]) -> None:
        super().__init__(handlers)
        self._decoder = MsgpackFraming().decoder(LIMIT)
        self._packed: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        handlers = self.handlers
        for tag, *arguments in self._decoder.decode(data):
            handlers[tag](*arguments)

    def send(self, *message: Any) -> None:
        if not self._packed:
            self._loop.call_soon(self._flush)
        self._packed.append(pack(message))

    def _flush(self) -> None:
        self.transport.write(b"".join(self._packed))
        self._packed.clear()


async def _dial(
    address: str,
    handlers: dict[str, Callable[..., object]],
    kind: type[Channel] = Channel,
    tls: ssl.SSLContext | None = None,
) -> Channel:
    host, port = address.split(":")
    loop = asyncio.get_running_loop()
    _, channel = await loop.create_connection(lambda: kind(handlers), host, int(port), ssl=tls)
    return channel


def tls_context(run: Run, protocol: ssl._SSLMethod) -> ssl.SSLContext | None:
    """TLS 1.3 with certificates on both sides, if the run has one; as little as that can be."""
    cert = run.more.get("cert")
    if cert is None:
        return None
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(cert)
    context.load_verify_locations(Path(cert).with_name("network.pem"))
    return context


async def listener(run: Run) -> None:
    """The partner of all: counts what it is sent, gives back pings, answers calls."""
    handled = 0
    kind = CheckedChannel if run.more.get("checked") else Channel

    def make() -> Channel:
        def tag(*elements: object) -> None:
            nonlocal handled
            handled += 1
            if handled == run.count:
                channel.send("done")

        def ping(*elements: object) -> None:
            channel.send("pong", *elements)

        def call(serial: int, *elements: object) -> None:
            channel.send("reply", serial, *elements)

        channel = kind({"tag": tag, "ping": ping, "call": call})
        return channel

    loop = asyncio.get_running_loop()
    tls = tls_context(run, ssl.PROTOCOL_TLS_SERVER)
    server = await loop.create_server(make, "127.0.0.1", 0, ssl=tls)
    ready(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
    await ended()
    server.close()


async def bursts(run: Run) -> Figures:
    """One-way, so many per loop turn, as fast as the other side takes them."""
    return await _bursts(run, Channel)


async def bursts_checked(run: Run) -> Figures:
    """The same with the codec of AEMP, and nothing else of it."""
    return await _bursts(run, CheckedChannel)


async def _bursts(run: Run, kind: type[Channel]) -> Figures:
    done = asyncio.Event()
    checked = kind is CheckedChannel
    async with partner("floor_remote:listener", run, checked=checked) as address:
        channel = await _dial(address, {"done": done.set}, kind, tls_context(run, CLIENT))
        began = perf_counter()
        await one_way(run, channel.send, run.message, channel.flush)
        await done.wait()
        seconds = perf_counter() - began
        channel.transport.close()
    return {"rate": run.count / seconds}


async def ping_pong(run: Run) -> Figures:
    """One message there and back, again and again."""
    async with partner("floor_remote:listener", run) as address:
        handlers: dict[str, Callable[..., object]] = {}
        channel = await _dial(address, handlers, tls=tls_context(run, CLIENT))
        _, *rest = run.message
        times = await round_trips(
            run.count,
            lambda: channel.send("ping", *rest),
            lambda pong: handlers.__setitem__("pong", pong),
        )
        channel.transport.close()
    return summary(times)


async def calls(run: Run) -> Figures:
    """Calls with answers, 100 of them under way at any time."""
    async with partner("floor_remote:listener", run) as address:
        waiting: dict[int, asyncio.Future[tuple[Any, ...]]] = {}
        loop = asyncio.get_running_loop()
        serial = 0

        def reply(number: int, *elements: object) -> None:
            waiting.pop(number).set_result(elements)

        channel = await _dial(address, {"reply": reply})
        _, *rest = run.message

        async def call() -> None:
            nonlocal serial
            serial += 1
            answer = waiting[serial] = loop.create_future()
            channel.send("call", serial, *rest)
            await answer

        rate = await in_flight(run.count, call)
        channel.transport.close()
    return {"rate": rate}


async def blobs(run: Run) -> Figures:
    """Binary messages of 1 MiB."""
    done = asyncio.Event()
    blob = bytes(1024 * 1024)
    async with partner("floor_remote:listener", run) as address:
        channel = await _dial(address, {"done": done.set}, tls=tls_context(run, CLIENT))
        began = perf_counter()
        for _ in range(run.count):
            channel.send("tag", blob)
            await asyncio.sleep(0)
            await channel.flush()
        await done.wait()
        seconds = perf_counter() - began
        channel.transport.close()
    return {"bytes": run.count * len(blob) / seconds}
