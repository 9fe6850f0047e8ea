"""The committed rows are those of the committed configs: none missing, none of another config."""

import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("jsonargparse")

from benchmarks.accuracy import data, run

ROOT = Path(__file__).parents[2] / "benchmarks"
STUDIES = sorted(
    path.stem
    for path in (ROOT / "configs").glob("*.yaml")
    if (ROOT / "results" / path.stem).is_dir()
)


@pytest.mark.parametrize("study", STUDIES)
def test_rows_are_those_of_the_config(study, tmp_path, monkeypatch):
    rows = tmp_path / "runs.jsonl"
    shutil.copy(ROOT / "results" / study / "runs.jsonl", rows)
    committed = {json.loads(line)["id"] for line in rows.read_text().splitlines()}

    def perform(missing, *_):
        pytest.fail(f"no row of {missing.task.label}, {missing.method.label}, {missing.stage}")

    monkeypatch.setattr(run, "perform", perform)
    monkeypatch.setattr(data, "available", lambda _: None)
    done, skipped = run.run(tmp_path, ROOT / "configs" / f"{study}.yaml")
    assert not skipped
    assert {row["id"] for row in done} == committed
