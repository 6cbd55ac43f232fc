"""The overseer: the parent of processes that each run one node.

It starts them, starts anew those that end, ends those that are stuck, passes signals on, and tells
the service manager how they are. It runs no code of users and no event loop, and starts processes
as new programs: nothing is shared with them but a tether.

What ends without having been told to is started again, after a pause that grows from 0.5 s to 60 s
and is short again once a node was up for 60 s. This goes on for ever, with two exceptions: exit
code 2, a configuration that is wrong, ends everything; so does, without a watchdog, a node that
ends before it was up for the first time.
"""

from __future__ import annotations

import logging
import os
import selectors
import shutil
import signal
import sys
import tempfile
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from ...errors import AempError, UsageError
from ...ids import expand_node_id, new_incarnation
from ...settings import Settings
from ..outcome import DONE, FAILED, USAGE
from . import signals
from .child import Child, State
from .output import tell_up
from .recipe import Recipe
from .systemd import Notifier
from .workers import Place

__all__ = ["Limits", "Overseer"]

log = logging.getLogger("aemp_core.cli")

#: Seconds between two looks at everything; silence is counted in them, so that a stall of this
#: process, or of the machine, is not taken for one of all nodes.
TICK_SECONDS = 0.5
#: Seconds a process that is stuck has to show where, before it is killed.
ABORT_SECONDS = 2.0
#: Seconds a node may take to reload, until the service manager is told that it is done.
RELOAD_SECONDS = 10.0


@dataclass(frozen=True)
class Limits:
    """How long things may take, in seconds.

    Attributes:
        start: from the start of a process until its node is up.
        stall: for the event loop of a node to do nothing.
        stop: for nodes to leave the network.
    """

    start: float
    stall: float
    stop: float


