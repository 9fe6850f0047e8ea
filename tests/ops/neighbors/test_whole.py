import importlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_relational.ops import knn
from pyg_relational.ops.neighbors import candidates, whole
from tests import oracles
from tests.ops.neighbors.test_knn import FLOATS, METRICS, assert_nearest

search = importlib.import_module("pyg_relational.ops.neighbors.knn")


@pytest.fixture
def again(monkeypatch):
    """Rows that are searched again by tiles, call by call."""
    rows, plain = [], whole.of_rows

    def counted(points, k, row):
        rows.append(row)
        return plain(points, k, row)

    monkeypatch.setattr(whole, "of_rows", counted)
    return rows


def pairs(points, k):
    row, col = (torch.cat(part) for part in zip(*whole.candidates_whole(points, k), strict=True))
    return set(zip(row.tolist(), col.tolist(), strict=True))


@settings(deadline=None, max_examples=80)
@given(
    st.integers(0, 2**31),
    st.integers(2, 80),
    st.integers(1, 30),
    st.sampled_from(FLOATS),
    st.sampled_from([1e-20, 1e-3, 1.0, 1e12]),
    st.booleans(),
    st.data(),
)
def test_no_neighbour_is_missed(seed, n, d, dtype, scale, cosine, data):
    k = data.draw(st.integers(1, n - 1))
    offset = data.draw(st.sampled_from([0, 1, 1e3]))
    generator = torch.Generator().manual_seed(seed)
    x = ((torch.randn(n, d, generator=generator) + offset) * scale).to(dtype)
    found = pairs(candidates.prepare(x, None, cosine), k)
    metric = "cosine" if cosine else "euclidean"
    for i, row in enumerate(knn(x, k, metric).index.tolist()):
        assert {(i, j) for j in row} <= found
    if not cosine:
        index, _ = oracles.knn(x.double(), k, metric)
        assert {(i, j) for i, row in enumerate(index.tolist()) for j in row} <= found


@pytest.mark.parametrize("n", [15, 16, 17, 255, 256, 257, 512, 513, 700])
def test_few_candidates_beyond_the_nearest(n):
    x = torch.randn(n, 24)
    found = pairs(candidates.prepare(x, None, False), 5)
    assert n * 5 <= len(found) <= n * 5.2
    assert all(i != j for i, j in found)


def test_rows_whose_candidates_do_not_end_take_more_of_them(again):
    x = torch.randn(300, 8)
    x[40:80] = x[40]  # more than 30, fewer than 240
    assert_nearest(knn(x, 6), x, 6)
    assert knn(x, 6).index[45].tolist() == [40, 41, 42, 43, 44, 46]
    assert again == []


def test_rows_whose_candidates_do_not_end_then_are_searched_again(again):
    x = torch.randn(800, 8)
    x[40:300] = x[40]
    assert_nearest(knn(x, 6), x, 6)
    (rows,) = again
    assert set(range(40, 300)) <= set(rows.tolist()) < set(range(800))
    assert knn(x, 6).index[45].tolist() == [40, 41, 42, 43, 44, 46]


@pytest.mark.parametrize("d", [3, 300])
def test_tight_clusters_far_apart(monkeypatch, d):
    monkeypatch.setattr(whole, "candidates", None)
    centres = 3 * torch.randn(20, d)
    x = centres[torch.randint(20, (900,))] + 0.3 * torch.randn(900, d)
    assert_nearest(knn(x, 10, y=x), x, 10, y=x)


def test_where_most_do_not_end_all_are(monkeypatch, again):
    asked, plain = [], whole.candidates
    monkeypatch.setattr(whole, "candidates", lambda p, k: asked.append(len(p.q)) or plain(p, k))
    x = torch.ones(300, 3)
    assert knn(x, 4).index[10].tolist() == [0, 1, 2, 3]
    assert (asked, again) == ([300], [])


@pytest.mark.parametrize("dtype", FLOATS)
def test_as_many_neighbours_as_there_are(dtype):
    x = torch.randn(50, 3, dtype=dtype)
    x[3] = x[4]
    assert_nearest(knn(x, 49), x, 49)
    assert_nearest(knn(x, 50, y=x[:7]), x, 50, y=x[:7])


@pytest.mark.parametrize("rows", [7, 64, 300])
def test_halves_of_the_matrix_are_one(monkeypatch, rows):
    monkeypatch.setattr(whole, "_ROWS", rows)
    x = torch.randn(130, 5)
    square = whole._squares(candidates.prepare(x, None, False))
    assert square.diagonal().isinf().all()
    off = ~torch.eye(130, dtype=torch.bool)
    torch.testing.assert_close(square[off], torch.cdist(x, x).square()[off], rtol=1e-4, atol=1e-5)


def test_zero_rows_under_the_cosine_are_as_far_from_both_ends():
    x = torch.randn(600, 4)
    x[[2, 300, 599]] = 0
    square = whole._squares(candidates.prepare(x, None, True))
    assert square[[2, 300, 599]].isfinite().sum() == 3 * 599
    assert (square[[2, 300, 599]] - 2).abs()[square[[2, 300, 599]].isfinite()].max() == 0
    assert (square[:2, 300] == 2).all()
    assert_nearest(knn(x, 9, "cosine"), x, 9, "cosine", atol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_taken_by_few_points_and_queries_alone(monkeypatch, metric):
    taken, plain = [], search.candidates_whole
    monkeypatch.setattr(
        search, "candidates_whole", lambda p, k: taken.append(len(p.q)) or plain(p, k)
    )
    x = torch.randn(2049, 5)
    knn(x, 3, metric)
    knn(x[:2048], 3, metric)
    knn(x[:10], 3, metric, y=x)
    knn(x[:10], 3, metric, y=x[:20])
    assert taken == [2048, 20]
