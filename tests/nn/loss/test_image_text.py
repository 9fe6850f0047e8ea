import pytest
import torch
from torch.autograd import gradcheck

from pyg_relational.nn import image_text_modularity_loss
from pyg_relational.nn.loss.image_text import image_text_graph
from pyg_relational.transforms import knn_graph
from tests import oracles


def rows(n, d, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=g, dtype=torch.float64, requires_grad=True)


def data(n=7):
    return rows(n, 3), rows(n, 5, 1), rows(n, 2, 2).softmax(1), rows(n, 2, 3).softmax(1)


def test_equals_the_dense_form():
    image, text, c, e = data()
    options = {"metric": "cosine", "kernel": "cosine"}
    blocks = [oracles.dense_weights(*knn_graph(x, 2, **options), 7) for x in (image, text)]
    pairs = 0.6 * torch.eye(7, dtype=torch.float64)
    a = torch.cat([torch.cat([blocks[0], pairs], 1), torch.cat([pairs, blocks[1]], 1)])
    both = torch.cat([c, e])
    expected = 0.4 * oracles.collapse(both) - oracles.modularity(a, both, 1.3)
    loss = image_text_modularity_loss(
        image, text, c, e, 2, pair_weight=0.6, resolution=1.3, collapse=0.4
    )
    torch.testing.assert_close(loss, expected)


def test_derivatives():
    def f(image, text, c, e):
        return image_text_modularity_loss(image, text, c.softmax(1), e.softmax(1), 2)

    assert gradcheck(f, (rows(5, 3), rows(5, 2, 1), rows(5, 2, 2), rows(5, 2, 3)))


def test_mean_over_graphs_each_as_alone():
    inputs = data()
    batch = torch.tensor([0, 0, 2, 0, 2, 2, 2])
    alone = [image_text_modularity_loss(*(x[batch == g] for x in inputs), k=2) for g in (0, 2)]
    loss = image_text_modularity_loss(*inputs, k=2, batch=batch)
    torch.testing.assert_close(loss, sum(alone) / 2)


def test_pairs_in_one_cluster_cost_less():
    image, text, c, _ = data()
    loss = image_text_modularity_loss(image, text, c.round(), c.round(), 2)
    assert loss < image_text_modularity_loss(image, text, c.round(), 1 - c.round(), 2)


def test_graph_of_mixed_precision():
    edge_index, weight = image_text_graph(rows(4, 3).float(), rows(4, 2), 1, pair_weight=0.5)
    assert weight.dtype == torch.float64
    across = (edge_index[0] < 4) != (edge_index[1] < 4)
    assert (edge_index[0] - edge_index[1])[across].abs().eq(4).all()
    assert weight[across].eq(0.5).all()
    assert across.sum() == 8


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"image": torch.zeros(3).long()}, TypeError, "image must be floating point"),
        ({"text": torch.ones(2, 2)}, ValueError, "text must have the 3 rows of image, got 2"),
        (
            {"assignment_text": torch.ones(3, 4)},
            ValueError,
            r"assignment_text must have shape \[3, 2\], got \[3, 4\]",
        ),
        ({"pair_weight": -1}, ValueError, "pair_weight must be finite and >= 0, got -1"),
        ({"k": 3}, ValueError, "k must be in"),
    ],
)
def test_bad_input(change, error, message):
    c = torch.ones(3, 2)
    arguments = {"image": torch.eye(3), "text": torch.ones(3, 2), "k": 1}
    arguments |= {"assignment_image": c, "assignment_text": c}
    with pytest.raises(error, match=message):
        image_text_modularity_loss(**(arguments | change))
