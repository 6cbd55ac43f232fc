"""``aemp doctor`` finds what is in the way of a node, over real sockets, and says what to do."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from aemp_core import Node
from aemp_core.cli.examination import Examination
from aemp_core.finding import Finding
from aemp_tls.authority import CA

from .conftest import Network, end, read_line

SECRET = b"a secret of these tests"


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "aemp.toml"
    path.touch(0o600)
    monkeypatch.setenv("AEMP_CONFIG", str(path))
    return path


async def examine(
    profile: str | None = None, /, timeout: float = 5.0, **words: Any
) -> tuple[bool, list[Finding]]:
    """Whether the node could join, and what was found."""
    examination = Examination(profile, {"secret": SECRET, **words}, timeout)
    found = [finding async for finding in examination.findings()]
    return examination.joins, found


async def problem(profile: str | None = None, /, **words: Any) -> Finding:
    """The one problem in the way of the node."""
    joins, found = await examine(profile, **words)
    (finding,) = (each for each in found if each.state == "problem")
    assert not joins
    return finding


def named(found: list[Finding], about: str) -> Finding:
    (finding,) = (each for each in found if each.about.endswith(about))
    return finding


@asynccontextmanager
async def listening(talk: Callable[[Any, Any], Awaitable[None]]) -> Any:
    """Something that listens and is no node; its address."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
            await writer.drain()
            await reader.read()
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"


# -- good health -------------------------------------------------------------------------------


async def test_a_node_that_can_join() -> None:
    async with Node("seed", binds=["tcp://127.0.0.1:0"], secret=SECRET) as seed:
        (address,) = seed.addresses
        joins, found = await examine(seeds=[address], binds=["tcp://127.0.0.1:0"], nodeid="me")
        assert seed.up_nodes() == []
    assert joins
    assert [(each.about.removeprefix(f"seed {address}: "), each.state) for each in found] == [
        (about, "ok")
        for about in (
            "configuration", "secret", "node ID", "bind tcp://127.0.0.1:0",
            "connection", "greeting", "proof", "link", "clock",
        )
    ]  # fmt: skip
    assert "node seed, aemp-py-" in named(found, "greeting").text


async def test_one_good_seed_is_enough_and_one_node_may_be_two_seeds() -> None:
    binds = ["tcp://127.0.0.1:0", "tcp://127.0.0.1:0"]
    async with Node("seed", binds=binds, secret=SECRET) as seed:
        joins, found = await examine(seeds=[*seed.addresses, "tcp://127.0.0.1:1"])
    assert joins
    assert named(found, "tcp://127.0.0.1:1: connection").state == "problem"
    assert named(found, f"{seed.addresses[1]}: link").text.startswith("the node of another seed")


async def test_a_seed_that_is_the_node_itself_is_none(tmp_path: Path) -> None:
    address = f"unix://{tmp_path}/dir/socket"
    joins, found = await examine(binds=[address], seeds=[address])
    assert joins
    assert named(found, f"{address}: address").text == "that of this node itself"
    assert not (tmp_path / "dir" / "socket").exists()


async def test_without_seeds_and_binds_there_is_no_network() -> None:
    assert (await problem()).about == "seeds"
    assert (await examine(binds=["tcp://127.0.0.1:0"]))[0]


# -- before the network ------------------------------------------------------------------------


async def test_a_wrong_configuration(config: Path) -> None:
    config.write_text("[profile.a]\nheartbeat = 0\n[profile.b]\nnodeid = 'x'\n")
    joins, found = await examine("b", binds=["tcp://127.0.0.1:0"])
    assert joins
    assert [each.state for each in found if each.about == "configuration"] == ["warning", "ok"]
    joins, found = await examine("a", binds=["tcp://127.0.0.1:0"])
    assert not joins
    (finding,) = (each for each in found if each.state == "problem")
    assert finding.text == (
        f"{config}: [profile.a]: heartbeat = 0: 1 to 3600 seconds are needed (at line 2, column 1)"
    )
    assert "did you mean 'b'" not in (await problem("c")).text


async def test_a_secret_that_others_may_read(config: Path) -> None:
    path = config.with_name("secret")
    path.write_text("0" * 64)
    path.chmod(0o644)
    examination = Examination(None, {"binds": ["tcp://127.0.0.1:0"]}, 5)
    found = [each async for each in examination.findings()]
    assert not examination.joins
    assert named(found, "secret").state == "problem"
    assert f"chmod 600 {path}" in named(found, "secret").text


async def test_without_a_secret_this_machine_alone_is_reached(config: Path) -> None:
    examination = Examination(None, {"binds": ["tcp://*:0"]}, 5)
    found = [each async for each in examination.findings()]
    assert "for this machine alone" in named(found, "secret").text
    assert config.with_name("secret").stat().st_mode & 0o077 == 0
    assert not examination.joins
    assert "no secret is configured" in named(found, "bind tcp://*:0").text


