"""Every workload and every sweep runs, and its figures are no nonsense. Nothing here is timed."""

from __future__ import annotations

import json
import math
import os
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from . import process
from .__main__ import main
from .measure import Row, measure, sweep
from .peers import PEERS, Distribution, Peer, Program, Work, pick, works_of
from .process import Run, run_once
from .tables import beside_others
from .workloads import SWEEPS, WORKLOADS, Figure

#: So little of the work is done that starting is most of it: ratios are far off, but not so far.
ABSURD = 50
LOOPS = ("uvloop",)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
def test_a_workload_runs(workload):
    if workload.name == "idle":
        workload = replace(workload, size=1)  # second
    rows = list(measure(workload, runs=1, scale=0.02, loops=LOOPS))
    assert len(rows) == len(workload.figures) * len(workload.kinds) * (2 if workload.remote else 1)
    for row in rows:
        assert len(row.ours) == 1
        assert row.ours[0] > 0
        if row.goal.endswith("x"):
            assert 1 / ABSURD < row.ratios[0] < ABSURD


@pytest.mark.timeout(300)
@pytest.mark.parametrize("what", SWEEPS, ids=lambda what: what.name)
def test_a_sweep_runs(what):
    rows = list(sweep(what, runs=1, scale=0.02))
    assert len(rows) == len(what.sizes) - 1
    assert what.sizes[-1] / what.sizes[0] >= 1_000  # three decades
    assert all(1 / ABSURD < row.ratios[0] < ABSURD for row in rows)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("peer", "name"), [(peer, name) for peer in PEERS for name in peer.works],
    ids=lambda value: getattr(value, "name", value),
)  # fmt: skip
def test_a_peer_does_a_workload(peer, name):
    if missing := peer.missing():
        pytest.skip(" && ".join(missing))
    (workload,) = (each for each in WORKLOADS if each.name == name)
    figures = run_once(peer.works[name].where, Run(100, workload.size, loop="uvloop"))
    assert set(figures) == {figure.name for figure in workload.figures}
    assert all(0 < figure < math.inf for figure in figures.values())


LOCAL = {"local-paced": Work("floor_local:loop", 0.5)}
ABSENT = Peer("absent", (Distribution("no-such"), Program("no-such", "no-such-base", ())), LOCAL)
PRESENT = Peer("present", (Distribution("aemp-core"),), LOCAL)


def test_peers_that_are_not_installed_are_left_out_unless_they_are_named(capsys):
    assert pick([], [ABSENT, PRESENT]) == [PRESENT]
    remedy = "absent is not installed and left out: pip install no-such && apt-get install no-such"
    assert remedy in capsys.readouterr().out
    assert pick(["present"], [ABSENT, PRESENT]) == [PRESENT]
    with pytest.raises(ValueError, match="absent is not installed: pip install no-such && apt"):
        pick(["present", "absent"], [ABSENT, PRESENT])
    with pytest.raises(ValueError, match="there is no peer presnt: take some of absent, present"):
        pick(["presnt"], [ABSENT, PRESENT])


def test_a_row_tells_the_ratio_to_each_peer():
    (workload,) = (each for each in WORKLOADS if each.name == "local-paced")
    others = works_of([PRESENT], workload.name)
    assert others == {f"present {PRESENT.needs[0].version()}": LOCAL["local-paced"]}
    assert not works_of([PRESENT], "calls")
    rows = list(measure(workload, runs=2, scale=0.001, loops=LOOPS, others=others))
    assert [len(row.others) for row in rows] == [1, 0, 0]  # what peers do is small messages
    (name,) = others
    told = rows[0].json()["others"][name]
    assert told["ratio"]["least"] <= told["ratio"]["median"] <= told["ratio"]["most"]
    assert f"beside {name}" in str(rows[0])


def test_the_table_of_peers_marks_what_others_do_better():
    def row(text, unit, ours, **others):
        return Row(text, text, "", unit, [ours], [], {k: [v] for k, v in others.items()}).json()

    rows = [row("rate", "/s", 2e6, one=1e6, two=4e6), row("time", " us", 20.0, two=10.0)]
    assert list(beside_others(rows)) == [
        "| work | where | AEMP | one | two |",
        "| --- | --- | --- | --- | --- |",
        "| rate |  | 2 M/s | 1 M/s: 2 (2 to 2) | **4 M/s: 0.5** (0.5 to 0.5) |",
        "| time |  | 20 us |  | **10 us: 2** (2 to 2) |",
    ]


def test_an_interrupted_run_leaves_no_process_behind(tmp_path, monkeypatch):
    file = tmp_path / "pid"
    script = f"sleep 3600 & echo $! > {file}.new; mv {file}.new {file}; wait"

    class Interrupted(subprocess.Popen):
        def communicate(self, *arguments, **words):
            while not file.exists():
                time.sleep(0.01)
            raise KeyboardInterrupt

    monkeypatch.setattr(process, "_command", lambda *_, **words: ["sh", "-c", script])
    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_once("started:elsewhere", Run(1))
    command = Path("/proc", file.read_text().strip(), "cmdline")
    while (
        command.exists() and command.read_bytes()
    ):  # until it is gone, or has only its status left
        time.sleep(0.01)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="processes stay where they like")
def test_two_processes_stay_on_two_processors():
    before = os.sched_getaffinity(0)
    try:
        run = Run(1, processors=2, allowed=sorted(before))
        places = []
        for place in (0, 1):  # as a partner is started by one that stays already
            process.stay(run, place)
            places.append(os.sched_getaffinity(0))
    finally:
        os.sched_setaffinity(0, before)
    assert len(before) == 1 or places[0].isdisjoint(places[1])
    assert [len(each) for each in places] == [1, 1]


def test_a_goal_is_reached_or_not():
    assert Figure("rate", "/s", least=0.5).reached(1.0, 0.6) is True
    assert Figure("rate", "/s", least=0.5).reached(1.0, 0.4) is False
    assert Figure("median", " us", most=1.25).reached(1.0, 1.3) is False
    assert Figure("rate", "/s", lowest=100).reached(99.0, 7.0) is False
    assert Figure("bytes", " B", highest=600).reached(300.0, None) is True
    assert Figure("rate", "/s").reached(1.0, 0.4) is None


def test_a_row_tells_the_ratio_of_each_round():
    row = Row("name", "text", "uvloop, 1 CPU", "/s", [2.0, 3.0, 8.0], [1.0, 2.0, 2.0], {})
    assert row.ratios == [2.0, 1.5, 4.0]
    told = row.json()
    assert told["ratio"] == {"median": 2.0, "least": 1.5, "most": 4.0}
    assert math.isclose(told["ours"]["median"], 3.0)
    assert "2.00   1.50   4.00" in str(row)


def test_the_command_writes_a_line_for_each_row(tmp_path, capsys):
    path = tmp_path / "figures.jsonl"
    main(["local-burst", "ports", "--runs", "1", "--scale", "0.02", "--json", str(path)])
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["workload"] for line in lines] == [
        "local-burst", "ports-create", "ports-kill", "ports-bytes",
    ]  # fmt: skip
    assert "a million in one burst" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["local-burts"])
    assert "there is no local-burts" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--peers", "ports"])
    assert "there is no peer ports" in capsys.readouterr().err
