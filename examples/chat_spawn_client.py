"""A chat client: spawns its connection on the node of chat_spawn_server.py, known by its ID alone.

Run it as `chat_spawn_client.py NICK`.
"""

import asyncio
import sys

import aemp_core as mp


async def typed():
    """The lines somebody types."""
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    async for line in reader:
        yield line.decode().rstrip("\n")


async def main(nick):
    async with mp.configure(seeds=["tcp://127.0.0.1:4040"]):
        me = mp.port()
        mp.rcv(me, said=lambda who, text: print(f"{who}: {text}", flush=True))
        connection = mp.spawn("chat/server", "chat:connect", me, nick)

        async def talk():
            async for line in typed():
                mp.snd(connection, "say", line)

        talking = asyncio.ensure_future(talk())
        mp.mon(connection, lambda reason: talking.cancel())
        await asyncio.wait({talking})
        print("the chat is over" if talking.cancelled() else "bye", flush=True)


asyncio.run(main(sys.argv[1]))
