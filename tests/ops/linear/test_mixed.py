import pytest
import torch
from torch.testing import assert_close

from pyg_relational.ops.linear.mixed import MixedLaplacian, _System
from pyg_relational.transforms import knn_graph, knn_hypergraph


@pytest.mark.parametrize("hyperedges", [True, False])
def test_the_matrix_that_is_made_once_is_the_product_between_free_nodes(hyperedges):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(30, 3, generator=g, dtype=torch.float64)
    edges, weight = knn_graph(x, 4)
    hypergraph, share = knn_hypergraph(x, 3)
    shuffled = torch.randperm(hypergraph.shape[1], generator=g)
    hypergraph = hypergraph[:, shuffled] if hyperedges else hypergraph[:, :0]
    share = share if hyperedges else share[:0]
    numbers = torch.tensor([0.3, 0.1], dtype=torch.float64)
    matrix = MixedLaplacian(edges, weight, hypergraph, share, *numbers)
    free = torch.rand(30, generator=g) > 0.2
    u = torch.randn(30, 4, generator=g, dtype=torch.float64)
    assert_close(_System(matrix, free).apply(u), matrix.product(u) * free[:, None])
