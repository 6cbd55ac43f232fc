"""The health endpoint over real sockets: what it answers, and how little it can be made to do."""

from __future__ import annotations

import asyncio
import json
import os
import socket

import pytest

from aemp_core import TransportError
from aemp_core.cli.run import health
from aemp_core.cli.run.health import CONNECTIONS, Health

SECONDS = 40


@pytest.fixture
async def port():
    """A node that is ready, and the port to ask."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    endpoint = Health("x", lambda: None)
    await endpoint.listen(f":{free}")
    yield free
    await endpoint.close()


async def ask(port, data):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    try:
        answer = await asyncio.wait_for(reader.read(), SECONDS)
    except ConnectionResetError:
        answer = b""
    writer.close()
    return answer


@pytest.mark.parametrize(
    ("request_line", "status", "answer"),
    [
        ("GET /healthz HTTP/1.1", 200, {"node": "x", "alive": True}),
        ("GET /readyz HTTP/1.0", 200, {"node": "x", "ready": True}),
        ("GET /healthz?verbose=1 HTTP/1.1", 200, {"node": "x", "alive": True}),
        ("HEAD /healthz HTTP/1.1", 200, None),
        ("GET / HTTP/1.1", 404, {"node": "x", "error": "there are /healthz and /readyz"}),
        ("POST /healthz HTTP/1.1", 405, {"node": "x", "error": "use GET"}),
        ("hello", 400, {"node": "x", "error": "no HTTP/1.1"}),
        ("GET /healthz SPDY/3", 400, {"node": "x", "error": "no HTTP/1.1"}),
    ],
)
async def test_an_answer_says_what_it_is(port, request_line, status, answer):
    data = f"{request_line}\r\nHost: localhost\r\n\r\n".encode()
    head, _, body = (await ask(port, data)).partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"Connection: close" in head
    assert (json.loads(body) if body else None) == answer


async def test_a_request_that_is_too_long_is_told(port):
    data = b"GET /healthz HTTP/1.1\r\nX: " + b"x" * 8_000
    assert (await ask(port, data)).startswith(b"HTTP/1.1 431 ")


async def test_whoever_holds_all_connections_does_not_hold_them_long(port, monkeypatch):
    """Nor does half a request get an answer."""
    monkeypatch.setattr(health, "REQUEST_SECONDS", 0.5)
    idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CONNECTIONS)]
    idle[0][1].write(b"GET /healthz HTTP/1.1\r\n")
    assert await ask(port, b"GET /healthz HTTP/1.1\r\n\r\n") == b""
    for reader, writer in idle:
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(1), SECONDS)
        writer.close()
    assert (await ask(port, b"GET /healthz HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 200 ")


async def test_a_unix_socket_is_its_owners_and_replaced_only_when_it_is_dead(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = str(tmp_path / "health")
    first, second = Health("x", lambda: None), Health("x", lambda: None)
    await first.listen(path)
    assert os.stat(path).st_mode & 0o777 == 0o600
    with pytest.raises(TransportError, match="is in use: end what listens there"):
        await second.listen(path)
    await first.close()
    assert not os.path.exists(path)
    with socket.socket(socket.AF_UNIX) as dead:  # its file outlives it
        dead.bind(path)
    await second.listen(path)
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"GET /readyz HTTP/1.1\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
    writer.close()
    await second.close()


async def test_a_file_that_is_no_socket_is_left_alone(tmp_path):
    path = tmp_path / "f"
    path.write_text("precious")
    with pytest.raises(TransportError, match="in use"):
        await Health("x", lambda: None).listen(str(path))
    assert path.read_text() == "precious"


async def test_a_port_in_use_is_told():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(TransportError, match=f"health: :{port}: is in use"):
            await Health("x", lambda: None).listen(f":{port}")
