import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from pyg_relational.nn.loss.balance import collapse_loss, orthogonality_loss
from tests import oracles

TERMS = [(collapse_loss, oracles.collapse), (orthogonality_loss, oracles.orthogonality)]


def soft(n, k, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, k, generator=g, dtype=torch.float64).softmax(1)


@pytest.mark.parametrize(("f", "oracle"), TERMS)
@settings(deadline=None, max_examples=20)
@given(n=st.integers(1, 9), k=st.integers(1, 5), seed=st.integers(0, 999))
def test_equals_the_literal_form(f, oracle, n, k, seed):
    c = soft(n, k, seed)
    torch.testing.assert_close(f(c), oracle(c))


@pytest.mark.parametrize(("f", "oracle"), TERMS)
def test_derivatives(f, oracle):
    batch = torch.tensor([3, 0, 0, 3, 3, 0])
    c = soft(6, 3).requires_grad_()
    assert gradcheck(f, (c, batch))
    expected = (oracle(c[batch == 0]) + oracle(c[batch == 3])) / 2
    torch.testing.assert_close(f(c, batch), expected)


def test_range():
    one, even = torch.eye(4)[[0] * 8], torch.eye(4).repeat(2, 1)
    assert collapse_loss(one) == 1
    assert collapse_loss(even) == orthogonality_loss(even) == 0
    torch.testing.assert_close(orthogonality_loss(one), torch.tensor(1.0))


@pytest.mark.parametrize("f", [collapse_loss, orthogonality_loss])
@pytest.mark.parametrize("rows", [0, 3])
def test_nothing_to_assign_has_a_finite_gradient(f, rows):
    c = torch.zeros(rows, 2, requires_grad=True)
    for batch in (None, torch.zeros(rows, dtype=torch.int64)):
        loss = f(c, batch)
        assert loss.isfinite()
        assert rows or f is orthogonality_loss or loss == 0
        assert torch.autograd.grad(loss, c)[0].equal(torch.zeros(rows, 2))


@pytest.mark.parametrize("f", [collapse_loss, orthogonality_loss])
def test_half_precision_is_summed_in_float32(f):
    c = soft(3000, 4).bfloat16()
    assert f(c).dtype == torch.float32
    torch.testing.assert_close(f(c), f(c.float()))
    with torch.autocast("cpu", torch.bfloat16):
        assert f(c.float()).equal(f(c))


@pytest.mark.parametrize("f", [collapse_loss, orthogonality_loss])
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"assignment": torch.zeros(2).long()}, TypeError, "assignment must be floating point"),
        ({"assignment": torch.zeros(2, 0)}, ValueError, r"at least one column, got .*\[2, 0\]"),
        ({"batch": torch.zeros(2)}, TypeError, "batch must be int64"),
        ({"batch": torch.zeros(3).long()}, ValueError, r"batch must have shape \[2\]"),
        ({"batch": torch.tensor([0, -1])}, ValueError, "batch must be >= 0, got -1"),
    ],
)
def test_bad_input(f, change, error, message):
    with pytest.raises(error, match=message):
        f(**({"assignment": torch.eye(2), "batch": None} | change))
