import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_iris, make_moons
from sklearn.svm import SVC
from sklearn.utils.estimator_checks import check_estimator
from torch.autograd.functional import hessian, jacobian

from pyg_relational.estimators import HypergraphSVC
from pyg_relational.estimators.hypergraph_svc import squared_hinge
from pyg_relational.ops import ConvergenceError
from pyg_relational.transforms import knn_graph, knn_hypergraph
from tests import oracles


def data(n, classes, seed):
    g = np.random.default_rng(seed)
    x, y = g.standard_normal((n, 3)), g.integers(classes, size=n)
    y[:classes] = np.arange(classes)
    return x, np.where(np.arange(n) < max(classes, n // 3), y, -1)


@given(
    st.integers(6, 14),
    st.integers(1, 3),
    st.integers(0, 999),
    st.sampled_from([0.0, 0.4, 1.0]),
    st.sampled_from([0.0, 0.1, 10.0]),
)
@settings(max_examples=40, deadline=None)
def test_scores_minimise_the_printed_objective(n, classes, seed, mix, intrinsic):
    x, y = data(n, classes, seed)
    model = HypergraphSVC(k=3, mix=mix, intrinsic=intrinsic, gamma=0.5).fit(x, y)
    t = torch.from_numpy(x)
    kernel = torch.exp(-0.5 * (t[:, None] - t[None]).square().sum(-1))
    w = oracles.dense_weights(*knn_graph(t, 3), n)
    index, weight = knn_hypergraph(t, 3)
    f = torch.zeros(n, n).double().index_put(tuple(index), torch.ones(()).double())
    matrix = mix * oracles.dense_laplacian(w) + (1 - mix) * oracles.hypergraph_laplacian(f, weight)
    for c in range(len(model.classes_)):
        sign = torch.from_numpy(np.where(y < 0, 0.0, np.where(y == model.classes_[c], 1.0, -1.0)))

        def loss(theta, sign=sign):
            return oracles.hypergraph_svc(kernel, matrix, sign, 0.01, intrinsic, theta)

        theta = torch.cat([model._dual[:, c], model._bias[c : c + 1]])
        torch.testing.assert_close(
            kernel @ theta[:-1] + theta[-1], torch.from_numpy(model._scores[:, c])
        )
        assert jacobian(loss, theta).abs().max() < 1e-8 * max(1, theta.abs().max())
        assert torch.linalg.eigvalsh(hessian(loss, theta)).min() > -1e-9


def test_newton_ends_where_signs_are_hard():
    g = torch.Generator().manual_seed(0)
    for seed in range(50):
        root = torch.randn(12, 3 + seed % 9, generator=g, dtype=torch.float64)
        sign = torch.randint(2, (12,), generator=g) * 2.0 - 1
        gram, one = root @ root.T * 10.0 ** (seed % 5), torch.ones(12).double()
        v, b = squared_hinge(gram, one, 0 * one.sum(), sign.double())
        assert v.isfinite().all()
        assert b.isfinite()


def test_steps_that_run_out_raise(monkeypatch):
    monkeypatch.setattr("pyg_relational.estimators.hypergraph_svc._STEPS", 0)
    with pytest.raises(ConvergenceError):
        HypergraphSVC(k=3).fit(*data(12, 2, 0))


def test_moons_and_new_rows():
    x, y = make_moons(200, noise=0.08, random_state=0)
    partial = np.full(200, -1)
    for k in (0, 1):
        partial[np.flatnonzero(y == k)[:3]] = k
    model = HypergraphSVC(gamma=5.0, intrinsic=10.0).fit(x, partial)
    assert (model.transduction_ == y).mean() > 0.97
    assert (model.predict(x) == model.transduction_).all()
    later, truth = make_moons(100, noise=0.08, random_state=1)
    assert model.score(later, truth) > 0.97
    np.testing.assert_allclose(model.label_distributions_.sum(1), 1)
    assert SVC().fit(x[partial >= 0], y[partial >= 0]).score(x, y) < 0.95


def test_copies_and_constant_columns():
    x = np.repeat(load_iris().data[::10], 4, 0)
    y = np.repeat(load_iris().target[::10], 4)
    y[1::2] = -1
    model = HypergraphSVC(k=5).fit(np.hstack([x, np.ones((60, 1))]), y)
    assert np.isfinite(model._scores).all()
    assert (HypergraphSVC(k=2).fit(np.ones((5, 2)), [0, 0, 1, -1, -1]).transduction_ == 0).all()


@pytest.mark.filterwarnings("ignore")
def test_scikit_learn_checks():
    why = "-1 marks rows without a label, as in sklearn.semi_supervised; the check has a class -1"
    check_estimator(HypergraphSVC(k=3), expected_failed_checks={"check_classifiers_classes": why})


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"mix": 2.0}, ValueError, r"mix must be in \[0, 1\]"),
        ({"mix": "half"}, TypeError, "mix must be a number or a Tensor, got str"),
        ({"ambient": 0.0}, ValueError, "ambient must be > 0"),
        ({"intrinsic": -1.0}, ValueError, "intrinsic must be >= 0"),
        ({"gamma": 0.0}, ValueError, "gamma must be > 0"),
        ({"gamma": "auto"}, TypeError, "gamma must be a number"),
        ({"k": 0}, ValueError, "k must be >= 1"),
    ],
)
def test_bad_input_is_named(options, error, message):
    with pytest.raises(error, match=message):
        HypergraphSVC(**{"k": 3} | options).fit(*data(12, 2, 0))
