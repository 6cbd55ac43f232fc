"""Trust: which secret a node uses, and how far that reaches.

A configured secret is good for any peer. Without one, nodes of the same user share the per-user
secret, and then nobody but this machine is talked to.
"""

from __future__ import annotations

from dataclasses import dataclass

from aemp_core.conversation import StreamNode
from aemp_core.secret import user_secret

__all__ = ["REMEDY", "Trust", "trust_of"]

REMEDY = "configure the same secret on all nodes ('aemp secret new' makes one), or use 127.0.0.1"


@dataclass(frozen=True)
class Trust:
    """What a node proves itself with.

    Attributes:
        secret: the shared secret.
        local: whether only peers on this machine may be talked to.
    """

    secret: bytes
    local: bool


def trust_of(node: StreamNode) -> Trust:
    """The trust of `node`; `ConfigError` if it needs the per-user secret and that is not safe."""
    secret = node.settings.secret
    if secret is not None:
        return Trust(secret, local=False)
    return Trust(user_secret(), local=True)
