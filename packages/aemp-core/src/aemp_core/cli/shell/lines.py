"""Lines: how a shell reads a text from a terminal, while messages may come.

With prompt_toolkit, the extra ``shell``, texts of several lines are edited as one, and what comes
meanwhile is printed above them. Without it, or where the terminal can do no more, lines are read
one by one, by `readline` if Python has that.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import threading
from collections.abc import AsyncGenerator, Iterable
from contextlib import suppress
from typing import Any, Protocol

from ...services.evaluator import is_complete
from .completion import Completion, Found
from .history import History

__all__ = ["Lines", "Plain", "Rich", "lines"]

PROMPT, MORE = ">>> ", "... "
#: Control characters, but for ends of lines and tabs: they could take over a terminal.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Lines(Protocol):
    """Reads texts and shows others."""

    async def read(self) -> str:
        """The next text, empty if it was given up; EOFError at the end."""

    def show(self, text: str, is_error: bool) -> None:
        """Print text, above the line that is being typed."""

    def interrupted(self) -> None:
        """Ctrl-C was a signal, and no text runs."""

    def close(self) -> None:
        """Leave the terminal as it was."""


def lines(history: History, completion: Completion) -> Lines:
    """What this terminal and this Python are good for."""
    if os.environ.get("TERM", "dumb") != "dumb" or sys.platform == "win32":
        try:
            import prompt_toolkit  # noqa: F401
        except ImportError:
            pass
        else:
            return Rich(history, completion)
    return Plain(history, completion)


def clean(text: str) -> str:
    """A text without what could take over a terminal."""
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


class Rich:
    """prompt_toolkit."""

    def __init__(self, history: History, completion: Completion) -> None:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.completion import Completer
        from prompt_toolkit.completion import Completion as Choice
        from prompt_toolkit.filters import Condition
        from prompt_toolkit.history import History as Base
        from prompt_toolkit.lexers import PygmentsLexer
        from pygments.lexers.python import PythonLexer

        class Kept(Base):
            def load_history_strings(self) -> Iterable[str]:
                return list(reversed(history.texts))

            def store_string(self, string: str) -> None:
                history.append(string)

        class Choices(Completer):
            def get_completions(self, document: Any, complete_event: Any) -> Iterable[Choice]:
                return []  # never asked: it is asked the other way

            async def get_completions_async(
                self, document: Any, complete_event: Any
            ) -> AsyncGenerator[Choice, None]:
                found = await completion.of(document.text_before_cursor)
                for text in found.texts:
                    yield Choice(text, start_position=-found.length)

        session: PromptSession[str] = PromptSession(
            PROMPT,
            history=Kept(),
            completer=Choices(),
            complete_while_typing=False,
            lexer=PygmentsLexer(PythonLexer),
            prompt_continuation=MORE,
            multiline=Condition(lambda: not is_complete(session.default_buffer.text)),
        )
        self._session = session

    async def read(self) -> str:
        from prompt_toolkit.patch_stdout import patch_stdout

        with patch_stdout():
            # The signal is the shell's.
            try:
                text: str = await self._session.prompt_async(handle_sigint=False)
            except KeyboardInterrupt:  # which must not leave a task: it would end the loop
                return ""
            return text

    def show(self, text: str, is_error: bool) -> None:
        # To where `patch_stdout` is, also for errors: it keeps the order.
        sys.stdout.write(clean(text))
        sys.stdout.flush()

    def interrupted(self) -> None:
        pass  # here it is a key, but for a moment between lines

    def close(self) -> None:
        pass


class Plain:
    """`input`, in a thread of its own, as the loop must go on."""

    def __init__(self, history: History, completion: Completion) -> None:
        self._loop = asyncio.get_running_loop()
        self._history = history
        self._completion = completion
        self._reading: asyncio.Future[str] | None = None
        self._prompt = PROMPT
        self._found = Found(0, [])
        # A thread that waits for a line when the shell ends leaves the terminal as readline has it.
        self._terminal: Any = None
        with suppress(ImportError, OSError):
            import termios

            self._terminal = termios.tcgetattr(sys.stdin)
        try:
            import readline
        except ImportError:
            self._readline: Any = None
            return
        self._readline = readline
        readline.set_auto_history(False)
        readline.clear_history()
        for text in history.texts:
            readline.add_history(text)
        readline.set_completer(self._complete)
        # A word begins after a blank or a bracket: quotes, dots and # are in words.
        readline.set_completer_delims(" \t\n()[]{},;=")
        readline.parse_and_bind("tab: complete")

    async def read(self) -> str:
        text: str = await self._line(PROMPT)
        while not is_complete(text):
            text += "\n" + await self._line(MORE)
        if self._readline is not None and text.strip():
            self._readline.add_history(text)
        self._history.append(text)
        return text

    async def _line(self, prompt: str) -> str:
        self._prompt = prompt
        reading = self._reading = self._loop.create_future()

        def read() -> None:
            # The thread is not waited for: nothing but a line could end it.
            try:
                line, error = input(prompt), None
            except (EOFError, ValueError, OSError):
                line, error = "", EOFError()
            try:
                self._loop.call_soon_threadsafe(self._was_read, reading, line, error)
            except RuntimeError:
                pass  # the loop is closed

        threading.Thread(target=read, name="aemp shell input", daemon=True).start()
        try:
            line: str = await reading
            return line
        finally:
            self._reading = None

    def interrupted(self) -> None:
        # Nothing can take the line away from the thread that reads it.
        self.show("\nKeyboardInterrupt: the line stays; Ctrl-D leaves\n", True)

    def _was_read(self, reading: asyncio.Future[str], line: str, error: EOFError | None) -> None:
        if not reading.done():
            if error is None:
                reading.set_result(line)
            else:
                print()
                reading.set_exception(error)

    def show(self, text: str, is_error: bool) -> None:
        stream = sys.stderr if is_error else sys.stdout
        if self._reading is None or not sys.stdin.isatty():
            stream.write(clean(text))
            stream.flush()
            return
        typed = self._readline.get_line_buffer() if self._readline is not None else ""
        sys.stdout.write(f"\r\x1b[K{clean(text)}{self._prompt}{typed}")
        sys.stdout.flush()

    def close(self) -> None:
        if self._terminal is not None:
            import termios

            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._terminal)

    def _complete(self, word: str, number: int) -> str | None:
        """Called by readline in the thread that reads: the loop finds the answers."""
        if number == 0:
            before = self._readline.get_line_buffer()[: self._readline.get_endidx()]
            found = asyncio.run_coroutine_threadsafe(self._completion.of(before), self._loop)
            try:
                self._found = found.result(timeout=2)
            except Exception:
                self._found = Found(0, [])
        length = self._found.length
        if number >= len(self._found.texts) or length > len(word):
            return None
        return word[: len(word) - length] + self._found.texts[number]
