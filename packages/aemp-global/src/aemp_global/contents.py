"""Contents: which families the registry holds, told to operators who ask.

Global nodes alone know every family, so they alone answer; others say that they do not know. Groups
are families, too. The rule ``inspect`` says who may ask, as for what core tells of a node.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aemp_core.status import answer, page

if TYPE_CHECKING:
    from aemp_core.requests import Request

    from .service import Service

__all__ = ["REQUEST", "teller"]

REQUEST = "families"


def teller(here: Service) -> Callable[..., None]:
    """The node request ``families``: the beginning of their names, and a page as for ``ports``."""

    def families(request: Request, begins: str, after: int, reply: str, *tags: Any) -> None:
        if not isinstance(begins, str):
            raise ValueError(f"{begins!r:.100} is not how a name begins")
        if not (here.started and here.exchange.is_global):
            request.snd(reply, *tags, f"{request.node.id} is no global node: it does not know")
            return
        sizes = [
            (family, keys)
            for family, keys in here.families.sizes().items()
            if family.startswith(begins)
        ]
        answer(request, reply, tags, lambda: page(len(sizes), after, sizes, _row))

    return families


def _row(size: tuple[str, int]) -> dict[str, Any]:
    return {"family": size[0], "keys": size[1]}
