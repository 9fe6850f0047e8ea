import re

import numpy as np
import pytest
from scipy import stats

from benchmarks.accuracy.plot import (
    SHOWN,
    accuracy,
    attacks,
    curves,
    label_rates,
    pictures,
    relations,
)
from benchmarks.accuracy.robustness import NORMS
from benchmarks.accuracy.table import frame
from benchmarks.drawing import save


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
    assert [text.get_text() for text in left.get_yticklabels()] == ["digits", "baseline", "gcr"]


def test_no_seed_lies_under_a_mean_or_an_interval():
    left = accuracy(frame([*ROWS, row("letters", "gcr", 0, 0.6)])).axes[0]
    places = left.get_yticks()
    seeds = [line.get_ydata()[0] for line in left.lines if line.get_marker() == "."]
    means = [line.get_ydata()[0] for line in left.lines if line.get_marker() in "os"]
    assert means == [1, 2, 4]
    assert len(seeds) == 3
    assert all(0.2 < seed - mean < 0.5 for seed, mean in zip(seeds, means, strict=True))
    assert list(places) == [0, 1, 2, 3, 4]


def test_a_single_seed_has_no_interval_but_a_picture(tmp_path):
    drawn = {name: draw() for name, draw in pictures(ROWS[:2], [tmp_path]).items()}
    files = save(drawn, tmp_path / "new")
    assert [file.name for file in files] == ["accuracy.png", "curves-digits.png"]
    assert all(file.stat().st_size > 1000 for file in files)


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


def test_label_rates_are_drawn_in_order_with_their_intervals():
    rates = {10: (0.7, 0.8), 1: (0.1, 0.3)}
    rows = [
        row(f"digits, {rate} label{'s' * (rate > 1)} a class", "gcr", seed, value)
        for rate, values in rates.items()
        for seed, value in enumerate(values)
    ]
    (ax,) = label_rates(frame(rows)).axes
    (line,) = [line for line in ax.lines if len(line.get_xdata()) == 2 and line.get_marker() == "o"]
    assert list(line.get_xdata()) == [1, 10]
    np.testing.assert_allclose(line.get_ydata(), [20, 75])
    half = stats.t.ppf(0.975, 1) * 5
    (bars,) = ax.collections
    np.testing.assert_allclose(bars.get_segments()[1], [[10, 75 - half], [10, 75 + half]])


def test_label_rates_have_one_picture_a_data_set():
    rows = [row(f"{d}, {n} labels a class", "gcr", 0, 0.5) for d in ("a", "b") for n in (2, 5)]
    names = pictures([*rows, row("a", "gcr", 0, 0.5)], [])
    assert [name for name in names if name.startswith("labels")] == ["labels-a", "labels-b"]


def test_what_a_study_asks_is_drawn_and_the_rest_where_asked_for():
    rows = [row("a", "gcr", 0, 0.5), row("b, 2 labels a class", "gcr", 0, 0.5)]
    kinds = {name.split("-")[0] for name in pictures(rows, []) if not re.search(SHOWN, name)}
    assert kinds == {"curves", "latents", "relations"}
    shown = [name for name in pictures(rows, []) if re.search(SHOWN, name)]
    assert {"accuracy", "attention", "attacks-a", "clustered-a", "embeddings-a", "labels-b"} <= set(
        shown
    )


def test_attacks_are_drawn_for_tasks_that_have_them():
    made = {name: {"radius": [0.0, 0.1], "accuracy": [0.9, 0.5]} for name in NORMS}
    worse = {name: {"radius": [0.0, 0.1], "accuracy": [0.8, 0.3]} for name in NORMS}
    rows = [ROWS[0] | {"attacks": made}, ROWS[2] | {"attacks": worse}]
    panels = attacks(frame(rows)).axes
    assert [ax.get_title() for ax in panels] == list(NORMS)
    np.testing.assert_allclose(panels[0].lines[0].get_ydata(), [85, 40])
    both = attacks(frame([*rows, {**rows[0], "method": "gcr"}])).axes[0].lines
    first, second = (line.get_xdata() for line in both if line.get_marker() in ("o", "s"))
    np.testing.assert_allclose(second - first, 0.02 * 0.1)
    assert attacks(frame(ROWS)) is None


def test_untrained_methods_have_no_curves():
    untrained = row("digits", "laplace", 0, 0.5) | {"curve": {}}
    figure = curves(frame([ROWS[0], untrained]))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["baseline"]
    assert curves(frame([untrained])) is None


def test_no_rows_no_pictures(tmp_path):
    assert pictures([], [tmp_path]) == {}
