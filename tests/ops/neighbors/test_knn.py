import importlib
import math
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_relational.ops import knn, unit_rows
from pyg_relational.ops.neighbors.candidates import prepare
from pyg_relational.ops.neighbors.rank import nearest
from tests import oracles

module = importlib.import_module("pyg_relational.ops.neighbors.candidates")
search = importlib.import_module("pyg_relational.ops.neighbors.knn")
METRICS = ["euclidean", "cosine"]
FLOATS = [torch.float32, torch.float64]
CUDA = pytest.param(
    "cuda",
    marks=[
        pytest.mark.cuda,
        pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
    ],
)


@pytest.fixture(autouse=True, scope="module", params=["at once", "in tiles"])
def products(request):
    """Small inputs take the products of few points and, as if they were many, those in tiles."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "in tiles":
            patch.setattr(search, "few", lambda points: False)
        yield


def exact_distances(x, y, metric):
    """In float64, 1 - cos as half the squared difference of unit rows: no digits cancel."""
    x, y = x.double(), y.double()
    if metric == "euclidean":
        return torch.cdist(y, x, compute_mode="donot_use_mm_for_euclid_dist")
    x, y = unit_rows(x), unit_rows(y)
    half = torch.cdist(y, x, compute_mode="donot_use_mm_for_euclid_dist").square() / 2
    return half.where(y.any(1)[:, None] & x.any(1), 1.0)


def assert_nearest(found, x, k, metric="euclidean", y=None, rtol=1e-5, atol=0.0):
    """Exactly the k nearest (or as near), nearest first, the row itself not among them."""
    d = exact_distances(x, x if y is None else y, metric)
    if y is None:
        d.fill_diagonal_(math.inf)
    index, distance = found
    assert index.shape == distance.shape == (d.shape[0], k)
    assert index.dtype == torch.int64
    assert distance.dtype == x.dtype
    assert (index.sort(1).values.diff(dim=1) > 0).all(), "a neighbour twice"
    got = d.gather(1, index)
    best = d.sort(1).values[:, :k]
    torch.testing.assert_close(got.sort(1).values, best, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(distance.double(), best, rtol=rtol, atol=atol)
    torch.testing.assert_close(got, best, rtol=rtol, atol=atol)


@st.composite
def grids(draw):
    """Points on a small integer grid, so that ties and duplicates abound."""
    n, d = draw(st.integers(2, 200)), draw(st.integers(1, 40))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    high = draw(st.integers(1, 6))
    x = torch.randint(-high, high + 1, (n, d), generator=generator)
    return x.to(draw(st.sampled_from(FLOATS))), draw(st.integers(1, n - 1))


@settings(deadline=None, max_examples=60)
@given(grids())
def test_euclidean_equals_the_oracle_ties_to_the_lower_index(case):
    x, k = case
    index, distance = oracles.knn(x.double(), k, "euclidean")
    found = knn(x, k)
    assert found.index.equal(index)
    torch.testing.assert_close(found.distance, distance.to(x.dtype))


@settings(deadline=None, max_examples=60)
@given(grids())
def test_cosine_equals_the_oracle(case):
    x, k = case
    atol = 1e-6 if x.dtype == torch.float32 else 1e-14
    found = knn(x, k, "cosine")
    assert_nearest(found, x, k, "cosine", atol=atol)
    _, distance = oracles.knn(x.double(), k, "cosine")
    torch.testing.assert_close(found.distance.double(), distance, rtol=0, atol=1e-6)


@settings(deadline=None, max_examples=30)
@given(grids(), st.sampled_from(METRICS), st.integers(1, 30), st.data())
def test_queries(case, metric, m, data):
    x, k = case
    k = data.draw(st.sampled_from([1, k, x.shape[0]]))
    y = torch.randint(-3, 4, (m, x.shape[1])).to(x.dtype)
    found = knn(x, k, metric, y=y)
    assert_nearest(found, x, k, metric, y, atol=1e-6)
    if metric == "euclidean":
        d = oracles.distances(x.double(), y.double(), metric)
        assert found.index.equal(d.sort(dim=1, stable=True).indices[:, :k])


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("n", "d", "k"), [(700, 3, 9), (700, 130, 5), (513, 40, 512), (2, 1, 1)])
@pytest.mark.parametrize("device", ["cpu", CUDA])
def test_random_points(n, d, k, dtype, metric, device):
    x = torch.randn(n, d, dtype=torch.float64).to(dtype)
    found = knn(x.to(device), k, metric)
    assert_nearest(type(found)(*(part.cpu() for part in found)), x, k, metric, atol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    "constants",
    [
        (1, 1, 0, 1, 1, 0),
        (1, 1, 2**14, 1, 1, 0),
        (7, 30, 0, 4000, 50, 0),
        (7, 30, 2**14, 4000, 50, 0),
        (64, 100, 2**14, 300_000, 10, 3),
    ],
)
@pytest.mark.parametrize("d", [3, 130])
def test_sizes_that_cross_tiles(monkeypatch, constants, metric, d):
    for name, value in zip(
        ("_ROWS", "_COLUMNS", "_KEPT", "_GEMM", "_PAIRS", "_HELD"), constants, strict=True
    ):
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(search, "_BOTH_WAYS", 0 if d == 130 else math.inf)
    x = torch.randn(211, d)
    for k in (1, 210):
        assert_nearest(knn(x, k, metric), x, k, metric, atol=1e-6)
        assert_nearest(knn(x, k, metric, y=x[:50]), x, k, metric, x[:50], atol=1e-6)


@pytest.mark.parametrize("held", [0, 8])
def test_products_used_both_ways(monkeypatch, held):
    n = 4103
    monkeypatch.setattr(module, "_HELD", held)
    monkeypatch.setattr(module, "_GEMM", 2**19)
    x = torch.randn(n, 128)
    x[1::7] = x[::7][: len(x[1::7])]
    for k, metric in ((1, "euclidean"), (20, "cosine")):
        found = knn(x, k, metric)
        queries = torch.randint(n, (300,))
        d = exact_distances(x, x[queries], metric)
        d[torch.arange(300), queries] = math.inf
        best = d.topk(k, largest=False).values
        torch.testing.assert_close(d.gather(1, found.index[queries]), best, rtol=1e-6, atol=1e-12)
        assert (found.index != torch.arange(n)[:, None]).all()


@pytest.mark.parametrize("n", [65, 128, 300, 451])
@pytest.mark.parametrize("k", [1, 6, 60])
@pytest.mark.parametrize("d", [2, 70])
def test_blocks_both_ways(monkeypatch, n, k, d):
    monkeypatch.setattr(search, "_BOTH_WAYS", 0)
    monkeypatch.setattr(module, "_STRIPE", 64)
    x = torch.randint(-4, 5, (n, d)).float()
    assert knn(x, k).index.equal(oracles.knn(x.double(), k, "euclidean")[0])


def test_many_ties_both_ways_go_to_the_lower_index():
    x = torch.randint(0, 2, (4200, 130)).float()
    x[torch.randperm(4200)[:300]] = 1.0
    same = x.all(1).nonzero()[:, 0]
    index = knn(x, 3).index
    for position in (0, 1, 2, 3, 150, len(same) - 1):
        others = same[same != same[position]]
        assert index[same[position]].equal(others[:3])


def test_float32_recall_is_one():
    x = torch.randn(3000, 64)
    assert_nearest(knn(x, 24), x, 24)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("offset", [1.0, 1e2, 1e4])
def test_a_large_offset(metric, offset):
    x = torch.randn(500, 8) + offset
    rtol = 1e-5 if metric == "euclidean" else 1
    assert_nearest(knn(x, 5, metric), x, 5, metric, rtol=rtol, atol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_rows_of_every_magnitude(metric, dtype):
    low, high = (-35, 16) if dtype == torch.float32 else (-140, 140)
    scale = torch.logspace(low, high, 150, dtype=torch.float64)[torch.randperm(150), None]
    x = (torch.randn(150, 4, dtype=torch.float64) * scale).to(dtype)
    assert_nearest(knn(x, 5, metric), x, 5, metric, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-18, 1e-22, 1e-30, 1e15])
def test_all_rows_of_one_extreme_magnitude(scale):
    x = torch.randn(200, 4) * scale
    assert_nearest(knn(x, 5), x, 5, atol=1e-22 if scale < 1 else 0)


@pytest.mark.parametrize("outlier", [1e3, 1e9, 5e18])
def test_one_huge_outlier(outlier):
    x = torch.randn(300, 4)
    x[200, 2] = outlier
    assert_nearest(knn(x, 5), x, 5)


@pytest.mark.parametrize("metric", METRICS)
def test_a_row_of_ties_beside_others(metric):
    x = torch.randn(1500, 4)
    x[700] = 0
    assert_nearest(knn(x, 1, metric), x, 1, metric, atol=1e-6)


def test_an_outlier_leaves_few_candidates():
    x = torch.randn(3000, 4)
    x[1234] = 1e9
    points = module.prepare(x, None, False)
    assert sum(len(row) for row, _ in module.candidates(points, 5)) < 20 * len(x)


@pytest.mark.parametrize("metric", METRICS)
def test_duplicates_are_neighbours_of_each_other(metric):
    x = torch.randn(60, 5)
    x[10:30] = x[10]
    index, distance = knn(x, 4, metric)
    for i in range(10, 30):
        assert set(index[i].tolist()) <= set(range(10, 30)) - {i}
        assert index[i].tolist() == [j for j in range(10, 15) if j != i][:4]
    assert distance[10:30].eq(0).all()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("value", [0.0, 1.0, 1e4 / 3])
def test_all_identical(metric, value):
    index, distance = knn(torch.full((50, 3), value), 3, metric)
    assert index[:5].tolist() == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2], [0, 1, 2]]
    assert index[4:].eq(torch.tensor([0, 1, 2])).all()
    assert distance.eq(1 if metric == "cosine" and value == 0 else 0).all()


def test_zero_rows_have_cosine_zero_with_every_row():
    x = torch.randn(80, 3)
    x[[0, 40, 79]] = 0
    x[41] = -0.0
    index, distance = knn(x, 79, "cosine")
    for i in (0, 40, 41, 79):
        assert distance[i].eq(1).all()
        assert index[i].tolist() == [j for j in range(80) if j != i]
    assert_nearest((index, distance), x, 79, "cosine", atol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_batch_is_each_graph_alone(metric):
    x = torch.randint(-2, 3, (90, 3)).double()
    ordered = torch.tensor([3] * 20 + [5] * 30 + [-7] * 40)
    for batch in (ordered, ordered[torch.randperm(90)]):
        index, distance = knn(x, 6, metric, batch=batch)
        for graph in (3, 5, -7):
            rows = (batch == graph).nonzero()[:, 0]
            alone = knn(x[rows], 6, metric)
            assert index[rows].equal(rows[alone.index])
            assert distance[rows].equal(alone.distance)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("metric", METRICS)
def test_half_precision_is_computed_in_float32(dtype, metric):
    x = (torch.randn(200, 20) + 5).to(dtype)
    index, distance = knn(x, 7, metric)
    full = knn(x.float(), 7, metric)
    assert index.equal(full.index)
    assert distance.equal(full.distance.to(dtype))
    assert knn(x, 7, metric, y=x[:3]).distance.dtype == dtype


@pytest.mark.parametrize("metric", METRICS)
def test_views_gradients_and_autocast_change_nothing(metric):
    x = torch.randn(100, 12)
    right = knn(x, 5, metric)
    strided = torch.randn(24, 100).T
    strided[:, ::2] = x
    with torch.autocast("cpu", torch.bfloat16):
        cast = knn(x, 5, metric)
    for found in (
        cast,
        knn(x, 5, metric),
        knn(x.T.contiguous().T, 5, metric),
        knn(strided[:, ::2], 5, metric),
        knn(x.clone().requires_grad_(), 5, metric),
    ):
        assert found.index.equal(right.index)
        torch.testing.assert_close(found.distance, right.distance)
        assert not found.distance.requires_grad


def test_no_queries():
    found = knn(torch.randn(5, 2), 2, y=torch.empty(0, 2))
    assert found.index.shape == found.distance.shape == (0, 2)


def test_no_columns():
    index, distance = knn(torch.empty(4, 0), 2)
    assert index.tolist() == [[1, 2], [0, 2], [0, 1], [0, 1]]
    assert distance.eq(0).all()


X = torch.randn(5, 2)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((torch.empty(0, 2), 1), ValueError, r"k must be in 1\.\.n - 1 = -1 for n = 0 rows, got 1"),
        ((torch.ones(1, 2), 1), ValueError, r"k must be in 1\.\.n - 1 = 0 for n = 1 rows, got 1"),
        ((X, 5), ValueError, r"k must be in 1\.\.n - 1 = 4 for n = 5 rows, got 5"),
        ((X, 0), ValueError, "got 0"),
        ((X, 6, "euclidean", X), ValueError, r"k must be in 1\.\.n = 5 for n = 5 rows, got 6"),
        ((X, 2.0), TypeError, "k must be an int, got float"),
        ((X, 1, "manhattan"), ValueError, "metric must be one of .* got 'manhattan'"),
        ((X.long(), 1), TypeError, r"x must be floating point, got torch\.int64"),
        ((X[0], 1), ValueError, r"x must have shape \[n, d\], got \[2\]"),
        ((X / 0, 1), ValueError, "x must be finite, got -?(inf|nan) in row 0, column 0"),
        ((X * 1e25, 1), ValueError, "x must have finite squared norms in torch.float32: rescale"),
        ((X, 1, "euclidean", X * 1e25), ValueError, "finite squared norms"),
        ((X, 1, "euclidean", X * math.nan), ValueError, "y must be finite, got nan in row 0"),
        ((X, 1, "euclidean", X.double()), ValueError, "y must match x's .* got .*float64"),
        ((X, 1, "euclidean", X[:, :1]), ValueError, r"y must match .* got \[5, 1\]"),
        ((X, 1, "euclidean", X, torch.zeros(5).long()), ValueError, "batch and y cannot be given"),
        ((X, 1, "euclidean", None, torch.zeros(5)), TypeError, "batch must be int64"),
        ((X, 1, "euclidean", None, torch.zeros(4).long()), ValueError, r"batch must have .* \[4\]"),
        (
            (X, 2, "euclidean", None, torch.tensor([0, 0, 7, 7, 0])),
            ValueError,
            "k must be >= 1 and < 2, the size of graph 7, got 2",
        ),
        (
            (X, 10**12, "euclidean", None, torch.zeros(5).long()),
            ValueError,
            "k must be .* got 1000",
        ),
    ],
)
def test_bad_input(arguments, error, message):
    with pytest.raises(error, match=message):
        knn(*arguments)


def test_cosine_needs_no_finite_norms():
    x = torch.randn(20, 3)
    assert knn(x * 1e37, 3, "cosine").index.equal(knn(x, 3, "cosine").index)


GROWTH = """
import torch
from pyg_relational.ops import knn
def peak():
    return int(next(s for s in open("/proc/self/status") if s.startswith("VmHWM")).split()[1]) / 1024