async def test_modules_that_are_not_there() -> None:
    finding = await problem(binds=["tcp://127.0.0.1:0"], expose=["no_such_module_here.x", "json"])
    assert (finding.about, finding.text) == (
        "expose", "no_such_module_here.x: there is no module 'no_such_module_here' here"
    )  # fmt: skip


async def test_an_address_without_a_transport() -> None:
    finding = await problem(seeds=["carrier-pigeon://roof"])
    assert finding.about == "seed carrier-pigeon://roof: address"
    assert "no transport for carrier-pigeon://" in finding.text


# -- addresses ---------------------------------------------------------------------------------


@pytest.mark.skipif(not os.path.exists("/proc/net/tcp"), reason="/proc tells who listens")
async def test_a_port_that_is_bound_already_by_a_stranger() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"tcp://127.0.0.1:{other.getsockname()[1]}"
        finding = await problem(binds=[address], timeout=0.5)
    assert finding.about == f"bind {address}"
    assert "is in use" in finding.text
    assert f"process {os.getpid()} (" in finding.text


async def test_the_address_of_health_questions(tmp_path: Path) -> None:
    binds = ["tcp://127.0.0.1:0"]
    joins, found = await examine(binds=binds, health=f"{tmp_path}/socket")
    assert joins
    assert named(found, f"health {tmp_path}/socket").state == "ok"
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        finding = await problem(binds=binds, health=address)
    assert finding.about == f"health {address}"
    assert "is in use" in finding.text


async def test_a_node_that_runs_already() -> None:
    async with Node("me", binds=["tcp://127.0.0.1:0"], secret=SECRET) as node:
        finding = await problem(nodeid="me", binds=node.addresses)
        assert finding.text.startswith("the node me runs already")
        finding = await problem(nodeid="you", binds=node.addresses)
        assert finding.text.endswith(", the node me")


async def test_a_unix_socket_that_is_bound_already(tmp_path: Path) -> None:
    address = f"unix://{tmp_path}/dir/socket"
    async with Node("me", binds=[address], secret=SECRET):
        finding = await problem(nodeid="me", binds=[address])
    assert finding.text.startswith("the node me runs already")


async def test_the_node_itself_is_at_the_seed() -> None:
    async with Node("me", binds=["tcp://127.0.0.1:0"], secret=SECRET) as node:
        joins, found = await examine(nodeid="me", seeds=node.addresses)
    assert not joins
    finding = named(found, f"{node.addresses[0]}: node ID")
    assert (finding.state, finding.text) == (
        "warning", "the node me itself is there, or a second one with its ID"
    )  # fmt: skip


async def test_a_name_is_told_with_its_addresses() -> None:
    async with Node("seed", binds=["tcp://127.0.0.1:0"], secret=SECRET) as seed:
        address = seed.addresses[0].replace("127.0.0.1", "localhost")
        joins, found = await examine(seeds=[address])
    assert joins
    assert "127.0.0.1" in named(found, f"{address}: name").text


async def test_a_machine_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(*_: Any) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio, "open_connection", hang)
    finding = await problem(seeds=["tcp://127.0.0.1:1"], timeout=0.05)
    assert finding.text == "127.0.0.1 did not answer within 0.05 s"
    assert "firewalls" in finding.remedy


async def test_nobody_listens_there() -> None:
    finding = await problem(seeds=["tcp://127.0.0.1:1"])
    assert finding.about == "seed tcp://127.0.0.1:1: connection"
    assert finding.text == "127.0.0.1: Connection refused"
    assert finding.remedy.startswith("start the node there")


async def test_no_socket_is_there(tmp_path: Path) -> None:
    finding = await problem(seeds=[f"unix://{tmp_path}/dir/socket"])
    assert finding.about.endswith("socket: connection")
    assert finding.text == "No such file or directory: does a node listen there?"
    assert finding.remedy == "start the node there, as the same user"


async def test_a_name_that_cannot_be_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", fail)
    finding = await problem(seeds=["tcp://nowhere.invalid:1"])
    assert finding.about == "seed tcp://nowhere.invalid:1: name"
    assert "'nowhere.invalid' cannot be resolved" in finding.text


async def test_a_name_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(*_: Any, **__: Any) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", hang)
    finding = await problem(seeds=["tcp://nowhere.invalid:1"], timeout=0.05)
    assert finding.text == "the name 'nowhere.invalid' was not resolved within 0.05 s"


