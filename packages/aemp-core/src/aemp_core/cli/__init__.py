"""The ``aemp`` command. Every subcommand is a module of its own, imported when it is used."""

from __future__ import annotations

from .entry import main

__all__ = ["main"]
