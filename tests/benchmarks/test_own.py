import csv
import json

import numpy as np
import pytest
import torch

from benchmarks import own
from benchmarks.accuracy import run
from benchmarks.accuracy.config import load, settings
from benchmarks.accuracy.data import Source, available, describe, problem
from benchmarks.cli import main

STUDY = """
seeds: [0]
tasks:
- data: {path: DATA}
  model: {name: mlp, options: {width: 8, depth: 1}}
  train: {epochs: 2, batch_size: 50}
methods:
- name: baseline
- name: mine.py:smoothing
  options: {amount: 0.2}
"""
METHOD = """
from dataclasses import replace
from torch.nn.functional import cross_entropy
from benchmarks.accuracy.methods.baseline import baseline

def smoothing(model, train, *, amount=0.1):
    def loss(batch):
        logits = model(batch.x)
        return cross_entropy(logits, batch.y, label_smoothing=amount), logits
    return replace(baseline(model, train), loss=loss)

def nothing(model, train):
    return None
"""
KINDS = ["cat", "dog", "owl"]


def columns(n=120, unlabelled=30):
    kind = np.arange(n) % 3
    x = np.random.default_rng(0).normal(size=(n, 4)) + 5 * np.eye(3, 4)[kind]
    y = np.where(np.arange(n) < unlabelled, "", np.array(KINDS)[kind])
    split = np.where(np.arange(n) % 2 * (y != ""), "test", "train")
    return x, y, split


def write_csv(folder):
    x, y, split = columns()
    with (folder / "pets.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["a", "b", "c", "d", "kind", "part"])
        writer.writerows([*row, k, s] for row, k, s in zip(x.tolist(), y, split, strict=True))
    return "{path: pets.csv, label: kind, ignore: [part], train_size: 60}"


def write_split(folder):
    write_csv(folder)
    return "{path: pets.csv, label: kind, split: part}"


def write_npz(folder):
    x, y, _ = columns()
    np.savez(folder / "pets.npz", x=x, kind=y)
    return "{path: pets.npz, label: kind, train_size: 60}"


def write_parquet(folder):
    pytest.importorskip("pyarrow")
    import pandas

    x, y, _ = columns()
    frame = pandas.DataFrame(x, columns=list("abcd")).assign(kind=y)
    frame.to_parquet(folder / "pets.parquet")
    return "{path: pets.parquet, label: kind, train_size: 60}"


def write_images(folder):
    image = pytest.importorskip("PIL.Image")
    x, y, _ = columns()
    pixels = (255 * (x - x.min()) / np.ptp(x)).astype(np.uint8).reshape(-1, 2, 2)
    for i, kind in enumerate(y):
        path = folder / "pets" / kind / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.fromarray(pixels[i]).save(path)
    return "{path: pets, train_size: 60}"


@pytest.fixture
def study(tmp_path):
    """Writes a study beside its data and its method, and gives its path."""

    def write(data):
        (tmp_path / "mine.py").write_text(METHOD)
        path = tmp_path / "study.yaml"
        path.write_text(STUDY.replace("{path: DATA}", data))
        return path

    return write


@pytest.mark.parametrize("make", [write_csv, write_split, write_npz, write_parquet, write_images])
def test_a_study_on_own_data_with_an_own_method(study, tmp_path, make):
    path = study(make(tmp_path))
    assert main(["run", str(path), "--output", str(tmp_path / "out")]) == 0
    rows = [json.loads(line) for line in (tmp_path / "out" / "runs.jsonl").open()]
    assert [row["method"] for row in rows] == ["baseline", "smoothing"]
    assert rows[0]["task"].startswith("pets")
    assert rows[0]["nll"] != rows[1]["nll"]
    used = rows[1]["config"]
    assert used["method"]["name"] == "mine.py:smoothing"
    assert used["method"]["options"] == {"amount": 0.2}
    assert used["method"]["sha256"] == own.sha256(tmp_path / "mine.py")
    assert len(used["data"]["sha256"]) == 64
    assert "path" not in used["data"]
    labelled = 45 if make is write_split else 60
    assert rows[0]["train_samples"] == labelled + 30
    assert rows[0]["scored_samples"] == 90 - labelled


def test_training_rows_are_drawn_by_the_seed_the_rest_is_test_and_unlabelled_rows_join(tmp_path):
    write_csv(tmp_path)
    source = Source(
        path=str(tmp_path / "pets.csv"), label="kind", ignore=("part",), train_size=60, standardise=False
    )  # fmt: skip
    first, again, other = (problem(source, seed) for seed in (0, 0, 1))
    assert torch.equal(first.train.x, again.train.x)
    assert not torch.equal(first.train.x, other.train.x)
    assert first.train.y[:60].bincount().tolist() == [20, 20, 20]
    assert first.train.y[60:].tolist() == first.true_y[60:].tolist() == [-1] * 30
    assert first.test.y.bincount().tolist() == [10, 10, 10]
    x = torch.from_numpy(columns()[0]).float()
    everything = torch.cat([first.train.x, first.test.x])
    assert torch.equal(everything.sort(0).values, x.sort(0).values)
    assert torch.equal(first.train.x[60:], x[:30])
    held = problem(source, 0, validate=True)
    assert (len(held.test.y), int((held.test.y >= 0).sum())) == (12, 12)
    assert held.train.y[48:].tolist() == [-1] * 30


def test_columns_of_any_size_are_standardised_before_they_are_rounded(tmp_path):
    np.savez(tmp_path / "a.npz", x=1e12 + np.arange(12.0), y=np.arange(12) % 2)
    p = problem(Source(path=str(tmp_path / "a.npz"), label="y", train_size=8), 0)
    assert p.train.x.dtype == torch.float32
    assert len(p.train.x.unique()) == 8


def test_a_changed_file_is_another_run_and_a_moved_one_is_not(study, tmp_path):
    def ids():
        config = load(study(data))
        return [settings("test", config.tasks[0], m, 0)[0].id for m in config.methods]

    data = write_csv(tmp_path)
    before = ids()
    assert ids() == before
    with (tmp_path / "pets.csv").open("a") as file:
        file.write("1,2,3,4,cat,train\n")
    changed = ids()
    assert not set(changed) & set(before)
    (tmp_path / "other").mkdir()
    (tmp_path / "pets.csv").rename(tmp_path / "other" / "q.csv")
    data = data.replace("pets.csv", "other/q.csv")
    assert ids() == changed


def test_a_changed_method_is_another_run_and_is_the_one_that_runs(study, tmp_path):
    path = study(write_csv(tmp_path))
    name = str(tmp_path / "mine.py:smoothing")
    config = load(path)
    baseline, mine = (settings("test", config.tasks[0], m, 0)[0] for m in config.methods)
    before = baseline.id, mine.id
    assert own.function(name).__kwdefaults__ == {"amount": 0.1}
    (tmp_path / "mine.py").write_text(METHOD.replace("amount=0.1", "amount=0.25"))
    assert own.function(name).__kwdefaults__ == {"amount": 0.25}
    assert baseline.id == before[0]
    assert mine.id != before[1]


def test_gcr_goes_beside_an_own_method(study, tmp_path):
    path = study(write_csv(tmp_path))
    path.write_text(path.read_text() + "- {name: gcr, beside: {name: 'mine.py:smoothing'}}\n")
    rows, _ = run.run(tmp_path / "out", path)
    assert [row["method"] for row in rows] == ["baseline", "smoothing", "gcr"]
    assert rows[2]["config"]["beside"]["sha256"] == rows[1]["config"]["method"]["sha256"]


def test_folders_have_a_hash_of_names_and_contents(tmp_path):
    def tree(**files):
        for path in tmp_path.rglob("*.png"):
            path.unlink()
        for name, content in files.items():
            (tmp_path / f"{name}.png").write_text(content)
        return own.sha256(tmp_path)

    first = tree(a="1", b="2")
    assert tree(b="2", a="1") == first
    assert len({first, tree(a="2", b="1"), tree(a="1", c="2"), tree(a="1")}) == 4


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("mine.py:smoothing", "mine.py:smooth", "mine.py must have a function 'smooth', got none"),
        ("mine.py:smoothing", "yours.py:smoothing", "yours.py"),
        ("amount", "mount", r"options of method .* must be among \['amount'\], got \['mount'\]"),
        (", train_size: 60", "", "train_size or split must be given with path"),
        ("path: pets.csv", "path: pats.csv", "pats.csv"),
        ("path: pets.csv", "path: pets.csv, name: PenDigits", "a name or a path"),
        ("path: pets.csv", "name: PenDigits", r"\['label', 'ignore'\] must be given with path"),
    ],
)
def test_mistakes_in_a_study_are_named(study, tmp_path, old, new, message):
    path = study(write_csv(tmp_path))
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises((ValueError, OSError), match=message):
        load(path)


