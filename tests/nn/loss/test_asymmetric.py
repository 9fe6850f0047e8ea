import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.testing import assert_close

from pyg_relational.nn import asymmetric_loss
from tests import oracles

POWERS = st.sampled_from([0.0, 1.0, 1.5, 4.0])
PLAIN = {"gamma_positive": 0.0, "gamma_negative": 0.0, "margin": 0.0}
OPTIONS = tuple(PLAIN)


def problem(n=4, c=3, seed=0):
    """Scores on both sides of the margin, classes, and how many samples of each."""
    g = torch.Generator().manual_seed(seed)
    z = 3 * torch.randn(n, c, generator=g, dtype=torch.float64)
    y = torch.rand(n, c, generator=g) < 0.4
    return z.requires_grad_(), y, torch.randint(1, 9, (c,), generator=g)


@given(
    n=st.integers(1, 5),
    c=st.integers(1, 4),
    seed=st.integers(0, 99),
    options=st.tuples(POWERS, POWERS, st.sampled_from([0.0, 0.05, 0.5])),
    weighted=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_equals_the_oracle_in_value_and_gradient(n, c, seed, options, weighted):
    z, y, counts = problem(n, c, seed)
    counts = counts if weighted else None
    found = asymmetric_loss(z, y, counts, **dict(zip(OPTIONS, options, strict=True)))
    listed = counts.tolist() if weighted else None
    exact = oracles.asymmetric(z, y.int().tolist(), listed, options)
    assert_close(found, exact)
    assert_close(*(torch.autograd.grad(loss, z) for loss in (found, exact)))


def test_derivatives():
    z, y, counts = problem()
    assert gradcheck(lambda z: asymmetric_loss(z, y, counts), z)
    assert gradgradcheck(lambda z: asymmetric_loss(z, y, counts), z)


def test_without_powers_margin_and_weights_it_is_binary_cross_entropy():
    z, y, _ = problem()
    assert_close(asymmetric_loss(z, y, **PLAIN), binary_cross_entropy_with_logits(z, y.double()))


def test_rare_classes_weigh_more():
    z, y = torch.zeros(1, 2, requires_grad=True), torch.ones(1, 2)
    (grad,) = torch.autograd.grad(asymmetric_loss(z, y, torch.tensor([10, 30])), z)
    assert_close(grad[0, 0] / grad[0, 1], torch.tensor(3.0))


@pytest.mark.parametrize("margin", [0.0, 0.05])
@pytest.mark.parametrize("gamma", [0.0, 1.0, 4.0])
def test_far_scores_and_no_sample(gamma, margin):
    z = torch.tensor([[-1e4, -200.0, 200.0, 1e4]], requires_grad=True)
    options = {"gamma_positive": gamma, "gamma_negative": gamma, "margin": margin}
    for y in (torch.zeros(1, 4), torch.ones(1, 4)):
        loss = asymmetric_loss(z, y, **options)
        assert 0 < loss < torch.inf
        assert torch.autograd.grad(loss, z)[0].isfinite().all()
    assert asymmetric_loss(z[:0], y[:0], **options) == 0


def test_half_precision_is_computed_in_float32():
    z, y, counts = problem()
    half = z.detach().bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        loss = asymmetric_loss(half, y, counts)
    assert_close(loss, asymmetric_loss(half.float(), y, counts))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"logits": torch.ones(2, 3).long()}, TypeError, "logits must be floating point"),
        ({"logits": torch.full((2, 3), torch.inf)}, ValueError, "logits must be finite"),
        ({"y": [[0, 1]]}, TypeError, "y must be a Tensor, got list"),
        ({"y": torch.ones(2)}, ValueError, r"y must have shape \[n, C\], got \[2\]"),
        ({"y": torch.ones(2, 4)}, ValueError, r"shape of logits, \[2, 3\], got \[2, 4\]"),
        ({"y": torch.full((2, 3), -1)}, ValueError, "y must hold 0 and 1, got -1"),
        ({"class_counts": torch.ones(3)}, TypeError, "class_counts must be int64"),
        ({"class_counts": torch.arange(3)}, ValueError, "class_counts must be >= 1, got 0"),
        ({"class_counts": torch.arange(1, 3)}, ValueError, r"class_counts must have shape \[3\]"),
        ({"gamma_positive": 0.5}, ValueError, "gamma_positive must be 0, or >= 1 and finite"),
        ({"gamma_negative": torch.inf}, ValueError, "gamma_negative must be 0, or >= 1 and finite"),
        ({"margin": 1.0}, ValueError, r"margin must be in \[0, 1\), got 1.0"),
    ],
)
def test_bad_input(change, error, message):
    given = {"logits": torch.ones(2, 3), "y": torch.ones(2, 3)} | change
    with pytest.raises(error, match=message):
        asymmetric_loss(**given)
