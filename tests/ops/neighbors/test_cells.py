import importlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_relational.ops import knn
from pyg_relational.ops.neighbors import cells
from pyg_relational.ops.neighbors.candidates import prepare
from pyg_relational.ops.neighbors.knn import KNN
from tests import oracles
from tests.ops.neighbors.test_knn import FLOATS, METRICS, assert_nearest, grids

search = importlib.import_module("pyg_relational.ops.neighbors.knn")


@pytest.fixture(autouse=True, scope="module", params=["loose bound", "tight bound"])
def small(request):
    """Small blocks of queries, and bounds by a cell's radius or by distances to its points."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "_ROWS", 32)
        if request.param == "tight bound":
            patch.setattr(cells, "_MANY", 0)
        yield


def in_cells(x, k, metric="euclidean", y=None, size=4):
    points = prepare(x, y, metric == "cosine")
    generator = torch.Generator().manual_seed(0)
    some = points.x[: max(1, len(x) // max(2 * size, 4 * k))]
    centre = some if len(some) == 1 else cells._centres(points.x, some, generator)
    parts = cells._partition(points, cells._means(points.x, centre), k)
    index, distance = cells.search_in_cells(points, k, parts)
    return KNN(index, distance.to(x.dtype))


def clusters(n, d, width=0.3, seed=0, number=20):
    generator = torch.Generator().manual_seed(seed)
    centre = 3 * torch.randn(number, d, generator=generator)
    cluster = torch.randint(number, (n,), generator=generator)
    return centre[cluster] + width * torch.randn(n, d, generator=generator)


@settings(deadline=None, max_examples=40)
@given(grids())
def test_equals_the_oracle_ties_to_the_lower_index(case):
    x, k = case
    index, distance = oracles.knn(x.double(), k, "euclidean")
    found = in_cells(x, k)
    assert found.index.equal(index)
    torch.testing.assert_close(found.distance, distance.to(x.dtype))


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 2**31),
    st.integers(20, 300),
    st.integers(1, 40),
    st.sampled_from([0.01, 0.3, 1.0, 3.0]),
    st.sampled_from([1e-15, 1.0, 1e12]),
    st.sampled_from([0, 1, 1e3]),
    st.sampled_from(METRICS),
    st.sampled_from(FLOATS),
    st.data(),
)
def test_clusters(seed, n, d, width, scale, offset, metric, dtype, data):
    k = data.draw(st.sampled_from([1, 3, 10, n - 1]))
    x = ((clusters(n, d, width, seed) + offset) * scale).to(dtype)
    found = in_cells(x, k, metric)
    assert found.index.equal(knn(x, k, metric).index)


@pytest.mark.parametrize("seed", range(5))
def test_bounds_that_hold_with_equality_but_for_rounding(seed):
    """Points on a line, far from the origin: products have an error of more than their distances."""
    generator = torch.Generator().manual_seed(seed)
    place = (
        torch.randint(300, (400, 1), generator=generator)
        + 400_000 * (torch.arange(400) % 2)[:, None]
    )
    x = place * torch.ones(20)
    index, distance = oracles.knn(x.double(), 4, "euclidean")
    found = in_cells(x, 4)
    assert found.index.equal(index)
    torch.testing.assert_close(found.distance, distance.float())


@settings(deadline=None, max_examples=30)
@given(grids(), st.sampled_from(METRICS), st.integers(1, 30), st.data())
def test_queries(case, metric, m, data):
    x, k = case
    k = data.draw(st.sampled_from([1, k, len(x)]))
    x = x + 10  # no zero rows
    y = torch.randint(7, 14, (m, x.shape[1])).to(x.dtype)
    assert_nearest(in_cells(x, k, metric, y), x, k, metric, y, atol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("d", [17, 64, 300])
def test_the_door_takes_them_where_clusters_lie_apart(metric, d, monkeypatch):
    x = clusters(3000, d)
    monkeypatch.setattr(search, "candidates", None)
    monkeypatch.setattr(search, "candidates_both_ways", None)
    assert_nearest(knn(x, 5, metric), x, 5, metric, atol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_the_door_takes_them_for_queries(metric):
    x, y = clusters(3000, 40), clusters(1000, 40)[:750]
    assert cells.cells_apart(prepare(x, y, metric == "cosine"), 5) is not None
    assert_nearest(knn(x, 5, metric, y), x, 5, metric, y, atol=1e-6)
    assert cells.cells_apart(prepare(x, y[:749], metric == "cosine"), 5) is None


def test_classes_in_turn():
    """Every 64th row is of the same class: centres at a stride would miss the others."""
    x = clusters(6400, 32, number=64).view(64, 100, 32)
    generator = torch.Generator().manual_seed(1)
    centre = 3 * torch.randn(64, 1, 32, generator=generator)
    x = (centre + 0.1 * x).transpose(0, 1).reshape(6400, 32)
    found = cells.cells_apart(prepare(x, None, False), 5)
    assert found is not None
    assert len(found.centre) > 64


@pytest.mark.parametrize("d", [17, 64, 300])
def test_points_without_clusters(d):
    assert cells.cells_apart(prepare(torch.randn(3000, d), None, False), 5) is None


@pytest.mark.parametrize("k", [1, 64, 500, 2999])
def test_any_number_of_neighbours(k):
    x = clusters(3000, 20)
    found = knn(x, k)
    d = torch.cdist(x.double(), x.double(), compute_mode="donot_use_mm_for_euclid_dist")
    index = d.fill_diagonal_(torch.inf).sort(dim=1, stable=True).indices[:, :k]
    assert found.index.equal(index)


def test_not_for_zero_rows_under_the_cosine():
    x = clusters(3000, 20)
    assert cells.cells_apart(prepare(x, None, True), 5) is not None
    x[7] = 0
    assert cells.cells_apart(prepare(x, None, True), 5) is None
    assert_nearest(knn(x, 5, "cosine"), x, 5, "cosine", atol=1e-6)


def test_few_of_the_points_are_compared(monkeypatch):
    compared = 0
    plain = cells.candidates_whole

    def counted(points, k):
        nonlocal compared
        compared += len(points.x) * len(points.q)
        return plain(points, k)

    monkeypatch.setattr(cells, "candidates_whole", counted)
    monkeypatch.setattr(cells, "candidates", None)
    x = clusters(4000, 32)
    knn(x, 10)
    assert 0 < compared < 0.15 * len(x) ** 2


@pytest.mark.parametrize("d", [3, 16, 32])
def test_within_torch_func(d):
    x = clusters(2500, d)

    def gap(z):
        return (z[knn(z, 3).index[:, 0]] - z).square().sum()

    other = knn(x, 3).index[:, 0]
    expected = 2 * (x - x[other])
    expected.index_add_(0, other, -expected)
    torch.testing.assert_close(torch.func.grad(gap)(x), expected)
