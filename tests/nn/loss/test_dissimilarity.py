import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from pyg_relational.nn import dissimilarity_loss
from tests import oracles


def rows(n, m, seed=0):
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(n, m, generator=g, dtype=torch.float64).requires_grad_() for _ in "ab"]


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 99), st.floats(0, 1))
@settings(max_examples=30, deadline=None)
def test_equals_the_oracle_in_value_and_gradient(n, m, seed, weight):
    pair = rows(n, m, seed)
    losses = (
        dissimilarity_loss(*pair, mse_weight=weight),
        oracles.dissimilarity(*pair, weight),
    )
    torch.testing.assert_close(*losses)
    torch.testing.assert_close(*(torch.autograd.grad(loss, pair) for loss in losses))


def test_derivatives():
    assert gradcheck(dissimilarity_loss, rows(3, 2))
    assert gradgradcheck(dissimilarity_loss, rows(3, 2))


def test_large_distances_and_no_row():
    far = torch.tensor([[0.0, 1e4]])
    assert dissimilarity_loss(far, far) == 0
    assert dissimilarity_loss(far, far.flip(1), mse_weight=0.0) == 1e4
    assert dissimilarity_loss(far[:0], far[:0]) == 0


def test_half_precision_is_computed_in_float32():
    a, b = (part.detach().bfloat16() for part in rows(4, 3))
    with torch.autocast("cpu", torch.bfloat16):
        loss = dissimilarity_loss(a, b)
    torch.testing.assert_close(loss, dissimilarity_loss(a.float(), b.float()))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"distance": torch.ones(2, 4)}, ValueError, r"shape of predicted, \[2, 3\], got \[2, 4\]"),
        ({"predicted": torch.ones(2, 3).long()}, TypeError, "predicted must be floating point"),
        ({"distance": torch.full((2, 3), torch.inf)}, ValueError, "distance must be finite"),
        ({"mse_weight": 1.5}, ValueError, r"mse_weight must be in \[0, 1\], got 1.5"),
        ({"predicted": torch.ones(2, 0), "distance": torch.ones(2, 0)}, ValueError, "a column"),
    ],
)
def test_bad_input(change, error, message):
    given = {"predicted": torch.ones(2, 3), "distance": torch.ones(2, 3)} | change
    with pytest.raises(error, match=message):
        dissimilarity_loss(**given)
