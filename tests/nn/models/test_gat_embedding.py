import pytest
import torch
from torch_geometric.data import Batch, Data

from pyg_relational.nn import GATEmbedding, dissimilarity_loss

EDGES = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])


def graphs():
    g = torch.Generator().manual_seed(0)
    return [Data(x=torch.randn(n, 3, generator=g), edge_index=EDGES) for n in (3, 4, 5)]


def build(**options):
    torch.manual_seed(0)
    return GATEmbedding(3, 4, 6, **options)


def test_a_batch_gives_what_each_graph_gives():
    model, batch = build(), Batch.from_data_list(graphs())
    found = model(batch.x, batch.edge_index, batch.batch)
    alone = [model(graph.x, graph.edge_index) for graph in graphs()]
    torch.testing.assert_close(found, torch.cat(alone))
    assert found.shape == (3, 6)


def test_order_of_nodes_does_not_matter():
    graph, order = graphs()[2], torch.tensor([4, 2, 0, 1, 3])
    moved = order.argsort()[graph.edge_index]
    torch.testing.assert_close(build()(graph.x[order], moved), build()(graph.x, graph.edge_index))


def test_the_layers_are_those_of_the_text():
    model = build()
    assert [conv.out_channels for conv in model.convs] == [4, 8, 16]
    assert model.bottleneck.in_features == 3 * 16
    assert [layer.out_channels for layer in model.expand.lins] == [8, 16, 32, 6]


def test_it_learns_distances():
    model, batch = build(), Batch.from_data_list(graphs())
    wanted = torch.rand(3, 6, generator=torch.Generator().manual_seed(1)) * 5
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(150):
        loss = dissimilarity_loss(model(batch.x, batch.edge_index, batch.batch), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1


def test_dropout_is_of_training_alone():
    model, graph = build(dropout=0.5), graphs()[0]
    first, second = (model(graph.x, graph.edge_index) for _ in range(2))
    assert not first.equal(second)
    model.eval()
    torch.testing.assert_close(model(graph.x, graph.edge_index), build()(graph.x, graph.edge_index))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: GATEmbedding(3, 0, 2), ValueError, "hidden_channels must be >= 1, got 0"),
        (lambda: GATEmbedding(3, 4, 2.5), TypeError, "num_prototypes must be an int"),
        (lambda: build(dropout=1.0), ValueError, r"dropout must be in \[0, 1\), got 1.0"),
        (lambda: build()(torch.ones(3, 2), EDGES), ValueError, "x must have 3 channels, got 2"),
        (lambda: build()(torch.full((3, 3), torch.nan), EDGES), ValueError, "x must be finite"),
        (lambda: build()(torch.ones(3, 3).long(), EDGES), TypeError, "x must be floating point"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
