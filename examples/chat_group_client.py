"""A chat client: finds the server of chat_group_server.py in its group.

Run it as `chat_group_client.py NICK`.
"""

import asyncio
import sys

import aemp_core as mp
import aemp_global as gl


async def typed():
    """The lines somebody types."""
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    async for line in reader:
        yield line.decode().rstrip("\n")


async def main(nick):
    async with mp.configure(seeds=["tcp://127.0.0.1:4040"]):
        server, *_ = await gl.grp_wait("chat")
        me = mp.port()
        mp.rcv(me, said=lambda who, text: print(f"{who}: {text}", flush=True))
        mp.snd(server, "join", me, nick)

        async def talk():
            async for line in typed():
                mp.snd(server, "say", me, line)

        talking = asyncio.ensure_future(talk())
        mp.mon(server, lambda reason: talking.cancel())
        await asyncio.wait({talking})
        print("the chat is over" if talking.cancelled() else "bye", flush=True)


asyncio.run(main(sys.argv[1]))
