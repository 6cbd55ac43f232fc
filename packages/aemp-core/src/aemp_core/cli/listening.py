"""Who listens: the process that holds a TCP port or a unix socket of this machine, where Linux
tells."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["process_at"]

PROC = Path("/proc")
LISTENING = "0A"
_HOST_PORT = re.compile(r"[a-z0-9+.-]+://.*:([0-9]+)\Z")


def process_at(address: str) -> str | None:
    """``process 17 (nginx)``, who listens at `address`; None if that cannot be told."""
    found = _HOST_PORT.match(address)
    if found is not None:
        inodes = set(_of_tcp(int(found[1])))
    elif address.startswith("unix://"):
        inodes = set(_of_unix(address.removeprefix("unix://")))
    else:
        return None
    links = {f"socket:[{inode}]" for inode in inodes}
    for process in PROC.glob("[0-9]*"):
        # Of other users' processes nothing can be seen, and processes end meanwhile.
        with suppress(OSError):
            for handle in (process / "fd").iterdir():
                with suppress(OSError):
                    if os.readlink(handle) in links:
                        name = (process / "comm").read_text().strip()
                        return f"process {process.name} ({name})"
    return None


def _lines(table: str) -> Iterator[list[str]]:
    with suppress(OSError):
        for line in (PROC / "net" / table).read_text().splitlines()[1:]:
            yield line.split()


def _of_tcp(port: int) -> Iterator[str]:
    for table in ("tcp", "tcp6"):
        for fields in _lines(table):
            if fields[3] == LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9]


def _of_unix(path: str) -> Iterator[str]:
    for fields in _lines("unix"):
        if fields[7:8] == [path]:
            yield fields[6]