def test_a_method_that_returns_something_else_is_told(study, tmp_path, capsys):
    path = study(write_csv(tmp_path))
    path.write_text(path.read_text().replace("smoothing\n  options: {amount: 0.2}", "nothing"))
    assert main(["run", str(path), "--output", str(tmp_path / "out")]) == 1
    assert "mine.py:nothing must return a Method, got NoneType" in capsys.readouterr().err


def test_says_why_own_data_can_not_be_run(tmp_path):
    write_csv(tmp_path)
    path = str(tmp_path / "pets.csv")

    def why(**options):
        return available(Source(**({"path": path, "label": "kind", "ignore": ("part",)} | options)))

    assert why(train_size=60) is None
    assert "label must be a column" in why(train_size=60, label="sort")
    assert "label must name the column" in why(train_size=60, label=None, ignore=("kind", "part"))
    assert "train_size" in why(train_size=90)
    with (tmp_path / "pets.csv").open("a") as file:
        file.write("1,2,3,4,emu,train\n1,2,3,4,emu,train\n")
    assert "every class of" in why(train_size=4)
    with (tmp_path / "pets.csv").open("a") as file:
        file.write("1,2,3,4,,test\n")
    assert "are test must have a label" in why(split="part", ignore=())


def test_own_data_are_named_by_their_file():
    assert describe(Source(path="/a/b/pets.csv", train_size=60)) == "pets.csv, 60 train"


def test_a_split_stays_where_training_rows_are_drawn_from_its_own(tmp_path):
    write_csv(tmp_path)
    source = Source(path=str(tmp_path / "pets.csv"), label="kind", split="part", train_size=30)
    p = problem(source, 0)
    assert (len(p.train.y), int((p.train.y >= 0).sum()), len(p.test.y)) == (60, 30, 45)
