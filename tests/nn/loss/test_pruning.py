import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from pyg_relational.nn.loss.pruning import gated_modularity, pruning_loss
from tests import oracles
from tests.graphs import dense, graphs, random_graph, union

OPTIONS = {"keep": 0.8, "min_degree": 2, "resolution": 1.3, "budget": 3.0, "hinge": 2.0}


def features(n, d=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=g, dtype=torch.float64)


def gates(n, seed=0):
    return torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def soft(n, k, seed=0):
    return features(n, k, seed + 1).softmax(1)


def with_loop(graph, node=0, weight=0.7):
    """Edges, weights and pair of each edge of the graph and a self-loop."""
    edges = torch.cat([graph.edge_index, torch.tensor([[node], [node]])], 1)
    pair = torch.cat([graph.pair, torch.tensor([len(graph.weight)])])
    weights = torch.cat([graph.weight, torch.tensor([weight], dtype=torch.float64)])
    return edges, weights, pair


@settings(deadline=None, max_examples=30)
@given(graphs(), st.integers(1, 4), st.booleans(), st.integers(0, 9999))
def test_objective_equals_the_oracle(graph, k, loop, seed):
    n, c = len(graph.y), soft(len(graph.y), k, seed)
    edges, weights, pair = (
        with_loop(graph) if loop else (graph.edge_index, graph.weight, graph.pair)
    )
    weight, gate = weights[pair], gates(len(weights), seed)[pair]
    a, g = dense(edges, weight, n), dense(edges, gate, n)
    torch.testing.assert_close(
        gated_modularity(edges, weight, gate, c, 1.3), oracles.gated_modularity(a, g, c, 1.3)
    )
    torch.testing.assert_close(
        pruning_loss(edges, weight, gate, c, collapse=0.5, **OPTIONS),
        oracles.pruning_loss(a, g, c, collapse_weight=0.5, **OPTIONS),
    )


def test_closing_a_gate_never_raises_the_gated_modularity():
    graph, c = random_graph(8), torch.eye(2, dtype=torch.float64)[[0, 0, 0, 0, 1, 1, 1, 1]]
    gate = torch.ones_like(graph.weight, requires_grad=True)
    gated_modularity(graph.edge_index, graph.edge_weight, gate[graph.pair], c).backward()
    row, col = graph.edge_index
    inside = torch.zeros_like(graph.weight).bool()
    inside[graph.pair] = c.argmax(1)[row] == c.argmax(1)[col]
    assert torch.all(gate.grad[inside] > 0)
    assert torch.all(gate.grad[~inside] == 0)


@settings(deadline=None, max_examples=20)
@given(graphs(), graphs(), st.integers(0, 9999))
def test_a_union_has_the_mean_loss_of_its_graphs(a, b, seed):
    both, batch = union(a, b)
    c, values = soft(len(batch), 3, seed), gates(len(both.weight), seed)
    sizes = [len(a.y), len(b.y)], [len(a.weight), len(b.weight)]
    parts = zip((a, b), c.split(sizes[0]), values.split(sizes[1]), strict=True)
    each = [(g.edge_index, g.edge_weight, gate[g.pair], part) for g, part, gate in parts]
    rank = torch.randperm(len(batch)).argsort()
    shuffled = rank.argsort()
    united = rank[both.edge_index], both.edge_weight, values[both.pair], c[shuffled]
    graph = 2 * batch[shuffled]  # there is no graph 1
    q = torch.stack([gated_modularity(*one, 1.3) for one in each])
    torch.testing.assert_close(gated_modularity(*united, 1.3, batch=graph)[::2], q)
    expected = torch.stack([pruning_loss(*one, **OPTIONS) for one in each]).mean()
    torch.testing.assert_close(pruning_loss(*united, batch=graph, **OPTIONS), expected)


def test_the_loss_of_several_partitions_is_the_mean_of_theirs():
    graph, c = random_graph(9), torch.stack([soft(9, 3, seed) for seed in range(4)], 1)
    gate = gates(len(graph.weight))[graph.pair]
    edges = graph.edge_index, graph.edge_weight, gate
    each = torch.stack([pruning_loss(*edges, part, **OPTIONS) for part in c.unbind(1)])
    torch.testing.assert_close(pruning_loss(*edges, c, **OPTIONS), each.mean())


@pytest.mark.parametrize("batch", [None, torch.arange(12) // 6])
def test_derivatives(batch):
    graph, _ = union(random_graph(6, 0.2), random_graph(6, 0.2, seed=1))
    c = torch.stack([soft(12, 3), soft(12, 3, 1)], 1).requires_grad_()
    gate = gates(len(graph.weight)).requires_grad_()
    weight = graph.weight.clone().requires_grad_()

    def loss(weight, gate, c):
        edges = graph.edge_index, weight[graph.pair], gate[graph.pair], c
        return pruning_loss(*edges, keep=0.4, min_degree=2, batch=batch)

    assert gradcheck(loss, (weight, gate, c))
    assert gradgradcheck(loss, (weight, gate, c))


def test_a_gate_of_another_length_is_refused():
    with pytest.raises(ValueError, match=r"gate must have shape \[2\], got \[1\]"):
        gated_modularity(torch.tensor([[0, 1], [1, 0]]), None, torch.ones(1), torch.eye(2))


def test_weights_and_assignments_of_other_forms():
    """A column of weights, as elsewhere; half precision is computed in float32."""
    graph, c = random_graph(8), soft(8, 2).half()
    gate = gates(len(graph.weight))[graph.pair]
    loss = pruning_loss(graph.edge_index, graph.edge_weight, gate, c.double())
    column = pruning_loss(graph.edge_index, graph.edge_weight[:, None], gate, c)
    torch.testing.assert_close(column, loss)


@pytest.mark.parametrize(
    ("gate", "c", "error", "message"),
    [
        ([1.0, 1.0], torch.eye(2), TypeError, "gate must be a Tensor, got list"),
        (
            torch.ones(2).bool(),
            torch.eye(2),
            TypeError,
            r"gate must be floating point, got torch\.bool",
        ),
        (
            torch.ones(2) * torch.nan,
            torch.eye(2),
            ValueError,
            "gate must be finite, got nan at edge 0",
        ),
        (torch.ones(2), [1, 1], TypeError, "assignment must be a Tensor, got list"),
        (
            torch.ones(2),
            torch.ones(2, 0, 3),
            ValueError,
            "assignment must have at least one column",
        ),
    ],
)
def test_bad_gates_and_assignments_are_named(gate, c, error, message):
    edges = torch.tensor([[0, 1], [1, 0]])
    for function in (gated_modularity, pruning_loss):
        with pytest.raises(error, match=message):
            function(edges, None, gate, c)
