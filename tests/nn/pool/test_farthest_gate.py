import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck
from torch.nn.functional import one_hot

from pyg_relational.nn.pool.farthest_gate import farthest_gate
from pyg_relational.nn.pool.modularity_pruning import between_farthest
from tests import oracles
from tests.graphs import random_graph


def features(n, d=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=g, dtype=torch.float64)


def soft(n, k, seed=0):
    return features(n, k, seed + 1).softmax(1)


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 9), st.integers(1, 5), st.booleans(), st.integers(0, 9999))
def test_farthest_gate_equals_the_oracle(n, k, empty, seed):
    x, c = features(n, seed=seed), soft(n, k, seed)
    if empty and k > 1:
        c = torch.cat([c[:, 1:] / c[:, 1:].sum(1, keepdim=True), 0 * c[:, :1]], 1)
    edges = torch.randint(n, (2, 15))
    expected = oracles.farthest_gates(x, c, 0.7)
    expected = torch.as_tensor(expected, dtype=torch.float64).expand(n, n)
    gate = farthest_gate(edges, x, c, temperature=0.7)
    torch.testing.assert_close(gate, expected[edges[0], edges[1]])
    assert torch.all((gate >= 0) & (gate <= 1))


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 12), st.integers(1, 5), st.integers(0, 9999))
def test_at_temperature_0_the_gate_is_that_of_the_hard_algorithm(n, k, seed):
    x = features(n, seed=seed)
    clusters = torch.randint(k, (n,), generator=torch.Generator().manual_seed(seed))
    edges = torch.randint(n, (2, 20), generator=torch.Generator().manual_seed(seed))
    gate = farthest_gate(edges, x, one_hot(clusters, k).double(), temperature=1e-9)
    torch.testing.assert_close(gate, (~between_farthest(edges, x, clusters)).double())


def test_a_union_gives_what_each_graph_gives():
    x, c, edges = features(20), soft(20, 4), torch.randint(10, (2, 30))
    parts = zip(x.split(10), c.split(10), strict=True)
    first, second = (farthest_gate(edges, *part, temperature=0.5) for part in parts)
    shuffled = torch.randperm(20)
    both = shuffled.argsort()[torch.cat([edges, edges + 10], 1)]
    batch = (torch.arange(20) // 10 * 2)[shuffled]
    gate = farthest_gate(both, x[shuffled], c[shuffled], temperature=0.5, batch=batch)
    torch.testing.assert_close(gate, torch.cat([first, second]))


def test_the_gate_of_several_partitions_is_the_mean_of_theirs():
    x, edges = features(9), torch.randint(9, (2, 20))
    c = torch.stack([soft(9, 3), soft(9, 3, 1)], 1)
    each = [farthest_gate(edges, x, part, temperature=0.5) for part in c.unbind(1)]
    torch.testing.assert_close(farthest_gate(edges, x, c, temperature=0.5), (each[0] + each[1]) / 2)


def test_derivatives():
    edges = random_graph(6, 0.2).edge_index
    inputs = (features(6).requires_grad_(), soft(6, 3).requires_grad_())

    def gates(x, c):
        return farthest_gate(edges, x, c, temperature=0.5)

    assert gradcheck(gates, inputs)
    assert gradgradcheck(gates, inputs)


def test_autocast_changes_nothing():
    x, c, edges = features(9).float(), soft(9, 3).float(), torch.randint(9, (2, 20))
    expected = farthest_gate(edges, x, c, temperature=0.5)
    with torch.autocast("cpu", torch.bfloat16):
        assert farthest_gate(edges, x, c, temperature=0.5).equal(expected)


@pytest.mark.parametrize(
    ("x", "c", "message"),
    [
        (
            torch.ones(2, 1),
            torch.eye(2).double(),
            "assignment must be torch.float32, as x, got torch.float64",
        ),
        (
            torch.ones(2, 1).half(),
            torch.eye(2).half(),
            "x must be float32 or float64, got torch.float16",
        ),
        (torch.ones(2, 1), [1], "assignment must be a Tensor, got list"),
    ],
)
def test_types_are_named(x, c, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        farthest_gate(torch.tensor([[0], [1]]), x, c, temperature=0.5)
