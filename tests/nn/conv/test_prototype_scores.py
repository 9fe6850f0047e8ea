import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck
from torch.nn.functional import cosine_similarity
from torch.testing import assert_close

from pyg_relational.nn import ProxyAttentionConv, prototype_scores
from tests import oracles
from tests.device import Counts, pretend

F64 = torch.float64


def problem(n=4, m=7, d=3, num_classes=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    x, prototypes = (
        torch.randn(size, d, generator=g, dtype=F64, requires_grad=True) for size in (n, m)
    )
    extra = torch.randint(num_classes, (m - num_classes,), generator=g)
    y = torch.cat([torch.arange(num_classes), extra])[torch.randperm(m, generator=g)]
    return x, prototypes, y


@given(
    n=st.integers(1, 5),
    more=st.integers(0, 6),
    d=st.integers(1, 4),
    num_classes=st.integers(2, 4),
    seed=st.integers(0, 999),
    tau=st.floats(0.05, 5),
    center=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_equals_the_oracle_in_value_and_gradient(n, more, d, num_classes, seed, tau, center):
    x, prototypes, y = problem(n, num_classes + more, d, num_classes, seed)
    options = {"num_classes": num_classes, "temperature": tau, "center": center}
    pair = (
        prototype_scores(x, prototypes, y, **options),
        oracles.prototype_scores(x, prototypes, y.tolist(), num_classes, tau, center),
    )
    assert_close(*pair, rtol=1e-6, atol=1e-7)
    if d > 1:  # of numbers, a cosine is a sign
        slope = torch.linspace(-1, 2, pair[0].numel(), dtype=F64).view_as(pair[0])
        grads = (torch.autograd.grad((s * slope).sum(), (x, prototypes)) for s in pair)
        assert_close(*grads, rtol=1e-4, atol=1e-5)


def test_derivatives():
    x, prototypes, y = problem()

    def f(x, prototypes):
        return prototype_scores(x, prototypes, y, num_classes=3, temperature=0.5)

    assert gradcheck(f, (x, prototypes))
    assert gradgradcheck(f, (x, prototypes))


def test_is_attention_of_one_head_with_cosines_of_rows_of_one_length():
    x, prototypes, y = problem(d=4)
    x, prototypes = (t.detach() / t.detach().norm(dim=1, keepdim=True) for t in (x, prototypes))
    conv = ProxyAttentionConv(4, 4, num_sets=1, bias=False).double()
    for linear in (conv.lin_query, *conv.lin_key, *conv.lin_value):
        linear.weight.data = torch.eye(4, dtype=F64)
    found = prototype_scores(x, prototypes, y, num_classes=3, temperature=2.0, center=False)
    for c in range(3):
        weighted = conv(x, prototypes[y == c])  # its scores are divided by the root of 4
        assert_close(found[:, c], cosine_similarity(x, weighted))


def test_a_large_temperature_is_the_mean_and_a_small_one_the_nearest():
    x, prototypes, y = (t.detach() for t in problem(20, 30, 5))
    options = {"num_classes": 3, "center": False}
    means = torch.stack([prototypes[y == c].mean(0) for c in range(3)])
    soft = prototype_scores(x, prototypes, y, temperature=1e8, **options)
    assert_close(soft, cosine_similarity(x[:, None], means, dim=2))
    cosines = cosine_similarity(x[:, None], prototypes, dim=2)
    sharp = prototype_scores(x.float(), prototypes.float(), y, temperature=1e-4, **options)
    nearest = torch.stack([cosines[:, y == c].amax(1) for c in range(3)], 1)
    assert_close(sharp, nearest.float(), rtol=1e-3, atol=1e-3)


def test_centred_scores_know_no_offset_and_no_scale():
    x, prototypes, y = (t.detach() for t in problem(d=5))
    found = prototype_scores(x, prototypes, y, num_classes=3)
    assert_close(prototype_scores(x + 7, prototypes + 7, y, num_classes=3), found)
    for scale in (1e-25, 1e25):
        far = prototype_scores(x.float() * scale, prototypes.float() * scale, y, num_classes=3)
        assert_close(far, found.float(), rtol=1e-4, atol=1e-5)


def test_zeros_give_zero_with_a_finite_gradient():
    x = torch.zeros(2, 3, requires_grad=True)
    prototypes = torch.zeros(2, 3, requires_grad=True)
    scores = prototype_scores(x, prototypes, torch.tensor([0, 1]), num_classes=2)
    scores.sum().backward()
    assert scores.eq(0).all()
    assert x.grad.isfinite().all()
    assert prototypes.grad.isfinite().all()


@pytest.mark.parametrize(("n", "d"), [(0, 3), (2, 0)])
def test_no_sample_and_no_feature(n, d):
    scores = prototype_scores(
        torch.ones(n, d), torch.ones(2, d), torch.tensor([0, 1]), num_classes=2
    )
    assert scores.shape == (n, 2)
    assert scores.eq(0).all()


def test_half_precision_and_autocast():
    x, prototypes, y = (t.detach() for t in problem(d=5))
    x, prototypes = x.bfloat16(), prototypes.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = prototype_scores(x, prototypes, y, num_classes=3)
    assert found.dtype == torch.float32
    assert found.equal(prototype_scores(x.float(), prototypes.float(), y, num_classes=3))


def test_a_device_is_read_once():
    x, prototypes, y = (t.detach() for t in problem())
    with Counts() as counts:
        found = prototype_scores(*map(pretend, (x, prototypes, y)), num_classes=3)
    assert (counts.reads.total(), counts.copies.total()) == (1, 0)
    assert_close(found.value, prototype_scores(x, prototypes, y, num_classes=3))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"prototypes": torch.ones(2, 4)}, ValueError, "prototypes must have 3 columns, got 4"),
        ({"x": torch.full((2, 3), torch.nan)}, ValueError, "x must be finite"),
        ({"prototypes": torch.ones(2, 3).long()}, TypeError, "prototypes must be floating"),
        ({"prototype_y": torch.tensor([0, 1, 1])}, ValueError, r"prototype_y must have shape \[2"),
        ({"prototype_y": torch.tensor([-1, 1])}, ValueError, "prototype_y must be >= 0, got -1"),
        ({"prototype_y": torch.tensor([0, 2])}, ValueError, "prototype_y must be < 2, got 2"),
        ({"prototype_y": torch.tensor([0, 0])}, ValueError, "every class, got none of 1"),
        ({"num_classes": 2.5}, TypeError, "num_classes must be an int"),
        ({"temperature": 0.0}, ValueError, "temperature must be > 0 and finite, got 0.0"),
        ({"temperature": torch.inf}, ValueError, "temperature must be > 0 and finite, got inf"),
    ],
)
def test_bad_input(change, error, message):
    given = {"x": torch.ones(2, 3), "prototypes": torch.ones(2, 3)}
    given |= {"prototype_y": torch.tensor([0, 1]), "num_classes": 2} | change
    with pytest.raises(error, match=message):
        prototype_scores(**given)
