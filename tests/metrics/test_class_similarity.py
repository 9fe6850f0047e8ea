import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_relational.metrics import class_similarity, inter_class_similarity


def literal(x, y):
    """Every pair, one at a time."""
    same, cross = [], []
    for i in range(len(x)):
        for j in range(i):
            if y[i] >= 0 and y[j] >= 0:
                cosine = torch.nn.functional.cosine_similarity(x[i], x[j], dim=0)
                (same if y[i] == y[j] else cross).append(cosine)
    return torch.stack(same).mean(), torch.stack(cross).mean()


@settings(deadline=None)
@given(n=st.integers(5, 30), d=st.integers(1, 6), seed=st.integers(0, 999), zero=st.booleans())
def test_equals_the_mean_over_pairs(n, d, seed, zero):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=generator, dtype=torch.float64)
    if zero:
        x[0] = 0
    y = torch.randint(-1, 3, (n,), generator=generator)
    y[:3] = torch.tensor([0, 0, 2])
    for got, expected in zip(class_similarity(x, y), literal(x, y), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)


def test_scale_of_rows_does_not_matter():
    x = torch.randn(20, 4)
    y = torch.arange(20) % 3
    scaled = x * torch.logspace(-3, 3, 20)[:, None]
    torch.testing.assert_close(class_similarity(scaled, y), class_similarity(x, y))


def test_differentiable():
    x = torch.randn(8, 3, dtype=torch.float64, requires_grad=True)
    y = torch.arange(8) % 2
    assert torch.autograd.gradcheck(lambda x: class_similarity(x, y), x)


def test_many_rows_in_float32():
    y = torch.arange(200_000) % 2
    x = torch.nn.functional.one_hot(y).float() + 1
    intra, inter = class_similarity(x, y)
    assert intra.dtype == torch.float32
    assert intra.item() == pytest.approx(1, abs=1e-6)
    assert inter.item() == pytest.approx(0.8, abs=1e-6)


@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        (torch.ones(3), torch.zeros(3).long(), ValueError, r"x must have shape \[n, d\]"),
        (torch.ones(3, 2).long(), torch.zeros(3).long(), TypeError, "x must be floating point"),
        (torch.ones(3, 2), torch.zeros(2).long(), ValueError, r"y must have shape \[3\]"),
        (torch.ones(3, 2), torch.zeros(3), TypeError, "y must be int64"),
        (torch.tensor([[1.0], [float("nan")]]), torch.arange(2), ValueError, "x must be finite"),
        (torch.ones(3, 2), torch.zeros(3).long(), ValueError, r"got class sizes \[3\]"),
        (torch.ones(3, 2), torch.arange(3), ValueError, r"got class sizes \[1, 1, 1\]"),
        (torch.ones(3, 2), torch.full((3,), -1), ValueError, r"got class sizes \[\]"),
    ],
)
def test_rejects(x, y, error, message):
    with pytest.raises(error, match=message):
        class_similarity(x, y)


@settings(deadline=None)
@given(n=st.integers(2, 12), d=st.integers(1, 5), seed=st.integers(0, 999))
def test_inter_class_similarity_needs_one_row_a_class(n, d, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=generator, dtype=torch.float64)
    u = torch.nn.functional.normalize(x, dim=1)
    expected = (u @ u.T)[~torch.eye(n, dtype=torch.bool)].mean()
    torch.testing.assert_close(inter_class_similarity(x, torch.arange(n)), expected)
    both = torch.cat([x, x.flip(0)])
    y = torch.randint(0, 3, (2 * n,), generator=generator)
    y[:4] = torch.tensor([0, 0, 1, -1])
    torch.testing.assert_close(inter_class_similarity(both, y), class_similarity(both, y)[1])


def test_a_simplex_is_as_far_apart_as_can_be():
    x = torch.eye(5) - 1 / 5
    assert inter_class_similarity(x, torch.arange(5)).item() == pytest.approx(-1 / 4)
    with pytest.raises(ValueError, match=r"y must hold two classes, got class sizes \[5\]"):
        inter_class_similarity(x, torch.zeros(5).long())
