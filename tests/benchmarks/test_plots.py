import numpy as np
import pytest

from benchmarks.accuracy.plots import accuracy, curves, relations, write
from benchmarks.accuracy.tables import frame


def row(task, method, seed, value, curve=(1.0, 0.5)):
    return {
        "id": f"{task}{method}{seed}",
        "stage": "test",
        "task": task,
        "method": method,
        "seed": seed,
        "accuracy": value,
        "curve": {"loss": list(curve), "train_accuracy": [0.5, 1.0]},
    }


ROWS = [
    row("digits", "baseline", 0, 0.5, (1.0, 0.4)),
    row("digits", "gcr", 0, 0.6),
    row("digits", "baseline", 1, 0.7, (1.0, 0.6)),
    row("digits", "gcr", 1, 0.9),
]


def test_accuracy_shows_means_seeds_and_paired_differences():
    left, right = accuracy(frame(ROWS)).axes
    marks = [list(line.get_xdata()) for line in left.lines]
    assert [pytest.approx([50, 70]), pytest.approx([60])] == marks[:2]
    differences = [list(line.get_xdata()) for line in right.lines]
    assert pytest.approx([15]) in differences
    assert left.get_yticklabels()[0].get_text() == "digits"


def test_a_single_seed_has_no_interval_but_a_picture(tmp_path):
    files = write(ROWS[:2], [tmp_path], tmp_path / "pictures")
    assert [file.name for file in files] == ["accuracy.png", "curves-digits.png"]
    assert all(file.with_suffix(".svg").stat().st_size > 1000 for file in files)


def test_curves_show_the_mean_and_only_what_all_runs_have():
    rows = [dict(row) for row in ROWS]
    rows[0]["curve"] = rows[0]["curve"] | {"test_accuracy": [0.1, 0.2]}
    loss, train = curves(frame(rows)).axes
    np.testing.assert_allclose(loss.lines[0].get_ydata(), [1.0, 0.5])
    np.testing.assert_allclose(train.lines[0].get_ydata(), [50, 100])


def test_relations_draw_each_method_whose_features_were_kept(tmp_path):
    (tmp_path / "probes").mkdir()
    y = np.arange(6) // 2
    arrays = {
        f"{kind}_{when}": np.eye(6)
        for kind in ("features", "logits")
        for when in ("before", "after")
    }
    for method in ("baseline", "gcr"):
        np.savez(tmp_path / "probes" / f"digits{method}0.npz", y=y, **arrays)
    figure = relations(frame(ROWS), [tmp_path])
    titles = [ax.get_title() for ax in figure.axes[:6]]
    assert titles[0] == "features before training\nintra-class cos 0.00, inter-class 0.00"
    assert titles.count("masked prediction graph\nafter training") == 2
    assert relations(frame(ROWS), [tmp_path / "elsewhere"]) is None


def test_no_rows_no_pictures(tmp_path):
    assert write([], [tmp_path], tmp_path) == []
