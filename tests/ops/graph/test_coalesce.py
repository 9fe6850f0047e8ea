"""Duplicate edges to one: the matrix stays, so do its gradients."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric.utils import coalesce as pyg_coalesce

from pyg_relational.ops.graph.coalesce import coalesce
from tests.graphs import dense


@given(st.integers(0, 40), st.integers(1, 6), st.integers(0, 10**6))
def test_the_matrix_stays_and_edges_are_sorted_and_single(edges, nodes, seed):
    draws = torch.Generator().manual_seed(seed)
    edge_index = torch.randint(nodes, (2, edges), generator=draws)
    weight = torch.randn(edges, generator=draws, dtype=torch.double)
    index, total = coalesce(edge_index, weight, nodes)
    assert torch.equal(index, pyg_coalesce(edge_index, num_nodes=nodes))
    torch.testing.assert_close(dense(index, total, nodes), dense(edge_index, weight, nodes))


def test_rows_of_weights_are_summed_with_exact_gradients():
    edge_index = torch.tensor([[2, 0, 2, 1, 2], [1, 0, 1, 2, 1]])
    weight = torch.randn(5, 2, dtype=torch.double, requires_grad=True)
    index, total = coalesce(edge_index, weight, 3)
    assert index.tolist() == [[0, 1, 2], [0, 2, 1]]
    torch.testing.assert_close(total[2], weight[[0, 2, 4]].sum(0))
    assert torch.autograd.gradcheck(lambda w: coalesce(edge_index, w, 3)[1], weight)
