"""Two nodes that trust each other, from nothing, by the commands that the README shows."""

from __future__ import annotations

import os
import re
import shlex
import signal
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen

import pytest

from .conftest import SECONDS, Network, end, read_line

ROOT = Path(__file__).resolve().parents[2]
#: The commands of the README about TLS: three that make certificates, two that start nodes.
SHOWN = re.findall(
    r"^\$ aemp ((?:ca |run nodeid=\w+ cert=).*)$",
    (ROOT / "README.md").read_text(encoding="utf-8"),
    re.MULTILINE,
)


@pytest.fixture
def network(tmp_path: Path) -> Network:
    """A directory with nothing in it, and nothing configured."""
    return Network(tmp_path, {**os.environ, "HOME": str(tmp_path), "AEMP_LOG_LEVEL": "INFO"})


def test_from_nothing_to_two_nodes_that_trust_each_other(
    network: Network, start: Callable[..., Popen[str]]
) -> None:
    *making, seed, worker = [shlex.split(line) for line in SHOWN]
    assert [words[:2] for words in making] == [["ca", "init"], ["ca", "issue"], ["ca", "issue"]]
    for words in making:
        done = network.aemp(*words)
        assert (done.returncode, done.stderr) == (0, "")
    (network.path / "tasks.py").write_text("")
    first = start(*[re.sub(r"tls://[\d.:]+", "tls://127.0.0.1:0", word) for word in seed])
    address = read_line(first, "address ")
    assert address.startswith("tls://127.0.0.1:")
    second = start(*[re.sub(r"tls://[\d.:]+", address, word) for word in worker])
    assert read_line(second, "node ") == "worker"
    assert first.stderr is not None
    for line in first.stderr:  # the test's own timeout ends waiting
        if "node worker is up" in line:
            break
    for process in (second, first):
        code, _, _ = end(process, signal.SIGTERM)
        assert code == 0


def test_a_visitor_needs_a_certificate(network: Network, start: Callable[..., Popen[str]]) -> None:
    for words in ("init example", "issue seed", "issue anon/* --pattern"):
        assert network.aemp("ca", *words.split()).returncode == 0
    node = start("run", "nodeid=seed", "cert=seed.pem", "binds=tls://127.0.0.1:0")
    question = ("cal", "--seed", read_line(node, "address "), "--timeout", "20", "seed", "time")
    done = network.aemp(*question)
    assert done.returncode != 0
    assert "set 'cert'" in done.stderr
    network.environment["AEMP_CERT"] = "anon-any.pem"
    done = network.aemp(*question)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) > 1e9
    assert end(node, signal.SIGTERM)[0] == 0


def said(log: Path, pattern: str) -> str:
    """Wait for a line of a log that matches; the line."""
    ends = time.monotonic() + SECONDS
    while time.monotonic() < ends:
        for line in log.read_text(encoding="utf-8").splitlines():
            if re.search(pattern, line):
                return line
        time.sleep(0.05)
    raise AssertionError(f"nothing matches {pattern!r} in: {log.read_text(encoding='utf-8')}")


def test_a_ca_is_replaced_and_a_node_revoked_while_nodes_run(
    network: Network, start: Callable[..., Popen[str]]
) -> None:
    """Each step by the command, files as an operator copies them; a link that was not lost."""

    def ca(*words: str) -> None:
        done = network.aemp("ca", *words, "--dir", "ca")
        assert (done.returncode, done.stderr) == (0, "")

    def copy_trust() -> None:
        (network.path / "fresh").write_bytes((network.path / "ca" / "network.pem").read_bytes())
        (network.path / "fresh").replace(network.path / "network.pem")

    def run(name: str, *words: str) -> Popen[str]:
        with open(network.path / f"{name}.log", "w") as log:
            return start("run", f"nodeid={name}", f"cert={name}.pem", *words, stderr=log.fileno())

    ca("init", "example")
    names = ("seed", "worker", "guest")
    for name in names:
        ca("issue", name, "--output", f"{name}.pem")
    seed = run("seed", "binds=tls://127.0.0.1:0")
    address = read_line(seed, "address ")
    for name in names[1:]:
        run(name, f"seeds={address}")
    logs = {name: network.path / f"{name}.log" for name in names}
    for name in names[1:]:
        said(logs["seed"], f"node {name} is up")

    ca("rotate")
    copy_trust()
    seed.send_signal(signal.SIGHUP)  # to look at once; the others look by themselves
    for name in names:
        said(logs[name], r"new credentials: .*, 2 CAs")
    ca("renew", *(f"{name}.pem" for name in names))
    ca("rotate", "--finish")
    copy_trust()
    for name in names:
        said(logs[name], r"new credentials: .*, 1 CAs")
    for name in names:
        text = logs[name].read_text(encoding="utf-8")
        assert "is down" not in text
        assert text.count("node seed is up") == (name != "seed")

    ca("revoke", "guest")
    began = time.monotonic()
    copy_trust()
    line = said(logs["seed"], "node guest is down")
    assert time.monotonic() - began < 5
    assert "the certificate of aemp://example/guest was revoked (serial number " in line
    assert "node worker is down" not in logs["seed"].read_text(encoding="utf-8")
