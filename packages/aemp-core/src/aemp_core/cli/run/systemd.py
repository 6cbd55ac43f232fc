"""What is told to systemd, or whatever else started us with the same protocol (``sd_notify``).

Datagrams of lines ``KEY=VALUE`` to the socket that ``NOTIFY_SOCKET`` names, a path or an abstract
name that begins with ``@``. Nothing is told where there is none. The variables are taken out of
the environment, since they are meant for this process alone.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import MutableMapping

__all__ = ["Notifier"]

log = logging.getLogger("aemp_core.cli")

#: Seconds a datagram may wait for room.
SEND_SECONDS = 1.0


class Notifier:
    """Tells the service manager how this process is.

    Args:
        environment: where ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and ``WATCHDOG_PID`` are taken from.

    Attributes:
        beat_seconds: how often `beat` is wanted; None: never.
    """

    def __init__(self, environment: MutableMapping[str, str] = os.environ) -> None:
        name = environment.pop("NOTIFY_SOCKET", "")
        microseconds = environment.pop("WATCHDOG_USEC", "")
        process = environment.pop("WATCHDOG_PID", "")
        self._address = f"\0{name[1:]}" if name.startswith("@") else name
        self._socket: socket.socket | None = None
        self.beat_seconds: float | None = None
        if not name:
            return
        if not name.startswith(("/", "@")) or not hasattr(socket, "AF_UNIX"):
            log.warning("NOTIFY_SOCKET=%s: only unix sockets are supported, nothing is told", name)
            return
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(SEND_SECONDS)
        if microseconds.isdigit() and int(microseconds) and process in ("", str(os.getpid())):
            # Twice as often as it must be, as its manual says.
            self.beat_seconds = int(microseconds) / 2e6

    def ready(self, status: str) -> None:
        """Started, or done with reloading."""
        self._tell("READY=1", f"STATUS={status}")

    def status(self, text: str) -> None:
        """One line for people."""
        self._tell(f"STATUS={text}")

    def reloading(self) -> None:
        """The configuration is being read anew; `ready` ends it."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """On the way out."""
        self._tell("STOPPING=1", "STATUS=leaving the network")

    def beat(self) -> None:
        """Alive."""
        self._tell("WATCHDOG=1")

    def close(self) -> None:
        """Tell nothing more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _tell(self, *lines: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto("\n".join(lines).encode("utf-8", "replace"), self._address)
        except OSError as error:
            log.warning("the service manager cannot be told %s: %s", lines[0], error)
