"""Serving: one node in this process, from its start to the end of the process.

    starting --> up --SIGTERM, Ctrl-C, the node was closed--> leaving --> the end
                 |  --asked to restart----------------------> leaving --> the same command again

SIGHUP while up reloads. Leaving is `Node.close`: peers are told, what is queued is written out.
It is bounded, and after `stop_seconds` the process ends in any case, stuck loop or not.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from ...errors import AempError
from ...plugins import plugin_manager
from ...reason import describe
from . import joining, signals, workers
from .health import Health
from .output import tell_up
from .recipe import Recipe
from .reload import reload
from .systemd import Notifier
from .tether import BEAT_SECONDS, Tether
from .workers import Place

if TYPE_CHECKING:
    from ...node import Node
    from ...settings import Settings

__all__ = ["Serving"]

log = logging.getLogger("aemp_core.cli")


class Serving:
    """One node and its process.

    Args:
        recipe: what to run.
        settings: what that says now.
        as_json: print JSON.
        stop_seconds: how long leaving may take.

    Attributes:
        restarting: whether the process is to be started again after its end.
    """

    def __init__(
        self, recipe: Recipe, settings: Settings, *, as_json: bool, stop_seconds: float
    ) -> None:
        self._recipe = recipe
        self._settings = settings
        self._as_json = as_json
        self._stop_seconds = stop_seconds
        self._tether: Tether | None = None
        self._node: Node | None = None  # once it is up
        self._is_orphan = False
        self._reload_wanted = False
        self._stop: asyncio.Event
        self.restarting = False
        # The same environment for the same command again: the notifier takes variables out.
        self._environment = dict(os.environ)
        self._directory = os.getcwd()
        self._notifier = Notifier()

    async def run(self) -> None:
        """Run the node; returns when it has left the network.

        Raises:
            AempError: the node cannot be started.
            OSError: likewise.
        """
        loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        place = self._recipe.place
        if place is not None and place.fd >= 0:
            self._tether = Tether(place.fd, self._orphaned)
        signals.catch(loop, self._stop.set, self._reload, patient=self._tether is not None)
        beating = [asyncio.ensure_future(_every(seconds, beat)) for seconds, beat in self._beats()]
        health: Health | None = None
        try:
            from ...node import Node

            node = Node.of(self._settings)
            node.restart_hook = self._restart
            if self._settings.health is not None:
                health = Health(node.id, partial(self._unready, node))
                await health.listen(self._settings.health)
            await self._serve(node)
        finally:
            if health is not None:
                await health.close()
            for task in beating:
                task.cancel()
            if self._tether is not None:
                self._tether.close()

    def _beats(self) -> Any:
        if self._tether is not None:
            yield BEAT_SECONDS, lambda tether=self._tether: tether.say("beat")
        if self._notifier.beat_seconds is not None:
            yield self._notifier.beat_seconds, self._notifier.beat

    async def _serve(self, node: Node) -> None:
        self._notifier.status(f"node {node.id} is starting")
        starting = asyncio.ensure_future(node.start())
        stopped = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
        try:
            await starting
        except asyncio.CancelledError:
            return  # told to end before it was up
        if not node.closing:  # by what was started meanwhile
            self._up(node)
            await stopped
        await self._leave(node)

    def _up(self, node: Node) -> None:
        self._node = node
        node.mon_nodes(_log_node)
        # Also when a service, or who may eval, closes the node.
        node.mon(node.id, lambda *_reason: self._stop.set())
        if self._recipe.place is not None and self._recipe.place.number:
            workers.join(node, self._recipe.place)
        if self._tether is None:
            tell_up(node.id, node.incarnation, node.addresses, as_json=self._as_json)
        else:
            self._tether.say("up", node.id, node.incarnation, node.addresses)
        node.task(joining.look_after(node, partial(self._unready, node)), name="look after joining")
        self._notifier.ready(f"node {node.id} is up")
        if self._reload_wanted:
            self._reload()

    async def _leave(self, node: Node) -> None:
        if self.restarting:
            self._notifier.reloading()  # it will be ready again
        else:
            self._notifier.stopping()
        # Not a timer of the loop: that may be what is stuck.
        late = threading.Timer(self._stop_seconds, _end_late, (self._stop_seconds,))
        late.daemon = True
        late.start()
        log.info("node %s leaves the network", node.id)
        await node.close()
        if self._tether is not None and self.restarting:
            self._tether.say("restart")
        if self._is_orphan and self._recipe.place is not None and self._recipe.place.sockets:
            with suppress(OSError):  # whoever is the last
                os.rmdir(self._recipe.place.sockets)

    def _unready(self, node: Node) -> str | None:
        """Why the node is not part of its network; None: it is."""
        if self._node is None:
            return "the node is starting"
        if node.closing or self._stop.is_set():
            return "the node is leaving the network"
        judges = plugin_manager().hook.aemp_joined(node=node)
        if judges:
            return next((why for why in judges if why), None)
        seeds = node.settings.seeds
        # One that is its own seed has no link to it.
        if seeds and not (set(seeds) & set(node.addresses) or node.dialler.seed_ids()):
            return f"there is no link to any of the seeds: {', '.join(seeds)}"
        return None

    def _orphaned(self) -> None:
        log.error("the process that looks after this node is gone: the node leaves the network")
        self._is_orphan = True
        self._stop.set()

    def _restart(self) -> None:
        log.info("the node was asked to restart")
        self.restarting = True
        self._stop.set()

    def _reload(self) -> None:
        """Use the configuration as it is now, unless that is wrong."""
        node = self._node
        if node is None or node.closing:
            self._reload_wanted = True  # once it is up
            return
        self._notifier.reloading()
        try:
            self._settings = reload(node, self._settings, self._recipe.settings())
        except (AempError, OSError) as error:
            log.error("node %s goes on with its former configuration: %s", node.id, error)
        finally:
            if self._tether is not None:
                self._tether.say("reloaded")
            self._notifier.ready(f"node {node.id} is up")

    def again(self) -> None:
        """Become the same command from its start, with the same node ID; does not return."""
        assert self._node is not None
        place = Place(-1, self._node.id).to_text()
        sys.stdout.flush()
        os.chdir(self._directory)
        at = len(sys.orig_argv) - len(sys.argv) + 2  # behind the word "run"
        before, after = sys.orig_argv[1:at], sys.orig_argv[at:]
        if after[:1] == ["--child"]:  # not the first time
            after = after[2:]
        command = [sys.executable, *before, "--child", place, *after]
        os.execve(sys.executable, command, self._environment)


def _log_node(peer: str, is_up: bool, reason: tuple[Any, ...]) -> None:
    log.info("node %s is %s", peer, "up" if is_up else f"down: {describe(reason)}")


def _end_late(seconds: float) -> None:
    log.error("the node did not leave within %g s: the process ends now", seconds)
    with suppress(OSError):
        sys.stdout.flush()
    os._exit(1)


async def _every(seconds: float, beat: Any) -> None:
    while True:
        beat()
        await asyncio.sleep(seconds)
