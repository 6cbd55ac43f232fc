"""The README holds what it promises: each of its code blocks runs here.

A ``python`` block is a complete program, run as a process of its own; the ``text`` block after it
is its output. A ``bash`` block is a command: those that set up a machine are the ones CI runs.
Of a ``console`` block each command exists and understands the options it is shown with.
"""

from __future__ import annotations

import configparser
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import click
import pytest

from aemp_core.cli.commands import aemp

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


class Block(NamedTuple):
    line: int
    language: str
    text: str


BLOCKS = [
    Block(README.count("\n", 0, match.start()) + 1, match[1], match[2])
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
]
PROGRAMS = [
    (block, BLOCKS[number + 1]) for number, block in enumerate(BLOCKS) if block.language == "python"
]
COMMANDS = [block.text.strip() for block in BLOCKS if block.language == "bash"]


def test_every_block_is_of_a_kind_that_is_tested() -> None:
    assert {block.language for block in BLOCKS} == {"python", "text", "bash", "console"}


@pytest.mark.parametrize(("program", "output"), PROGRAMS, ids=lambda block: f"line{block.line}")
def test_a_program_prints_what_is_shown(program: Block, output: Block, tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(program.text, encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "-W", "error", str(path)], capture_output=True, text=True, timeout=40
    )
    assert (result.stdout, result.stderr) == (output.text, "")
    assert output.language == "text"


def test_the_first_program_is_short_and_on_the_first_screen() -> None:
    program, output = PROGRAMS[0]
    lines = [line for line in program.text.splitlines() if line.strip()]
    assert len(lines) < 15
    assert output.line + output.text.count("\n") < 45


def test_two_commands_set_up_everything() -> None:
    """One runs the demo, the other is the test command that CI calls."""
    prepare = "python3 -m venv .venv && .venv/bin/pip install -q tox && .venv/bin/tox "
    demo, tests, *_ = COMMANDS
    assert demo == prepare + "run -e demo"
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    assert tox["testenv:demo"]["commands"].startswith("aemp demo")
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8").replace('"$python"', "python3")
    for step in tests.split(" && "):
        assert step in ci, f".ci/run does not run {step!r}"


def test_what_is_installed_is_there() -> None:
    words = COMMANDS[2].split()
    assert words[:2] == ["pip", "install"]
    for path in words[2:]:
        assert (ROOT / path / "pyproject.toml").is_file()


SHOWN = [
    line.removeprefix("$ ")
    for block in BLOCKS
    if block.language == "console"
    for line in block.text.splitlines()
    if line.startswith("$ ")
]


@pytest.mark.parametrize("line", SHOWN)
def test_a_command_that_is_shown_is_understood(line: str) -> None:
    program, *words = shlex.split(line)
    assert program == "aemp"
    command: click.Command = aemp
    context = click.Context(aemp)
    while isinstance(command, click.Group):
        name = words.pop(0)
        found = command.get_command(context, name)
        assert found is not None, name
        command, context = found, click.Context(found, parent=context)
    command.make_parser(context).parse_args(list(words))


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    for link in links:
        assert (ROOT / link).exists(), link