x = torch.randn(12_000, 8)
x[6_000] = 0
knn(x[:500], 5, "cosine")
knn(x[:500], 5)
before = peak()
knn(x, 5)
knn(x, 5, "cosine")
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is on Linux")
def test_memory_does_not_grow_with_the_square_nor_with_ties():
    done = subprocess.run(
        [sys.executable, "-c", GROWTH], capture_output=True, text=True, check=True
    )
    assert 1 < float(done.stdout) < 100  # MiB; 12,000 x 12,000 float32 are 549


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_of_exactly_k_candidates_have_no_distance_behind(dtype):
    """Rows 0, 2 and 3 have two candidates, row 1 has three."""
    x = torch.tensor([[0.0], [1.0], [3.0], [7.0]], dtype=dtype)
    row = torch.tensor([0, 0, 1, 1, 1, 2, 2, 3, 3])
    col = torch.tensor([1, 3, 0, 2, 3, 0, 1, 0, 2])
    index, value = nearest(prepare(x, None, False), 2, row, col)
    assert index.tolist() == [[1, 3], [0, 2], [1, 0], [2, 0]]
    inf = math.inf
    assert value.tolist() == [[1, 7, inf], [1, 2, 6], [2, 3, inf], [4, 7, inf]]


def test_order_of_candidates_is_by_row_then_distance_then_place():
    x = torch.tensor([[0.0], [2.0], [-2.0], [2.0], [0.5]])
    row = torch.tensor([0, 0, 0, 0, 4, 4, 4])
    col = torch.tensor([1, 2, 3, 4, 0, 1, 2])
    for dtype in (None, torch.float64):
        index, value = nearest(prepare(x, None, False), 3, row, col, dtype)
        assert index.tolist() == [[4, 1, 2], [0, 1, 2]]
        assert value[:, :3].tolist() == [[0.5, 2, 2], [0.5, 1.5, 2.5]]


