"""Types: a program that uses every verb runs, and passes mypy --strict."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import aemp_core as mp

PROGRAM = Path(__file__).parent / "typing" / "all_verbs.py"
#: Names that are no verbs: classes, and what only plugins use.
OTHERS = {"hookimpl"}


def used():
    """Names used as ``mp.NAME``, and as attributes of anything else."""
    functions, methods = set(), set()
    for node in ast.walk(ast.parse(PROGRAM.read_text())):
        if isinstance(node, ast.Attribute):
            of_module = isinstance(node.value, ast.Name) and node.value.id == "mp"
            (functions if of_module else methods).add(node.attr)
    return functions, methods


def test_the_program_uses_every_verb_as_function_and_as_method():
    functions, methods = used()
    verbs = {name for name in mp.__all__ if not inspect.isclass(getattr(mp, name))} - OTHERS
    assert verbs <= functions
    of_node = {
        name
        for name in verbs & set(dir(mp.Node))
        if name not in ("current_node", "current_port", "current_sender")
    }
    assert len(of_node) > 30
    assert of_node <= methods


def test_the_program_runs():
    done = subprocess.run(
        [sys.executable, "-W", "error", str(PROGRAM)], capture_output=True, text=True, timeout=50
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "every verb ran\n"
    assert done.stderr == ""


def test_the_program_passes_mypy_strict():
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("mypy is not installed here; the tox environment `type` checks the program")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-incremental", str(PROGRAM)],
        capture_output=True, text=True, timeout=55, cwd=PROGRAM.parents[4],
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
