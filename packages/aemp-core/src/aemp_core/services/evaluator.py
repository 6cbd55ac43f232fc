"""The evaluator: Python text, typed by somebody, run in an event loop as the interpreter would.

`await` works at top level, names live from one text to the next, and ``_`` is the last value that
was shown. Whatever a text raises ends with its traceback, of which only the frames of the text and
of what it called are shown.
"""

from __future__ import annotations

import ast
import asyncio
import builtins
import codeop
import inspect
import linecache
import traceback
from collections.abc import Callable, Mapping
from types import CodeType
from typing import Any, Literal

__all__ = ["Echo", "Evaluator", "Outcome", "is_complete"]

#: Which values of expressions are shown: of all that are statements at top level, none, or only
#: of the last statement.
Echo = Literal["all", "last", "none"]
#: How a text ended.
Outcome = Literal["done", "failed", "interrupted", "left"]

#: Texts whose lines are kept for tracebacks.
KEPT_TEXTS = 200

_SHOW = "__aemp_show__"
_NAME = "<shell {}>"


class Evaluator:
    """Runs texts one after the other, in one namespace.

    Args:
        names: what texts find beside the builtins.
        show: ``show(text, is_error)``, called with what is to be shown: values, and tracebacks.
            The text ends with a line end.

    Attributes:
        names: the namespace.
        exit_code: what a text gave to `exit` when it ended with "left".
    """

    def __init__(self, names: Mapping[str, Any], show: Callable[[str, bool], object]) -> None:
        self.names: dict[str, Any] = {
            "__name__": "__aemp_shell__",
            "__builtins__": builtins,
            # Those of `site` close the standard input, which is not theirs on a node elsewhere.
            "exit": leave,
            "quit": leave,
            _SHOW: self._show_value,
            **names,
        }
        self.exit_code = 0
        self._show = show
        self._count = 0
        self._task: asyncio.Task[Any] | None = None
        self._interrupted = False

    async def run(self, text: str, echo: Echo = "all") -> Outcome:
        """Run one text; raises nothing of it, but for being cancelled by others."""
        self._interrupted = False
        self._task = asyncio.current_task()
        try:
            result = eval(self._code(text, echo), self.names)
            if inspect.iscoroutine(result):
                await result
        except SystemExit as error:
            self.exit_code = _exit_code(error, self._show)
            return "left"
        except KeyboardInterrupt:
            return self._tell_interrupted()
        except asyncio.CancelledError as error:
            if self._interrupted:
                return self._tell_interrupted()
            if self._task is not None and _is_being_cancelled(self._task):
                raise
            self._show(_traceback(error), True)  # of something the text awaited
            return "failed"
        except BaseException as error:
            self._show(_traceback(error), True)
            return "failed"
        finally:
            self._task = None
        return "done"

    @property
    def running(self) -> asyncio.Task[Any] | None:
        """The task in which a text runs."""
        return self._task

    def interrupt(self) -> bool:
        """End the text that runs, at what it awaits, and return whether one does."""
        if self._task is None:
            return False
        self._interrupted = True
        self._task.cancel()
        return True

    def _tell_interrupted(self) -> Outcome:
        self._show("KeyboardInterrupt\n", True)
        return "interrupted"

    def _code(self, text: str, echo: Echo) -> CodeType:
        self._count += 1
        name = _NAME.format(self._count)
        # Without a time it is not looked up as a file.
        linecache.cache[name] = (len(text), None, [f"{line}\n" for line in text.split("\n")], name)
        linecache.cache.pop(_NAME.format(self._count - KEPT_TEXTS), None)
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        tree = compile(text, name, "exec", flags | ast.PyCF_ONLY_AST, dont_inherit=True)
        assert isinstance(tree, ast.Module)
        shown = {"all": tree.body, "last": tree.body[-1:], "none": []}[echo]
        for statement in shown:
            if isinstance(statement, ast.Expr):
                function = ast.copy_location(ast.Name(_SHOW, ast.Load()), statement)
                statement.value = ast.copy_location(
                    ast.Call(function, [statement.value], []), statement
                )
        code: CodeType = compile(tree, name, "exec", flags, dont_inherit=True)
        return code

    def _show_value(self, value: Any) -> None:
        if value is not None:
            self.names["_"] = value
            self._show(f"{value!r}\n", False)

    def completions(self, word: str) -> list[str]:
        """Names, and attributes after a dot, that begin with `word`."""
        import rlcompleter

        completer = rlcompleter.Completer(self.names)
        try:
            find = completer.attr_matches if "." in word else completer.global_matches
            found = sorted(set(find(word)))
        except Exception:
            return []  # what a name means may raise when it is looked at
        return [each for each in found if not each.startswith("__aemp_")]


def leave(code: object = None) -> None:
    """Leave the shell."""
    raise SystemExit(code)


def _exit_code(error: SystemExit, show: Callable[[str, bool], object]) -> int:
    if isinstance(error.code, int):
        return error.code & 0xFF
    if error.code is None:
        return 0
    show(f"{error.code}\n", True)
    return 1


def _is_being_cancelled(task: asyncio.Task[Any]) -> bool:
    cancelling = getattr(task, "cancelling", None)  # from Python 3.11 on
    return cancelling is None or cancelling() > 0


def _traceback(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and not trace.tb_frame.f_code.co_filename.startswith("<shell "):
        trace = trace.tb_next
    # A text that is no Python has no frame of its own; what is wrong is said by the error.
    return "".join(traceback.format_exception(type(error), error, trace))


_compile = codeop.CommandCompiler()
_compile.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT


def is_complete(text: str) -> bool:
    """Whether a text is to be run as it is, and not to be continued on the next line.

    A compound statement of several lines goes on until a line is empty, as in the interpreter.
    """
    lines = text.split("\n")
    try:
        if _compile(text, "<shell>", "exec") is None:
            return False
        tree = compile(
            text, "<shell>", "exec",
            ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True,
        )  # fmt: skip
    except (SyntaxError, ValueError, OverflowError):
        return True  # running it says what is wrong
    compound = bool(tree.body) and hasattr(tree.body[-1], "body")
    return not compound or len(lines) == 1 or not lines[-1].strip()
