"""Every code block of the documentation runs, and what is shown as its output is its output.

Each page has a directory of its own for its blocks, in the order of the page:

- a ``python`` block whose first line is a comment with a file name is written to that file;
- any other ``python`` block is a complete program;
- a ``toml`` block is a ``pyproject.toml``: from here on its entry points are installed; or it is a
  configuration, in which nothing may be wrong;
- each line of a ``console`` block that begins with ``$`` is a command; one that ends with ``&`` is
  a node that runs until the page ends, and port 4040 is one that is free; ``export`` is for what
  follows;
- a ``text`` block directly after a program is its output; elsewhere it is a picture.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from aemp_core.config_file import ConfigFile

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = sorted(DOCS.glob("*.md"))
FENCE = re.compile(r"^```(.*)\n((?:.*\n)*?)^```$", re.MULTILINE)
FILE = re.compile(r"# (\w+\.py)\n")


class Block(NamedTuple):
    line: int
    language: str
    text: str
    follows: bool  # directly after the block before it


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = []
    end = 0
    for match in FENCE.finditer(text):
        follows = bool(found) and not text[end : match.start()].strip()
        line = text.count("\n", 0, match.start()) + 1
        found.append(Block(line, match[1].strip(), match[2], follows))
        end = match.end()
    return found


class Room:
    """The directory of one page, and what runs there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        paths = [str(directory), os.environ.get("PYTHONPATH", "")]
        self._environment = {
            **os.environ,
            "HOME": str(directory),  # and so a configuration of its own
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        }
        self._programs = 0
        self._port: str | None = None
        self._nodes: list[subprocess.Popen[str]] = []

    def write(self, name: str, text: str) -> None:
        (self.directory / name).write_text(text, encoding="utf-8")

    def install(self, text: str) -> None:
        """What installing a distribution with this ``pyproject.toml`` would make known."""
        project = tomllib.loads(text)["project"]
        name, version = project["name"], project["version"]
        info = self.directory / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        info.joinpath("METADATA").write_text(metadata, encoding="utf-8")
        points = [
            f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in entries.items())
            for group, entries in project.get("entry-points", {}).items()
        ]
        info.joinpath("entry_points.txt").write_text("\n".join(points), encoding="utf-8")

    def program(self, text: str) -> str:
        self._programs += 1
        name = f"program_{self._programs}.py"
        self.write(name, text)
        return self.run([sys.executable, "-W", "error", name])

    def close(self) -> None:
        for node in self._nodes:
            node.kill()
            node.communicate(timeout=50)

    def start(self, words: list[str]) -> None:
        """Leave a node running, once it says that it is up."""
        self._environment.setdefault("AEMP_SECRET", "a secret of this page only")
        node = subprocess.Popen(
            words,
            cwd=self.directory,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._nodes.append(node)
        assert node.stdout is not None
        assert any(line.startswith("node ") for line in node.stdout), words

    def command(self, line: str) -> str:
        words = shlex.split(re.sub(r"\b4040\b", lambda _: self._free_port(), line))
        background = words[-1] == "&"
        if words[0] == "export":
            self._environment.update(word.split("=", 1) for word in words[1:])
            return ""
        if words[0] == "python":
            words[:1] = [sys.executable, "-W", "error"]
        elif words[0] == "pytest":
            words[:1] = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
        elif words[0] == "aemp":
            words[:1] = [sys.executable, "-m", "aemp_core"]
        else:
            raise AssertionError(f"no test knows how to run {line!r}")
        if background:
            self.start(words[:-1])
            return ""
        output = self.run(words)
        return output if self._port is None else output.replace(self._port, "4040")

    def _free_port(self) -> str:
        if self._port is None:
            with socket.create_server(("127.0.0.1", 0)) as server:
                self._port = str(server.getsockname()[1])
        return self._port

    def run(self, words: list[str]) -> str:
        result = subprocess.run(
            words,
            cwd=self.directory,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=50,
        )
        assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"
        return result.stdout


@pytest.mark.timeout(300)  # a page is many processes, one after the other
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_blocks_of_a_page_run(page: Path, tmp_path: Path) -> None:
    with contextlib.closing(Room(tmp_path)) as room:
        try_blocks(page, room)


def try_blocks(page: Path, room: Room) -> None:
    output: str | None = None
    for block in blocks(page):
        where = f"{page.name}, line {block.line}"
        shown = block.text if block.follows and block.language == "text" else None
        if shown is not None and output is not None:
            assert output == shown, where
        output = None
        if block.language == "python":
            file = FILE.match(block.text)
            if file is not None:
                room.write(file[1], block.text)
            else:
                output = room.program(block.text)
        elif block.language == "toml":
            if "project" in tomllib.loads(block.text):
                room.install(block.text)
            else:  # a configuration: nothing may be wrong with it
                assert not ConfigFile.of(page, block.text).flaws(), where
        elif block.language == "console":
            for command in re.split(r"^(?=\$ )", block.text, flags=re.MULTILINE)[1:]:
                line, _, expected = command.removeprefix("$ ").partition("\n")
                printed = room.command(line)
                assert not expected or printed == expected, where
        else:
            assert block.language == "text" or block.language.startswith("{"), where
