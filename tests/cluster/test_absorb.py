import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_relational.cluster import absorb_small, leiden_partitions
from pyg_relational.ops import both_directions
from tests.graphs import graphs


def literal(edge_index, weight, clusters, min_size):
    """The smallest cluster joins its heaviest neighbour, until none is small and has one."""
    c = clusters.tolist()
    while True:
        size = {a: c.count(a) for a in set(c)}
        weights = {a: {} for a in size}
        for i, j, w in zip(*edge_index.tolist(), weight.tolist(), strict=True):
            if c[i] != c[j]:
                weights[c[i]][c[j]] = weights[c[i]].get(c[j], 0.0) + w
        small = sorted((s, a) for a, s in size.items() if s < min_size and weights[a])
        if not small:
            return c
        a = small[0][1]
        into = max(weights[a], key=lambda b: (weights[a][b], -b))
        c = [into if b == a else b for b in c]


def same_partition(a, b):
    pairs = set(zip(a, b, strict=True))
    return len(pairs) == len(set(a)) == len(set(b))


@settings(max_examples=60, deadline=None)
@given(graphs(), st.data())
def test_equals_the_literal_loop(graph, data):
    edge_index, n = graph.edge_index, len(graph.y)
    i, j = edge_index
    weight = 1.0 + ((i + j) * 7919 + i * j * 104729) % 101 / 16  # the same in both directions
    clusters = torch.tensor(data.draw(st.lists(st.integers(0, 4), min_size=n, max_size=n)))
    clusters = clusters.unique(return_inverse=True)[1]
    min_size = data.draw(st.integers(0, n + 1))
    ours = absorb_small(edge_index, weight.double(), clusters, min_size)
    assert same_partition(ours.tolist(), literal(edge_index, weight, clusters, min_size))


def test_a_cluster_without_edges_to_others_stays():
    edges, _ = both_directions(torch.tensor([[0], [1]]), 3)
    assert absorb_small(edges, None, torch.tensor([0, 0, 1]), 5).tolist() == [0, 0, 1]


def test_weights_decide():
    edges, _ = both_directions(torch.tensor([[0, 1], [1, 2]]), 3)
    for heavy, expected in ((2.0, [0, 0, 1]), (0.5, [0, 1, 1])):
        weight = torch.where((edges == 0).any(0), heavy, 1.0)
        got = absorb_small(edges, weight, torch.tensor([0, 1, 2]), 1.5)
        assert got.tolist() == expected or got.unique().numel() == 1


def test_bad_clusters():
    with pytest.raises(TypeError, match="clusters must be int64"):
        absorb_small(torch.tensor([[0, 1], [1, 0]]), None, torch.zeros(2), 1)


def test_no_nodes():
    none = torch.empty(0, dtype=torch.int64)
    assert absorb_small(torch.empty(2, 0, dtype=torch.int64), None, none, 2).tolist() == []


def test_of_equal_weights_the_first_cluster_is_joined():
    edges, _ = both_directions(torch.tensor([[0, 1, 3, 0], [2, 2, 4, 4]]), 5)
    got = absorb_small(edges, None, torch.tensor([2, 0, 0, 1, 1]), 1.5)
    assert got.tolist() == [0, 0, 0, 1, 1]
    clusters = torch.tensor([0, 2, 2, 1, 1])  # the small one is the first
    got = absorb_small(edges, torch.ones(8), clusters, 1.5)
    assert got.tolist() == [0, 1, 1, 0, 0]


def test_of_equal_sizes_the_first_cluster_joins_first():
    path, pair = both_directions(torch.tensor([[0, 1, 2], [1, 2, 3]]), 4)
    weight = torch.tensor([1.0, 2.0, 3.0])[pair]
    assert absorb_small(path, weight, torch.arange(4), 2).tolist() == [0, 0, 1, 1]


def test_edges_of_joined_clusters_add_up():
    pairs = torch.tensor([[0, 0, 1, 1], [1, 2, 2, 3]])
    clusters = torch.tensor([0, 1, 2, 3, 2, 2, 3, 3])  # 2 and 3 are large
    for weight, last in (([2.0, 0.6, 0.0, 0.8], 3), ([2.0, 0.6, 0.6, 0.8], 2)):
        kept = torch.tensor(weight) > 0
        edges, pair = both_directions(pairs[:, kept], 8)
        found = absorb_small(edges, torch.tensor(weight)[kept][pair], clusters, 3)
        assert found[0] == found[1] == found[last]
        assert found[2] != found[3]


def test_a_size_is_a_number():
    edges = torch.tensor([[0, 1], [1, 0]])
    with pytest.raises(TypeError, match="min_size must be a number or a Tensor, got str"):
        absorb_small(edges, None, torch.arange(2), "2")
    with pytest.raises(TypeError, match="min_size must be a number or a Tensor, got NoneType"):
        leiden_partitions(edges, None, 2, min_size=None)
    with pytest.raises(TypeError, match="resolution must be a number or a Tensor, got str"):
        leiden_partitions(edges, None, 2, resolutions=["1"])
