import re
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.accuracy.config import load, settings

CONFIGS = sorted((Path(__file__).parents[2] / "benchmarks" / "configs").glob("*.yaml"))


def test_values_arrive_typed(study_file):
    study = load(study_file())
    assert study.tasks[0].label == "PenDigits, 300 train"
    assert study.tasks[0].train.epochs == 2
    assert study.methods[0].grid == {"lr": [0.001, 0.01]}
    assert [type(value) for value in study.methods[1].grid["loss_weight"]] == [float, int]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configs_are_valid_and_described(path):
    study = load(path)
    assert study.methods[0].name in (
        "baseline",
        "gll",
        "prototypes",
    )  # the others are paired with it
    assert path.read_text().startswith("# ")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("epochs", "epoch", "'epoch'"),
        ("seeds:", "seedz:", "seedz"),
        ("seeds: [0, 1]", "seeds: [0, one]", "one"),
        ("seeds: [0, 1]", "seeds: []", "seeds must not be empty"),
        ("seeds: [0, 1]", "seeds: [0, 0]", "seeds must differ"),
        ("seeds: [0, 1]", "seeds: [0, 1000]", r"tune_seeds must not be among seeds \[0, 1000\]"),
        ("epochs: 2", "epochs: two", "two"),
        ("epochs: 2", "epochs: 0", "epochs must be >= 1, got 0"),
        ("batch_size: 50", "schedule: linear", "linear"),
        ("name: PenDigits", "name: PenDigit", "data set must be one of .* got 'PenDigit'"),
        ("train_size: 300", "label_noise: 1.0", r"label_noise must be in \[0, 1\), got 1.0"),
        ("train_size: 300", "allow_partial: true", "PenDigits has no partial form"),
        ("train_size: 300", "labels_per_class: 0", "labels_per_class must be >= 1, got 0"),
        ("name: PenDigits", "name: Gaussian", "classes must be given for Gaussian alone, got None"),
        ("train_size: 300", "classes: 3", "classes must be given for Gaussian alone, got 3"),
        (
            "name: PenDigits, train_size: 300",
            "name: Gaussian, classes: 1001",
            r"classes must be in \[2, 1000\], got 1001",
        ),
        (
            "train_size: 300",
            "labels_per_class: 5",
            "labels_per_class leaves no labels to tune with",
        ),
        (
            "  model:",
            "  attack: {radii: [0.1], l2_radii: [1.0]}\n  model:",
            r"inputs in \[0, 1\]: standardise must be false",
        ),
        ("name: mlp", "name: mlpp", "model must be one of .* got 'mlpp'"),
        ("depth: 2", "dept: 2", r"options of model 'mlp' must be among .* got \['dept'\]"),
        ("name: gcr", "name: grc", "method must be one of .* got 'grc'"),
        ("loss_weight", "lossweight", r"options of method 'gcr' must be among .* \['lossweight'\]"),
        ("[0.1, 1]", "[0.1]", r"same number of grid settings, got \{'baseline': 2, 'gcr': 1\}"),
        ("name: gcr", "name: baseline", "methods must differ"),
        (
            "name: gcr",
            "name: lcc\n  beside: {name: gll}",
            r"beside is for the methods \('gcr', .* got it with 'lcc'",
        ),
        ("name: gcr", "name: gcr\n  beside: {name: lc}", "method must be one of .* got 'lc'"),
    ],
)
def test_mistakes_are_named(study_file, old, new, message):
    with pytest.raises(ValueError, match=message) as error:
        load(study_file(old, new))
    assert "study.yaml" in str(error.value)


def test_settings_go_to_training_or_method(study_file):
    study = load(study_file())
    rates = [run.task.train.lr for run in settings("tune", study.tasks[0], study.methods[0], 7)]
    runs = settings("tune", study.tasks[0], study.methods[1], 7)
    assert rates == [0.001, 0.01]
    assert [run.method.options for run in runs] == [{"loss_weight": 0.1}, {"loss_weight": 1}]
    assert all(run.seed == 7 for run in runs)


def test_id_depends_on_all_that_the_result_does_and_on_nothing_else(study_file):
    def run(old="", new="", trials=True):
        path = study_file(old, new)
        if not trials:
            path.write_text(re.sub("  grid: .*\n", "", path.read_text()))
        study = load(path)
        return settings("test", study.tasks[0], study.methods[1], study.seeds[0])[0]

    same = run("name: gcr", "name: gcr\n  label: ours\n  options: {stage: late}")
    assert run().id == same.id
    others = [
        run("seeds: [0, 1]", "seeds: [5, 6]"),
        run("train_size: 300", "train_size: 301"),
        run("train_size: 300", "train_size: 300, labels_per_class: 5", trials=False),
        run("batch_size: 50", "batch_size: 50, noise: 0.1"),
        run("width: 16", "width: 17"),
        run("batch_size: 50", "batch_size: 51"),
        run("name: gcr", "name: gcr\n  options: {stage: early}"),
        run("name: gcr", "name: gcr\n  beside: {name: lcc}"),
        run("name: gcr", "name: gcr\n  beside: {name: lcc, options: {k: 3}}"),
    ]
    assert len({run().id, *(other.id for other in others)}) == 10


def test_id_is_stable_across_versions_of_this_code(study_file):
    study = load(study_file())
    run = settings("test", study.tasks[0], study.methods[0], 0)[0]
    assert run.id == "45f095a26dfc0252"


def test_attacks_belong_to_the_id_of_test_runs_alone(study_file):
    path = study_file("  model:", "  attack: {radii: [0.1], l2_radii: [1.0]}\n  model:")
    path.write_text(
        path.read_text().replace("train_size: 300", "train_size: 300, standardise: false")
    )
    study = load(path)
    task, method = study.tasks[0], study.methods[0]
    for stage, differs in (("tune", False), ("test", True)):
        attacked, plain = (
            settings(stage, t, method, 0)[0] for t in (task, replace(task, attack=None))
        )
        assert (attacked.id != plain.id) is differs


def test_seeds_can_be_given_in_place_of_the_files(study_file):
    assert load(study_file(), seeds=[3]).seeds == [3]
    with pytest.raises(ValueError, match="tune_seeds"):
        load(study_file(), seeds=[1000])
