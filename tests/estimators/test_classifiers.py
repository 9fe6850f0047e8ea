import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from sklearn.datasets import make_blobs, make_moons
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator
from torch_geometric.data import Data

from pyg_relational.datasets import PenDigits
from pyg_relational.estimators import LaplaceClassifier, PoissonClassifier
from pyg_relational.nn import laplace_propagation, poisson_propagation
from pyg_relational.ops.linear.multigrid import VCycle
from pyg_relational.transforms import knn_graph

BOTH = pytest.mark.parametrize("Classifier", [LaplaceClassifier, PoissonClassifier])


@pytest.fixture
def moons():
    x, y = make_moons(300, noise=0.08, random_state=0)
    partial = np.full(300, -1)
    for k in (0, 1):
        partial[np.flatnonzero(y == k)[:3]] = k
    return x, y, partial


def spy(function, calls):
    def call(*args):
        calls.append(args)
        return function(*args)

    return call


@BOTH
@pytest.mark.filterwarnings("ignore")
def test_scikit_learn_checks(Classifier):
    why = "-1 marks rows without a label, as in sklearn.semi_supervised; the check has a class -1"
    check_estimator(Classifier(k=3), expected_failed_checks={"check_classifiers_classes": why})


@BOTH
def test_moons(Classifier, moons):
    x, y, partial = moons
    model = Classifier()
    found = model.fit_predict(x, partial)
    assert (found == y).mean() >= 0.98
    assert model.score(x, y) == (found == y).mean()
    later, truth = make_moons(200, noise=0.08, random_state=1)
    assert model.score(later, truth) >= 0.98


@BOTH
def test_fitted_rows_keep_what_they_have(Classifier, moons):
    x, _, partial = moons
    model = Classifier().fit(x, partial)
    np.testing.assert_allclose(model.predict_proba(x), model.label_distributions_, atol=1e-12)
    assert (model.predict(x) == model.transduction_).all()
    np.testing.assert_allclose(model.label_distributions_.sum(1), 1)


@pytest.mark.parametrize(
    ("Classifier", "f"),
    [(LaplaceClassifier, laplace_propagation), (PoissonClassifier, poisson_propagation)],
)
def test_equals_propagation(Classifier, f, moons):
    x, _, partial = moons
    u = f(*knn_graph(torch.from_numpy(x), 10), torch.from_numpy(partial))
    model = Classifier(tol=1e-12).fit(x, partial)
    assert (model.transduction_ == u.argmax(1).numpy()).all()
    if f is poisson_propagation:
        u = (u / u.square().mean().sqrt()).softmax(1)
    np.testing.assert_allclose(model.label_distributions_, u, atol=1e-9)


@BOTH
def test_the_solver_is_chosen_by_the_graph(Classifier, monkeypatch):
    x = np.random.default_rng(0).standard_normal((4000, 2))
    partial = np.full(4000, -1)
    partial[:20] = np.arange(20) % 2
    made = []
    monkeypatch.setattr(VCycle, "__call__", spy(VCycle.__call__, made))
    model = Classifier(tol=1e-4).fit(x, partial)
    want = Classifier(tol=1e-9).fit(x, partial)
    assert made
    np.testing.assert_allclose(model._scores, want._scores, atol=1e-4 * abs(want._scores).max())


@pytest.mark.parametrize("bandwidth", ["self_tuning", 0.5, "unit"])
def test_new_row_holds_the_weighted_mean_of_its_neighbours(bandwidth, moons):
    x, _, partial = moons
    model = LaplaceClassifier(k=4, bandwidth=bandwidth).fit(x, partial)
    new = np.array([[0.3, 0.2], [5.0, 5.0]])
    for row, got in zip(new, model.predict_proba(new), strict=True):
        d = np.sqrt(((x - row) ** 2).sum(1))
        near = np.argsort(d)[:4]
        last = np.sort(np.sqrt(((x[near][:, None] - x[None]) ** 2).sum(-1)), 1)[:, 4]
        scale = {"self_tuning": last * d[near].max(), 0.5: 0.25, "unit": 4}[bandwidth]
        w = np.exp(-4 * d[near] ** 2 / scale + (4 * d[near] ** 2 / scale).min())
        np.testing.assert_allclose(got, w @ model.label_distributions_[near] / w.sum(), atol=1e-9)


