import pytest
import scipy.sparse
import torch

from pyg_relational.cluster import leiden_partitions
from pyg_relational.nn import prune_by_consensus
from pyg_relational.ops.graph import undirected
from pyg_relational.transforms import knn_graph
from tests import oracles
from tests.blobs import corners


@pytest.mark.parametrize("kernel", ["gaussian", "binary"])
@pytest.mark.parametrize("power", [1.0, 3.0])
def test_weights_are_the_share_of_partitions_to_the_power(power, kernel):
    x, _ = corners(80, 2.0)
    edges, weight = knn_graph(x, 6, kernel=kernel)
    given = None if kernel == "binary" else weight
    partitions = leiden_partitions(edges, given, 80, min_size=8, seed=5)
    shares = torch.stack([(c[edges[0]] == c[edges[1]]).double() for c in partitions]).mean(0)
    held = oracles.spanning_forest(edges, shares.tolist(), 80)
    expected = {}
    for (i, j), w, share in zip(edges.T.tolist(), weight.tolist(), shares.tolist(), strict=True):
        share = max(share, 0.5) if frozenset((i, j)) in held else share
        if share > 0:
            expected[i, j] = w * share**power
    left, weaker = prune_by_consensus(edges, weight, 3, power=power, min_degree=0, seed=5)
    assert list(map(tuple, left.T.tolist())) == list(expected)
    torch.testing.assert_close(weaker, torch.tensor(list(expected.values())))
    assert 0 < len(expected) <= edges.shape[1]


def test_gradients_reach_the_weights_that_are_left():
    x, _ = corners(80, 2.0)
    edges, weight = knn_graph(x, 6)
    weight.requires_grad_()
    left, weaker = prune_by_consensus(edges, weight, 3, power=2.0)
    (grad,) = torch.autograd.grad(weaker.sum(), weight)
    place = _places(edges, left, 80)
    torch.testing.assert_close(grad[place], weaker.detach() / weight.detach()[place])
    assert grad.count_nonzero() == len(weaker)


def test_edges_between_classes_lose_weight():
    x, y = corners(300, 5.0)
    edges, weight = knn_graph(x, 10)
    share = lambda e, w: (w * (y[e[0]] != y[e[1]])).sum() / w.sum()  # noqa: E731
    assert share(*prune_by_consensus(edges, weight, 3)) < share(edges, weight)


def test_nobody_is_left_alone():
    x, _ = corners(300, 2.5)
    edges, weight = knn_graph(x, 3)
    left, weaker = prune_by_consensus(edges, weight, 3, min_degree=3)
    assert int(left[0].bincount(minlength=300).min()) >= 3
    assert bool((weaker > 0).all())


def components(edges, n):
    return scipy.sparse.csgraph.connected_components(
        scipy.sparse.csr_array((torch.ones(edges.shape[1]), edges.numpy()), shape=(n, n))
    )[0]


@pytest.mark.parametrize("kernel", ["gaussian", "binary"])
def test_no_component_comes_apart(kernel):
    x, y = corners(150, 6.0)
    edges, weight = knn_graph(x, 40, kernel=kernel)
    left, weaker = prune_by_consensus(edges, weight, 3, min_degree=0)
    assert components(left, 150) == components(edges, 150) == 1
    assert left.shape[1] < edges.shape[1]
    bridges = y[left[0]] != y[left[1]]
    assert int(bridges.sum()) == 4  # two edges, in both directions
    torch.testing.assert_close(
        weaker[bridges], weight[_places(edges, left[:, bridges], 150)] / 8, msg=str
    )


def _places(edges, some, n):
    return torch.searchsorted(edges[0] * n + edges[1], some[0] * n + some[1])


def test_equal_weights_are_none():
    x, _ = corners(90, 2.0)
    edges, _ = knn_graph(x, 6)
    none = prune_by_consensus(edges, None, 3, seed=1)
    for value in (1.0, 4.0):  # powers of two scale without rounding
        left, weaker = prune_by_consensus(edges, torch.full((edges.shape[1],), value), 3, seed=1)
        assert left.equal(none[0])
        assert weaker.equal(value * none[1])


@pytest.mark.parametrize("min_degree", [3, 60])
def test_edges_that_are_kept_for_the_degree_count_as_half_of_a_partition(min_degree):
    x, _ = corners(150, 6.0)
    edges, weight = knn_graph(x, 40)
    few, _ = prune_by_consensus(edges, weight, 3, min_degree=0, power=1.0)
    left, weaker = prune_by_consensus(edges, weight, 3, min_degree=min_degree, power=1.0)
    was = set(map(tuple, few.T.tolist()))
    more = torch.tensor([tuple(pair) not in was for pair in left.T.tolist()])
    added = weight[_places(edges, left[:, more], 150)] / 64  # of 32 partitions
    torch.testing.assert_close(weaker[more], added)
    assert bool(more.any()) == (min_degree > 3)


@pytest.mark.parametrize("n", [0, 1, 5])
def test_no_edges(n):
    left, weaker = prune_by_consensus(torch.empty(2, 0, dtype=torch.int64), None, 2, num_nodes=n)
    assert left.shape == (2, 0)
    assert weaker.shape == (0,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_clusters": 0}, "num_clusters must be >= 1, got 0"),
        ({"num_clusters": 1, "power": 0.0}, "power must be > 0, got 0.0"),
        ({"num_clusters": 1, "min_degree": -1}, "min_degree must be >= 0, got -1"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        prune_by_consensus(torch.tensor([[0, 1], [1, 0]]), None, **options)


def test_a_directed_graph_is_refused():
    with pytest.raises(ValueError, match="both directions"):
        prune_by_consensus(torch.tensor([[0, 1], [1, 2]]), None, 1)


def test_edges_are_checked_once(monkeypatch):
    seen = []
    check = undirected.checked_edges

    def counted(*given):
        seen.append(given)
        return check(*given)

    monkeypatch.setattr(undirected, "checked_edges", counted)
    x = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    prune_by_consensus(*knn_graph(x, 5), num_clusters=3)
    assert len(seen) == 1
