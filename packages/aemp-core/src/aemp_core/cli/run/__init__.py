"""``aemp run``: nodes as processes, one or several, and what an operator needs to live with them.

`command` reads the command line. `serving` runs one node in this process. With workers or a
watchdog an `overseer` runs the same command in processes of its own instead, each of which serves
one node and is tethered to it.
"""

from __future__ import annotations

from .command import command

__all__ = ["command"]
