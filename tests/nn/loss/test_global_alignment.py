import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from pyg_relational.nn import global_alignment_loss


def rows(n, seed=0, d=3):
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(n, d, generator=g).double().requires_grad_() for _ in range(3)]


@given(st.integers(1, 6), st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_equals_the_formula(n, seed):
    x, v, t = rows(n, seed)
    wanted = sum((x[b] - v[b]).norm() + (x[b] - t[b]).norm() for b in range(n)) / n
    torch.testing.assert_close(global_alignment_loss(x, v, t), wanted)


def test_derivatives():
    assert gradcheck(global_alignment_loss, rows(3))
    assert gradgradcheck(global_alignment_loss, rows(3))


def test_at_one_point_the_loss_and_its_gradient_are_zero():
    x = torch.ones(2, 3, requires_grad=True)
    loss = global_alignment_loss(x, x.detach(), x.detach())
    (grad,) = torch.autograd.grad(loss, x)
    assert loss == 0
    assert grad.eq(0).all()


def test_of_no_sample():
    assert global_alignment_loss(*torch.zeros(3, 0, 4)) == 0


def test_half_precision_is_computed_in_float32():
    x, v, t = (part.detach().bfloat16() for part in rows(4))
    with torch.autocast("cpu", torch.bfloat16):
        loss = global_alignment_loss(x, v, t)
    torch.testing.assert_close(loss, global_alignment_loss(x.float(), v.float(), t.float()))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"visual": torch.ones(2, 4)},
            ValueError,
            r"visual must have the shape of image, \[2, 3\]",
        ),
        ({"textual": torch.ones(1, 3)}, ValueError, r"textual must have the shape of image"),
        ({"image": torch.ones(2, 3).long()}, TypeError, "image must be floating point"),
        ({"textual": torch.full((2, 3), torch.nan)}, ValueError, "textual must be finite"),
    ],
)
def test_bad_input(change, error, message):
    given = dict.fromkeys(("image", "visual", "textual"), torch.ones(2, 3)) | change
    with pytest.raises(error, match=message):
        global_alignment_loss(**given)
