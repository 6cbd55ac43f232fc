"""What an installed ``aemp-core[global]`` must do; dist.py runs it far from the sources."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aemp_core as mp
import aemp_global as gl


async def main() -> None:
    for module in (mp, gl):
        assert module.__file__ is not None
        assert "site-packages" in module.__file__, f"{module.__name__} is not the installed one"
        assert Path(module.__file__).with_name("py.typed").is_file()

    seeds = ["memory://hub"]
    async with (
        mp.Node("hub", binds=seeds),
        mp.Node("alice", binds=["memory://a"], seeds=seeds) as (alice),
        mp.Node("bob", seeds=seeds) as bob,
    ):
        with alice.current():
            echo = mp.port()
            mp.rcv(echo, hello=mp.replies(lambda name: ("hello", name)))
            gl.grp_reg("echoes", echo)
        with bob.current():
            assert await asyncio.wait_for(gl.grp_wait("echoes"), 30) == [echo]
            assert await mp.cal(echo, "hello", "bob", timeout=30) == ("hello", "bob")


asyncio.run(main())
