"""``aemp shell``: Python, line by line, in a node that visits the network, or on another node.

What is typed is evaluated by `aemp_core.services.evaluator`, here or over there; this package reads
lines, completes and remembers them.
"""

from __future__ import annotations

from .subcommand import command

__all__ = ["command"]
