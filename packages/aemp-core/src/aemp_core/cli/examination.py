"""An examination: everything that has to be right for a node to start and to join, looked at in the
order in which the node would meet it.

Nothing is changed, except that the secret of the user is made if it was missing. A node that runs
is not disturbed: what is bound is released at once, and seeds are visited by another node ID,
unless the certificate grants none but its own.
"""

from __future__ import annotations

import asyncio
import dataclasses
import importlib.util
import os
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

from ..config import Sourced, config_path, gather
from ..errors import AempError, ConfigError
from ..finding import OK, PROBLEM, WARNING, Finding
from ..ids import expand_node_id, new_incarnation
from ..link import Candidate
from ..node import Node
from ..plugins import plugin_manager
from ..secret import user_secret, user_secret_path
from ..settings import Settings
from .effective import flaws
from .listening import process_at
from .run.health import Health
from .seed_visit import Visit

__all__ = ["Examination"]

#: Node IDs of visitors: greater than others, so that it is the seed that proves itself first.
VISITOR = "zz/doctor/%u"


class Examination:
    """The examination of one profile.

    Args:
        profile: its name; None: the one that AEMP_PROFILE names, or the top level.
        words: settings stronger than those, as on the command line.
        timeout: seconds to wait for each thing that has to happen.

    Attributes:
        joins: whether the node could start and join; known when `findings` has ended.
    """

    def __init__(self, profile: str | None, words: dict[str, Any], timeout: float) -> None:
        self._profile = profile
        self._words = words
        self._timeout = timeout
        self.joins = False

    async def findings(self) -> AsyncIterator[Finding]:
        """Look at everything, one thing after the other."""
        starts = True
        settings: Settings | None = None
        for each in self._configuration():
            if isinstance(each, Settings):
                settings = each
                continue
            starts = starts and each.state != PROBLEM
            yield each
        if settings is None:
            return
        for each in (*_secret(settings), *_modules(settings)):
            starts = starts and each.state != PROBLEM
            yield each
        try:
            visitor = await _visitor(settings).start()
        except (AempError, OSError) as error:
            about = "certificate" if settings.cert is not None else "settings"
            yield Finding(about, PROBLEM, str(error))
            return
        try:
            async for each in self._network(visitor, settings, starts):
                yield each
        finally:
            await visitor.close()

    # -- what needs no network -----------------------------------------------------------------

    def _configuration(self) -> Iterator[Finding | Settings]:
        file, found = flaws()
        name = self._profile or os.environ.get("AEMP_PROFILE") or None
        used: list[str] = []
        if file is not None and name is not None:
            with suppress(ConfigError):
                used = file.chain(name)
        problems = 0
        for flaw in found:
            # A wrong value of a profile that is not used harms nobody yet.
            harms = not flaw.of_value or flaw.profile in (None, *used)
            problems += harms
            text = f"{config_path()}: {flaw}"
            yield Finding("configuration", PROBLEM if harms else WARNING, text)
        try:
            sourced: dict[str, Sourced] = gather(self._profile, words=self._words)
            settings = Settings(**{key: each.value for key, each in sourced.items()})
        except ConfigError as error:
            if not problems:
                yield Finding("configuration", PROBLEM, str(error))
            return
        what = f"profile {name}" if name else "no profile"
        yield Finding("configuration", OK, f"{config_path()}, {what}")
        yield settings

    # -- what needs a node ---------------------------------------------------------------------

    async def _network(
        self, visitor: Node, settings: Settings, starts: bool
    ) -> AsyncIterator[Finding]:
        for findings in plugin_manager().hook.aemp_findings(node=visitor):
            for each in findings:
                starts = starts and each.state != PROBLEM
                yield each
        node_id, unique = _node_id(settings)
        yield Finding("node ID", OK, f"{node_id}{', another one each time' if unique else ''}")
        own = {*settings.binds, *settings.advertise}
        elsewhere = False
        for address in settings.binds:
            each = await self._bind(visitor, address, node_id, own)
            starts = starts and each.state != PROBLEM
            # A node of that ID that is up is another one, if none listens where this one would.
            elsewhere = elsewhere or (each.state == OK and not address.endswith(":0"))
            yield each
        if settings.health is not None:
            each = await self._health(settings.health)
            starts = starts and each.state != PROBLEM
            yield each
        if not settings.seeds:
            if settings.binds:
                yield Finding("seeds", OK, "none: it waits for others to join it")
                self.joins = starts
            else:
                remedy = "set 'seeds', or 'binds' if others are to dial it"
                yield Finding("seeds", PROBLEM, "none, and no address to listen on", remedy)
            return
        others = [address for address in settings.seeds if address not in own]
        for address in settings.seeds:
            if address in own:
                yield Finding(f"seed {address}: address", OK, "that of this node itself")
        joined = not others
        for address in others:
            linked = twin = False
            visit = Visit(visitor, address, None if unique else node_id, self._timeout)
            async for each in visit.findings():
                linked = linked or (each.about.endswith(" link") and each.state == OK)
                if each.about.endswith(" node ID") and elsewhere:
                    each, twin = dataclasses.replace(each, state=PROBLEM), True
                yield each
            joined = joined or (linked and not twin)
        self.joins = starts and joined

    async def _bind(self, visitor: Node, address: str, node_id: str, own: set[str]) -> Finding:
        """Bind an address for a moment; those by which others would reach it are added to `own`."""
        about = f"bind {address}"
        try:
            transport = visitor.transport(address)
            listener = await self._within(transport.listen(address, _turn_away))
        except asyncio.TimeoutError:
            return Finding(about, PROBLEM, f"could not be bound within {self._timeout:g} s")
        except (AempError, OSError) as error:
            holder = process_at(address)
            text = f"{error}{f'; {holder} listens there' if holder else ''}"
            other = await self._who(visitor, address)
            if other == node_id:
                text = f"the node {other} runs already{f', {holder}' if holder else ''}"
                return Finding(about, PROBLEM, text, "end it before another one is started")
            if other is not None:
                text += f", the node {other}"
            return Finding(about, PROBLEM, text)
        own.update(listener.addresses)
        await listener.close()
        return Finding(about, OK, f"free, to be reached at {', '.join(listener.addresses)}")

    async def _health(self, address: str) -> Finding:
        """Bind the address of ``aemp run --health`` for a moment."""
        about = f"health {address}"
        health = Health("", lambda: None)
        try:
            await self._within(health.listen(address))
        except (AempError, asyncio.TimeoutError) as error:
            where = f"unix://{address}" if address.startswith("/") else f"tcp://{address}"
            holder = process_at(where)
            who = f"; {holder} listens there" if holder else ""
            return Finding(about, PROBLEM, f"{error}{who}")
        await health.close()
        return Finding(about, OK, "free")

    async def _who(self, visitor: Node, address: str) -> str | None:
        """The node ID that whoever listens at an address greets by."""
        address = re.sub(r"://(\*|0\.0\.0\.0|\[::\])?:", "://127.0.0.1:", address)
        with suppress(AempError, OSError, asyncio.TimeoutError):
            candidate: Candidate = await self._within(visitor.transport(address).dial(address))
            candidate.close("only a look")
            return candidate.peer.id
        return None

    async def _within(self, waiting: Any) -> Any:
        return await asyncio.wait_for(waiting, self._timeout)


