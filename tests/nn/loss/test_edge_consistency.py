import math

import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.explain import DummyExplainer, Explainer
from torch_geometric.loader import NeighborLoader

from pyg_relational.nn import EdgeConsistency, graph_consistency_loss
from pyg_relational.nn.loss.edge_consistency import complement_pairs
from pyg_relational.transforms import KNNGraph


def graph(n: int = 40) -> Data:
    g = torch.Generator().manual_seed(0)
    x = torch.randn(n, 5, generator=g)
    return KNNGraph(4)(Data(x=x, logits=x[:, :3] * 2, y=torch.randint(3, (n,), generator=g)))


def test_sum_over_nodes_is_twice_the_sparse_loss():
    data = graph()
    nodes = EdgeConsistency()(data.x, data.logits, data.y, data.edge_index)
    loss = graph_consistency_loss(
        data.x, data.logits, data.y, edge_index=data.edge_index, reduction="sum"
    )
    torch.testing.assert_close(nodes.sum(), 2 * loss)


def test_pairs_off_the_edges_are_drawn_alike():
    edges, generator = torch.tensor([[0, 1], [1, 3]]), torch.Generator().manual_seed(0)
    drawn, stands_for = complement_pairs(edges, 4, 6000, generator)
    pairs, count = drawn.unique(dim=1, return_counts=True)
    assert pairs.tolist() == [[0, 0, 1, 2], [2, 3, 2, 3]]
    torch.testing.assert_close(count * stands_for, torch.ones(4), rtol=0, atol=0.15)  # 5 deviations


def test_gradcheck():
    data = graph(12)
    x, logits = data.x.double().requires_grad_(), data.logits.double().requires_grad_()
    layer = EdgeConsistency(aggr="mean", relu=False)
    f = lambda x, z: layer(x, z, data.y, data.edge_index)  # noqa: E731
    assert torch.autograd.gradcheck(f, (x, logits))
    assert torch.autograd.gradgradcheck(f, (x, logits))


def test_a_directed_edge_reaches_its_target_only():
    data = graph()
    edge = data.edge_index[:, :1]
    nodes = EdgeConsistency()(data.x, data.logits, data.y, edge)
    assert nodes.nonzero().flatten().tolist() == [edge[1].item()]


def test_seed_nodes_of_a_full_neighbourhood_have_their_loss():
    data = graph()
    whole = EdgeConsistency()(data.x, data.logits, data.y, data.edge_index)
    try:
        loader = list(NeighborLoader(data, num_neighbors=[-1], batch_size=10))
    except ImportError:  # PyG samples neighbours with pyg-lib or torch-sparse only
        import pytest

        pytest.skip("NeighborLoader needs pyg-lib or torch-sparse")
    for batch in loader:
        part = EdgeConsistency()(batch.x, batch.logits, batch.y, batch.edge_index)
        torch.testing.assert_close(part[: batch.batch_size], whole[batch.input_id])


class Readout(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = EdgeConsistency()

    def forward(self, x, edge_index, logits, y):
        return self.layer(x, logits, y, edge_index)[:, None]


def test_explainers_run_on_it():
    data = graph()
    explainer = Explainer(
        Readout(),
        DummyExplainer(),
        explanation_type="model",
        edge_mask_type="object",
        model_config={"mode": "regression", "task_level": "node", "return_type": "raw"},
    )
    explanation = explainer(data.x, data.edge_index, logits=data.logits, y=data.y)
    assert explanation.edge_mask.shape == (data.num_edges,)


def test_edges_of_unlabelled_nodes_have_loss_zero_and_bad_input_raises():
    g = torch.Generator().manual_seed(0)
    x, logits = torch.randn(6, 4, generator=g), torch.randn(6, 3, generator=g)
    y = torch.tensor([0, 1, -1, 0, -1, 1])
    edge_index = torch.ones(6, 6).fill_diagonal_(0).nonzero().T
    layer = EdgeConsistency()
    labelled = y >= 0
    got = layer(x, logits, y, edge_index)
    assert not got[~labelled].any()
    some = torch.ones(4, 4).fill_diagonal_(0).nonzero().T
    torch.testing.assert_close(
        got[labelled], layer(x[labelled], logits[labelled], y[labelled], some)
    )
    for bad, message in (
        ((x * math.nan, logits, y), "x must be finite"),
        ((x, logits * math.inf, y), "logits must be finite"),
        ((x, logits[:5], y), "logits must have the 6 rows of x, got 5"),
        ((x, logits, y - 4), "y must be >= -1, got -5"),
    ):
        with pytest.raises(ValueError, match=message):
            layer(*bad, edge_index)
