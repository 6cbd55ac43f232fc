"""A campaign: every target fuzzed for so many inputs or seconds, in several processes.

Each target has a working directory that outlives the campaign, `fuzz/.work/TARGET`: a second
campaign goes on where the first ended. What breaks something is replayed without instruments,
made small and put into `fuzz/finds`.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .corpus import CORPUS, REACHED, ROOT, inputs
from .finds import describe, failure_of, fixed_name, shrink
from .mutators import DICTIONARY
from .targets import Target

__all__ = ["Result", "fuzz", "keep"]

WORK = ROOT / "fuzz" / ".work"
FINDS = ROOT / "fuzz" / "finds"
#: Megabytes a process may take: many times what the targets need, whatever the input.
MEMORY = 400
#: Seconds after which libFuzzer ends an input that does not return at all.
STUCK = 60
#: The longest input that is kept of a campaign, and how many of them.
KEPT_BYTES, KEPT_INPUTS = 400, 400

_UNITS = re.compile(r"stat::number_of_executed_units: *(\d+)")
_SECONDS = re.compile(r"Done \d+ runs in (\d+) second")
_STATE = re.compile(r"cov: (\d+) ft: (\d+) corp: (\d+)/")


@dataclass
class Result:
    """What became of one target.

    Attributes:
        target: the target.
        inputs: how many were run.
        seconds: how long that took.
        edges: branches that were reached, of the modules that are watched.
        corpus: inputs in the working directory that each reached something new.
        find: the input that broke something, if one did.
        failure: what it broke.
        problem: why the target ended, if it ended badly.
    """

    target: Target
    inputs: int = 0
    seconds: int = 0
    edges: int = 0
    corpus: int = 0
    find: Path | None = None
    failure: str = ""
    problem: str = ""

    def __str__(self) -> str:
        state = "nothing found" if not self.problem else self.problem
        return (
            f"{self.target.name:8} {self.inputs:>10,} inputs {self.seconds:>6,} s  "
            f"{self.edges:>4} edges  {self.corpus:>4} in corpus  {state}"
        )


def fuzz(
    targets: Sequence[Target], *, runs: int = 0, seconds: int = 0, jobs: int = 1
) -> list[Result]:
    """Fuzz `targets`, all together for `runs` inputs or `seconds`, each with its share.

    Prints a line for each when it has ended.
    """
    WORK.mkdir(exist_ok=True)
    _dictionary().write_text(
        "".join(
            f'"{"".join(f"{chr(92)}x{byte:02x}" for byte in word)}"\n'
            for word in DICTIONARY
            if word
        ),
        "ascii",
    )
    whole = sum(target.share for target in targets)
    ordered = sorted(targets, key=lambda target: -target.share)

    def one(target: Target) -> Result:
        share = target.share / whole
        limit = (
            f"-runs={max(1, round(runs * share))}"
            if runs
            else f"-max_total_time={max(5, round(seconds * jobs * share))}"
        )
        result = _fuzz_one(target, limit)
        print(result, flush=True)
        return result

    with ThreadPoolExecutor(jobs) as pool:
        results = list(pool.map(one, ordered))
    for result in results:
        if result.find is not None:
            _show(result, result.find)
    return results


def _fuzz_one(target: Target, limit: str) -> Result:
    work = _unpack(target)
    log = WORK / f"{target.name}.log"
    prefix = WORK / f"{target.name}-"
    for old in WORK.glob(f"{target.name}-*"):
        old.unlink()
    with log.open("wb") as output:
        code = subprocess.run(
            [
                *_worker(target), limit, f"-max_len={target.max_length}", f"-rss_limit_mb={MEMORY}",
                f"-timeout={STUCK}", "-report_slow_units=1000", "-print_final_stats=1",
                f"-seed={secrets.randbelow(2**31) + 1}", f"-dict={_dictionary()}",
                f"-artifact_prefix={prefix}", str(work),
            ],
            cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, check=False,
        ).returncode  # fmt: skip
    result = Result(target)
    text = log.read_text("utf-8", "replace")
    if found := _UNITS.search(text):
        result.inputs = int(found[1])
    if found := _SECONDS.search(text):
        result.seconds = int(found[1])
    if states := _STATE.findall(text):
        result.edges, result.corpus = int(states[-1][0]), int(states[-1][2])
    if code:
        _ended_badly(result, code, log)
    return result


def _ended_badly(result: Result, code: int, log: Path) -> None:
    """Sort out whether an input was to blame."""
    artifacts = sorted(WORK.glob(f"{result.target.name}-*"))
    if not artifacts:
        result.problem = f"the process ended with {code}: see {log.relative_to(ROOT)}"
        return
    path = artifacts[0]
    data = path.read_bytes()
    if "-crash-" in path.name:
        failure = failure_of(result.target, data)
        if failure is None:
            result.problem = "ended early: an input was slow, but is not without instruments"
            return
        data = shrink(result.target, data)
        result.failure = repr(failure_of(result.target, data))
    else:  # not to be tried again in this process: it does not return, or takes all memory
        result.failure = path.name.split("-")[1]
    FINDS.mkdir(exist_ok=True)
    result.find = FINDS / f"{result.target.name}-{hashlib.sha256(data).hexdigest()[:12]}"
    result.find.write_bytes(data)
    result.problem = f"FOUND {result.find.relative_to(ROOT)}"


def _show(result: Result, path: Path) -> None:
    target = result.target
    print(f"\n{describe(target, path.read_bytes())}\n{result.failure}")
    print(f"replay it:   python -m fuzz replay {target.name} {path.relative_to(ROOT)}")
    print(f"when fixed:  move it to {Path(fixed_name(target)).relative_to(ROOT)}")


def keep(target: Target) -> int:
    """Put what the working directory reached into the kept corpus; return how many inputs.

    Only what reaches something that no other kept input does, and is small.
    """
    merged = WORK / f"{target.name}.merged"
    merged.mkdir(parents=True, exist_ok=True)
    for old in merged.iterdir():
        old.unlink()
    work = _unpack(target)
    subprocess.run(
        [*_worker(target), "-merge=1", f"-max_len={KEPT_BYTES}", str(merged), str(work)],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True,
    )  # fmt: skip
    chosen = sorted(
        (path.read_bytes() for path in merged.iterdir()), key=lambda data: (len(data), data)
    )
    lines = "".join(f"{data.hex()}\n" for data in chosen[:KEPT_INPUTS] if data)
    (CORPUS / target.name / REACHED).write_text(lines, "ascii")
    return lines.count("\n")


def _worker(target: Target) -> list[str]:
    os.environ.setdefault("PYTHONHASHSEED", "0")
    return [sys.executable, "-m", "fuzz.worker", target.name]


def _dictionary() -> Path:
    return WORK / "dictionary"


def _unpack(target: Target) -> Path:
    """The working directory of a target, with the kept corpus in it."""
    work = WORK / target.name
    work.mkdir(parents=True, exist_ok=True)
    for name, data in inputs(target.name):
        (work / name).write_bytes(data)
    return work
