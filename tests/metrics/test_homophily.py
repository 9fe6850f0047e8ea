import pytest
import torch
from hypothesis import assume, given, settings
from torch_geometric.utils import homophily as edge_homophily

from pyg_relational.metrics import homophily
from tests.graphs import graphs

PAIR = torch.tensor([[0, 1], [1, 0]])


@settings(deadline=None, max_examples=40)
@given(graphs())
def test_equals_the_literal_sum_and_pyg(graph):
    assume(graph.edge_index.shape[1] > 0)
    edges = zip(*graph.edge_index.tolist(), graph.edge_weight.tolist(), strict=True)
    inside = sum(w for i, j, w in edges if graph.y[i] == graph.y[j])
    h = homophily(graph.edge_index, graph.edge_weight, graph.y)
    assert h.item() == pytest.approx(inside / graph.edge_weight.sum().item())
    unweighted = homophily(graph.edge_index, None, graph.y).item()
    assert unweighted == pytest.approx(edge_homophily(graph.edge_index, graph.y, method="edge"))
    torch.testing.assert_close(homophily(graph.edge_index, graph.edge_weight, 3 - graph.y), h)


def test_directed_edges_and_unlabelled_nodes():
    edge_index = torch.tensor([[0, 1, 2, 3, 3], [1, 2, 3, 0, 4]])
    y = torch.tensor([1, 1, 0, -1, -1])
    assert homophily(edge_index, torch.tensor([3.0, 1.0, 7.0, 7.0, 7.0]), y) == 0.75


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"y": torch.zeros(2)}, TypeError, "y must be int64"),
        ({"y": torch.tensor([0, -1])}, ValueError, "edge_index must hold an edge"),
        ({"edge_index": PAIR[:, :0]}, ValueError, "edge_index must hold an edge"),
        ({"edge_weight": torch.zeros(2)}, ValueError, "edge_index must hold an edge"),
        ({"edge_weight": -torch.ones(2)}, ValueError, "edge_weight must be >= 0, got min -1"),
        ({"y": torch.zeros(1).long()}, ValueError, "must be < num_nodes=1"),
    ],
)
def test_bad_input(change, error, message):
    with pytest.raises(error, match=message):
        homophily(
            **({"edge_index": PAIR, "edge_weight": None, "y": torch.zeros(2).long()} | change)
        )