# -- the handshake -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "about", "text"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "greeting", "no AEMP greeting, but b'SSH-2.0"),
        (b"aemp;2;seed;a;b\n", "version", "the peer speaks protocol version '2', we speak 1"),
        (
            b"aemp;1;seed;telepathy;json\n",
            "greeting",
            "no common authentication method: the peer accepts 'telepathy'",
        ),
        (
            b"aemp;1;seed;hmac_sha3_512_role;smoke\n",
            "greeting",
            "no common framing: the peer accepts 'smoke'",
        ),
    ],
)
async def test_something_else_greets(said: bytes, about: str, text: str) -> None:
    async def talk(reader: Any, writer: Any) -> None:
        writer.write(said)

    async with listening(talk) as address:
        finding = await problem(seeds=[address])
    assert finding.about == f"seed {address}: {about}"
    assert finding.text.startswith(text)
    assert finding.remedy


async def test_something_that_says_nothing() -> None:
    async def talk(reader: Any, writer: Any) -> None:
        await reader.read()

    async with listening(talk) as address:
        finding = await problem(seeds=[address], timeout=0.3)
    assert finding.text == "it did not greet within 0.3 s"


async def test_something_that_hangs_up() -> None:
    async def talk(reader: Any, writer: Any) -> None:
        writer.close()

    async with listening(talk) as address:
        finding = await problem(seeds=[address])
    assert finding.about == f"seed {address}: greeting"
    assert "tls://" in finding.remedy


GREETS = (
    b"aemp;1;seed;hmac_sha3_512_role;json;incarnation=0Vc1dVTbVBrVv3\n"
    + base64.b64encode(bytes(range(66)))
    + b"\n"
)


async def test_something_that_greets_and_proves_nothing() -> None:
    async def talk(reader: Any, writer: Any) -> None:
        writer.write(GREETS)

    async with listening(talk) as address:
        finding = await problem(seeds=[address], timeout=0.3)
    assert finding.about == f"seed {address}: proof"
    assert finding.text == "neither proved nor refused within 0.3 s"


async def test_something_that_greets_and_hangs_up() -> None:
    async def talk(reader: Any, writer: Any) -> None:
        writer.write(GREETS)
        await reader.readline()
        writer.close()

    async with listening(talk) as address:
        finding = await problem(seeds=[address])
    assert finding.about in (f"seed {address}: proof", f"seed {address}: greeting")
    assert "the peer closed the connection" in finding.text


async def test_another_secret() -> None:
    async with Node("seed", binds=["tcp://127.0.0.1:0"], secret=b"another secret there") as seed:
        finding = await problem(seeds=seed.addresses)
    assert finding.about == f"seed {seed.addresses[0]}: secret"
    assert finding.text.startswith("the token of the peer is wrong")
    assert "aemp config set secret -" in finding.remedy


# -- once there is a link ----------------------------------------------------------------------


async def test_a_clock_that_differs_is_a_warning() -> None:
    seed = Node("seed", binds=["tcp://127.0.0.1:0"], secret=SECRET)
    seed.wall_clock = lambda: time.time() - 3600
    async with seed:
        joins, found = await examine(seeds=seed.addresses)
    assert joins
    finding = named(found, "clock")
    assert finding.state == "warning"
    assert finding.text.startswith("3600.") or finding.text.startswith("3599.9")
    assert finding.text.endswith("s behind the clock here")


async def test_another_node_with_the_same_id() -> None:
    """It is only a warning where the other may be the node itself."""
    async with (
        Node("seed", binds=["tcp://127.0.0.1:0"], secret=SECRET) as seed,
        Node("me", seeds=seed.addresses, secret=SECRET) as me,
    ):
        await asyncio.wait_for(me.up("seed"), 20)
        joins, found = await examine(seeds=seed.addresses, nodeid="me")
        assert joins
        finding = named(found, f"{seed.addresses[0]}: node ID")
        assert (finding.state, finding.text) == ("warning", "a node me is up in that network")
        with socket.create_server(("127.0.0.1", 0)) as unused:
            port = unused.getsockname()[1]
        binds = [f"tcp://127.0.0.1:{port}"]
        finding = await problem(seeds=seed.addresses, nodeid="me", binds=binds)
        assert finding.about == f"seed {seed.addresses[0]}: node ID"


# -- certificates ------------------------------------------------------------------------------


@pytest.fixture
def certs(tmp_path: Path) -> Iterator[Path]:
    """Certificates of the nodes ``seed`` and ``me``, and for ``me`` of another network's CA."""
    for name, nodes in (("net", ("seed", "me")), ("other", ("me",))):
        ca = CA.init(tmp_path / name / "ca", "example")
        for node in nodes:
            (tmp_path / name / f"{node}.pem").write_bytes(ca.issue(node))
            (tmp_path / name / f"{node}.pem").chmod(0o600)
        (tmp_path / name / "network.pem").write_bytes(ca.trust.read_bytes())
    yield tmp_path


def credentials(certs: Path, network: str = "net") -> dict[str, Any]:
    return {"secret": None, "cert": str(certs / network / "me.pem"), "nodeid": "me"}


