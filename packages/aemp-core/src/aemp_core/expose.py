"""The exposed table: the functions other nodes may spawn or call, and no others.

Authentication lets a node talk, not run code. A request names a function; it is looked up here
and nowhere else: no attribute is fetched and no module imported because a peer asked. The table
is filled by ``@exposed`` when modules are imported, normally at start (settings `services` and
`expose`). It belongs to the process, as modules do.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar, overload

from .errors import NotExposed, UsageError

__all__ = ["exposed", "exposed_function", "exposed_name"]

Function = TypeVar("Function", bound=Callable[..., Any])

_functions: dict[str, Callable[..., Any]] = {}


@overload
def exposed(function: Function, /, *, name: str | None = None) -> Function: ...
@overload
def exposed(*, name: str | None = None) -> Callable[[Function], Function]: ...
def exposed(function: Any = None, /, *, name: str | None = None) -> Any:
    """Let other nodes spawn and call `function`: a decorator, with or without parentheses.

    Args:
        function: a function, sync or async, that can be found as ``module:qualname``.
        name: the name to call it by instead, for names that outlive a module's.

    Returns:
        The function itself.

    Raises:
        UsageError: not callable, a local function without a name of its own, or a name that
            another function has.
    """
    if function is None:
        return lambda function: exposed(function, name=name)
    if not callable(function):
        raise UsageError(f"@exposed needs a function, not {function!r}")
    if name is None:
        name = _own_name(function)
        if "<locals>" in name:
            raise UsageError(
                f"{name} is defined inside a function: expose it at module level, "
                "or give it a name with @exposed(name=...)"
            )
    old = _functions.get(name)
    if old is not None and _own_name(old) != _own_name(function):
        raise UsageError(f"{name!r} is exposed already, as {old!r}")
    _functions[name] = function  # a module that is reloaded replaces its functions
    return function


def _own_name(function: Any) -> str:
    module = getattr(function, "__module__", None) or "__main__"
    if module == "__main__":
        # ``python -m package.module``: other nodes know the module by its name.
        spec = getattr(sys.modules.get("__main__"), "__spec__", None)
        module = spec.name if spec is not None else module
    return f"{module}:{getattr(function, '__qualname__', type(function).__name__)}"


def exposed_function(name: str) -> Callable[..., Any] | None:
    """The function exposed as `name`, or None."""
    return _functions.get(name)


def exposed_name(function: str | Callable[..., Any]) -> str:
    """The name to ask a node for: a text as it is; a callable must be exposed here."""
    if isinstance(function, str):
        return function
    if not callable(function):
        raise UsageError(f"{function!r} is neither a function nor a name 'package.module:function'")
    own = _own_name(function)
    if _functions.get(own) is function:
        return own
    for name, known in _functions.items():
        if known is function:
            return name
    raise NotExposed(f"{own} is not exposed: decorate it with @aemp_core.exposed")
