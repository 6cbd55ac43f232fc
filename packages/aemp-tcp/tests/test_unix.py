"""Unix sockets: they conform; the file, its directory, and who is at the other end."""

from __future__ import annotations

import asyncio
import fcntl
import itertools
import os
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from aemp_core.errors import TransportError
from aemp_core.link import Candidate
from aemp_core.testing import Harness, StandIn
from aemp_core.testing.conformance_pytest import ConformanceTests
from aemp_tcp import unix as unix_module
from aemp_tcp.unix import UnixTransport

Run = Callable[[Coroutine[Any, Any, Any]], Any]
SECRET = b"the secret of these tests"

_numbers = itertools.count()


@asynccontextmanager
async def unix(directory: Path) -> AsyncIterator[Harness]:
    yield Harness(
        UnixTransport,
        address=lambda: f"unix://{directory}/{next(_numbers)}.socket",
        nowhere=lambda: f"unix://{directory}/nobody.socket",
    )


class TestUnixConforms(ConformanceTests):
    def make_harness(self, tmp_path: Path) -> AbstractAsyncContextManager[Harness]:
        return unix(tmp_path)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A short path: the system takes 107 bytes."""
    short = Path(f"/tmp/aemp-test-{os.getpid()}-{next(_numbers)}")
    short.mkdir(mode=0o700)
    yield short
    for path in short.iterdir():
        path.unlink()
    short.rmdir()


def transport(name: str, **settings: Any) -> UnixTransport:
    return UnixTransport(StandIn(name, **{"secret": SECRET, **settings}))


def ignore(candidate: Candidate) -> None:
    """What a listener does that takes no interest."""


def dead_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))


def test_the_socket_file_is_its_owners_alone_and_goes_with_the_listener(
    run: Run, directory: Path
) -> None:
    async def main() -> None:
        path = directory / "node.socket"
        listener = await transport("node").listen(f"unix://{path}", ignore)
        assert listener.addresses == (f"unix://{path}",)
        assert stat.S_ISSOCK(path.stat().st_mode)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        await listener.close()
        assert not path.exists()
        await listener.close()

    run(main())


def test_a_missing_directory_is_made_for_the_owner_alone(run: Run, directory: Path) -> None:
    async def main() -> None:
        path = directory / "made" / "node.socket"
        before = os.umask(0)
        listener = await transport("node").listen(f"unix://{path}", ignore)
        os.umask(before)
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        await listener.close()
        path.parent.rmdir()
        with pytest.raises(TransportError, match="make the directory"):
            await transport("node").listen(f"unix://{directory}/no/such/node.socket", ignore)

    run(main())


@pytest.mark.parametrize("mode", [0o750, 0o701, 0o777, 0o1777])
def test_a_directory_others_can_enter_is_refused(run: Run, directory: Path, mode: int) -> None:
    async def main() -> None:
        directory.chmod(mode)
        with pytest.raises(TransportError, match=f"{mode:04o}.*mode 0700"):
            await transport("node").listen(f"unix://{directory}/node.socket", ignore)
        assert not list(directory.iterdir())

    run(main())


def test_a_dead_socket_is_replaced(run: Run, directory: Path) -> None:
    async def main() -> None:
        path = directory / "node.socket"
        dead_socket(path)
        listener = await transport("node").listen(f"unix://{path}", ignore)
        candidate = await transport("other").dial(f"unix://{path}")
        candidate.close()
        await candidate.wait_closed()
        await listener.close()

    run(main())


def test_a_living_socket_is_not_replaced(run: Run, directory: Path) -> None:
    async def main() -> None:
        path = directory / "node.socket"
        listener = await transport("node").listen(f"unix://{path}", ignore)
        with pytest.raises(TransportError, match="is in use: end the node"):
            await transport("other").listen(f"unix://{path}", ignore)
        candidate = await transport("other").dial(f"unix://{path}")
        assert candidate.peer.id == "node"
        candidate.close()
        await listener.close()

    run(main())


def test_a_busy_socket_is_not_taken_for_dead(run: Run, directory: Path) -> None:
    async def main() -> None:
        path = directory / "node.socket"
        with socket.socket(socket.AF_UNIX) as busy:
            busy.bind(str(path))
            busy.listen(0)
            crowd = []
            for _ in range(3):
                one = socket.socket(socket.AF_UNIX)
                one.setblocking(False)
                one.connect_ex(str(path))
                crowd.append(one)
            with pytest.raises(TransportError, match="is in use"):
                await transport("node").listen(f"unix://{path}", ignore)
            for one in crowd:
                one.close()

    run(main())


def test_a_file_of_another_kind_is_left_alone(run: Run, directory: Path) -> None:
    async def main() -> None:
        path = directory / "node.socket"
        path.write_text("precious")
        with pytest.raises(TransportError, match="a file of another kind"):
            await transport("node").listen(f"unix://{path}", ignore)
        assert path.read_text() == "precious"

    run(main())


def test_a_listener_does_not_remove_the_socket_of_its_successor(run: Run, directory: Path) -> None:
    async def main() -> None:
        path = directory / "node.socket"
        first = await transport("first").listen(f"unix://{path}", ignore)
        path.unlink()
        second = await transport("second").listen(f"unix://{path}", ignore)
        await first.close()
        candidate = await transport("other").dial(f"unix://{path}")
        assert candidate.peer.id == "second"
        candidate.close()
        await second.close()
        assert not path.exists()

    run(main())


def test_binding_waits_for_the_lock_on_the_directory_and_not_for_ever(
    run: Run, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        address = f"unix://{directory}/node.socket"
        holder = os.open(directory, os.O_RDONLY)
        fcntl.flock(holder, fcntl.LOCK_EX)
        binding = asyncio.ensure_future(transport("node").listen(address, ignore))
        await asyncio.sleep(0)
        assert not binding.done()
        os.close(holder)
        await (await binding).close()
        holder = os.open(directory, os.O_RDONLY)
        fcntl.flock(holder, fcntl.LOCK_EX)
        monkeypatch.setattr(unix_module, "LOCK_SECONDS", 0.05)
        with pytest.raises(TransportError, match="end it if it hangs"):
            await transport("node").listen(address, ignore)
        os.close(holder)

    run(main())


BINDER = """
import asyncio, sys
from aemp_core.errors import TransportError
from aemp_core.testing.standin import StandIn
from aemp_tcp.unix import UnixTransport

