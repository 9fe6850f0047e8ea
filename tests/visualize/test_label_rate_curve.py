from typing import ClassVar

import numpy as np
import pytest
from scipy.stats import t
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import make_blobs
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import LabelSpreading

from pyg_relational.estimators import LaplaceClassifier
from pyg_relational.visualize import label_rate_curve, new_figure
from pyg_relational.visualize.label_rate_curve import draw_rates, label_rates

X, Y = make_blobs(90, centers=3, cluster_std=2.0, random_state=0)


class Spy(ClassifierMixin, BaseEstimator):
    """Says how many rows it saw, and of which labels."""

    seen: ClassVar[list] = []

    def fit(self, x, y):
        self.seen.append((len(x), np.unique(y[y >= 0], return_counts=True)[1].tolist()))
        return self

    def predict(self, x):
        return np.zeros(len(x), dtype=int)


class SemiSpy(Spy):
    seen: ClassVar[list] = []

    def fit(self, x, y):
        self.transduction_ = y
        return super().fit(x, y)


def test_supervised_ones_see_labelled_rows_alone():
    Spy.seen.clear()
    SemiSpy.seen.clear()
    models = {"a": Spy(), "b": SemiSpy(), "c": make_pipeline(StandardScaler(), SemiSpy())}
    found = label_rates(models, X, Y, per_class=(1, 4), draws=2, seed=0)
    drawn = [(3, [1, 1, 1]), (12, [4, 4, 4])] * 2
    assert Spy.seen[1:] == drawn
    assert sorted(SemiSpy.seen[2:]) == sorted(2 * [(90, labels) for _, labels in drawn])
    assert found["a"][1] == pytest.approx([29 / 87] * 2)
    assert found["a"] == found["b"] == found["c"]


def test_rows_with_a_label_do_not_count_and_draws_are_the_seed_s():
    models = {"nearest": KNeighborsClassifier(1)}
    first = label_rates(models, X, Y, per_class=(2, 5), draws=3, seed=1)["nearest"]
    assert first == label_rates(models, X, Y, per_class=(2, 5), draws=3, seed=1)["nearest"]
    later = label_rates(models, X, Y, per_class=(2, 5), draws=2, seed=2)["nearest"]
    assert later == {number: values[1:] for number, values in first.items()}
    assert max(first[5]) < 1


def test_curve_of_estimators_of_both_kinds():
    models = {
        "Laplace learning": LaplaceClassifier(k=5),
        "label spreading": LabelSpreading(kernel="knn"),
        "logistic regression": LogisticRegression(),
    }
    ax = new_figure().add_subplot()
    assert label_rate_curve(models, X, Y, ax, per_class=(1, 5), draws=2) is ax
    assert [text.get_text() for text in ax.get_legend().get_texts()] == list(models)
    assert ax.get_xlabel() == "labels a class"
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["1", "5"]
    places = [container[0].get_xdata() for container in ax.containers]
    assert len(np.unique(places)) == 6  # beside each other


def test_intervals_are_student_s_and_end_at_100():
    ax = new_figure().add_subplot()
    draw_rates(ax, {"a": {1: [0.5, 0.7, 0.6], 2: [0.9, 1.0, 1.0]}})
    line, _, (bars,) = ax.containers[0]
    np.testing.assert_allclose(line.get_ydata(), [60, 290 / 3])
    (low, high), (_, top) = (segment[:, 1] for segment in bars.get_segments())
    half = t.ppf(0.975, 2) * 10 / np.sqrt(3)
    np.testing.assert_allclose([low, high], [60 - half, 60 + half])
    assert top == 100


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"estimators": {}}, "estimators must be 1 to 4"),
        ({"per_class": (1, 30)}, "per_class must be < 30, the rows of a class, got 30"),
        ({"per_class": (0,)}, "per_class must be"),
        ({"draws": 1}, "draws must be"),
    ],
)
def test_rejects(options, message):
    with pytest.raises(ValueError, match=message):
        label_rate_curve(**{"estimators": {"a": Spy()}, "x": X, "y": Y} | options)
