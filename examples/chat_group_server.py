"""A chat server that is found through a group: what one says, all hear.

Run it in one terminal, and `python chat_group_client.py NICK` in others. Clients know no more than
one address of the network and the name of the group, so the server may be on any of its nodes.
"""

import asyncio

import aemp_core as mp
import aemp_global as gl


async def main():
    async with mp.configure(nodeid="chat/server", binds=["tcp://127.0.0.1:4040"]) as node:
        nicks = {}  # by the port of the client
        server = mp.port()

        def tell(nick, text):
            for client in nicks:
                mp.snd(client, "said", nick, text)

        @mp.on(server, "join")
        def join(client, nick):
            nicks[client] = nick
            mp.mon(client, lambda reason: leave(client))
            tell(nick, "is here")

        def leave(client):
            tell(nicks.pop(client), "has left")

        @mp.on(server, "say")
        def say(client, text):
            if client in nicks:
                tell(nicks[client], text)

        gl.grp_reg("chat", server)
        print("the chat is open at", *node.addresses, flush=True)
        await node.run_forever()


asyncio.run(main())
