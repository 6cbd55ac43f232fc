"""``aemp demo``: words counted by a network of processes on this machine, one of them killed.

Not a toy network: every worker is a process with a node of its own, linked over authenticated
TCP, and what is killed is killed with SIGKILL.
"""

from __future__ import annotations

from .subcommand import command

__all__ = ["command"]
