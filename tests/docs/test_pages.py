"""The pages say what the code does: names, tables and links that they hold exist and are right."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest

import aemp_core
from aemp_core import hookspecs

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
CONTRACT = ROOT / "packages" / "aemp-core" / "tests" / "contract"

a_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def text_of(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_tables", DOCS / "tables.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# -- drawn from the code -----------------------------------------------------------------------


@a_page
def test_the_tables_of_a_page_are_those_of_the_code(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text == tables().up_to_date(text), "run: python docs/tables.py"


def test_every_table_is_on_some_page() -> None:
    drawn = {
        name for page in PAGES for name in re.findall("<!-- table: (.*) -->", page.read_text())
    }
    assert drawn == set(tables().TABLES)


def test_the_map_names_every_module() -> None:
    source = ROOT / "packages" / "aemp-core" / "src" / "aemp_core"
    modules = {path.stem for path in source.glob("*.py")} - {"__init__", "__main__"}
    modules |= {path.parent.name for path in source.glob("*/__init__.py")}
    assert set(re.findall(r"^\| `(\w+)` \|", tables().modules(), re.MULTILINE)) == modules


# -- hooks ---------------------------------------------------------------------------------------

HOOKS = {
    name: function
    for name, function in vars(hookspecs).items()
    if name.startswith("aemp_") and inspect.isfunction(function)
}


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_is_documented_with_its_arguments_and_shown_at_work(name: str) -> None:
    page = text_of("transports.md")
    arguments = ", ".join(inspect.signature(HOOKS[name]).parameters)
    assert f"| `{name}({arguments})` |" in page
    assert f"@hookimpl\ndef {name}({arguments}):\n" in page


def test_no_hook_is_documented_that_does_not_exist() -> None:
    for page in PAGES:
        told = set(re.findall(r"\b(aemp_\w+)\(", page.read_text(encoding="utf-8")))
        assert told <= set(HOOKS), page.name


# -- the reference ---------------------------------------------------------------------------------


def test_the_reference_describes_every_verb_in_full() -> None:
    """Functions of `aemp_core` refer to the methods of `Node`, so those must be there."""
    section = text_of("api.md").split("autoclass:: aemp_core.Node\n")[1].split("```")[0]
    listed = set(re.findall(r"\w+", section.split(":members: ")[1]))
    verbs = {name for name in aemp_core.__all__ if callable(getattr(aemp_core.Node, name, None))}
    assert verbs <= listed
    assert all(hasattr(aemp_core.Node, name) for name in listed)


# -- guarantees ----------------------------------------------------------------------------------


def contract_tests() -> dict[str, set[str]]:
    """The names of the tests in each file of the contract."""
    return {
        path.name: {
            node.name
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        for path in CONTRACT.glob("test_*.py")
    }


def test_each_guarantee_links_the_tests_that_hold_it() -> None:
    """A section per file of the contract; the tests it names are in that file."""
    known = contract_tests()
    linked = []
    for section in text_of("guarantees.md").split("\n## ")[1:]:
        for file in re.findall(r"\]\([^)]*/contract/(test_\w+\.py)\)", section):
            linked.append(file)
            title = section.partition("\n")[0].lower().replace(" ", "_")
            assert file == f"test_{title}.py"
            named = set(re.findall(r"`(test_\w+)`", section))
            assert named, f"{file}: name some tests"
            assert named <= known[file]
    assert sorted(linked) == sorted(known)


# -- links and names -----------------------------------------------------------------------------


def anchors(page: str) -> set[str]:
    headings = re.findall(
        r"^#+ (.*)$", re.sub(r"```.*?```", "", page, flags=re.DOTALL), re.MULTILINE
    )
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@a_page
def test_every_link_leads_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("https://"):
            continue
        file, _, anchor = target.partition("#")
        path = page.parent / file if file else page
        assert path.is_file(), target
        if anchor:
            assert anchor in anchors(path.read_text(encoding="utf-8")), target


@a_page
def test_every_name_of_ours_exists(page: Path) -> None:
    """``aemp_core.something`` in the text is a module, or a name in one."""
    for dotted in set(
        re.findall(r"\baemp_(?:core|tcp|tls)(?:\.\w+)+", page.read_text(encoding="utf-8"))
    ):
        thing: object = aemp_core
        path = dotted.split(".")
        for end in range(len(path), 0, -1):
            try:
                thing = importlib.import_module(".".join(path[:end]))
            except ModuleNotFoundError:
                continue
            for name in path[end:]:
                assert hasattr(thing, name), dotted
                thing = getattr(thing, name)
            break
