import importlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_relational.ops import knn
from pyg_relational.ops.neighbors import candidates, tree, whole
from pyg_relational.ops.neighbors.rank import rank
from tests import oracles
from tests.ops.neighbors.test_knn import METRICS, assert_nearest, grids

search = importlib.import_module("pyg_relational.ops.neighbors.knn")


@pytest.fixture
def forced(monkeypatch):
    """Every search that a tree can do is done by one, in small chunks; counts them."""
    taken = []

    def faster(points, k, products):
        taken.append(len(points.q))
        return iter([tree.search_in_tree(points, k, tree.plant(points))])

    monkeypatch.setattr(search, "fits", tree.finds)
    monkeypatch.setattr(search, "hopeless", lambda points, k: False)
    monkeypatch.setattr(search, "faster", faster)
    monkeypatch.setattr(tree, "_CHUNK", 500)
    yield taken
    assert taken


def duplicates():
    x = torch.randn(300, 3)
    x[::3] = x[1]
    return x


def one_far_away():
    x = torch.randn(300, 3)
    x[7] = 1e9
    return x


DATA = {
    "normal": lambda: torch.randn(500, 4),
    "duplicates": duplicates,
    "all identical": lambda: torch.full((200, 3), 1e4 / 3),
    "grid": lambda: torch.randint(-2, 3, (400, 2)).float() + 3,
    "one far away": one_far_away,
    "a large offset": lambda: torch.randn(300, 4) + 1e4,
    "vanishing squares": lambda: torch.randn(200, 4) * 1e-22,
    "every magnitude": lambda: torch.randn(200, 4) * torch.logspace(-20, 14, 200)[:, None],
    "float64": lambda: torch.randn(200, 4, dtype=torch.float64),
    "two points": lambda: torch.tensor([[1.0], [2.0]]),
}


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("name", DATA)
def test_exact(forced, name, metric):
    x = DATA[name]()
    far = metric == "cosine" and name == "a large offset"
    for k in {1, min(10, len(x) - 1), len(x) - 1}:
        rtol, atol = (1, 1e-6) if far else (1e-5, 1e-6 if metric == "cosine" else 1e-22)
        assert_nearest(knn(x, k, metric), x, k, metric, rtol=rtol, atol=atol)
        y = x[len(x) // 3 :]
        assert_nearest(knn(x, k, metric, y=y), x, k, metric, y, rtol=rtol, atol=atol)


@settings(deadline=None, max_examples=60)
@given(grids(), st.data())
def test_equals_the_oracle_ties_to_the_lower_index(case, data):
    x, k = case
    points = candidates.prepare(x, None, False)
    found = tree.search_in_tree(points, k, tree.plant(points))[0]
    assert found.equal(oracles.knn(x.double(), k, "euclidean")[0])


def test_zero_rows_under_the_cosine_are_left_to_the_product():
    x = torch.randn(20, 3)
    assert tree.finds(candidates.prepare(x, None, True))
    x[3] = 0
    assert not tree.finds(candidates.prepare(x, None, True))
    assert tree.finds(candidates.prepare(x, None, False))
    assert tree.finds(candidates.prepare(torch.eye(3), None, True))
    assert not tree.finds(candidates.prepare(torch.ones(20, 3), x, True))
    assert not tree.finds(candidates.prepare(torch.empty(20, 0), None, False))


def test_only_where_it_may_be_faster():
    assert tree.fits(candidates.prepare(torch.randn(1000, 3), None, False))
    assert not tree.fits(candidates.prepare(torch.randn(999, 3), None, False))
    assert not tree.fits(candidates.prepare(torch.randn(2048, 4), None, False))
    assert tree.fits(candidates.prepare(torch.randn(2049, 64), None, False))
    assert not tree.fits(candidates.prepare(torch.randn(2049, 65), None, False))
    assert tree.fits(candidates.prepare(torch.randn(2049, 3), torch.randn(513, 3), False))
    assert not tree.fits(candidates.prepare(torch.randn(2049, 3), torch.randn(512, 3), False))


@pytest.mark.parametrize("d", [3, 8])
@pytest.mark.parametrize("m", [1, 31, 257, 513])
def test_few_queries_of_many_points(d, m):
    x, y = torch.randn(2500, d), torch.randn(m, d)
    assert knn(x, 4, y=y).index.equal(torch.cdist(y.double(), x.double()).topk(4, largest=False)[1])


@pytest.mark.parametrize("slow", ["tree", "products"])
def test_the_slower_of_the_two_is_left(monkeypatch, slow):
    x = torch.randn(1200, 8)
    points, exact = candidates.prepare(x, None, False), knn(x, 5).index
    clock = iter([0.0, 1.0, 1.0 + 1e-6] if slow == "tree" else [0.0, 1e-6, 1000.0])
    monkeypatch.setattr(tree.time, "thread_time", lambda: next(clock))
    asked, plain = [], tree.search_in_tree
    monkeypatch.setattr(tree, "search_in_tree", lambda *a: asked.append(a[3]) or plain(*a))
    products = (rank(points, 5, *pair) for pair in candidates.candidates(points, 5))
    found = torch.cat([part[0] for part in tree.faster(points, 5, products)])
    assert found.equal(exact)
    assert asked == ([] if slow == "tree" else [512])  # two blocks of the products are kept


def test_in_few_dimensions_nothing_is_timed(monkeypatch):
    monkeypatch.setattr(tree.time, "thread_time", None)
    x = torch.randn(1500, 3)
    assert_nearest(knn(x, 7), x, 7)


def test_too_many_ties_leave_the_rest_to_the_product(monkeypatch):
    monkeypatch.setattr(tree, "_CHUNK", 300)
    x = torch.randint(0, 2, (2000, 2)).float()
    rest = []
    plain = tree.candidates_of

    def counted(points, k, row):
        rest.append(len(row))
        return plain(points, k, row)

    monkeypatch.setattr(tree, "candidates_of", counted)
    index = knn(x, 4).index
    same = (x == x[5]).all(1).nonzero()[:, 0]
    assert index[5].tolist() == same[same != 5][:4].tolist()
    assert rest == [2000]


def test_in_few_dimensions_no_product_is_taken(monkeypatch):
    monkeypatch.setattr(whole, "_squares", None)
    x = torch.randn(1200, 3)
    assert_nearest(knn(x, 7), x, 7)


@pytest.mark.parametrize("name", ["normal", "uniform", "clusters", "a plane", "identical"])
@pytest.mark.parametrize("d", [3, 6, 16, 64])
def test_hopeless_where_neighbours_are_as_far_as_cells_are_wide(name, d):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4000, d, generator=generator)
    if name == "uniform":
        x = torch.rand(4000, d, generator=generator)
    elif name == "clusters":
        x = 5 * torch.randn(20, d, generator=generator).repeat(200, 1) + 0.1 * x
    elif name == "a plane":
        x = x[:, :2] @ torch.randn(2, d, generator=generator)
    elif name == "identical":
        x = torch.ones(4000, d)
    points = candidates.prepare(x, None, False)
    assert tree.hopeless(points, 10) == (name in ("normal", "uniform") and d >= 16)


def test_a_hopeless_tree_is_not_planted(monkeypatch):
    monkeypatch.setattr(tree, "plant", None)
    x = torch.randn(3000, 32)
    assert_nearest(knn(x, 5), x, 5)
