"""The committed rows are those of the committed configs: none missing, none of another, names in the same order."""

import shutil
from pathlib import Path

import pytest

pytest.importorskip("jsonargparse")

from benchmarks.accuracy import data, run
from benchmarks.store import read

ROOT = Path(__file__).parents[2] / "benchmarks"
STUDIES = sorted(
    path.stem
    for path in (ROOT / "configs").glob("*.yaml")
    if (ROOT / "results" / path.stem).is_dir()
)


def names(rows):
    """Tasks and methods, in the order of pictures and tables."""
    tests = [row for row in rows if row["stage"] == "test"]
    return [list(dict.fromkeys(row[name] for row in tests)) for name in ("task", "method")]


@pytest.mark.parametrize("study", STUDIES)
def test_rows_are_those_of_the_config_in_its_order(study, tmp_path, monkeypatch):
    rows = tmp_path / "runs.jsonl"
    shutil.copy(ROOT / "results" / study / "runs.jsonl", rows)
    committed = read([rows])

    def perform(missing, *_):
        pytest.fail(f"no row of {missing.task.label}, {missing.method.label}, {missing.stage}")

    monkeypatch.setattr(run, "perform", perform)
    monkeypatch.setattr(data, "available", lambda _: None)
    done, skipped = run.run(tmp_path, ROOT / "configs" / f"{study}.yaml")
    assert not skipped
    assert {row["id"] for row in done} == {row["id"] for row in committed}
    assert names(done) == names(committed)
