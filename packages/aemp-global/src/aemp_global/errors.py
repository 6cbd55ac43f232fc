"""What aemp-global raises beside the errors of core.

AempError
  UsageError
    RegistryError       a family, key or value that cannot be registered
      RegistryFull      this node has registered all that one node may
"""

from __future__ import annotations

from aemp_core.errors import UsageError

__all__ = ["RegistryError", "RegistryFull"]


class RegistryError(UsageError):
    """A family, key or value that cannot be registered; the text names it and the remedy."""


class RegistryFull(RegistryError):
    """One node may hold so many entries, or bytes of them, and this one does."""
