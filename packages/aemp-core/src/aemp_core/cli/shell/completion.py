"""Completion: what a text may go on with: Python's names; inside strings nodes, ports and groups.

Inside a string literal the IDs of nodes are offered, and names of groups that plugins know; after
``NODE#`` the ports of that node, which it is asked for. Everywhere else names and attributes are:
of where the text will run.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from ...errors import AempError
from ...ids import split_port
from ...plugins import plugin_manager
from ...presence import Presence

if TYPE_CHECKING:
    from ...node import Node

__all__ = ["Completion", "Found", "open_string"]

#: Seconds that a node has to tell its ports or names, and rows taken of what it tells.
ANSWER_SECONDS = 1.0
ROWS = 200

_WORD = re.compile(r"[^\W\d][\w.]*\Z|\Z")
#: Verbs whose first argument is a port or a node.
_VERB = re.compile(
    r"\b(?:snd|cal|mon|kil|killed|flush|spawn|up|snd_on|snd_to_func|eval_on|node_is_up)\(\Z"
)
_LITERAL = re.compile(r"(?<!\w)(?:[rbuf]{0,2})(\"\"\"|'''|\"|')", re.IGNORECASE)


class Found(NamedTuple):
    """What the end of a text may be replaced by.

    Attributes:
        length: characters of the end that are replaced.
        texts: each of them begins with that end.
    """

    length: int
    texts: list[str]


def open_string(text: str) -> str | None:
    """The beginning of the string literal that `text` ends in; None if it ends in none."""
    place = 0
    while True:
        comment = text.find("#", place)
        literal = _LITERAL.search(text, place)
        if literal is None:
            return None
        if 0 <= comment < literal.start():
            place = text.find("\n", comment)
            if place < 0:
                return None
            continue
        quote = literal[1]
        place = begin = literal.end()
        while True:
            end = text.find(quote, place)
            if end < 0:
                return text[begin:]
            slashes = len(text[begin:end]) - len(text[begin:end].rstrip("\\"))
            place = end + (1 if slashes % 2 else len(quote))
            if slashes % 2 == 0:
                break


class Completion:
    """Completion for one shell.

    Args:
        node: the visitor's node.
        names: ``await names(word)``, names and attributes that begin with a word.
        ports: ``ports()``, port IDs known without asking: the shell's own, for example.
    """

    def __init__(
        self,
        node: Node,
        names: Callable[[str], Awaitable[Iterable[str]]],
        ports: Callable[[], Iterable[str]],
    ) -> None:
        self._node = node
        self._names = names
        self._ports = ports
        self._presence = Presence(node, lambda node_id, is_there: None)
        self._groups = plugin_manager().hook.aemp_groups(node=node)

    def close(self) -> None:
        """Watch the network no more."""
        self._presence.cancel()

    async def of(self, text: str) -> Found:
        """What `text`, all that stands before the cursor, may go on with."""
        begun = open_string(text)
        if begun is not None:
            return Found(len(begun), await self._ids(begun))
        word = _WORD.search(text)
        begun = word[0] if word is not None else ""
        if begun:
            return Found(len(begun), list(await self._names(begun)))
        if _VERB.search(text):
            return Found(0, [f'"{each}"' for each in await self._ids("")])
        return Found(0, [])

    async def _ids(self, begun: str) -> list[str]:
        """IDs of nodes and ports that begin so."""
        if "#" in begun:
            name = begun.partition("#")[0]
            known = {*self._ports(), *await self._ports_of(name)}
        else:
            known = {self._node.id, *self._presence, *self._ports()}
            for groups in self._groups:
                with suppress(Exception):  # of a plugin, or a network that does not answer
                    known.update(await asyncio.wait_for(groups(begun), ANSWER_SECONDS))
        return sorted(each for each in known if each.startswith(begun))

    async def _ports_of(self, name: str) -> list[str]:
        """The ports of a node, as far as it tells them."""
        node = self._node
        if name == node.id:
            return list(node.ports)
        peer = node.peers.get(name)
        if peer is None or peer.session is None or "status" not in peer.session.info.features:
            return []
        with suppress(AempError, ValueError, TypeError, LookupError):
            error, _, rows, *_ = await node.cal(name, "ports", 0, timeout=ANSWER_SECONDS)
            told = [row["port"] for row in rows[:ROWS]] if not error else []
            return [port for port in told if split_port(port)[0] == name]
        return []
