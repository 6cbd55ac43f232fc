"""Which event loop runs a node: uvloop where it is installed, unless told otherwise."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

from ...errors import UsageError

__all__ = ["LOOPS", "run"]

T = TypeVar("T")

LOOPS = ("auto", "asyncio", "uvloop")


def run(main: Coroutine[Any, Any, T], loop: str) -> T:
    """The result of `main`, run by the event loop called `loop`, one of `LOOPS`.

    Raises:
        UsageError: uvloop is asked for and cannot be imported.
    """
    if loop != "asyncio" and sys.platform != "win32":
        try:
            import uvloop
        except ImportError as error:
            if loop == "uvloop":
                main.close()
                raise UsageError(
                    f"--loop uvloop: {error}: pip install 'aemp-core[uvloop]', or use --loop auto"
                ) from None
        else:
            return uvloop.run(main)
    elif loop == "uvloop":
        main.close()
        raise UsageError("--loop uvloop: there is no uvloop for Windows: use --loop auto")
    return asyncio.run(main)
