"""The list of mutants keeps in step with the code; `tox run -e mutants` tries them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from mutants.run import ROOT, Edit, Mutant, MutantError, read

MUTANTS = read()
FUNCTION = re.compile(r"^ *(?:async )?def (test_\w+)", re.MULTILINE)


def test_the_list_is_worth_running() -> None:
    """There are some for each promise, and none is the same as another."""
    assert len(MUTANTS) >= 45
    assert len({mutant.edits for mutant in MUTANTS}) == len(MUTANTS)
    assert sum(bool(mutant.seeds) for mutant in MUTANTS) >= 30, "caught by the simulator, too"
    for table in (ROOT / "mutants").glob("*.toml"):
        assert table.read_text().startswith("# "), f"{table.name} begins with its promise"


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_fits_the_code(mutant: Mutant) -> None:
    """Each `old` is there once, what comes of it is Python, and what catches it exists."""
    changed: dict[Path, str] = {}
    for edit in mutant.edits:
        path = edit.path(ROOT / "packages")
        changed[path] = edit.applied(changed.get(path) or path.read_text())
        assert edit.new != edit.old
    for text in changed.values():
        ast.parse(text)
    for node_id in mutant.tests:
        module, _, name = node_id.partition("::")
        assert name, f"{module} is all of a module: name the tests that catch it"
        assert name.partition("[")[0] in FUNCTION.findall((ROOT / module).read_text())


def test_a_mutant_that_does_not_fit_is_named_with_what_is_wrong() -> None:
    edit = Edit("aemp_core/peer.py", "line\n", "")
    with pytest.raises(MutantError, match=r"occurs 0 times in aemp_core/peer\.py"):
        edit.applied("no such thing\n")
    with pytest.raises(MutantError, match=r"occurs 2 times in aemp_core/peer\.py"):
        edit.applied("line\nline\n")
    with pytest.raises(MutantError, match=r"no aemp_core/nowhere\.py"):
        Edit("aemp_core/nowhere.py", "x", "y").path(ROOT / "packages")
    with pytest.raises(MutantError, match="nothing that catches"):
        Mutant.of("idle", {"breaks": "", "file": "", "old": "", "new": "", "caught_by": []})


def test_names_are_unique_over_all_tables(tmp_path: Path) -> None:
    entry = '[twin]\nbreaks = "x"\nfile = "x"\nold = "x"\nnew = "y"\ncaught_by = ["simulate:1"]\n'
    for name in ("one.toml", "two.toml"):
        (tmp_path / name).write_text(entry)
    with pytest.raises(MutantError, match=r"two\.toml has a second mutant twin"):
        read(tmp_path)