class Overseer:
    """The parent of all nodes of a run.

    Args:
        recipe: what to run.
        settings: what that says now: how many nodes, and which ID.
        limits: how long things may take.
        watchdog: end and start again what is stuck, and what does not even start.
        as_json: print JSON.
    """

    def __init__(
        self, recipe: Recipe, settings: Settings, limits: Limits, *, watchdog: bool, as_json: bool
    ) -> None:
        if os.name != "posix":
            raise UsageError("--workers and --watchdog need a system with POSIX processes")
        self._limits = limits
        self._watchdog = watchdog
        self._as_json = as_json
        self._settings = settings
        self._recipe = recipe
        self._notifier = Notifier()
        self._selector = selectors.DefaultSelector()
        self._caught: deque[int] = deque()
        self._children: list[Child] = []
        self._told_ready = False
        self._status = ""
        self._reload_until = float("inf")
        self._beat_at = float("inf") if self._notifier.beat_seconds is None else 0.0
        self._ending: int | None = None  # the exit code
        self._kill_at = float("inf")
        self._again_at = 0.0  # from when on a signal is the second one

    def run(self) -> int:
        """Run until told to end, or there is no point in going on; return the exit code."""
        place = self._recipe.place
        if place is None:
            nodeid = self._settings.nodeid
            base = expand_node_id(nodeid, lambda: new_incarnation(time.time(), os.urandom(8)))
        else:
            base = place.base  # a node that was restarted, and has workers now
        count = self._settings.workers
        sockets = self._directory() if count else ""
        try:
            for number in range(1, count + 1) if count else (0,):
                place = Place(0, base, number, count, sockets)
                place.settings(self._settings)  # a port there is not is an error now
                self._children.append(Child(place.node_id, partial(self._command, place)))
            return self._oversee()
        finally:
            for child in self._children:
                child.kill()
            if sockets:
                shutil.rmtree(sockets, ignore_errors=True)

    def _directory(self) -> str:
        # Paths of sockets are short: that of a runtime directory is, and so is that of /tmp.
        for variable in ("RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"):  # systemd's, the user's
            parent = os.environ.get(variable, "").partition(":")[0]
            if parent.startswith("/") and os.access(parent, os.W_OK):
                break
        else:
            parent = ""
        return tempfile.mkdtemp(prefix="aemp-", dir=parent or None)  # for its owner alone

    def _command(self, place: Place, fd: int) -> list[str]:
        place = Place(fd, place.base, place.number, place.count, place.sockets)
        return self._recipe.command(place, "--stop-timeout", f"{self._limits.stop:g}")

    # -- the loop ----------------------------------------------------------------------------

    def _oversee(self) -> int:
        ours, theirs = os.pipe()
        for end in (ours, theirs):
            os.set_blocking(end, False)
        wakeup = signal.set_wakeup_fd(theirs, warn_on_full_buffer=False)
        # For good: one more signal on the way out must not end us before we have cleared up.
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, lambda caught, _frame: self._caught.append(caught))
        self._selector.register(ours, selectors.EVENT_READ)
        before = time.monotonic()
        try:
            while True:
                now = time.monotonic()
                self._look(now, min(now - before, 2 * TICK_SECONDS))
                before = now
                if self._ending is not None and not any(child.pid for child in self._children):
                    return self._ending
                for key, _ in self._selector.select(self._until_due(now)):
                    if key.fd == ours:
                        with suppress(BlockingIOError):
                            os.read(ours, 4096)
        finally:
            signal.set_wakeup_fd(wakeup)
            self._selector.close()
            os.close(ours)
            os.close(theirs)

    def _until_due(self, now: float) -> float:
        dues = [child.due for child in self._children if child.state is State.WAITING]
        if self._ending is not None:
            dues = []
        return max(0.0, min(now + TICK_SECONDS, self._kill_at, self._beat_at, *dues) - now)

    def _look(self, now: float, elapsed: float) -> None:
        for child in self._children:
            child.silent += elapsed
            self._hear(child, now)
        while self._caught:
            self._signalled(self._caught.popleft(), now)
        for child in self._children:
            code = self._reap(child)
            if code is not None:
                self._ended(child, code, now)
        for child in self._children:
            self._keep(child, now)
        if now >= self._kill_at:
            self._kill_at = float("inf")
            late = [child for child in self._children if child.pid]
            for child in late:
                log.error(
                    "node %s did not leave within %g s: its process is killed",
                    child.node_id, self._limits.stop,
                )  # fmt: skip
                child.kill()
            self._ending = self._ending or FAILED
        if now >= self._beat_at and self._notifier.beat_seconds is not None:
            self._beat_at = now + self._notifier.beat_seconds
            self._notifier.beat()
        self._tell(now)

    # -- signals -----------------------------------------------------------------------------

    def _signalled(self, number: int, now: float) -> None:
        if number == signal.SIGHUP:
            self._reload(now)
        elif number in (signal.SIGTERM, signal.SIGINT):
            if self._ending is None:
                self._end(DONE, now)
                self._again_at = now + signals.TWICE_SECONDS
                return
            if now < self._again_at:
                return
            log.error("ended at once, as asked")
            self._ending = 128 + number
            for child in self._children:
                child.kill()

    def _end(self, code: int, now: float) -> None:
        """Have every node leave, and then end with `code`."""
        self._ending = code
        self._kill_at = now + self._limits.stop
        self._notifier.stopping()
        for child in self._children:
            child.signal(signal.SIGTERM)

    def _reload(self, now: float) -> None:
        if self._ending is not None:
            return
        # The nodes say what else is wrong with it, or takes a restart.
        with suppress(AempError):
            configured = self._recipe.configured()
            for key in ("nodeid", "workers"):
                if getattr(configured, key) != getattr(self._settings, key):
                    log.warning("changed in the configuration, but it takes a restart: %s", key)
        self._notifier.reloading()
        self._reload_until = now + RELOAD_SECONDS
        for child in self._children:
            if child.state is State.UP:
                child.reloading = True
                child.signal(signal.SIGHUP)
            else:
                child.reload_wanted = True  # one that starts may not listen to signals yet

    # -- children ----------------------------------------------------------------------------

    def _hear(self, child: Child, now: float) -> None:
        said = child.read()
        if child.lines is not None and child.lines.over:
            with suppress(KeyError):
                self._selector.unregister(child.lines)
        for word, *values in said:
            child.silent = 0.0
            if word == "up":
                child.came_up(now)
                if child.reload_wanted:
                    child.reload_wanted = False
                    child.signal(signal.SIGHUP)
                node_id, incarnation, addresses = values
                tell_up(node_id, incarnation, addresses, as_json=self._as_json)
                sys.stdout.flush()
            elif word == "reloaded":
                child.reloading = False
            elif word == "restart":
                child.wants_restart = True

    def _reap(self, child: Child) -> int | None:
        code = child.ended()
        if code is not None:
            self._hear(child, time.monotonic())  # its last words
            if child.lines is not None:
                with suppress(KeyError):
                    self._selector.unregister(child.lines)
            child.close()
        return code

    def _ended(self, child: Child, code: int, now: float) -> None:
        if self._ending is not None:
            if code not in (DONE, -signal.SIGTERM):
                self._ending = self._ending or FAILED
            return
        how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
        if code == USAGE:
            log.error("node %s ended by %s: a wrong configuration", child.node_id, how)
            self._end(USAGE, now)
        elif not child.was_up and not self._watchdog:
            log.error("node %s ended by %s before it was up", child.node_id, how)
            self._end(code if code > 0 else FAILED, now)
        else:
            asked = child.wants_restart
            pause = child.wait(now)
            log.log(
                logging.INFO if asked else logging.ERROR,
                "node %s ended by %s%s: it is started again%s",
                child.node_id, how, ", as it was asked to" if asked else "",
                f" in {pause:g} s" if pause else "",
            )  # fmt: skip

    def _keep(self, child: Child, now: float) -> None:
        """Start what is due, end what is stuck."""
        if self._ending is not None:
            return
        if child.state is State.WAITING:
            if now >= child.due:
                self._start(child, now)
        elif child.abort_due is not None:
            if now >= child.abort_due:
                child.kill()
        elif self._watchdog and child.state is State.STARTING:
            if now - child.began >= self._limits.start:
                self._abort(child, now, f"did not start within {self._limits.start:g} s")
        elif self._watchdog and child.silent >= self._limits.stall:
            text = f"is stuck: its event loop did nothing for {child.silent:.1f} s"
            self._abort(child, now, text)

    def _start(self, child: Child, now: float) -> None:
        try:
            child.start(now)
        except OSError as error:
            pause = child.wait(now)
            log.error("node %s cannot be started: %s: again in %g s", child.node_id, error, pause)
        else:
            assert child.lines is not None
            self._selector.register(child.lines, selectors.EVENT_READ)

    def _abort(self, child: Child, now: float, text: str) -> None:
        log.error("node %s %s: it is ended", child.node_id, text)
        child.abort_due = now + ABORT_SECONDS
        child.signal(signal.SIGABRT)

    # -- the service manager -----------------------------------------------------------------

    def _tell(self, now: float) -> None:
        if self._ending is not None:
            return
        up = sum(child.state is State.UP for child in self._children)
        status = f"{up} of {len(self._children)} nodes up"
        reloading = self._reload_until != float("inf")
        if reloading and (
            now >= self._reload_until or not any(child.reloading for child in self._children)
        ):
            self._reload_until = float("inf")
            self._notifier.ready(status)
        elif not self._told_ready and up == len(self._children):
            self._told_ready = True
            self._notifier.ready(status)
        elif status != self._status:
            self._notifier.status(status)
        self._status = status
