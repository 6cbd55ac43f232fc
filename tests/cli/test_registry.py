"""``aemp groups`` and ``aemp db`` as processes, against a node that has registered something."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .conftest import AEMP, SECONDS, Network, end, read_line

Start = Callable[..., "subprocess.Popen[str]"]

pytest.importorskip("aemp_global")

SERVICE = """
import aemp_core as mp
import aemp_global as gl

def start():
    gl.grp_reg("greeters", mp.port(print))
    gl.grp_reg("greeters", mp.port(print))
    gl.grp_reg("choir", mp.port(print))
    gl.db_set("prices", "apple", 2)
    gl.db_set("prices", "melon", {"each": 5})
    change = mp.port()
    mp.rcv(change, set=mp.replies(lambda key, value: gl.db_set("stock", key, value) and None),
           delete=mp.replies(lambda key: gl.db_del("stock", key)),
           join=mp.replies(lambda: gl.grp_reg("crowd", mp.port(print)) and None))
    gl.db_set("stock", "port", change)
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """A network of one node that all visitors know."""
    path: Path = tmp_path_factory.mktemp("shop")
    (path / "shop.py").write_text(SERVICE)
    variables = {"AEMP_SECRET": "a secret of the tests only", "AEMP_LOG_LEVEL": "CRITICAL"}
    network = Network(path, {**os.environ, **variables})
    process = subprocess.Popen(
        [*AEMP, "run", "nodeid=shop", "binds=tcp://127.0.0.1:0", "services=[['shop:start']]"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=path,
        env=network.environment,
    )
    try:
        network.environment["AEMP_SEEDS"] = read_line(process, "address ")
        yield network
    finally:
        process.kill()
        process.communicate(timeout=SECONDS)


def failed(network: Network, *words: str) -> str:
    """The one line of a command that did not work out."""
    result = network.aemp(*words)
    assert (result.returncode, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    return line


def test_groups_lists_groups_and_who_is_in_one(shop: Network) -> None:
    result = shop.aemp("groups")
    assert (result.returncode, result.stderr) == (0, "")
    assert [line.split() for line in result.stdout.splitlines()[:3]] == [
        ["GROUP", "PORTS"], ["choir", "1"], ["greeters", "2"],
    ]  # fmt: skip
    ports = shop.aemp("groups", "greeters").stdout.splitlines()
    assert len(ports) == 2 and all(port.startswith("shop#") for port in ports)
    line = failed(shop, "groups", "greters")
    assert line == "aemp: no port is in the group 'greters': did you mean 'greeters'?"


def test_db_reads_families(shop: Network) -> None:
    sizes = json.loads(shop.aemp("db", "families", "--json").stdout)
    assert sizes["prices"] == 2 and not any(name.startswith("'") for name in sizes)
    result = shop.aemp("db", "get", "prices")
    assert [line.split(maxsplit=2) for line in result.stdout.splitlines()] == [
        ["KEY", "OWNER", "VALUE"],
        ["apple", "shop", "2"],
        ["melon", "shop", '{"each": 5}'],
    ]
    assert json.loads(shop.aemp("db", "get", "--json", "prices", "melon").stdout) == {"each": 5}
    assert shop.aemp("db", "keys", "prices").stdout == "apple\nmelon\n"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("get", "price"), "nothing is registered in the family 'price': did you mean 'prices'?"),
        (("get", "prices", "aple"), "'prices' has no key 'aple': did you mean 'apple'?"),
    ],
)
def test_db_says_what_is_not_there(shop: Network, words: tuple[str, ...], text: str) -> None:
    assert failed(shop, "db", *words).endswith(text)


def test_changes_are_followed(shop: Network, start: Start, network: Network) -> None:
    network.environment.update(shop.environment)
    port = shop.aemp("db", "get", "stock", "port").stdout.strip()
    follower = start("db", "mon", "stock")
    assert read_line(follower, "+ port ") == port
    for words, line in (
        (("set", "nails", "5"), "+ nails 5"),
        (("set", "nails", "6"), "~ nails 6"),
        (("delete", "nails"), "- nails"),
    ):
        assert shop.aemp("cal", port, *words).returncode == 0
        read_line(follower, line)
    assert end(follower, signal.SIGINT)[::2] == (0, "")
    follower = start("groups", "--watch", "--json", "crowd")
    assert json.loads(read_line(follower, ""))["ports"] == []
    assert shop.aemp("cal", port, "join").returncode == 0
    told = json.loads(read_line(follower, ""))
    assert told["added"] == told["ports"] and len(told["added"]) == 1
    assert end(follower, signal.SIGINT)[::2] == (0, "")


def test_a_network_without_a_registry_is_told_as_such(shop: Network, start: Start) -> None:
    """A node of core alone, which knows nothing of homes."""
    code = (
        "import sys, aemp_global.plugin as plugin\n"
        "from aemp_core.plugins import plugin_manager\n"
        "plugin_manager().unregister(plugin)\n"
        "from aemp_core.cli import main\n"
        "main(['run', 'nodeid=bare', 'binds=tcp://127.0.0.1:0'])"
    )
    environment = {key: shop.environment[key] for key in shop.environment if key != "AEMP_SEEDS"}
    bare = subprocess.Popen(
        [AEMP[0], "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        address = read_line(bare, "address ")
        result = shop.aemp("groups", "--seed", address, "--timeout", "1")
        assert result.returncode == 3
        assert "a global node (linked with bare): is aemp-global there?" in result.stderr
    finally:
        bare.kill()
        bare.communicate(timeout=SECONDS)
