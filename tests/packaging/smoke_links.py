"""What an installed ``aemp-core[EXTRA]`` must be able to do; dist.py runs it far from the sources.

Usage: python smoke_links.py EXTRA, tcp or tls
"""

from __future__ import annotations

import asyncio
import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import aemp_core as mp

SECRET = b"a secret for this smoke test only"
MODULES = {"tcp": ["aemp_tcp"], "tls": ["aemp_tcp", "aemp_tls"]}


def settings(extra: str, node_id: str) -> dict[str, Any]:
    """How a node proves itself."""
    if extra == "tcp":
        return {"secret": SECRET}
    aemp_ca(f"issue {node_id}")
    return {"cert": f"{node_id}.pem"}


def aemp_ca(words: str) -> None:
    command = Path(sys.executable).with_name("aemp")
    subprocess.run([command, "ca", *words.split(), "--dir", "ca"], check=True)


async def main(extra: str) -> None:
    for module in (mp, *map(importlib.import_module, MODULES[extra])):
        assert module.__file__ is not None
        assert "site-packages" in module.__file__, f"{module.__name__} is not the installed one"
        assert Path(module.__file__).with_name("py.typed").is_file()

    if extra == "tls":
        aemp_ca("init smoke")
    alice = mp.Node("alice", binds=[f"{extra}://127.0.0.1:0"], **settings(extra, "alice"))
    known = settings(extra, "bob")
    async with alice, mp.Node("bob", seeds=alice.addresses, **known) as bob:
        with alice.current():
            echo = mp.port()
            mp.rcv(echo, hello=mp.replies(lambda name: ("hello", name)))
        with bob.current():
            assert await mp.cal(echo, "hello", "bob", timeout=30) == ("hello", "bob")
            ended: asyncio.Future[mp.Reason] = asyncio.get_running_loop().create_future()
            mp.mon(echo, ended.set_result)
        with alice.current():
            mp.kil(echo, "enough")
        assert await asyncio.wait_for(ended, 30) == ("enough",)


asyncio.run(main(sys.argv[1]))
