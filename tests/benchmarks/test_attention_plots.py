import numpy as np
import pytest

from benchmarks.accuracy.attention import STAGES
from benchmarks.accuracy.attention_plots import APART, embeddings, entropy
from benchmarks.accuracy.plot import pictures
from benchmarks.accuracy.table import frame, relations, report


def row(task, method, seed, classes=None, values=(1.0, 0.8, 0.5)):
    made = {
        "id": f"{task}{method}{seed}",
        "stage": "test",
        "task": task,
        "method": method,
        "seed": seed,
        "curve": {},
        **dict.fromkeys(("accuracy", "nll", "ece", "knn_accuracy", "seconds_per_epoch"), 0.5),
        "intra_similarity": 0.5,
        "inter_similarity": 0.5,
        "config": {"train": {}, "method": {"options": {}}},
    }
    if classes is None:
        return made
    measures = {name: list(values) for name in ("entropy", "entropy_of_mean", "own_class")}
    spread = {"inter_class_similarity": [0.0, 0.0, -0.25], "effective_rank": [4.0, 4.0, 3.5]}
    sets = {"anchors": {**spread, **measures}, "proxies": {**spread, **measures}}
    return made | {"relations": {"num_classes": classes, "sets": sets}}


@pytest.fixture
def probes(tmp_path):
    """Kept arrays of a CNN2GNN on three classes and of a baseline."""
    (tmp_path / "probes").mkdir()
    y = np.arange(12) % 3
    plain = {f"features_{when}": np.eye(12, 4) + 1 for when in ("before", "after")}
    plain |= {"logits_after": np.eye(12, 3), "y": y}
    np.savez(tmp_path / "probes" / "digitsbaseline0.npz", **plain)
    kept = {"images_y": y, "proxies_y": np.arange(3), "anchors_y": np.arange(3)}
    for number, stage in enumerate(STAGES):
        kept[f"images_{stage}"] = np.random.default_rng(0).normal(size=(12, 4))
        kept[f"anchors_{stage}"] = kept[f"proxies_{stage}"] = np.eye(3, 4)
        kept[f"attention_anchors_{stage}"] = np.full((3, 3), 1 / 3)
        kept[f"attention_proxies_{stage}"] = np.eye(3) * number / 2
    np.savez(tmp_path / "probes" / "digitsCNN2GNN0.npz", **plain, **kept)
    return tmp_path


def test_embeddings_show_images_anchors_and_proxies(probes):
    runs = frame([row("digits", "baseline", 0), row("digits", "CNN2GNN", 0, 3)])
    panels = embeddings(runs, [probes]).axes
    assert [ax.get_title() for ax in panels] == [f"{stage} of training" for stage in STAGES]
    for ax in panels:
        assert [len(c.get_offsets()) for c in ax.collections] == [12, 3, 3]
    assert embeddings(runs, [probes / "elsewhere"]) is None


def test_proxies_keep_their_mark_beside_methods_with_anchors(probes):
    path = probes / "probes" / "digitsCNN2GNN0.npz"
    with np.load(path) as kept:
        arrays = {name: kept[name] for name in kept.files if "anchors" not in name}
    np.savez(path.with_name("digitsproxies0.npz"), **arrays)
    runs = frame([row("digits", "proxies", 0, 3), row("digits", "CNN2GNN", 0, 3)])
    panels = embeddings(runs, [probes]).axes
    for ax, anchors in ((panels[0], 0), (panels[3], 3)):
        assert [c.get_label() for c in ax.collections] == ["images", "anchors", "proxies"]
        assert [len(c.get_offsets()) for c in ax.collections] == [12, anchors, 3]


def test_entropy_joins_tasks_that_differ_in_their_number_of_classes():
    rows = [
        row(f"Gaussian, {classes} classes", "CNN2GNN", seed, classes, (1, 1, value))
        for classes, values in {100: (0.6, 0.8), 10: (0.1, 0.3)}.items()
        for seed, value in enumerate(values)
    ]
    rows += [row("Letter", "CNN2GNN", 0, 26, (1, 1, 0.9)), row("Letter", "baseline", 0)]
    rows[-1]["relations"] = float("nan")
    first = entropy(frame(rows)).axes[0]
    drawn = reversed(first.lines)  # ends of intervals come after the line
    beside = APART**-0.5  # the first of two methods lies left of the number
    lines = {tuple(np.round(line.get_xdata() / beside)): list(line.get_ydata()) for line in drawn}
    assert lines[10, 100] == pytest.approx([0.2, 0.7])
    assert lines[26,] == [0.9]
    own = entropy(frame(rows)).axes[2].lines[0]
    assert list(own.get_ydata()) == pytest.approx([2, 70])
    assert entropy(frame(rows[:2])) is None
    assert entropy(frame([rows[0], rows[4]])) is None
    assert entropy(frame([row("Letter", "baseline", 0)])) is None


def test_they_are_among_the_pictures(probes):
    rows = [row("digits", "baseline", 0), row("digits", "CNN2GNN", 0, 3)]
    drawn = pictures(rows, [probes])
    assert drawn["embeddings-digits"]()
    assert drawn["attention"]() is None


def test_the_report_tells_attention_at_the_three_stages_and_the_end_of_the_rest():
    rows = [row("digits", "baseline", 0)]
    rows += [
        row("digits", "CNN2GNN", s, 3, v) for s, v in enumerate([(1, 0.8, 0.5), (1, 0.6, 0.3)])
    ]
    anchors, proxies = relations(rows).to_dict("records")
    assert anchors["set"] == "anchors"
    assert proxies == {
        "task": "digits",
        "method": "CNN2GNN",
        "set": "proxies",
        "entropy": "1.000, 0.700, 0.400",
        "entropy of the mean": "0.400",
        "to the own class": "0.400",
        "inter-class cos": "-0.250",
        "effective rank": "3.500",
    }
    assert "Attention of test samples" in report(rows)
    assert "Attention of test samples" not in report(rows[:1])
    pooled = row("digits", "mean", 0, 3)
    for measures in pooled["relations"]["sets"].values():
        for name in ("entropy", "entropy_of_mean", "own_class"):
            del measures[name]
    line = relations([pooled]).to_dict("records")[1]
    assert (line["entropy"], line["effective rank"]) == ("", "3.500")
