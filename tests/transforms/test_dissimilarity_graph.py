import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from pyg_relational.transforms import dissimilarity_graph
from tests import oracles


def rows(n, m, seed=0):
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(k, 3, generator=g, dtype=torch.float64).requires_grad_() for k in (n, m)]


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@given(n=st.integers(0, 5), m=st.integers(0, 4), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_equals_the_oracle(metric, n, m, seed):
    x, prototypes = rows(n, m, seed)
    edge_index, distance = dissimilarity_graph(x, prototypes, metric=metric)
    wanted = oracles.distances(prototypes, x, metric)
    torch.testing.assert_close(distance.view(n, m), wanted)
    assert edge_index.tolist() == [list(range(m)) * n, [i for i in range(n) for _ in range(m)]]


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_derivatives(metric):
    def f(x, prototypes):
        return dissimilarity_graph(x, prototypes, metric=metric)[1]

    assert gradcheck(f, rows(3, 2))
    assert gradgradcheck(f, rows(3, 2))


def test_a_prototype_that_is_a_sample_has_gradient_zero():
    x, _ = rows(2, 1)
    distance = dissimilarity_graph(x, x[:1].detach())[1][0]
    assert distance == 0
    assert torch.autograd.grad(distance, x)[0].eq(0).all()


def test_half_precision_is_computed_in_float32():
    x, prototypes = (part.detach().bfloat16() for part in rows(4, 3))
    distance = dissimilarity_graph(x, prototypes)[1]
    assert distance.equal(dissimilarity_graph(x.float(), prototypes.float())[1].bfloat16())


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"prototypes": torch.ones(2, 4)}, ValueError, "prototypes must have 3 columns, got 4"),
        ({"x": torch.full((2, 3), torch.nan)}, ValueError, "x must be finite"),
        ({"prototypes": torch.ones(2, 3).long()}, TypeError, "prototypes must be floating"),
        ({"metric": "cosin"}, ValueError, "metric must be one of"),
    ],
)
def test_bad_input(change, error, message):
    given = {"x": torch.ones(2, 3), "prototypes": torch.ones(2, 3)} | change
    with pytest.raises(error, match=message):
        dissimilarity_graph(**given)