@pytest.mark.parametrize("angle", [1e-1, 1e-2, 1e-3, 1e-5, 0.0])
def test_cosine_tells_angles_apart_that_unit_rows_in_float32_swap(angle):
    """Angles differ by 2e-5 of themselves, more than what is always looked at again, or by rounding of ``x``."""
    g = torch.Generator().manual_seed(0)
    theta = angle * (1 + 2e-5 * torch.randperm(300, generator=g).double())
    length = 1 + torch.rand(300, 1, generator=g, dtype=torch.float64)
    turn, _ = torch.linalg.qr(torch.randn(5, 5, generator=g, dtype=torch.float64))
    x = (length * torch.stack([theta.cos(), theta.sin()], 1) @ turn[:2]).float()
    x[0] = turn[0]
    assert_the_nearest(x, "cosine")


@pytest.mark.parametrize("scale", [1e-16, 1e-19, 1e-21])
def test_euclidean_tells_distances_apart_whose_squares_vanish(scale):
    g = torch.Generator().manual_seed(0)
    assert_the_nearest(scale * (1 + torch.rand(60, 4, generator=g)), "euclidean")


def assert_the_nearest(x, metric):
    order = exact_distances(x, x, metric).fill_diagonal_(math.inf).argsort(dim=1, stable=True)
    for k in (1, 7, 30):
        assert knn(x, k, metric).index.equal(order[:, :k])


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("d", [16, 64])
def test_the_order_inside_is_that_of_float64_too(metric, d):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(1500, d, generator=g)
    assert_the_nearest(torch.cat([x, x[0] + 1e-4 * torch.randn(500, d, generator=g)]), metric)
