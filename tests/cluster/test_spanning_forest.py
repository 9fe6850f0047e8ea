import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_relational.cluster.spanning_forest import spanning_forest
from tests import oracles
from tests.graphs import graphs, random_graph, union


@settings(deadline=None, max_examples=80)
@given(graphs(), graphs(), st.integers(1, 4), st.booleans())
def test_equals_kruskal(one, other, values, loop):
    graph, _ = union(one, other)
    n = len(graph.y)
    weight = (graph.weight * values).floor()[graph.pair]  # with zeros and ties
    edges = torch.cat([graph.edge_index, torch.tensor([[0], [0]])[:, : int(loop)]], 1)
    weight = torch.cat([weight, torch.full((int(loop),), 9.0, dtype=weight.dtype)])
    got = spanning_forest(edges, weight, n)
    assert {frozenset(pair) for pair in edges[:, got].T.tolist()} == oracles.spanning_forest(
        edges, weight.tolist(), n
    )
    assert int(got.sum()) == 2 * (n - 2)


def test_it_is_the_same_in_both_directions():
    graph = random_graph(30, seed=3)
    got = spanning_forest(graph.edge_index, graph.edge_weight, 30)
    row, col = graph.edge_index[:, got]
    assert {*zip(row.tolist(), col.tolist(), strict=True)} == {
        *zip(col.tolist(), row.tolist(), strict=True)
    }


def test_no_edges():
    assert spanning_forest(torch.empty(2, 0, dtype=torch.int64), torch.empty(0), 0).shape == (0,)
