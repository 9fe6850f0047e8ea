import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_relational.cluster import leiden
from pyg_relational.ops import both_directions, connected_components, modularity
from tests.graphs import graphs, random_graph, union

PAIR = torch.tensor([[0, 1], [1, 0]])


def cliques(count: int, size: int) -> torch.Tensor:
    """Cliques in a ring, each joined with the next by one edge."""
    inside = torch.combinations(torch.arange(size)).T
    first = size * torch.arange(count)
    pairs = torch.cat(
        [*(inside + i for i in first), torch.stack([first, (first + size + 1) % (count * size)])],
        dim=1,
    )
    return both_directions(pairs.sort(0).values, count * size)[0]


def test_finds_cliques_and_counts_by_first_node():
    expected = torch.arange(6).repeat_interleave(5)
    assert leiden(cliques(6, 5)).equal(expected)
    mixed = torch.randperm(30)
    rank = mixed.argsort()
    cluster = leiden(rank[cliques(6, 5)])
    groups = cluster[rank].view(6, 5)
    assert groups.eq(groups[:, :1]).all()
    assert len(groups.unique()) == 6
    first = [cluster.tolist().index(c) for c in range(6)]
    assert first == sorted(first)


@pytest.mark.parametrize("exponent", [-1000, -580, 530, 1000])
def test_the_unit_of_the_weights_does_not_matter(exponent):
    graph = random_graph(40, 0.1)
    expected = leiden(graph.edge_index, graph.edge_weight)
    assert len(expected.unique()) > 1
    assert leiden(graph.edge_index, graph.edge_weight * 2.0**exponent).equal(expected)


@settings(deadline=None, max_examples=40)
@given(graphs(), graphs(), st.integers(0, 100))
def test_clusters_are_connected_and_no_move_of_a_node_is_better(a, b, seed):
    graph, _ = union(a, b)
    n = len(graph.y)
    cluster = leiden(graph.edge_index, graph.edge_weight, n, seed=seed, max_iter=-1)
    inside = cluster[graph.edge_index[0]] == cluster[graph.edge_index[1]]
    assert connected_components(graph.edge_index[:, inside], n).equal(cluster)
    q = modularity(graph.edge_index, graph.edge_weight, cluster)
    for node in range(n):
        for c in range(int(cluster.max()) + 2):
            moved = cluster.clone()
            moved[node] = c
            assert modularity(graph.edge_index, graph.edge_weight, moved) <= q + 1e-9


def test_weights_resolution_and_loops_count():
    path = torch.tensor([[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]])
    assert leiden(path, torch.tensor([1, 1, 9, 9, 1, 1.0])).tolist() == [0, 0, 0, 0]
    assert leiden(path, torch.tensor([9, 9, 1, 1, 9, 9.0])).tolist() == [0, 0, 1, 1]
    assert leiden(path, resolution=0.0).tolist() == [0, 0, 0, 0]
    assert leiden(path, resolution=9.0).tolist() == [0, 1, 2, 3]
    loops = torch.cat([path, torch.arange(4).repeat(2, 1)], dim=1)
    weight = torch.cat([torch.ones(6), torch.full((4,), 9.0)])
    assert leiden(loops, weight).tolist() == [0, 1, 2, 3]


def test_the_order_of_the_edges_does_not_matter():
    graph = random_graph(40, 0.1)
    mixed = torch.randperm(graph.edge_index.shape[1])
    assert leiden(graph.edge_index[:, mixed], graph.edge_weight[mixed]).equal(
        leiden(graph.edge_index, graph.edge_weight)
    )


def test_a_seed_decides_and_random_state_is_left_alone():
    graph = random_graph(60, 0.05)
    random.seed(5)
    state, torch_state = random.getstate(), torch.get_rng_state()
    found = [leiden(graph.edge_index, graph.edge_weight, seed=s).tolist() for s in range(8)]
    assert random.getstate() == state
    assert torch.get_rng_state().equal(torch_state)
    random.seed(6)
    assert [leiden(graph.edge_index, graph.edge_weight, seed=s).tolist() for s in range(8)] == found
    assert len(set(map(tuple, found))) > 1


def test_without_edges_every_node_is_a_cluster():
    none = torch.empty(2, 0, dtype=torch.int64)
    assert leiden(none, num_nodes=3).tolist() == [0, 1, 2]
    assert leiden(none).tolist() == []
    assert leiden(PAIR, torch.zeros(2), 3).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"edge_index": PAIR[:, :1]}, ValueError, "not undirected"),
        ({"edge_index": PAIR.float()}, TypeError, "edge_index must hold integers"),
        ({"edge_weight": -torch.ones(2)}, ValueError, "edge_weight must be >= 0, got min -1"),
        ({"num_nodes": 1}, ValueError, "must be < num_nodes=1"),
        ({"resolution": -1.0}, ValueError, "resolution must be finite and >= 0, got -1"),
        ({"max_iter": 0}, ValueError, "max_iter must be >= 1, got 0"),
    ],
)
def test_bad_input(change, error, message):
    with pytest.raises(error, match=message):
        leiden(**({"edge_index": PAIR} | change))
