"""The entry of the ``aemp`` command: errors become one line and an exit code here.

Results go to the standard output, everything else to the standard error output.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the ``aemp`` command with `arguments` (default: those of the process) and exit."""
    sys.exit(_run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    import click

    from ..errors import AempError
    from .commands import aemp
    from .outcome import exit_code

    if "_AEMP_COMPLETE" in os.environ:  # a shell asks what could be typed
        from .shells import register

        register()

    if isinstance(sys.stdout, io.TextIOWrapper):
        # A character the terminal cannot show is no reason to stop.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        result = aemp.main(arguments, prog_name="aemp", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        where = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else ""
        hint = f" (see '{where} --help')" if where else ""
        return _fail(where or "aemp", error.format_message().rstrip(".") + hint, error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return _fail("aemp", "interrupted", 130)
    except AempError as error:
        return _fail("aemp", str(error), exit_code(error))
    except BrokenPipeError:
        # Whoever read our output has seen enough; Python's own flush at exit would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _fail("aemp", str(error), 1)
    return result if isinstance(result, int) else 0


def _fail(where: str, text: str, code: int) -> int:
    from .text import printable

    print(printable(f"{where}: {' '.join(text.split())}"), file=sys.stderr)
    return code
