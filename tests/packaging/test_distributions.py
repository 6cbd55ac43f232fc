"""The distributions agree with each other, with VERSION and with what their modules import."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
VERSION = (ROOT / "VERSION").read_text().strip()
PROJECTS: dict[str, dict[str, Any]] = {
    path.parent.name: tomllib.loads(path.read_text())["project"]
    for path in sorted(ROOT.glob("packages/*/pyproject.toml"))
}
every_project = pytest.mark.parametrize("name", PROJECTS)


def source(name: str) -> Path:
    return ROOT / "packages" / name / "src" / name.replace("-", "_")


def requirements(name: str) -> Iterator[str]:
    """The requirements of a project and of its extras."""
    yield from PROJECTS[name].get("dependencies", ())
    for extra in PROJECTS[name].get("optional-dependencies", {}).values():
        yield from extra


def required_name(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9_.-]+", requirement)
    assert found, f"{requirement!r} names no distribution"
    return found[0]


def test_the_directory_is_called_like_the_distribution() -> None:
    assert [project["name"] for project in PROJECTS.values()] == list(PROJECTS)


@every_project
def test_the_installed_version_is_the_one_in_VERSION(name: str) -> None:
    assert metadata.version(name) == VERSION


@every_project
def test_pins_of_siblings_agree_with_VERSION(name: str) -> None:
    major, minor, _ = map(int, VERSION.split("."))
    for requirement in requirements(name):
        sibling = required_name(requirement)
        if sibling in PROJECTS and sibling != name:
            assert requirement == f"{sibling}>={major}.{minor},<{major}.{minor + 1}"


def test_each_sibling_is_an_extra_of_core_and_in_all() -> None:
    extras = PROJECTS["aemp-core"]["optional-dependencies"]
    siblings = {name.removeprefix("aemp-") for name in PROJECTS} - {"core"}
    assert siblings <= set(extras)
    assert extras["all"] == [f"aemp-core[{','.join(sorted(siblings))}]"]
    # An extra whose distribution is not here yet would install nothing, or a stranger.
    ours = {required_name(item) for item in requirements("aemp-core") if item.startswith("aemp")}
    assert ours <= set(PROJECTS)


@every_project
def test_classifiers_and_tox_name_the_same_pythons(name: str) -> None:
    prefix = "Programming Language :: Python :: 3."
    claimed = {
        item.removeprefix(prefix)
        for item in PROJECTS[name]["classifiers"]
        if item.startswith(prefix)
    }
    listed = re.findall(r"py\{([\d,]+)\}-(\S+)", (ROOT / "tox.ini").read_text())
    tested = {what: {v.removeprefix("3") for v in versions.split(",")} for versions, what in listed}
    assert tested["all"] == claimed
    ends = {min(claimed, key=int), max(claimed, key=int)}
    assert all(ends <= versions <= claimed for versions in tested.values())
    assert PROJECTS[name]["requires-python"] == f">=3.{min(claimed, key=int)}"


@every_project
def test_is_typed(name: str) -> None:
    assert (source(name) / "py.typed").is_file()


@every_project
def test_carries_the_licence(name: str) -> None:
    # A copy, since a symbolic link out of the package makes an sdist that cannot be unpacked.
    licence = ROOT / "packages" / name / "LICENSE"
    assert not licence.is_symlink()
    assert licence.read_bytes() == (ROOT / "LICENSE").read_bytes()


@every_project
def test_entry_points_lead_somewhere(name: str) -> None:
    declared = {
        *PROJECTS[name].get("scripts", {}).values(),
        *(
            target
            for group in PROJECTS[name].get("entry-points", {}).values()
            for target in group.values()
        ),
    }
    installed = metadata.distribution(name).entry_points
    assert {point.value for point in installed} == declared
    for point in installed:
        assert point.load() is not None


@every_project
def test_imports_are_declared(name: str) -> None:
    declared = {required_name(requirement).replace("-", "_") for requirement in requirements(name)}
    known = declared | {source(name).name} | sys.stdlib_module_names | {"tomllib"}
    stray: dict[str, set[str]] = {}
    for path in source(name).rglob("*.py"):
        # The testing kit plugs into pytest where there is one; it needs none.
        allowed = known | {"pytest"} if "testing" in path.parts else known
        for module in imported(ast.parse(path.read_text())) - allowed:
            stray.setdefault(module, set()).add(path.name)
    assert not stray, f"{name} imports what it does not require: {stray}"


def imported(tree: ast.AST) -> set[str]:
    """The top-level names of all absolute imports, those inside functions too."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names.add(node.module.partition(".")[0])
    return names