@BOTH
def test_a_given_graph_in_any_form(Classifier, moons):
    x, _, partial = moons
    edge_index, weight = knn_graph(torch.from_numpy(x), 10)
    sparse = scipy.sparse.csr_array((weight.numpy(), edge_index.numpy()), shape=(300, 300))
    want = Classifier().fit_predict(x, partial)
    forms = [
        sparse,
        sparse.toarray(),
        (edge_index, weight),
        Data(edge_index=edge_index, edge_weight=weight, num_nodes=300),
    ]
    for form in forms:
        model = Classifier(affinity="precomputed")
        assert (model.fit_predict(form, partial) == want).all()
        assert model.n_features_in_ == 300
    row = np.zeros((1, 300))
    row[0, [0, 1]] = 1, 3
    mean = model._distribution((model._scores[[0]] + 3 * model._scores[[1]]) / 4)
    np.testing.assert_allclose(model.predict_proba(row), mean, atol=1e-9)
    for some in (0.1 * row, scipy.sparse.csr_array(row)):
        np.testing.assert_allclose(model.predict_proba(some), mean, atol=1e-9)
    with pytest.raises(ValueError, match=r"positive sum in every row, got 0\.0 in row 1"):
        model.predict(np.concatenate([row, 0 * row, 0 * row]))
    for bad in (np.full((3, 3), np.nan), np.ones(3)):
        with pytest.raises(ValueError, match=r"NaN|2D array"):
            Classifier(affinity="precomputed").fit(bad, [0, 1, -1])


@BOTH
def test_a_graph_of_one_direction_is_refused(Classifier):
    with pytest.raises(ValueError, match="both directions"):
        Classifier(affinity="precomputed").fit(np.triu(np.ones((3, 3)), 1), [0, 1, -1])


@pytest.mark.parametrize("bandwidth", ["self_tuning", 0.5, "unit"])
def test_weights_of_a_new_row_tell_its_neighbours_apart(bandwidth, moons):
    x = moons[0]
    label = np.random.default_rng(0).integers(5, size=len(x))
    model = LaplaceClassifier(k=6, bandwidth=bandwidth).fit(x, label)
    new = x[::30] + 0.05
    for row, got in zip(new, model.predict_proba(new), strict=True):
        d = np.sqrt(((x - row) ** 2).sum(1))
        near = np.argsort(d)[:6]
        last = np.sort(np.sqrt(((x[near][:, None] - x[None]) ** 2).sum(-1)), 1)[:, 6]
        scale = {"self_tuning": last * d[near].max(), 0.5: 0.25, "unit": 4}[bandwidth]
        w = np.exp(-4 * d[near] ** 2 / scale)
        assert w.min() < w.max()
        np.testing.assert_allclose(got, w @ np.eye(5)[label[near]] / w.sum(), atol=1e-5)


