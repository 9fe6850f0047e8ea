import networkx as nx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_relational.metrics import conductance
from tests.graphs import graphs, union

PAIR = torch.tensor([[0, 1], [1, 0]])


@settings(deadline=None, max_examples=60)
@given(graphs(), graphs(), st.booleans(), st.integers(0, 99))
def test_equals_networkx(a, b, loops, seed):
    graph, _ = union(a, b)
    n = len(graph.y)
    edge_index, weight = graph.edge_index, graph.edge_weight
    if loops:
        node = torch.arange(n)
        edge_index = torch.cat([edge_index, torch.stack([node, node])], dim=1)
        weight = torch.cat([weight, torch.rand(n, dtype=torch.float64)])
    clusters = torch.randint(4, (n,), generator=torch.Generator().manual_seed(seed))
    g = nx.Graph()
    g.add_nodes_from(range(n))
    g.add_weighted_edges_from(
        (*e, w) for e, w in zip(edge_index.T.tolist(), weight.tolist(), strict=True)
    )
    phi, mean = conductance(edge_index, weight, clusters)
    volumes, expected = [], []
    for c in range(int(clusters.max()) + 1):
        inside = (clusters == c).nonzero()[:, 0].tolist()
        volumes.append(nx.volume(g, inside, weight="weight"))
        try:
            expected.append(nx.conductance(g, inside, weight="weight"))
        except ZeroDivisionError:
            expected.append(1.0)
    torch.testing.assert_close(phi, torch.tensor(expected, dtype=torch.float64))
    total = sum(volumes)
    average = sum(v * p for v, p in zip(volumes, expected, strict=True)) / total if total else 1
    assert mean.item() == pytest.approx(average)
    assert 0 <= mean <= 1


@settings(deadline=None, max_examples=30)
@given(graphs(), st.permutations(range(4)))
def test_names_of_clusters_do_not_matter(graph, names):
    names = torch.tensor(names)
    phi, mean = conductance(graph.edge_index, graph.edge_weight, graph.y)
    renamed, same = conductance(graph.edge_index, graph.edge_weight, names[graph.y])
    torch.testing.assert_close(renamed[names[graph.y]], phi[graph.y])
    torch.testing.assert_close(same, mean)


def test_one_where_nothing_can_be_said():
    phi, mean = conductance(PAIR, None, torch.tensor([0, 0, 2]))  # all edges, no node, no edge
    assert phi.tolist() == [1, 1, 1]
    assert mean == 1
    phi, mean = conductance(torch.empty(2, 0).long(), None, torch.tensor([0, 1]))
    assert phi.tolist() == [1, 1]
    assert mean == 1
    phi, mean = conductance(torch.empty(2, 0).long(), None, torch.empty(0).long())
    assert phi.shape == (0,)
    assert mean == 1


def test_a_component_that_is_a_cluster_has_conductance_zero_however_weak():
    edge_index = torch.tensor([[0, 1, 2, 3], [1, 0, 3, 2]])
    weight = torch.tensor([1e-14, 1e-14, 1, 1], dtype=torch.float64)
    phi, mean = conductance(edge_index, weight, torch.tensor([0, 0, 1, 1]))
    assert phi.tolist() == [0, 0]
    assert mean == 0


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"edge_index": PAIR[:, :1]}, ValueError, "not undirected"),
        ({"edge_weight": -torch.ones(2)}, ValueError, "edge_weight must be >= 0"),
        ({"clusters": torch.tensor([0, -1])}, ValueError, "clusters must be >= 0, got -1"),
        ({"clusters": torch.zeros(1).long()}, ValueError, "must be < num_nodes=1"),
        ({"clusters": torch.zeros(2)}, TypeError, "clusters must be int64"),
    ],
)
def test_bad_input(change, error, message):
    arguments = {"edge_index": PAIR, "edge_weight": None, "clusters": torch.zeros(2).long()}
    with pytest.raises(error, match=message):
        conductance(**(arguments | change))
