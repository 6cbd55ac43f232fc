"""A crowd of processes, each a node of one network: a program that tests run.

It reads one line of JSON: the directory of the globals' sockets, the secret, the IDs of the nodes.
It forks a process for each, which is cheaper than starting thirty interpreters, writes their
process IDs as JSON, and ends them when its standard input ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys

import aemp_core as mp
import aemp_global as gl
import aemp_global.verbs
import aemp_tcp.tcp
import aemp_tcp.unix  # noqa: F401  # imported here once, and not in each process
from aemp_core.plugins import plugin_manager


async def member(node_id: str, directory: str, secret: str, globals: list[str]) -> None:
    """One node: registers a port that tells what it sees, and whom it can talk to."""
    binds = ["tcp://127.0.0.1:0"]
    if node_id in globals:
        binds.append(f"unix://{directory}/{node_id}")
    node = mp.Node(
        node_id,
        binds=binds,
        seeds=[f"unix://{directory}/{each}" for each in globals if each != node_id],
        role="global" if node_id in globals else "auto",
        secret=secret,
        heartbeat=2,
        connect_interval=1,
    )
    async with node:

        async def ask(other: str, reply: str) -> None:
            (answer,) = await mp.cal(other, "who", timeout=20)
            mp.snd(reply, answer)

        def meet(other: str, reply: str) -> None:
            # Not an async handler: this port would wait for one that waits for the next, and so on
            # round the whole ring.
            mp.task(ask(other, reply))

        port = mp.port()
        mp.rcv(
            port,
            who=mp.replies(lambda: node_id),
            see=mp.replies(lambda: sorted(gl.grp_get("crowd"))),
            links=mp.replies(lambda: sorted(mp.up_nodes())),
            meet=meet,
        )
        gl.grp_get("crowd")
        gl.grp_reg("crowd", port)
        await asyncio.Event().wait()


def main() -> None:
    plugin_manager()
    told = json.loads(sys.stdin.readline())
    pids: dict[str, int] = {}
    for node_id in told["nodes"]:
        pid = os.fork()
        if not pid:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            try:
                asyncio.run(member(node_id, told["directory"], told["secret"], told["globals"]))
            finally:
                os._exit(1)
        pids[node_id] = pid
    print(json.dumps(pids), flush=True)
    sys.stdin.read()
    for pid in pids.values():
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
