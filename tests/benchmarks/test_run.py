import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import pytest

from benchmarks import machine
from benchmarks.accuracy import data, run
from benchmarks.accuracy.config import load, settings
from benchmarks.cli import main

ROOT = Path(__file__).parents[2]


def rows(folder):
    return [json.loads(line) for line in (folder / "runs.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    output = tmp_path_factory.mktemp("smoke")
    config = ROOT / "benchmarks" / "configs" / "smoke.yaml"
    assert main(["run", str(config), "--output", str(output)]) == 0
    return output


def test_smoke_rows_tell_all(smoke):
    got = rows(smoke)
    assert [(r["stage"], r["method"], r["seed"]) for r in got] == [
        ("tune", "baseline", 1000),
        ("tune", "baseline", 1000),
        ("tune", "gcr", 1000),
        ("tune", "gcr", 1000),
        ("test", "baseline", 0),
        ("test", "gcr", 0),
        ("test", "baseline", 1),
        ("test", "gcr", 1),
    ]
    last = got[-1]
    assert last["scored_samples"] == 3498
    assert got[0]["scored_samples"] == 100
    assert last["accuracy"] > 0.7
    assert set(last["versions"]) == {"python", "torch", "torch_geometric", "pyg_relational"}
    assert len(last["curve"]["loss"]) == last["config"]["train"]["epochs"]
    assert last["peak_memory_mib"] > 50
    assert last["seconds_per_epoch"] > 0


def test_smoke_writes_table_and_pictures(smoke):
    assert "| gcr" in (smoke / "table.md").read_text()
    assert {path.name for path in smoke.iterdir()} == {
        "runs.jsonl",
        "table.md",
        "probes",
        "accuracy.png",
    }


def test_smoke_runs_nothing_again(smoke, capsys, monkeypatch):
    monkeypatch.setattr(run, "perform", lambda *_: pytest.fail("ran again"))
    before = (smoke / "runs.jsonl").read_bytes()
    config = ROOT / "benchmarks" / "configs" / "smoke.yaml"
    assert main(["run", str(config), "--output", str(smoke)]) == 0
    assert (smoke / "runs.jsonl").read_bytes() == before
    assert str(smoke / "table.md") in capsys.readouterr().out


def test_table_and_plot_need_only_the_rows(smoke, tmp_path, capsys):
    assert main(["table", str(smoke)]) == 0
    assert capsys.readouterr().out.strip() == (smoke / "table.md").read_text().strip()
    assert main(["plot", str(smoke), "--output", str(tmp_path), "--only", "curves|rela"]) == 0
    names = {"curves-pendigits-500-train.png", "relations-pendigits-500-train.png"}
    assert {path.name for path in tmp_path.iterdir()} == names
    (tmp_path / "runs.jsonl").write_bytes((smoke / "runs.jsonl").read_bytes())
    assert main(["plot", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.glob("*.png")} == names | {"accuracy.png"}


def test_list_names_everything(capsys):
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    for name in ("default", "PenDigits", "gcr", "loss_weight=1.0", "mlp", "depth=3"):
        assert name in out


def test_errors_are_one_line_and_a_status(tmp_path, capsys, study_file):
    assert main(["run", str(study_file("seeds:", "seedz:"))]) == 1
    assert main(["table", str(tmp_path / "none")]) == 1
    err = capsys.readouterr().err
    assert "seedz" in err
    assert "none" in err
    assert "Traceback" not in err


def test_pick_takes_the_best_mean_then_the_other_score_then_order(study_file):
    config = load(study_file())
    trials = settings("tune", config.tasks[0], config.methods[0], 7)

    def best(by, *seeds):
        rows = [[{"accuracy": a, "nll": n} for a, n in scores] for scores in seeds]
        return trials.index(run.pick(trials, rows, by))

    assert best("accuracy", [(0.8, 0.1), (0.9, 0.9)]) == 1
    assert best("accuracy", [(0.9, 0.2), (0.9, 0.1)]) == 1
    assert best("accuracy", [(0.9, 0.1), (0.9, 0.1)]) == 0
    assert best("nll", [(0.8, 0.1), (0.9, 0.9)]) == 0
    assert best("nll", [(0.8, 0.1), (0.9, 0.1)]) == 1
    assert best("nll", [(0.9, 0.1), (0.9, 0.2)], [(0.9, 0.4), (0.9, 0.2)]) == 1


def test_every_setting_is_tried_with_every_tuning_seed(study_file, tmp_path):
    path = study_file("seeds: [0, 1]", "seeds: [0]\ntune_seeds: [7, 8]")
    run.run(tmp_path, path)
    tuned = [r for r in rows(tmp_path) if r["stage"] == "tune" and r["method"] == "baseline"]
    assert sorted((r["seed"], r["config"]["train"]["lr"]) for r in tuned) == [
        (7, 0.001), (7, 0.01), (8, 0.001), (8, 0.01)
    ]  # fmt: skip


def test_published_results_are_refused_from_a_changed_tree(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "git_commit", lambda: "0123456789ab-dirty")
    with pytest.raises(ValueError, match="outside of benchmarks/results while files differ"):
        machine.check_clean(ROOT / "benchmarks" / "results" / "new")
    machine.check_clean(tmp_path)
    monkeypatch.setattr(machine, "git_commit", lambda: "0123456789ab")
    machine.check_clean(ROOT / "benchmarks" / "results" / "new")


def test_the_commit_is_marked_when_files_differ_but_not_by_results(monkeypatch, tmp_path):
    def git(*arguments):
        subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments],
            cwd=tmp_path,
            check=True,
        )

    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    for name in ("code.py", "benchmarks/results/runs.jsonl"):
        (tmp_path / name).write_text("1")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    commit = machine.git_commit.__wrapped__
    (tmp_path / "benchmarks/results/runs.jsonl").write_text("2")
    assert not commit().endswith("-dirty")
    (tmp_path / "code.py").write_text("2")
    assert commit().endswith("-dirty")
    shutil.rmtree(tmp_path / ".git")
    assert commit() is None
    monkeypatch.setenv("GIT_COMMIT", "0123456789ab")
    assert commit() == "0123456789ab"


def test_the_best_setting_is_run_for_every_seed(smoke):
    got = rows(smoke)
    for method in ("baseline", "gcr"):
        mine = [r for r in got if r["method"] == method]
        tuned = [r for r in mine if r["stage"] == "tune"]
        nll = defaultdict(list)
        for r in tuned:
            nll[json.dumps({k: r["config"][k] for k in ("train", "method")})].append(r["nll"])
        best = json.loads(min(nll, key=lambda setting: sum(nll[setting])))
        for r in (r["config"] for r in mine if r["stage"] == "test"):
            assert (r["train"], r["method"]) == (best["train"], best["method"])


def test_a_missing_data_set_is_told_and_the_rest_runs(study_file, tmp_path, capsys, monkeypatch):
    loaded = data._splits

    def splits(name, allow_partial):
        if name == "OptDigits":
            raise FileNotFoundError("optdigits.tra: not on disk")
        return loaded(name, allow_partial)

    monkeypatch.setattr(data, "_splits", splits)
    path = study_file("tasks:", "tasks:\n- data: {name: OptDigits}\n  model: {name: mlp}")
    assert main(["run", str(path), "--output", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("SKIPPED OptDigits: optdigits.tra: not on disk")
    assert "Not run: OptDigits. optdigits.tra: not on disk" in out
    assert "Not run: OptDigits" in (tmp_path / "table.md").read_text()
    assert {r["task"] for r in rows(tmp_path)} == {"PenDigits, 300 train"}


def test_nothing_to_run_is_an_error(study_file, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(data, "available", lambda _: "no network")
    assert main(["run", str(study_file()), "--output", str(tmp_path)]) == 1
    assert "Not run: PenDigits, 300 train. no network" in capsys.readouterr().out


def test_without_a_grid_nothing_is_tuned(study_file, tmp_path):
    path = study_file("  grid: {lr: [1e-3, 0.01]}\n", "")
    path.write_text(path.read_text().replace("  grid: {loss_weight: [0.1, 1]}\n", ""))
    run.run(tmp_path, path, [4])
    assert [r["stage"] for r in rows(tmp_path)] == ["test", "test"]


def test_a_changed_study_in_the_same_folder_shows_its_own_rows(study_file, tmp_path, capsys):
    for epochs in ("epochs: 1", "epochs: 3"):
        path = study_file("epochs: 2", epochs)
        assert main(["run", str(path), "--output", str(tmp_path), "--seeds", "0"]) == 0
    assert len(rows(tmp_path)) == 28
    assert main(["table", str(tmp_path)]) == 1
    assert "a changed study a new folder" in capsys.readouterr().err


def test_killed_and_resumed_no_run_is_lost_or_repeated(study_file, tmp_path):
    path = study_file("epochs: 2", "epochs: 12")
    seeds = [str(seed) for seed in range(10)]
    command = [sys.executable, "-m", "benchmarks", "run", str(path), "--output", str(tmp_path)]
    command += ["--seeds", *seeds]
    file = tmp_path / "runs.jsonl"
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and (not file.exists() or file.read_bytes().count(b"\n") < 6):
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    killed = file.read_bytes()
    finished = killed[: killed.rfind(b"\n") + 1]
    assert 6 <= finished.count(b"\n") < 32
    file.write_bytes(finished + b'{"id": "torn", "accur')
    resumed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "cut short" in resumed.stderr
    assert file.read_bytes().startswith(finished)
    got = rows(tmp_path)
    assert len(got) == len({r["id"] for r in got}) == 12 + 2 * len(seeds)
    assert sorted({str(r["seed"]) for r in got if r["stage"] == "test"}) == seeds