# -- parts ---------------------------------------------------------------------------------------


def _turn_away(candidate: Candidate) -> None:
    candidate.close("only a look")


def _node_id(settings: Settings) -> tuple[str, bool]:
    """What the node would be called, and whether it is something else each time."""
    drawn = []

    def unique() -> str:
        drawn.append(new_incarnation(time.time(), os.urandom(8)))
        return drawn[-1]

    return expand_node_id(settings.nodeid, unique), bool(drawn)


def _visitor(settings: Settings) -> Node:
    """A node that can talk to what the examined one talks to, and does nothing else."""
    by_own_id = settings.cert is not None or any(
        address.startswith("tls://") for address in (*settings.seeds, *settings.binds)
    )
    return Node.of(
        dataclasses.replace(
            settings,
            nodeid=settings.nodeid if by_own_id else VISITOR,
            binds=(),
            advertise=(),
            seeds=(),
            services=(),
            expose=(),
            role="ordinary",
        )
    )


def _secret(settings: Settings) -> Iterator[Finding]:
    if settings.secret is not None:
        yield Finding("secret", OK, f"configured, {len(settings.secret)} bytes")
        return
    if settings.cert is not None:
        yield Finding("secret", OK, "none, certificates are enough")
        return
    path = user_secret_path()
    try:
        user_secret(path)
    except ConfigError as error:
        yield Finding("secret", PROBLEM, str(error))
    else:
        yield Finding("secret", OK, f"that of this user, for this machine alone, in {path}")


def _modules(settings: Settings) -> Iterator[Finding]:
    """Whether the modules can be found that the node would load; they are not loaded."""
    for key in ("expose", "services"):
        for item in getattr(settings, key):
            name = (item if isinstance(item, str) else item[0]).partition(":")[0]
            top = name.partition(".")[0]
            try:
                missing = importlib.util.find_spec(top) is None
            except (ImportError, ValueError):
                missing = True
            if missing:
                text = f"{name}: there is no module {top!r} here"
                remedy = "install it, or run the node in the directory that it is in"
                yield Finding(key, PROBLEM, text, remedy)
