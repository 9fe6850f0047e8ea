import pytest

from benchmarks.accuracy.budget import Budget, OutOfTimeError
from benchmarks.cli import main
from benchmarks.store import read

NAMES = [("a", "x"), ("a", "y"), ("b", "x")]


def row(task, method, seconds):
    return {"task": task, "method": method, "seconds": seconds}


def test_what_is_left_takes_as_long_as_what_is_nearest_to_it():
    assert str(Budget(NAMES * 2, [])) == "6 runs"
    budget = Budget(NAMES * 2, [row("a", "x", 60), row("a", "y", 240)])
    assert str(budget) == "4 runs, about 10 minutes"  # 60 + 240 + 2 * 150 seconds
    budget.add(row("b", "x", 600))
    assert str(budget) == "3 runs, about 15 minutes"
    old = {"task": "a", "method": "x", "train_seconds": 55}
    assert str(Budget(NAMES[:1] * 2, [old, row("other", "study", 5)])) == "1 run, about 1 minute"


def test_no_run_begins_when_the_time_is_up():
    Budget(NAMES, [], max_minutes=1).check()
    with pytest.raises(OutOfTimeError, match=r"stopped after 0 minutes; the same command goes on"):
        Budget(NAMES, [], max_minutes=0).check()


def test_a_study_says_what_is_left_stops_between_runs_and_goes_on(study_file, tmp_path, capsys):
    command = [
        "run",
        str(study_file("seeds: [0, 1]", "seeds: [0]\ntune_seeds: [7]")),
        "--output",
        str(tmp_path),
    ]
    assert main([*command, "--max-minutes", "1e-9"]) == 1
    out = capsys.readouterr().out
    assert "to do: 6 runs\n" in out
    assert "Not run: 6 runs. stopped after 1e-09 minutes" in out
    assert main([*command, "--max-minutes", "10"]) == 0
    out = capsys.readouterr().out
    assert "left, by the first: 5 runs, about 0 minutes" in out
    assert "Not run" not in (tmp_path / "table.md").read_text()
    rows = read([tmp_path])
    assert len(rows) == 6
    assert all(row["seconds"] > row["train_seconds"] for row in rows)
