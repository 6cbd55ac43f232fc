"""Running the ``aemp`` command to its end: as a process, or here, which takes no start."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from unittest import mock

from aemp_core.cli.entry import main

Done = subprocess.CompletedProcess[str]


def aemp(*words: str, stdin: str = "", **variables: str) -> Done:
    """Run ``aemp`` with `words`, and with variables in its environment."""
    return subprocess.run(
        [sys.executable, "-m", "aemp_core", *words],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, **variables},
    )


def here(*words: str, stdin: str = "", **variables: str) -> Done:
    """What `aemp` would give, without a process of its own."""
    output, errors = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    with (
        mock.patch.dict(os.environ, variables),
        mock.patch.object(sys, "stdin", io.StringIO(stdin)),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(errors),
    ):
        try:
            main(words)
        except SystemExit as end:
            code = end.code
    assert isinstance(code, int)
    texts = []
    for stream in (output, errors):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode())  # type: ignore[attr-defined]
    return Done(words, code, *texts)


def failed(result: Done, code: int) -> str:
    """The one line that `result` failed with."""
    assert (result.returncode, result.stdout) == (code, "")
    (line,) = result.stderr.splitlines()
    return line
