"""What every propagation takes, as a graph of any kind."""

import pytest
import scipy.sparse
import torch
from torch_geometric.data import Data

from pyg_relational.nn import (
    LaplacePropagation,
    laplace_propagation,
    p_eikonal,
    p_laplace_propagation,
    poisson_mbo,
    poisson_propagation,
    random_walk_propagation,
    volume_mbo,
)
from tests.graphs import random_graph

FAMILY = [
    laplace_propagation,
    LaplacePropagation(),
    poisson_propagation,
    p_laplace_propagation,
    random_walk_propagation,
    p_eikonal,
    lambda *graph: poisson_mbo(*graph, max_iter=2),
    lambda *graph: volume_mbo(*graph, temperature=0.0, slack=1.0),
]


@pytest.mark.parametrize("propagate", FAMILY)
def test_takes_what_as_edges_takes(propagate):
    graph = random_graph(12, 0.4, seed=2, labelled=0.5)
    edge_index, weight = graph.edge_index, graph.edge_weight
    matrix = torch.sparse_coo_tensor(edge_index, weight, (12, 12)).coalesce()
    coo = scipy.sparse.coo_array((weight.numpy(), edge_index.numpy()), shape=(12, 12))
    sources = [
        (edge_index, weight),
        Data(edge_index=edge_index, edge_weight=weight, num_nodes=12),
        matrix,
        matrix.to_sparse_csr(),
        coo,
    ]
    expected = propagate(edge_index, weight, graph.y, graph.mask)
    for source in sources:
        torch.testing.assert_close(propagate(source, None, graph.y, graph.mask), expected)
    ones = propagate(edge_index, torch.ones(len(weight)), graph.y, graph.mask)
    for source in (edge_index, Data(edge_index=edge_index, num_nodes=12)):
        torch.testing.assert_close(propagate(source, None, graph.y, graph.mask), ones)


@pytest.mark.parametrize("propagate", FAMILY)
def test_no_nodes_are_refused_for_their_lack_of_labels(propagate):
    none = torch.empty(2, 0, dtype=torch.int64)
    with pytest.raises(
        ValueError, match="mask must mark at least one labelled node, got none of 0"
    ):
        propagate(none, None, none[0])


def test_the_gradient_reaches_the_weights_of_a_graph():
    graph = random_graph(8, seed=2)
    weight = graph.edge_weight.requires_grad_()
    data = Data(edge_index=graph.edge_index, edge_weight=weight, num_nodes=8)
    grads = [
        torch.autograd.grad(laplace_propagation(*g, graph.y, graph.mask)[:, 0].sum(), weight)[0]
        for g in ((data, None), (graph.edge_index, weight))
    ]
    torch.testing.assert_close(*grads)


def test_a_graph_and_weights_beside_it_or_one_of_another_size():
    graph = random_graph(8, seed=2)
    data = Data(edge_index=graph.edge_index, num_nodes=8)
    with pytest.raises(TypeError, match="edge_index must be a tensor, got Data"):
        laplace_propagation(data, graph.edge_weight, graph.y, graph.mask)
    with pytest.raises(ValueError, match="num_nodes must be 8"):
        laplace_propagation(data, None, graph.y[:7], graph.mask[:7])


@pytest.mark.parametrize("propagate", FAMILY)
def test_compiled_raises_what_eager_raises(propagate):
    graph = random_graph(8, seed=2)
    compiled = torch.compile(lambda *args: propagate(*args), backend="eager")
    args = graph.edge_index, graph.edge_weight, graph.y, graph.mask
    torch.testing.assert_close(compiled(*args), propagate(*args))
    one_way = graph.edge_index[0] < graph.edge_index[1]
    bad = [
        ((graph.edge_index[:, one_way], graph.edge_weight[one_way], *args[2:]), "both directions"),
        ((graph.edge_index, -graph.edge_weight, *args[2:]), "edge_weight must be >= 0"),
        ((*args[:2], graph.y, graph.mask & False), "at least one labelled node"),
        ((*args[:2], graph.y - 1, graph.mask | True), "y must be in"),
    ]
    for wrong, message in bad:
        for f in (propagate, compiled):
            with pytest.raises(ValueError, match=message):
                f(*wrong)