async def main():
    transport = UnixTransport(StandIn("node", secret=b"the secret of these tests"))
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        listener = await transport.listen("unix://" + sys.argv[1], print)
    except TransportError:
        print("refused", flush=True)
    else:
        print("bound", flush=True)
        sys.stdin.readline()
        await listener.close()

asyncio.run(main())
"""


def test_of_processes_that_find_a_dead_socket_one_binds_it(directory: Path) -> None:
    path = directory / "node.socket"
    dead_socket(path)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", BINDER, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        for _ in range(3)
    ]

    def tell(line: str) -> None:
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(line)

    def answers() -> list[str]:
        return [str(process.stdout and process.stdout.readline()).strip() for process in processes]

    assert answers() == ["ready"] * 3
    tell("go\n")
    assert sorted(answers()) == ["bound", "refused", "refused"]
    for process in processes:
        process.communicate("end\n")
        assert process.returncode == 0
    assert not path.exists()


def test_a_path_the_system_cannot_take_is_told(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        directory = tmp_path / ("x" * 100)
        with pytest.raises(TransportError, match="take another path"):
            await transport("node").listen(f"unix://{directory}/node.socket", ignore)
        with pytest.raises(TransportError, match="unix://"):
            await transport("node").dial(f"unix://{directory}/node.socket")

    run(main())


def test_another_user_at_the_other_end_is_refused_unheard(
    run: Run, directory: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        address = f"unix://{directory}/node.socket"
        listener = await transport("node").listen(address, ignore)
        monkeypatch.setattr(unix_module, "_credentials", lambda transport: (77, 12_345))
        reader, writer = await asyncio.open_unix_connection(f"{directory}/node.socket")
        try:
            assert await reader.read() == b""
        except ConnectionError:
            pass
        writer.close()
        with pytest.raises(TransportError, match="process 77 of the user with ID 12345"):
            await transport("other").dial(address)
        await listener.close()

    run(main())
    assert "process 77 of the user with ID 12345" in caplog.text


def say_nothing_as_another(path: Path) -> bytes:
    script = (
        "import os, socket, sys; os.setuid(12345); one = socket.socket(socket.AF_UNIX);"
        "one.connect(sys.argv[1]); print(one.recv(100))"
    )
    return subprocess.run([sys.executable, "-c", script, path], stdout=subprocess.PIPE).stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
def test_the_kernel_tells_who_is_at_the_other_end(
    run: Run, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        path = directory / "node.socket"
        listener = await transport("node").listen(f"unix://{path}", ignore)
        directory.chmod(0o711)
        path.chmod(0o666)
        told = await asyncio.get_running_loop().run_in_executor(None, say_nothing_as_another, path)
        assert told.strip() == b"b''"
        await listener.close()

    run(main())
    assert "of the user with ID 12345" in caplog.text


def test_nodes_without_a_secret_share_the_one_of_their_user(run: Run, directory: Path) -> None:
    async def main() -> None:
        came: asyncio.Queue[Candidate] = asyncio.Queue()
        address = f"unix://{directory}/node.socket"
        listener = await transport("node", secret=None).listen(address, came.put_nowait)
        dialled = await transport("other", secret=None).dial(address)
        accepted = await came.get()
        assert accepted.peer.origin == f"{address} (process {os.getpid()})"
        dialled.confirm()
        await accepted.proved()
        dialled.abort()
        await listener.close()

    run(main())