@BOTH
@pytest.mark.parametrize("bandwidth", ["self_tuning", 0.5, "unit"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_fitted_rows_keep_what_they_have_in_every_dtype(Classifier, dtype, bandwidth, moons):
    x, _, partial = moons
    for scale in (1.0, 1e-3, 1e3):
        rows = (scale * x).astype(dtype)
        model = Classifier(bandwidth=bandwidth).fit(rows, partial)
        assert np.isfinite(model.predict_proba(rows)).all()
        assert (model.predict(rows) == model.transduction_).mean() > 0.99  # equal rows take a mean
        assert np.isfinite(model.predict_proba(rows + dtype(scale))).all()


@BOTH
def test_behind_a_scaler_in_float32(Classifier, moons):
    x, y, partial = moons
    model = make_pipeline(StandardScaler(), Classifier()).fit(x.astype(np.float32), partial)
    assert model.score(x.astype(np.float32), y) > 0.98


@BOTH
def test_missing_labels_as_tables_have_them(Classifier, moons):
    x, _, partial = moons
    want = Classifier().fit_predict(x, partial)
    none = pd.Series([None if k < 0 else "ab"[k] for k in partial], dtype=object)
    assert (Classifier().fit_predict(x, none) == np.array(["a", "b"])[want]).all()
    nan = np.where(partial < 0, np.nan, partial)
    na = pd.Series(nan).astype("Int64")
    for y in (nan, na, na.astype(object), pd.Series(nan), nan.tolist()):
        model = Classifier().fit(x, y)
        assert (model.transduction_ == want).all()
        assert model.classes_.tolist() == [0, 1]
        assert model.classes_.dtype != object


@BOTH
def test_score_counts_labelled_rows_alone(Classifier, moons):
    x, y, partial = moons
    model = Classifier().fit(x, partial)
    some = np.where(np.arange(len(y)) % 3 == 0, y, -1)
    assert model.score(x, some) == (model.predict(x) == y)[::3].mean()
    weight = np.arange(len(y)) + 1.0
    want = np.average((model.predict(x) == y)[::3], weights=weight[::3])
    assert model.score(x, some, sample_weight=weight) == pytest.approx(want)
    with pytest.raises(ValueError, match="must label a row"):
        model.score(x, np.full(len(y), -1))


@BOTH
def test_grid_search_and_a_held_out_part_of_the_labels(Classifier, moons):
    x, y, partial = moons
    partial = np.where(np.arange(len(y)) % 10 == 0, y, -1)
    search = GridSearchCV(Classifier(), {"k": [5, 10]}, cv=3).fit(x, partial)
    assert search.best_score_ > 0.9
    held_out = np.flatnonzero(partial >= 0)[::2]
    fold = np.full(len(y), -1)  # always in the training part, its labels hidden below
    fold[held_out] = 0
    search = GridSearchCV(Classifier(), {"k": [5, 10]}, cv=PredefinedSplit(fold)).fit(x, partial)
    assert search.best_score_ > 0.9


@BOTH
def test_labels_of_any_type(Classifier, moons):
    x, _, partial = moons
    names = np.array(["left", "right", -1], dtype=object)[partial]
    model = Classifier().fit(x, names)
    assert model.classes_.tolist() == ["left", "right"]
    assert model.classes_.dtype == object
    assert (
        model.transduction_ == np.where(Classifier().fit_predict(x, partial), "right", "left")
    ).all()
    with pytest.raises(ValueError, match="object array"):
        model.fit(x, names.astype(str))
    with pytest.raises(ValueError, match="object array"):  # nor beside a longer string
        Classifier(k=1).fit(x[:3], np.array(["a", "-1", "bb"]))
    tens = model.fit(x, np.where(partial == -1, -1, 10 * partial + 7))
    assert tens.classes_.tolist() == [7, 17]


@BOTH
def test_rows_that_no_label_reaches_get_the_shares_of_the_labels(Classifier):
    x, y = make_blobs([20, 20, 20], centers=np.array([[0, 0], [50, 0], [0, 50]]), random_state=0)
    partial = np.full(60, -1)
    partial[np.flatnonzero(y == 0)[:2]] = 0
    partial[np.flatnonzero(y == 1)[:1]] = 1
    model = Classifier(k=4).fit(x, partial)
    if Classifier is LaplaceClassifier:
        np.testing.assert_allclose(model.label_distributions_[y == 2], [[2 / 3, 1 / 3]] * 20)
    assert (model.transduction_[y == 2] == 0).all()
    with pytest.raises(ValueError, match="no label reaches"):
        Classifier(k=4, on_unreachable="error").fit(x, partial)


def test_decay_leaves_distributions(moons):
    x, y, partial = moons
    model = LaplaceClassifier(tau=0.1).fit(x, partial)
    np.testing.assert_allclose(model.label_distributions_.sum(1), 1)
    assert (model.transduction_ == y).mean() > 0.9


def test_rows_that_decay_leaves_nothing_get_the_shares_of_the_labels():
    x = np.concatenate([np.arange(6.0), 1e3 + np.arange(6.0)])[:, None]
    model = LaplaceClassifier(k=2, tau=0.1).fit(x, [0, 0, 1, -1, -1, -1] + [-1] * 6)
    np.testing.assert_allclose(model.label_distributions_[6:], [[2 / 3, 1 / 3]] * 6)


@BOTH
def test_identical_rows_one_class_and_all_labelled(Classifier, moons):
    x, y, _ = moons
    model = Classifier(k=2).fit(np.ones((8, 3)), [0, 1, 1, -1, -1, -1, -1, -1])
    assert np.isfinite(model.predict_proba(np.zeros((1, 3)))).all()
    model = Classifier(k=2)
    assert (model.fit_predict(x, np.where(y == 0, 5, -1)) == 5).all()
    assert (model.label_distributions_ == 1).all()
    alone = Classifier(k=2).fit(np.arange(10.0)[:, None], [3] + [-1] * 9)
    assert (alone.label_distributions_ == 1).all()
    assert (LaplaceClassifier(k=2).fit_predict(x, y) == y).all()


@BOTH
@pytest.mark.parametrize(
    ("options", "y", "message"),
    [
        ({}, [-1] * 20, "no label in 20 rows"),
        ({}, [0] * 19, "19"),
        ({"k": 20}, [0] * 20, "k must be in 1..n - 1 = 19"),
        ({"affinity": "rbf"}, [0] * 20, "affinity must be one of"),
        ({"on_unreachable": "maybe"}, [0] * 20, "on_unreachable must be one of"),
    ],
)
def test_bad_input(Classifier, options, y, message):
    with pytest.raises(ValueError, match=message):
        Classifier(**options).fit(np.random.default_rng(0).random((20, 2)), y)
    with pytest.raises(NotFittedError):
        Classifier().predict([[0.0, 0.0]])


@BOTH
def test_few_labels_on_pendigits(Classifier, dataset_root):
    x, y = (part.numpy() for part in PenDigits(dataset_root).split("test"))
    partial = np.full(len(y), -1)
    generator = np.random.default_rng(0)
    for k in range(10):
        partial[generator.choice(np.flatnonzero(y == k), 5, replace=False)] = k
    model = Classifier().fit(x, partial)
    assert (model.transduction_ == y)[partial < 0].mean() > 0.75
    assert model.label_distributions_.dtype in (np.float32, np.float64)


def test_scikit_learn_is_not_imported_with_the_package():
    code = "import pyg_relational, sys; print('sklearn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
