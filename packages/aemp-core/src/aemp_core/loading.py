"""Loading: the modules that settings name are imported, and their functions called.

Only what the settings `expose` and `services` say is loaded, before a node listens. What goes
wrong stops the start, whatever it is, and the error says which service it was, what was raised,
and at which line.
"""

from __future__ import annotations

import importlib
import logging
import sysconfig
import traceback
from inspect import isawaitable
from pathlib import Path
from typing import Any

from .errors import ConfigError
from .reason import text_of

__all__ = ["load_exposed", "load_service"]

log = logging.getLogger("aemp_core.loading")

#: Where the code is that is nobody's own: the standard library, and what is installed.
_INSTALLED = tuple(str(Path(sysconfig.get_path(name))) for name in ("stdlib", "purelib", "platlib"))
_OURS = str(Path(__file__).parent)


def load_exposed(module: str) -> None:
    """Import a module for its ``@exposed`` functions; raises `ConfigError`."""
    _import("expose", module)


async def load_service(service: str | tuple[Any, ...]) -> None:
    """Load one service: import ``package.module``, or call ``(package.module:function, ...)``.

    Importing a module again for another node of this process does nothing: one that is to start
    something with each node has a function ``__aemp_service__``. An async function is awaited.

    Raises:
        ConfigError: the service cannot be loaded or raised; the text says which, what and where.
    """
    name, *arguments = (service,) if isinstance(service, str) else service
    function = _import("services", name)
    if isinstance(service, str):
        function = getattr(function, "__aemp_service__", None)
        if function is None:
            return
    try:
        result = function(*arguments)
        if isawaitable(result):
            await result
    except Exception as error:
        raise _failed("services", name, "failed", error) from error


def _import(key: str, name: str) -> Any:
    """The module, or the function ``module:function``, that the setting `key` names."""
    module, _, function = name.partition(":")
    try:
        target: Any = importlib.import_module(module)
        for part in function.split(".") if function else ():
            target = getattr(target, part)
    except Exception as error:
        raise _failed(key, name, "cannot be loaded", error) from error
    return target


def _failed(key: str, name: str, what: str, error: Exception) -> ConfigError:
    log.debug("%s: %s %s", key, name, what, exc_info=error)
    place = _place(error)
    return ConfigError(f"{key}: {name} {what}: {text_of(error)}{f' ({place})' if place else ''}")


def _place(error: Exception) -> str:
    """The line where `error` was raised: the last one in code that is not installed, if any."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    places = [
        (frame.filename, frame.lineno)
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(("<frozen", _OURS))
    ]
    own = [place for place in places if not place[0].startswith(_INSTALLED)]
    # Code that was not found raised where we looked for it: the place would be importlib's.
    if not own and isinstance(error, ImportError):
        return ""
    return "{}:{}".format(*(own or places)[-1]) if places else ""
