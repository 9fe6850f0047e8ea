import pytest
import torch
import torch_geometric
from torch_geometric.nn import GCNConv

from pyg_relational.transforms import DenseGraph, KNNGraph, batch_graph, knn_graph


def test_default_is_a_ten_nearest_neighbour_graph():
    x = torch.randn(30, 2, 3, generator=torch.Generator().manual_seed(0))
    y = torch.arange(30) % 3 - 1
    data = batch_graph(x, y)
    assert data.x.shape == (30, 6)
    assert data.y.equal(y)
    assert data.edge_index.equal(knn_graph(x.flatten(1), 10)[0])
    data.validate()


@pytest.mark.parametrize("transform", [KNNGraph(3), DenseGraph()])
def test_gradients_reach_the_features_through_weights_and_layer(transform):
    x = torch.randn(12, 4, requires_grad=True)
    data = batch_graph(x, transform=transform)
    assert data.y is None
    out = GCNConv(4, 2)(data.x.detach(), data.edge_index, data.edge_weight)
    out.square().sum().backward()
    assert x.grad.any()


def test_errors():
    with pytest.raises(ValueError, match=r"x must have shape \[n, \.\.\.\], got \[5\]"):
        batch_graph(torch.ones(5))
    with pytest.raises(ValueError, match=r"y must have shape \[12\], got \[3\]"):
        batch_graph(torch.ones(12, 2), torch.zeros(3, dtype=torch.int64))


def test_a_transform_that_looks_for_more_is_named():
    with pytest.raises(
        ValueError, match=r"transform must make a graph of data\.x alone, got KNNGraph"
    ):
        batch_graph(torch.randn(8, 4), transform=torch_geometric.transforms.KNNGraph(3))
