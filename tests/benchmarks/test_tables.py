import math

import numpy as np
import pytest
from scipy import stats

from benchmarks.accuracy.table import METRICS, attacks, chosen, report, results
from benchmarks.tables import markdown, paired


def row(method, seed, accuracy, stage="test", **other):
    metrics = dict.fromkeys(METRICS, 0.5) | {"accuracy": accuracy} | other
    lr = other.pop("lr", 0.1)
    return {
        "id": f"{stage}{method}{seed}{lr}",
        "stage": stage,
        "task": "digits",
        "method": method,
        "seed": seed,
        "config": {"train": {"lr": lr}, "method": {"options": {"stage": "late"}}},
        **metrics,
    }


def test_paired_is_scipys_paired_t_test():
    a, b = [0.91, 0.93, 0.90, 0.95, 0.92], [0.90, 0.92, 0.91, 0.92, 0.90]
    got = paired(a, b)
    test = stats.ttest_rel(a, b)
    low, high = test.confidence_interval(0.95)
    assert got[:3] == pytest.approx((np.mean(a) - np.mean(b), low, high))
    assert (got.wins, got.n) == (4, 5)
    assert got.excludes_zero == (test.pvalue < 0.05)


def test_interval_excludes_zero_on_either_side():
    assert paired([3.0, 3.1, 3.2], [1.0, 1.1, 1.3]).excludes_zero
    assert paired([1.0, 1.1, 1.3], [3.0, 3.1, 3.2]).excludes_zero
    assert not paired([1.0, 2.0, 3.0], [2.0, 1.0, 3.0]).excludes_zero


def test_one_pair_proves_nothing():
    pair = paired([3.0], [1.0])
    assert (pair.mean, pair.low, pair.high) == (2.0, -math.inf, math.inf)
    assert not pair.excludes_zero


def test_results_pair_by_seed_and_leave_out_seeds_without_a_partner():
    rows = [row("baseline", 0, 0.5), row("baseline", 1, 0.7), row("baseline", 2, 0.9)]
    rows += [row("gcr", 1, 0.8), row("gcr", 0, 0.6)]
    line = results(rows).set_index("method").loc["gcr"]
    assert line["seeds"] == "2"
    assert line["accuracy %"] == "70.00 ± 14.14*"
    assert line["difference"] == "+10.00 [+10.00, +10.00]"
    assert line["wins"] == "2/2"
    assert results(rows)["difference"].iloc[0] == ""


def test_results_star_other_measures_too():
    rows = [row("baseline", s, 0.5, nll=1.0 + s / 10) for s in range(3)]
    rows += [row("gcr", s, 0.5 + (s - 1) / 10, nll=0.9 + s / 10) for s in range(3)]
    line = results(rows).set_index("method").loc["gcr"]
    assert line["NLL"] == "1.000*"
    assert "*" not in line["accuracy %"]


def test_chosen_tells_what_varied_and_how_it_did():
    rows = [row("gcr", 1000, 0.8, "tune", lr=0.1), row("gcr", 1000, 0.9, "tune", lr=0.2)]
    table = chosen([*rows, row("gcr", 0, 0.7, lr=0.2)])
    assert table.to_dict("records") == [
        {
            "task": "digits",
            "method": "gcr",
            "trials": "2",
            "setting": "lr=0.2",
            "held-out accuracy %": "90.00",
        }
    ]


def test_attacks_are_means_with_intervals_for_each_radius():
    made = [{"PGD": {"radius": [0.0, 0.1], "accuracy": [0.9, a]}} for a in (0.2, 0.4)]
    rows = [row("gcr", seed, 0.9) | {"attacks": a} for seed, a in enumerate(made)]
    rows += [row("baseline", seed, 0.9) | {"attacks": made[0]} for seed in range(2)]
    table = attacks([*rows, row("gcr", 7, 0.1, stage="tune")])
    half = stats.t.ppf(0.975, 1) * 10
    assert table.to_dict("records")[1] == {
        "task": "digits",
        "attack": "PGD",
        "radius": "0.1",
        "gcr": f"30.0 ± {half:.1f}",
        "baseline": "20.0 ± 0.0",
    }
    assert "Accuracy % of attacked test samples" in report(rows)
    assert "attacked" not in report([row("gcr", 0, 0.9)])
    assert (
        attacks([*rows, row("new", 0, 0.9) | {"attacks": {"CW": made[0]["PGD"]}}])["new"][0] == ""
    )


def test_markdown_is_aligned():
    text = markdown(results([row("baseline", 0, 0.5)]))
    lines = text.splitlines()
    assert len(lines) == 3
    assert len({len(line) for line in lines}) == 1
    assert set(lines[1]) == {"|", "-"}


def test_different_runs_of_the_same_name_are_not_mixed():
    with pytest.raises(ValueError, match="got several for digits, gcr, 0"):
        report([row("gcr", 0, 0.5, lr=0.1), row("gcr", 0, 0.6, lr=0.2)])


def test_any_method_may_be_what_the_others_are_compared_with():
    rows = [row(method, s, a + s / 10) for s in range(2) for method, a in (("x", 0.1), ("y", 0.3))]
    table = results(rows, baseline="y").set_index("method")
    assert table.loc["x", "difference"] == "-20.00 [-20.00, -20.00]"
    assert table.loc["y", "difference"] == ""
    with pytest.raises(
        ValueError, match=r"baseline must be one of \['x', 'y'\] of digits, got 'z'"
    ):
        results(rows, baseline="z")


def test_scores_of_other_classes_are_shown_where_there_are_any():
    rows = [row("baseline", seed, 0.9) for seed in (0, 1)]
    assert "AUROC % by distance" in results(rows)
    for one in rows:
        del one["auroc_confidence"], one["auroc_distance"]
    assert "AUROC % by distance" not in results(rows)
    other = [row("baseline", seed, 0.9) | {"task": "letters"} for seed in (0, 1)]
    assert results(rows + other)["AUROC % by distance"].tolist() == ["", "50.00"]
