import pytest
import torch

from benchmarks.accuracy.config import load
from benchmarks.accuracy.run import run
from benchmarks.accuracy.train import score
from benchmarks.accuracy.trained import reload


def made(study_file, tmp_path, **options):
    path = study_file()
    rows, _ = run(tmp_path / "out", path, seeds=[0], **options)
    return path, [row for row in rows if row["stage"] == "test"]


def test_a_kept_network_has_the_scores_of_its_row(study_file, tmp_path):
    path, rows = made(study_file, tmp_path, keep_models=True)
    kept = sorted(file.name for file in (tmp_path / "out/models").iterdir())
    assert kept == sorted(f"{row['id']}.pt" for row in rows)
    for row in rows:
        torch.manual_seed(1)
        method, problem = reload(load(path), row["id"], tmp_path / "out/models")
        for name, value in score(method, problem).items():
            assert value == pytest.approx(row[name], abs=1e-6)


def test_networks_are_kept_where_asked_for(study_file, tmp_path):
    path, rows = made(study_file, tmp_path)
    assert not (tmp_path / "out/models").exists()
    with pytest.raises(FileNotFoundError, match=r"not kept; run the study with --keep-models"):
        reload(load(path), rows[0]["id"], tmp_path / "out/models")


def test_an_id_of_another_study_is_named(study_file, tmp_path):
    with pytest.raises(ValueError, match="id must be that of a test run of the study, got 'abc'"):
        reload(load(study_file()), "abc", tmp_path)
