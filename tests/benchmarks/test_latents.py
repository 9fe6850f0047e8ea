import json

import numpy as np
import pytest
import torch

from benchmarks.accuracy import latent_plots
from benchmarks.accuracy.config import load
from benchmarks.accuracy.data import Problem
from benchmarks.accuracy.latents import LatentHistory
from benchmarks.accuracy.methods import Samples
from benchmarks.accuracy.models import register as models
from benchmarks.accuracy.plot import pictures
from benchmarks.accuracy.run import run
from benchmarks.accuracy.table import frame, latents, report
from pyg_relational.metrics import latent_diagnostics

LATENTS = "  train: {epochs: 2, batch_size: 50}\n  latents: {samples: 60, k: 5}"
LCC = """- name: lcc
  options: {k: 5, warmup: 1}
  latents: true
  grid: {loss_weight: [0.1, 1]}
"""


@pytest.fixture
def study(study_file):
    """A small study whose baseline and LCC are looked into, GCR is not."""
    path = study_file("  train: {epochs: 2, batch_size: 50}", LATENTS)
    text = path.read_text().replace("- name: baseline", "- name: baseline\n  latents: true")
    path.write_text(text + LCC)
    return path


def test_history_is_the_diagnostics_of_every_layer():
    torch.manual_seed(0)
    y = torch.arange(60) % 3
    samples = Samples(3 * torch.eye(3)[y] + torch.randn(60, 3), y)
    model = models["mlp"]([3], 3, width=8, depth=2).train()
    rows = torch.arange(50)
    history = LatentHistory(model, Problem(samples, y, samples, 3), rows, k=6)
    history.look()
    history.look()
    row = history.row
    assert row["layers"] == ["blocks.1", "blocks.2", "head"]
    assert row["clusters"][0] == row["clusters"][1]
    with torch.no_grad():
        first = model.blocks[:2](samples.x[:50])
        logits = model(samples.x[:50])
    for number, z in enumerate([first, model.blocks[2](first).detach(), logits]):
        expected = latent_diagnostics(z, logits, y[:50], k=6)
        at = {name: values[0][number] for name, values in row.items() if name != "layers"}
        assert (at["clusters"], at["gdv"]) == (expected.num_clusters, pytest.approx(expected.gdv))
        assert at["modularity"] == pytest.approx(expected.modularity)
        assert at["mc_samples"] == expected.scores.mc.num_samples
        assert at["cc_accuracy"] == pytest.approx(expected.scores.cc.accuracy)
        assert at["mc_cross_entropy"] == pytest.approx(expected.scores.mc.cross_entropy)
    with pytest.raises(TypeError, match="Backbone, got Linear"):
        LatentHistory(torch.nn.Linear(3, 3), Problem(samples, y, samples, 3), rows, k=6)


def test_looking_leaves_training_as_it_is_and_is_in_the_id(study, study_file, tmp_path):
    rows, _ = run(tmp_path / "looked", study)
    found = {(row["method"], row["seed"]): row for row in rows if row["stage"] == "test"}
    assert not any("latents" in row for row in rows if row["stage"] == "tune")
    plain, _ = run(tmp_path / "plain", study_file(), [0])
    for row in (row for row in plain if row["stage"] == "test"):
        twin, asked = found[row["method"], 0], row["method"] == "baseline"
        assert twin["curve"] == row["curve"]
        assert twin["accuracy"] == row["accuracy"]
        assert (twin["id"] == row["id"]) != asked
        assert ("latents" in twin) == asked
    made = json.loads(json.dumps(found["lcc", 0]))["latents"]
    assert np.array(made["cc_accuracy"], dtype=float).shape == (3, 3)
    assert made["cc_samples"][0][0] + made["mc_samples"][0][0] == 60
    drawn = pictures(rows, [tmp_path])
    assert all(drawn[f"{kind}-pendigits-300-train"]() for kind in ("clustered", "latents"))


