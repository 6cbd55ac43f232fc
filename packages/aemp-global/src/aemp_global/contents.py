"""Contents: which families the registry holds, told to operators who ask.

Global nodes alone know every family, so they alone answer; others say that they do not know. Groups
are families, too. The rule ``inspect`` says who may ask, as for what core tells of a node.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from aemp_core.status import answer, page

from .entries import GROUPS

if TYPE_CHECKING:
    from aemp_core.requests import Request

    from .service import Service

__all__ = ["REQUEST", "groups", "teller"]

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


def groups(here: Service) -> Callable[[str], Awaitable[list[str]]]:
    """Groups whose names begin so, of which the home tells a page; none where nobody knows."""

    async def begin(begins: str) -> list[str]:
        if not here.started:
            return []
        if here.exchange.is_global:
            families = list(here.families.sizes())
        else:
            home = await here.homing.found()
            error, _, rows, _ = await here.node.cal(home, REQUEST, GROUPS + begins, 0)
            families = [] if error else [str(row["family"]) for row in rows]
        return [
            family.removeprefix(GROUPS) for family in families if family.startswith(GROUPS + begins)
        ]

    return begin


def _row(size: tuple[str, int]) -> dict[str, Any]:
    return {"family": size[0], "keys": size[1]}
