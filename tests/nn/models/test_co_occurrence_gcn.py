import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch.testing import assert_close

from pyg_relational.nn import CoOccurrenceGCN
from pyg_relational.transforms import label_graph
from tests import oracles

EDGES, WEIGHT = torch.tensor([[0, 1], [1, 0]]), torch.ones(2)


def problem(n=3, num_classes=4, seed=0):
    """Scores, the table of labels, and its graph."""
    g = torch.Generator().manual_seed(seed)
    y = (torch.rand(9, num_classes, generator=g) < 0.4).long()
    edge_index, edge_weight = label_graph(y)
    logits = torch.randn(n, num_classes, generator=g, dtype=torch.float64, requires_grad=True)
    return logits, y, edge_index, edge_weight.double()


@given(
    n=st.integers(0, 4),
    num_classes=st.integers(1, 5),
    num_layers=st.integers(1, 3),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_equals_the_oracle_in_value_and_gradient(n, num_classes, num_layers, seed):
    logits, y, *_ = problem(n, num_classes, seed)
    edge_index, edge_weight = label_graph(y)
    torch.manual_seed(seed)
    model = CoOccurrenceGCN(3, num_layers).double()
    found = model(logits, edge_index, edge_weight.double())
    if n == 0:
        assert found.shape == (0, num_classes)
        return
    exact = oracles.co_occurrence_gcn(model, logits, oracles.co_occurrence(y.tolist()))
    assert_close(found, exact, rtol=1e-5, atol=1e-6)  # weights are of single precision
    slope = torch.linspace(-1, 2, found.numel(), dtype=found.dtype).view_as(found)
    leaves = [logits, *model.parameters()]
    grads = [torch.autograd.grad((out * slope).sum(), leaves) for out in (found, exact)]
    assert_close(*grads, rtol=1e-5, atol=1e-6)


def test_derivatives_in_scores_and_weights():
    logits, _, edge_index, edge_weight = problem()
    torch.manual_seed(0)
    model = CoOccurrenceGCN(3).double()
    edge_weight.requires_grad_()
    assert gradcheck(lambda p, w: model(p, edge_index, w), (logits, edge_weight))


def test_samples_do_not_see_each_other_and_classes_see_those_of_the_graph():
    logits, *_ = problem(3, 4)
    edge_index = torch.tensor([[0], [1]])
    torch.manual_seed(0)
    model = CoOccurrenceGCN(3, num_layers=1).double()
    jacobian = torch.autograd.functional.jacobian(
        lambda p: model(p, edge_index, torch.ones(1)), logits
    )
    assert all(not jacobian[i, :, j].any() for i in range(3) for j in range(3) if i != j)
    for i in range(3):
        rest = jacobian[i, :, i] - torch.eye(4)
        assert rest[1, 0] != 0
        rest[1, 0] = 0
        assert not rest.any()


def test_a_class_without_edges_keeps_its_score():
    logits, *_ = problem(2, 3)
    assert CoOccurrenceGCN().double()(logits, EDGES, WEIGHT)[:, 2].equal(logits[:, 2])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m, p: CoOccurrenceGCN(0), ValueError, "hidden_channels must be >= 1, got 0"),
        (lambda m, p: CoOccurrenceGCN(num_layers=1.5), TypeError, "num_layers must be an int"),
        (lambda m, p: m(p.long(), EDGES, WEIGHT), TypeError, "logits must be floating point"),
        (lambda m, p: m(p / 0, EDGES, WEIGHT), ValueError, "logits must be finite"),
        (lambda m, p: m(p, EDGES[0], WEIGHT), ValueError, r"edge_index must have shape \[2, "),
        (lambda m, p: m(p, EDGES.double(), WEIGHT), TypeError, "edge_index must hold integers"),
        (lambda m, p: m(p, EDGES + 1, WEIGHT), ValueError, "is 2, must be < num_nodes=2"),
        (lambda m, p: m(p, EDGES - 1, WEIGHT), ValueError, "is -1, must be >= 0"),
        (lambda m, p: m(p, EDGES, WEIGHT[:1]), ValueError, r"edge_weight must have shape \[2\]"),
        (lambda m, p: m(p, EDGES, WEIGHT / 0), ValueError, "edge_weight must be finite"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call(CoOccurrenceGCN(), torch.ones(3, 2))
