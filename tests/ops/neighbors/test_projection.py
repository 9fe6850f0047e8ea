import importlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_relational.ops import knn
from pyg_relational.ops.neighbors import candidates, projection
from tests.ops.neighbors.test_knn import METRICS, assert_nearest

search = importlib.import_module("pyg_relational.ops.neighbors.knn")


@pytest.fixture
def forced(monkeypatch):
    """Every search in 128 dimensions and more is projected, in small tiles; counts the projections."""
    taken = []

    def project(points, k):
        low = projection.project(points, k)
        taken.append(low is not None)
        return low

    monkeypatch.setattr(search, "few", lambda points: False)
    monkeypatch.setattr(search, "project", project)
    monkeypatch.setattr(projection, "_PAIRS", 0)
    monkeypatch.setattr(projection, "_SHARE", 2)
    monkeypatch.setattr(candidates, "_ROWS", 20)
    yield taken
    assert taken
    assert all(taken)


def low_rank(n, d=136, rank=6, noise=0.05):
    return torch.randn(n, rank) @ torch.randn(rank, d) + noise * torch.randn(n, d)


def duplicates():
    x = low_rank(700)
    x[::3] = x[1]
    return x


def outliers():
    x = low_rank(700)
    x[[5, 300]] = torch.tensor([[1e9], [-1e15]])
    return x


DATA = {
    "low rank": lambda: low_rank(1031),
    "isotropic": lambda: torch.randn(700, 128),
    "duplicates": duplicates,
    "all identical": lambda: torch.full((300, 130), 1e4 / 3),
    "ties": lambda: torch.randint(-1, 2, (700, 2)).float().repeat(1, 70),
    "a large offset": lambda: low_rank(700) + 1e4,
    "outliers": outliers,
    "every magnitude": lambda: torch.randn(400, 130) * torch.logspace(-20, 14, 400)[:, None],
    "vanishing squares": lambda: low_rank(400) * 1e-22,
    "fewer rows than directions": lambda: torch.randn(13, 200),
    "zero rows": lambda: torch.cat([torch.zeros(40, 130), low_rank(300, 130)]),
}


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("name", DATA)
def test_exact(forced, name, metric):
    x = DATA[name]()
    far = metric == "cosine" and name == "a large offset"
    for k in (1, 10):
        rtol, atol = (1, 1e-6) if far else (1e-5, 1e-6 if metric == "cosine" else 1e-22)
        assert_nearest(knn(x, k, metric), x, k, metric, rtol=rtol, atol=atol)
        y = x[len(x) // 3 :] + (x[:1] if name == "low rank" else 0)
        assert_nearest(knn(x, k, metric, y=y), x, k, metric, y, rtol=rtol, atol=atol)


def test_as_many_neighbours_as_there_are(forced):
    x = low_rank(150)
    assert_nearest(knn(x, 149), x, 149)


def test_ties_go_to_the_lower_index(forced):
    x = torch.randint(0, 2, (500, 2)).float().repeat(1, 64)
    index = knn(x, 5).index
    same = (x == x[0]).all(1).nonzero()[:, 0]
    for i in same:
        assert index[i].tolist() == same[same != i][:5].tolist()


def test_graphs_of_a_batch(forced):
    x, batch = low_rank(400), torch.randint(3, (400,))
    index, distance = knn(x, 4, batch=batch)
    for graph in range(3):
        rows = (batch == graph).nonzero()[:, 0]
        alone = knn(x[rows], 4)
        assert index[rows].equal(rows[alone.index])
        assert distance[rows].equal(alone.distance)
    assert len(forced) == 6


@pytest.mark.parametrize("share", [0, 0.02])
def test_more_candidates_than_foreseen_and_the_rest_goes_without(monkeypatch, share):
    x = torch.cat([low_rank(150, 128), torch.randn(700, 128) * 5])
    points = candidates.prepare(x, None, False)
    monkeypatch.setattr(projection, "_PAIRS", 0)
    monkeypatch.setattr(projection, "_SHARE", 2)
    low = projection.project(points, 6)
    monkeypatch.setattr(search, "few", lambda points: False)
    monkeypatch.setattr(search, "project", lambda points, k: low)
    monkeypatch.setattr(projection, "_SHARE", share)
    monkeypatch.setattr(candidates, "_ROWS", 20)
    rest = []
    plain = projection.candidates

    def counted(points, k, first):
        rest.append(first)
        return plain(points, k, first)

    monkeypatch.setattr(projection, "candidates", counted)
    assert_nearest(knn(x, 6), x, 6)
    assert len(rest) == 1
    assert 0 < rest[0] < len(x)
    assert (rest[0] > 100) == (share > 0)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**31), st.integers(1, 40), st.sampled_from([0.0, 1e-4, 1.0]))
def test_the_bound_is_below_the_distance(seed, rank, noise):
    torch.manual_seed(seed)
    x = low_rank(60, 128, rank, noise)
    low = projection._reduce(x, projection._principal(x, 16)).double()
    bound, exact = (
        torch.cdist(z, z, compute_mode="donot_use_mm_for_euclid_dist") for z in (low, x.double())
    )
    assert (bound <= exact + 1e-6 * low.norm(dim=1).max()).all()
    if noise < 1 and rank <= 16:
        torch.testing.assert_close(bound, exact, rtol=1e-3, atol=0.01 * rank)


def test_only_where_it_leaves_few_candidates(monkeypatch):
    monkeypatch.setattr(projection, "_PAIRS", 2000**2)

    def project(x):
        return projection.project(candidates.prepare(x, None, False), 5)

    x = low_rank(2000)
    low = project(x)
    assert low is not None
    assert low.x.shape == (2000, 136 // 8 + 1)
    pairs = sum(
        len(r)
        for r, _ in projection.candidates_projected(candidates.prepare(x, None, False), low, 5)
    )
    assert pairs < 20 * len(x)
    assert project(torch.randn(2000, 136)) is None
    assert project(x[:, :127]) is None
    assert project(x[:-1]) is None
    assert project(x.double()) is None