def test_a_study_rejects_more_neighbours_than_samples(study_file):
    path = study_file(
        "  train: {epochs: 2, batch_size: 50}", LATENTS.replace("samples: 60", "samples: 5")
    )
    with pytest.raises(ValueError, match="more samples than k"):
        load(path)


def row(method, seed, mc_accuracy, warmup=None):
    """A run of two layers that was looked at twice."""
    cc = [[0.5, 0.5], [0.9, 1.0]]
    made = {"layers": ["blocks.1", "head"], "clusters": [[4, 3], [3, 2]]}
    made |= {"modularity": [[0.5, 0.5], [0.6, 0.7]], "gdv": [[0, 0], [-0.2, -0.4]]}
    made |= {"cc_samples": [[3, 3], [3, 4]], "mc_samples": [[1, 1], [1, 0]]}
    made |= {"cc_accuracy": cc, "mc_accuracy": [[0.6, 0.6], mc_accuracy]}
    made |= {"cc_cross_entropy": cc, "mc_cross_entropy": [[2.0, 2.0], [1.0, None]]}
    scores = ("accuracy", "nll", "ece", "knn_accuracy", "seconds_per_epoch")
    return {
        "id": f"{method}{seed}",
        "stage": "test",
        "task": "digits",
        "method": method,
        "seed": seed,
        "curve": {},
        **dict.fromkeys((*scores, "intra_similarity", "inter_similarity"), 0.5),
        "config": {"train": {}, "method": {"options": {"warmup": warmup} if warmup else {}}},
        "latents": made,
    }


def test_table_compares_both_groups_after_the_last_epoch():
    rows = [row("baseline", 0, [0.5, None]), row("baseline", 1, [0.95, None])]
    first, head = latents(rows).to_dict("records")
    assert first["layer"] == "blocks.1"
    assert (first["MC %"], head["MC %"]) == ("25.0", "0.0")
    assert (first["CC accuracy %"], first["MC accuracy %"]) == ("90.0", "72.5")
    assert first["CC - MC"].startswith("17.5 ± ")
    assert (first["CC > MC"], head["CC > MC"]) == ("1/2", "0/0")
    assert (head["MC accuracy %"], head["CC - MC"], head["MC cross-entropy"]) == ("", "", "")
    assert (head["clusters"], head["modularity"], head["GDV"]) == ("2.0", "0.700", "-0.400")
    assert "Clusters of test samples" in report(rows)
    without = [{key: value for key, value in run.items() if key != "latents"} for run in rows]
    assert "Clusters of test samples" not in report(without)


def test_pictures_have_a_column_for_each_layer_and_tell_where_correction_starts():
    rows = [row("baseline", 0, [0.5, None]), row("LCC", 0, [0.7, None], warmup=1)]
    rows += [row("baseline", 1, [0.7, None]), {**row("GCR", 0, [0, 0]), "latents": float("nan")}]
    runs = frame(rows)
    figure = latent_plots.groups(runs)
    assert [ax.get_title() for ax in figure.axes[:2]] == ["blocks.1", "head"]
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    drawn = lines["baseline, MC"].get_ydata()
    assert list(drawn) == pytest.approx([60, 60])
    assert list(lines["LCC, CC"].get_ydata()) == pytest.approx([50, 90])
    assert not any("GCR" in label for label in lines)
    assert any(list(line.get_xdata()) == [1, 1] for line in figure.axes[0].lines)
    assert "correction starts" in figure.get_suptitle()
    plain = latent_plots.groups(runs[runs["method"] == "baseline"])
    assert plain.get_suptitle().endswith("mean and range over 2 seeds")
    figure = latent_plots.measures(runs)
    assert len(figure.axes) == 8
    shares = {line.get_label(): list(line.get_ydata()) for line in figure.axes[1].lines}
    assert shares["LCC"] == pytest.approx([25, 0])
    assert latent_plots.groups(runs[runs["method"] == "GCR"]) is None
    assert latent_plots.measures(frame(rows).drop(columns="latents")) is None
