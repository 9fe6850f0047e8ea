import importlib
import sys

import pytest
import torch

from pyg_relational.ops import approximate_knn, knn
from pyg_relational.transforms import knn_graph

module = importlib.import_module("pyg_relational.ops.neighbors.approximate")
needs_pynndescent = pytest.mark.skipif(
    importlib.util.find_spec("pynndescent") is None, reason="needs pynndescent"
)


def share(found, exact):
    return (found[:, :, None] == exact[:, None]).any(2).double().mean().item()


@needs_pynndescent
def test_recall_is_as_said_and_distances_are_exact():
    """All that calls pynndescent, which compiles for most of a minute."""
    x = torch.randn(3000, 16) + 0.5
    for metric in ("euclidean", "cosine"):
        found = approximate_knn(x, 10, metric, recall=0.9)
        exact = knn(x, 10, metric)
        assert found.recall >= 0.9
        assert share(found.index, exact.index) == pytest.approx(found.recall, abs=0.03)
        right = found.index == exact.index
        assert right.double().mean() > 0.5
        torch.testing.assert_close(found.distance[right], exact.distance[right])
        assert (found.distance.diff(dim=1) >= 0).all()
        assert (found.index != torch.arange(3000)[:, None]).all()
        assert (found.index.sort(1).values.diff(dim=1) > 0).all()
    duplicates(torch.randn(300, 4, dtype=torch.float64))
    graph(torch.randn(500, 8, requires_grad=True))


def duplicates(x):
    x[:40] = x[0]
    found = approximate_knn(x, 5, recall=0.5)
    assert found.distance.dtype == torch.float64
    assert found.distance[:40].eq(0).all()
    assert (found.index != torch.arange(300)[:, None]).all()
    few = approximate_knn(x[40:52], 11)
    assert few.recall == 1
    assert few.index.equal(knn(x[40:52], 11).index)


def graph(x):
    edge_index, edge_weight = knn_graph(x, 5, recall=0.9)
    exact = knn_graph(x, 5)[0]
    codes = (e[0] * 500 + e[1] for e in (edge_index, exact))
    assert torch.isin(*codes).double().mean() > 0.9
    edge_weight.sum().backward()
    assert x.grad.isfinite().all()


def descent(*columns):
    """Takes the place of pynndescent: one set of columns a round."""
    rounds = iter(columns)
    asked = []

    def descend(x, k, metric, wide):
        asked.append(wide)
        index = next(rounds)
        return index, (x[:, None] - x[index]).norm(dim=2)

    return descend, asked


def test_keeps_more_neighbours_until_the_recall_is_reached(monkeypatch):
    x = torch.randn(400, 3)
    exact = knn(x, 4).index
    wrong = exact.roll(1, 0)
    descend, asked = descent(wrong, exact)
    monkeypatch.setattr(module, "_descend", descend)
    assert approximate_knn(x, 4).recall == 1
    assert asked == [8, 13]
    descend, asked = descent(*[wrong] * 4)
    monkeypatch.setattr(module, "_descend", descend)
    with pytest.warns(RuntimeWarning, match=r"recall reached 0\.\d+ of 0.95; ops.knn is exact"):
        found = approximate_knn(x, 4)
    assert found.recall < 0.9
    assert len(asked) == 4


def test_other_duplicates_than_those_of_lowest_index_are_no_misses(monkeypatch):
    x = torch.randn(30, 3).repeat(10, 1)
    farther = torch.arange(300)[:, None] + 30 * torch.arange(1, 5)
    descend, asked = descent(farther % 300)
    monkeypatch.setattr(module, "_descend", descend)
    assert approximate_knn(x, 4).recall == 1
    assert len(asked) == 1


def test_rows_that_descent_leaves_short_are_searched_exactly(monkeypatch):
    class Short:
        def __init__(self, x, n_neighbors, **options):
            col = torch.full((len(x), n_neighbors), -1)
            col[1:, :7] = knn(torch.from_numpy(x), 7).index[1:]
            self.neighbor_graph = (col.numpy(), None)

    fake = type(sys)("pynndescent")
    fake.NNDescent = Short
    monkeypatch.setitem(sys.modules, "pynndescent", fake)
    monkeypatch.setattr(module, "_RANKED", 64)
    x = torch.randn(200, 3)
    found = approximate_knn(x, 4)
    exact = knn(x, 4)
    assert found.index.equal(exact.index)
    assert found.distance.equal(exact.distance)


def test_without_pynndescent_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynndescent", None)
    with pytest.raises(ImportError, match="pip install pynndescent"):
        approximate_knn(torch.randn(50, 2), 2)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"k": 0}, ValueError, "k must be >= 1, got 0"),
        ({"k": 5}, ValueError, "k must be < n = 5 rows, got 5"),
        ({"k": 2.0}, TypeError, "k must be an int, got float"),
        ({"recall": 1.0}, ValueError, r"recall must be in \(0, 1\), got 1.0: ops.knn is exact"),
        ({"recall": "high"}, TypeError, "recall must be a number, got str"),
        ({"metric": "l1"}, ValueError, "metric must be one of"),
    ],
)
def test_bad_input(options, error, message):
    with pytest.raises(error, match=message):
        approximate_knn(torch.randn(5, 2), **{"k": 2, **options})
