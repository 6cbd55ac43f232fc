"""Rules of the house that no linter knows."""

from __future__ import annotations

import ast
import re
from pathlib import Path

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
    """The body is a docstring, imports and `__all__`, which lists every public name imported."""
    docstring, *body = ast.parse(path.read_text()).body
    assert isinstance(docstring, ast.Expr), "a package begins with the docstring that explains it"
    exported: list[str] = []
    imported: set[str] = set()
    for node in body:
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            continue
        if isinstance(node, ast.ImportFrom | ast.Import):
            imported.update(alias.asname or alias.name for alias in node.names)
            continue
        assert ast.unparse(node).startswith("__all__ = ["), f"line {node.lineno} is no re-export"
        assert isinstance(node, ast.Assign)
        exported = ast.literal_eval(node.value)
    assert exported == sorted(set(exported))
    assert set(exported) == {name for name in imported if not name.startswith("_")}


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
