"""Every workload and every sweep runs, and its figures are no nonsense. Nothing here is timed."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from .__main__ import main
from .measure import Row, measure, sweep
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
    main(["local-burst", "ports", "--runs", "1", "--scale", "0.001", "--json", str(path)])
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["workload"] for line in lines] == [
        "local-burst", "ports-create", "ports-kill", "ports-bytes",
    ]  # fmt: skip
    assert "a million in one burst" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["local-burts"])
    assert "there is no local-burts" in capsys.readouterr().err