async def test_a_certificate_that_is_good(certs: Path) -> None:
    cert = str(certs / "net" / "seed.pem")
    async with Node("seed", binds=["tls://127.0.0.1:0"], cert=cert) as seed:
        joins, found = await examine(seeds=seed.addresses, **credentials(certs))
    assert joins
    assert named(found, "certificate").text.startswith("aemp://example/me until 20")
    assert named(found, "proof").text.endswith("certificate aemp://example/seed")


async def test_the_node_of_the_certificate_is_up_already(certs: Path) -> None:
    """The visit can only go by the ID in the certificate, and is turned away."""
    me = credentials(certs)
    async with (
        Node("seed", binds=["tls://127.0.0.1:0"], cert=str(certs / "net" / "seed.pem")) as seed,
        Node("me", cert=me["cert"], seeds=seed.addresses) as node,
    ):
        await asyncio.wait_for(node.up("seed"), 20)
        finding = await problem(seeds=seed.addresses, **me)
        assert node.node_is_up("seed")
    assert "another node me is up" in finding.remedy


async def test_a_certificate_of_another_ca(certs: Path) -> None:
    cert = str(certs / "net" / "seed.pem")
    async with Node("seed", binds=["tls://127.0.0.1:0"], cert=cert) as seed:
        finding = await problem(seeds=seed.addresses, **credentials(certs, "other"))
    assert finding.about == f"seed {seed.addresses[0]}: certificate"
    assert "network.pem" in finding.remedy


async def test_a_certificate_of_another_node(certs: Path) -> None:
    finding = await problem(seeds=["tls://127.0.0.1:1"], **{**credentials(certs), "nodeid": "bob"})
    assert finding.about == "certificate"
    assert "its subjectAltName is aemp://example/me" in finding.text


async def test_a_certificate_that_will_end_soon(certs: Path) -> None:
    ca = CA(certs / "net" / "ca")
    week_ago = time.time() - 7 * 86_400
    (certs / "net" / "me.pem").write_bytes(ca.issue("me", days=8, begins=week_ago))
    joins, found = await examine(binds=["tls://127.0.0.1:0"], **credentials(certs))
    assert joins
    assert [each.state for each in found if each.about == "certificate"] == ["ok", "warning"]
    assert any("aemp ca renew" in each.remedy for each in found)


async def test_a_secret_on_one_side_alone(certs: Path) -> None:
    cert = str(certs / "net" / "seed.pem")
    async with Node("seed", binds=["tls://127.0.0.1:0"], cert=cert, secret=SECRET) as seed:
        finding = await problem(seeds=seed.addresses, **credentials(certs))
    assert finding.remedy == "set the same 'secret' on both nodes, or on neither"


async def test_tls_there_and_tcp_here(certs: Path) -> None:
    cert = str(certs / "net" / "seed.pem")
    async with Node("seed", binds=["tls://127.0.0.1:0"], cert=cert) as seed:
        finding = await problem(seeds=[seed.addresses[0].replace("tls:", "tcp:")])
        assert "tls://" in finding.remedy
    finding = await problem(seeds=["tls://127.0.0.1:1"], nodeid="me")
    assert "'aemp ca issue me'" in finding.text


# -- as a process ------------------------------------------------------------------------------


def test_the_command_tells_people_and_scripts(network: Network, start: Any) -> None:
    node = start("run", "nodeid=seed", "binds=tcp://127.0.0.1:0")
    address = read_line(node, "address ")
    network.aemp("profile", "new", "worker", "nodeid=worker/%u", f"seeds={address}")
    done = network.aemp("doctor", "worker")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert all(line.startswith("ok       ") for line in lines[:-1])
    assert lines[-1] == "The node could start and join."
    del network.environment["AEMP_SECRET"]
    done = network.aemp("doctor", "worker", "--json", "--timeout", "5")
    assert (done.returncode, done.stderr) == (1, "")
    told = json.loads(done.stdout)
    assert told["joins"] is False
    last = told["findings"][-1]
    assert (last["about"], last["state"]) == (f"seed {address}: secret", "problem")
    assert last["remedy"]
    assert end(node, 15)[0] == 0


def test_the_command_names_the_remedy(network: Network) -> None:
    done = network.aemp("doctor", "--seed", "tcp://127.0.0.1:1")
    assert done.returncode == 1
    *_, about, remedy, verdict = done.stdout.splitlines()
    assert about == "problem  seed tcp://127.0.0.1:1: connection: 127.0.0.1: Connection refused"
    assert remedy.startswith("           -> start the node there")
    assert verdict == "The node could not start and join."
    done = network.aemp("doctor", "nobody")
    assert done.returncode == 1
    assert "unknown profile 'nobody'" in done.stdout
