import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_relational.ops.graph.edges import both_directions
from pyg_relational.ops.linear.aggregation import aggregate, coarse_matrix, strong_edges
from tests.graphs import graphs, random_graph
from tests.oracles import dense_laplacian, dense_weights


@settings(deadline=None, max_examples=50)
@given(graphs(), st.integers(1, 6))
def test_clusters_are_connected_and_few(graph, most):
    n = len(graph.y)
    cluster = aggregate(graph.edge_index, graph.edge_weight, n, most)
    count = int(cluster.max()) + 1
    assert cluster.unique().tolist() == list(range(count))
    assert count <= max(most, 1)
    inside = cluster[graph.edge_index[0]] == cluster[graph.edge_index[1]]
    for c in range(count):
        nodes = (cluster == c).nonzero()[:, 0]
        a = dense_weights(graph.edge_index[:, inside], graph.edge_weight[inside], n) > 0
        reach = torch.linalg.matrix_power((a | torch.eye(n).bool()).double(), n) > 0
        assert reach[nodes][:, nodes].all()


def test_nothing_is_joined_across_a_weak_cut_while_clusters_can_join_inside():
    graph = random_graph(20, seed=1)
    shifted = torch.cat([graph.edge_index, graph.edge_index + 20], dim=1)
    bridge, _ = both_directions(torch.tensor([[3], [27]]), 40)
    edge_index = torch.cat([shifted, bridge], dim=1)
    weight = torch.cat([graph.edge_weight, graph.edge_weight, torch.full((2,), 1e-6)])
    cluster = aggregate(edge_index, weight, 40, 2)
    assert cluster.tolist() == [0] * 20 + [1] * 20
    assert strong_edges(edge_index, weight, 40, 1e-3).tolist() == [True] * (len(weight) - 2) + [
        False,
        False,
    ]


@settings(deadline=None, max_examples=50)
@given(graphs(), st.integers(1, 4))
def test_coarse_matrix_is_the_galerkin_product(graph, count):
    n = len(graph.y)
    cluster = torch.arange(n) % count
    shift = torch.rand(n, dtype=torch.float64)
    free = ~graph.mask
    w = dense_weights(graph.edge_index, graph.edge_weight, n)
    p = torch.nn.functional.one_hot(cluster, count).double() * free[:, None]
    expected = p.T @ (dense_laplacian(w) + torch.diag(shift)) @ p
    given_ = coarse_matrix(graph.edge_index, graph.edge_weight, shift, cluster, free, count)
    torch.testing.assert_close(given_, expected)


def test_weights_far_below_one_stay_in_the_coarse_matrix():
    edge_index = torch.tensor([[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]])
    weight = torch.tensor([1.0, 1.0, 1e-20, 1e-20, 1.0, 1.0], dtype=torch.float64)
    cluster, free = torch.tensor([0, 0, 1, 1]), torch.ones(4, dtype=torch.bool)
    found = coarse_matrix(edge_index, weight, torch.zeros(4, dtype=torch.float64), cluster, free, 2)
    torch.testing.assert_close(found / 1e-20, torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).double())
