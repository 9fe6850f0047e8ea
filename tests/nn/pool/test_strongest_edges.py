import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_relational.nn.pool.strongest_edges import keep_strongest, undirected_pairs
from tests.graphs import random_graph


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.integers(0, 99), st.integers(0, 4))
def test_each_node_keeps_its_strongest(n, seed, least):
    graph = random_graph(n, seed=seed)
    row, col = graph.edge_index
    both, pair = undirected_pairs(graph.edge_index, n)
    keep = (torch.rand(both.shape[1], generator=torch.Generator().manual_seed(seed)) < 0.3)[pair]
    weight = graph.edge_weight
    found = keep_strongest(graph.edge_index, weight, keep, pair, least, n)
    wanted = {tuple(sorted(e)) for e in graph.edge_index[:, keep].T.tolist()}
    for node in range(n):
        mine = (row == node).nonzero()[:, 0].tolist()
        mine.sort(key=lambda e: (not bool(keep[e]), -weight[e].item()))
        wanted |= {tuple(sorted((node, col[e].item()))) for e in mine[:least]}
    assert {tuple(sorted(e)) for e in graph.edge_index[:, found].T.tolist()} == wanted
    assert int(found.sum()) == 2 * len(wanted)


def test_pairs_are_single_and_say_which_each_edge_is():
    edges = torch.tensor([[0, 1, 1, 2, 2], [1, 0, 2, 1, 2]])
    pairs, pair = undirected_pairs(edges, 3)
    assert pairs.T.tolist() == [[0, 1], [1, 2], [2, 2]]
    assert pair.tolist() == [0, 0, 1, 1, 2]
    assert undirected_pairs(edges[:, :0], 0)[0].shape == (2, 0)


def test_a_loop_is_no_neighbour():
    edges, weight = torch.tensor([[0, 0, 1], [0, 1, 0]]), torch.tensor([9.0, 1.0, 1.0])
    pair = undirected_pairs(edges, 2)[1]
    kept = keep_strongest(edges, weight, torch.zeros(3).bool(), pair, 1, 2)
    assert kept.tolist() == [False, True, True]
