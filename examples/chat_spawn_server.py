"""A chat server with virtual connections: each client spawns a port here that is its own.

Run it in one terminal, and `python chat_spawn_client.py NICK` in others. What a client may do is
what its port understands; when the client goes, so does the port, and nothing else of it was here.
"""

import asyncio

import aemp_core as mp

connections = {}  # the client at the other end, by port


def tell(nick, text):
    for client in connections.values():
        mp.snd(client, "said", nick, text)


@mp.exposed(name="chat:connect")
def connect(client, nick):
    """Run by a client, in a port of its own on this node."""
    me = mp.current_port()
    connections[me] = client
    mp.rcv(me, say=lambda text: tell(nick, text))
    mp.mon(client, lambda reason: mp.kil(me))

    def over():
        del connections[me]
        tell(nick, "has left")

    mp.mon_guard(me, over)
    tell(nick, "is here")


async def main():
    async with mp.configure(nodeid="chat/server", binds=["tcp://127.0.0.1:4040"]) as node:
        print("the chat is open at", *node.addresses, flush=True)
        await node.run_forever()


asyncio.run(main())
