import pytest
import torch

from pyg_relational.cluster import leiden_partitions
from pyg_relational.nn import prune_by_consensus
from pyg_relational.transforms import knn_graph


def blobs(n, distance):
    torch.manual_seed(0)
    y = torch.arange(n) % 3
    return torch.randn(n, 2) + distance * torch.tensor([[0.0, 0], [1, 0], [0, 1]])[y], y


@pytest.mark.parametrize("power", [1.0, 3.0])
def test_weights_are_the_share_of_partitions_to_the_power(power):
    x, _ = blobs(80, 2.0)
    edges, weight = knn_graph(x, 6)
    partitions = leiden_partitions(edges, weight, 80, min_size=8, seed=5)
    expected = {}
    for (i, j), w in zip(edges.T.tolist(), weight.tolist(), strict=True):
        share = sum(int(c[i] == c[j]) for c in partitions) / len(partitions)
        if share > 0:
            expected[i, j] = w * share**power
    left, weaker = prune_by_consensus(edges, weight, 80, 3, power=power, min_degree=0, seed=5)
    assert list(map(tuple, left.T.tolist())) == list(expected)
    torch.testing.assert_close(weaker, torch.tensor(list(expected.values())))
    assert 0 < len(expected) <= edges.shape[1]


def test_edges_between_classes_lose_weight():
    x, y = blobs(300, 5.0)
    edges, weight = knn_graph(x, 10)
    share = lambda e, w: (w * (y[e[0]] != y[e[1]])).sum() / w.sum()  # noqa: E731
    assert share(*prune_by_consensus(edges, weight, 300, 3)) < share(edges, weight)


def test_nobody_is_left_alone():
    x, _ = blobs(300, 2.5)
    edges, weight = knn_graph(x, 3)
    left, weaker = prune_by_consensus(edges, weight, 300, 3, min_degree=3)
    assert int(left[0].bincount(minlength=300).min()) >= 3
    assert bool((weaker > 0).all())


@pytest.mark.parametrize("n", [0, 1, 5])
def test_no_edges(n):
    left, weaker = prune_by_consensus(torch.empty(2, 0, dtype=torch.int64), None, n, 2)
    assert left.shape == (2, 0)
    assert weaker.shape == (0,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "k must be an integer >= 1, got 0"),
        ({"k": 1, "power": 0.0}, "power must be > 0, got 0.0"),
        ({"k": 1, "min_degree": -1}, "min_degree must be an integer >= 0, got -1"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        prune_by_consensus(torch.tensor([[0, 1], [1, 0]]), None, 2, **options)


def test_a_directed_graph_is_refused():
    with pytest.raises(ValueError, match="both directions"):
        prune_by_consensus(torch.tensor([[0, 1], [1, 2]]), None, 3, 1)
