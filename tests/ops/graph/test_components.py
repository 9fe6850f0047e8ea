import networkx as nx
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_relational.ops import connected_components
from pyg_relational.ops.graph.components import smallest_reachable


@settings(deadline=None)
@given(st.integers(1, 12), st.data())
def test_equals_networkx_on_both_paths(n, data):
    ends = st.integers(0, n - 1)
    edges = data.draw(st.lists(st.tuples(ends, ends), max_size=15))
    edge_index = torch.tensor(edges, dtype=torch.int64).reshape(-1, 2).T
    graph = nx.Graph(edges)
    graph.add_nodes_from(range(n))
    expected = torch.empty(n, dtype=torch.int64)
    parts = sorted(nx.connected_components(graph), key=min)
    for number, part in enumerate(parts):
        expected[list(part)] = number
    assert torch.equal(connected_components(edge_index, n), expected)
    first = torch.tensor([min(part) for part in parts])
    assert torch.equal(smallest_reachable(edge_index, n), first[expected])


def test_a_long_path_takes_few_rounds():
    n = 3000
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
    path = torch.stack([order[:-1], order[1:]])
    assert smallest_reachable(path, n).eq(0).all()


def test_no_nodes():
    assert connected_components(torch.empty(2, 0, dtype=torch.int64), 0).tolist() == []
