"""Rules of the house that no linter knows."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(ROOT.glob("packages/*/src/**/*.py"))
PACKAGES = [path for path in MODULES if path.name == "__init__.py"]
FRAGMENT = re.compile(r"[a-z0-9-]+\.(added|changed|fixed|removed)\.md")
MACHINE = re.compile(r"(?<![\w.])/(root|work|home/\w+|Users/\w+)/|/\.pyenv/versions/\d")


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", PACKAGES, ids=relative)
def test_a_package_only_reexports_with_a_sorted_complete_all(path: Path) -> None:
    """The body is a docstring, imports and `__all__`, which lists every public name imported.

    Imports for type checkers alone are made real by `__getattr__`, from the table `_HOMES`.
    """
    docstring, *body = ast.parse(path.read_text()).body
    assert isinstance(docstring, ast.Expr), "a package begins with the docstring that explains it"
    tables: dict[str, Any] = {"__all__": [], "_HOMES": {}}
    homes: dict[str, str | None] = {}
    lazy: dict[str, str | None] = {}
    for node in body:
        if isinstance(node, ast.ImportFrom):
            if node.module not in ("__future__", "typing"):
                homes.update((alias.asname or alias.name, node.module) for alias in node.names)
        elif isinstance(node, ast.If):
            assert ast.unparse(node.test) == "TYPE_CHECKING"
            for each in node.body:
                assert isinstance(each, ast.ImportFrom)
                lazy.update((alias.name, each.module) for alias in each.names)
        elif isinstance(node, ast.FunctionDef):
            assert node.name in ("__getattr__", "__dir__") and lazy
        else:
            assert isinstance(node, ast.Assign), f"line {node.lineno} is no re-export"
            tables[ast.unparse(node.targets[0])] = ast.literal_eval(node.value)
    public = {name for name in homes if not name.startswith("_")}
    assert tables["__all__"] == sorted(public | set(lazy))
    assert tables["_HOMES"] == lazy
    assert list(lazy) == list(dict.fromkeys(lazy))


def test_no_module_is_named_like_a_public_function() -> None:
    """Else importing the module would put it in the place of the function."""
    import aemp_core

    modules = {path.stem for path in MODULES if path.parent.name == "aemp_core"}
    assert not modules & set(aemp_core.__all__)


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_a_module_holds_one_concept_and_says_which(path: Path) -> None:
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text)), f"{path.name} needs a docstring on its concept"
    lines = text.count("\n")
    assert lines <= 450, f"{path.name} has {lines} lines: perhaps two concepts under one roof"


def test_no_file_names_a_directory_of_one_machine() -> None:
    roots = ("packages", "docs", "examples", "news", "tests", ".ci")
    files = [
        path
        for root in roots
        for path in (ROOT / root).rglob("*")
        if path.suffix in {"", ".md", ".py", ".toml"} and path.is_file()
    ]
    files += [path for path in ROOT.iterdir() if path.suffix in {".ini", ".md", ".toml"}]
    assert files
    found = {
        relative(path): match[0]
        for path in files
        if (match := MACHINE.search(path.read_text(errors="replace")))
    }
    assert not found


def test_news_fragments_say_their_kind() -> None:
    names = {path.name for path in (ROOT / "news").iterdir()} - {"README.md"}
    assert not {name for name in names if not FRAGMENT.fullmatch(name)}
