"""Mutants: faults planted in the code, one at a time, each of which must be caught.

    python mutants/run.py [NAME ...] [--jobs 2] [--by tests|simulate]

Tests that find nothing wrong prove nothing unless they find what is wrong. The tables in
`mutants/*.toml`, one file for each promise of `docs/guarantees.md`, hold faults that somebody could
really make:

    [name]
    breaks = "what is promised, and broken by this"
    file = "aemp_core/peer.py"          # below packages/*/src
    old = ...                           # occurs exactly once in the file
    new = ...
    caught_by = ["packages/.../test_once.py::test_once_...", "simulate:200"]   # or simulate-tls

A fault that needs a second place has it as ``[[name.also]]``, with the same three keys. For each
mutant the sources are copied and changed; then the tests that are named must fail on the copy, and
so must so many seeds of the simulator. A hang counts as failure. What is named must first pass on
the unchanged sources. A mutant that cannot be imported proves nothing and is an error.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["ROOT", "Edit", "Mutant", "MutantError", "read"]

ROOT = Path(__file__).resolve().parents[1]
HERE = Path(__file__).resolve().parent

#: A test that takes so many seconds hangs; and a whole run, should that not help.
TEST_SECONDS = 20
RUN_SECONDS = 120

#: The commands, run by `tree.py`, and what they exit with when they find a fault.
TESTS = ("pytest", "-x", "-q", "-p", "no:cacheprovider", "-o", f"timeout={TEST_SECONDS}")
SIMULATE = ("mutants.seeds",)
#: What runs the seeds of each kind of simulation.
DRIVERS: dict[str, tuple[str, ...]] = {
    "simulate": (),
    "simulate-tls": ("aemp_tls.simulation:TlsDriver",),
}
FOUND = 1
#: Characters shown of what each finds.
MOST_SHOWN = 100

_FAILED = re.compile(r"^(?:FAILED|ERROR) \S*?::(.*?)(?: - (.*))?$", re.MULTILINE)
_HANGS = "+ Timeout +"
#: Errors of a mutant that is wrong in itself, not of the promise it breaks.
_SLIPS = ("NameError", "ImportError", "ModuleNotFoundError", "SyntaxError", "UnboundLocalError")


class MutantError(Exception):
    """A mutant that proves nothing: it does not fit the code, or what catches it fails anyway."""


@dataclass(frozen=True)
class Edit:
    """One place of the sources, and what is written there instead."""

    file: str
    old: str
    new: str

    def path(self, tree: Path) -> Path:
        """The file, in `tree`, which is laid out like ``packages``."""
        found = list(tree.glob(f"*/src/{self.file}"))
        if len(found) != 1:
            raise MutantError(f"there is no {self.file} below {tree}/*/src")
        return found[0]

    def applied(self, text: str) -> str:
        """The text of the file with it."""
        count = text.count(self.old)
        if count != 1:
            raise MutantError(
                f"`old` occurs {count} times in {self.file}, must be once: keep it in step with "
                f"the code\n{self.old}"
            )
        return text.replace(self.old, self.new)


@dataclass(frozen=True)
class Mutant:
    """One planted fault.

    Attributes:
        name: unique in all tables.
        breaks: the promise, in a sentence.
        edits: the places it changes.
        tests: node IDs of pytest, relative to the root: at least one of them fails.
        seeds: how many seeds the simulator needs to see it, and its driver; empty if it does not.
    """

    name: str
    breaks: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]
    seeds: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, name: str, table: Mapping[str, Any]) -> Mutant:
        """The mutant that a table of the list describes."""
        keys = {"breaks", "file", "old", "new", "caught_by", "also"}
        if table.keys() - keys or keys - table.keys() - {"also"}:
            raise MutantError(f"{name} has the keys {sorted(table)}, not {sorted(keys)}")
        places = [table, *table.get("also", ())]
        edits = tuple(Edit(place["file"], place["old"], place["new"]) for place in places)
        seeds: list[tuple[str, ...]] = []
        tests = []
        for catcher in table["caught_by"]:
            kind, _, count = catcher.partition(":")
            if kind in DRIVERS:
                seeds.append((str(int(count)), *DRIVERS[kind]))
            else:
                tests.append(catcher)
        if not seeds and not tests:
            raise MutantError(f"{name} names nothing that catches it")
        return cls(name, table["breaks"], edits, tuple(tests), tuple(seeds))

    def catchers(self, kind: str | None = None) -> Iterator[tuple[str, ...]]:
        """The commands of which each must find it; of one kind, if that is given."""
        if self.tests and kind != "simulate":
            yield (*TESTS, *self.tests)
        if kind != "tests":
            yield from ((*SIMULATE, *each) for each in self.seeds)


def read(directory: Path = HERE) -> list[Mutant]:
    """Every mutant of the tables in `directory`.

    Raises:
        MutantError: a table is not as it should be, or two mutants have one name.
    """
    mutants: dict[str, Mutant] = {}
    for path in sorted(directory.glob("*.toml")):
        with path.open("rb") as file:
            tables = tomllib.load(file)
        for name, table in tables.items():
            if name in mutants:
                raise MutantError(f"{path.name} has a second mutant {name}")
            mutants[name] = Mutant.of(name, table)
    return list(mutants.values())


# -- running ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """How a command ended: `found` is what it found wrong, "" if nothing."""

    found: str
    seconds: float


def run(tree: Path, command: Iterable[str]) -> Outcome:
    """Run a command on the sources in `tree`.

    Raises:
        MutantError: it ended in a way that says nothing of the code.
    """
    sources = os.pathsep.join(map(str, sorted(tree.glob("*/src"))))
    environment = {**os.environ, "PYTHONPATH": sources, "PYTHONDONTWRITEBYTECODE": "1"}
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, str(HERE / "tree.py"), str(tree), *command],
        cwd=ROOT, env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        output, _ = process.communicate(timeout=RUN_SECONDS)
        hangs = _HANGS in output
    except subprocess.TimeoutExpired:
        hangs = True
    finally:
        # With it what it started: a test that was cut short may leave processes behind.
        if process.poll() is None or hangs:
            _kill_group(process.pid)
        process.wait()
    seconds = time.monotonic() - began
    if hangs:
        return Outcome("a hang", seconds)
    if process.returncode == 0:
        return Outcome("", seconds)
    if process.returncode != FOUND:
        raise MutantError(f"exit code {process.returncode}:\n{_tail(output)}")
    failed = _FAILED.search(output)
    found, why = failed.groups() if failed else _last_line(output)
    if why and why.startswith(_SLIPS):
        raise MutantError(f"{found} fails for another reason: {why}")
    return Outcome(found, seconds)


def _kill_group(process_id: int) -> None:
    try:
        os.killpg(process_id, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _last_line(output: str) -> tuple[str, str]:
    """What the simulator found, and why, unless an error ended it: then that is both."""
    line = (output.strip().splitlines() or ["nothing is said"])[-1]
    return line, line


def _tail(output: str) -> str:
    return "\n".join(f"    {line}" for line in output.splitlines()[-15:])


class Runner:
    """Tries mutants, several at once, and remembers which commands pass without any."""

    def __init__(self, kind: str | None) -> None:
        self._kind = kind
        self._sound: dict[tuple[str, ...], Future[None]] = {}

    def try_one(self, mutant: Mutant) -> tuple[list[str], float]:
        """What each catcher found (none: nothing) and the seconds that took."""
        found, seconds = [], 0.0
        for command in mutant.catchers(self._kind):
            self._check_sound(command)
            with tempfile.TemporaryDirectory(prefix="mutant-") as directory:
                tree = Path(directory).resolve()
                copy_sources(tree)
                for edit in mutant.edits:
                    path = edit.path(tree)
                    path.write_text(edit.applied(path.read_text()))
                outcome = run(tree, command)
            seconds += outcome.seconds
            if not outcome.found:
                return [], seconds
            found.append(outcome.found)
        return found, seconds

    def _check_sound(self, command: tuple[str, ...]) -> None:
        """Raise unless `command` finds nothing in the sources as they are."""
        first: Future[None] = Future()
        known = self._sound.setdefault(command, first)
        if known is first:
            try:
                outcome = run(ROOT / "packages", command)
                if outcome.found:
                    raise MutantError(f"fails without any mutant: {outcome.found}")
            except BaseException as error:
                first.set_exception(error)
            else:
                first.set_result(None)
        known.result()


def copy_sources(tree: Path) -> None:
    """Copy ``packages/*/src`` to `tree`, without what was compiled of it."""
    for source in (ROOT / "packages").glob("*/src"):
        shutil.copytree(
            source,
            tree / source.parent.name / "src",
            ignore=shutil.ignore_patterns("__pycache__"),
        )


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="Plant faults, and see that each is caught.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="mutants to try; all, if none")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="at once")
    parser.add_argument("--by", choices=("tests", "simulate"), help="only these catchers")
    options = parser.parse_args()
    mutants = read()
    unknown = set(options.names) - {mutant.name for mutant in mutants}
    if unknown:
        parser.error(f"no mutant {', '.join(sorted(unknown))}: the names are in mutants/*.toml")
    wanted = [
        mutant
        for mutant in mutants
        if (not options.names or mutant.name in options.names) and any(mutant.catchers(options.by))
    ]
    runner = Runner(options.by)
    caught = 0
    began = time.monotonic()
    with ThreadPoolExecutor(options.jobs) as pool:
        trials = {pool.submit(runner.try_one, mutant): mutant for mutant in wanted}
        for trial in as_completed(trials):
            mutant = trials[trial]
            try:
                found, seconds = trial.result()
            except MutantError as error:
                print(f"{mutant.name:36} IS NO MUTANT: {error}", flush=True)
                continue
            caught += bool(found)
            caught_by = ", ".join(each[:MOST_SHOWN] for each in found)
            how = f"caught by {caught_by}" if found else f"SURVIVED: {mutant.breaks}"
            print(f"{mutant.name:36} {seconds:5.1f} s  {how}", flush=True)
    print(f"{caught} of {len(wanted)} caught, in {time.monotonic() - began:.0f} s")
    return 0 if caught == len(wanted) else 1


if __name__ == "__main__":
    sys.exit(main())
