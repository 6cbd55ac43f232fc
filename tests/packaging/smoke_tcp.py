"""What an installed ``aemp-core[tcp]`` must be able to do; dist.py runs it far from the sources."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aemp_core as mp
import aemp_tcp

SECRET = b"a secret for this smoke test only"


async def main() -> None:
    for module in (mp, aemp_tcp):
        assert module.__file__ is not None
        assert "site-packages" in module.__file__, f"{module.__name__} is not the installed one"
        assert Path(module.__file__).with_name("py.typed").is_file()

    alice = mp.Node("alice", binds=["tcp://127.0.0.1:0"], secret=SECRET)
    async with alice, mp.Node("bob", seeds=alice.addresses, secret=SECRET) as bob:
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


asyncio.run(main())
