import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pyg_relational.metrics import gdv as module
from pyg_relational.metrics import generalized_discrimination_value
from tests.oracles import generalized_discrimination_value as oracle


def features(n, d, classes, seed, constant=False):
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(-1, classes, (n,), generator=g)
    z = torch.randn(n, d, generator=g) + 2 * torch.randn(classes + 1, d, generator=g)[y]
    if constant:
        z[:, 0] = 3.7
    return z, y


@settings(deadline=None, max_examples=60)
@given(st.integers(4, 30), st.integers(1, 5), st.integers(2, 4), st.integers(0, 999), st.booleans())
def test_equals_the_mean_over_pairs_whatever_the_tile(n, d, classes, seed, constant):
    z, y = features(n, d, classes, seed, constant)
    size = y[y >= 0].bincount()
    assume((size > 0).sum() > 1 and size[size > 0].min() > 1)
    expected = oracle(z, y.tolist())
    with pytest.MonkeyPatch.context() as patch:
        for tile in (1, 7, 1024):
            patch.setattr(module, "_TILE", tile)
            assert generalized_discrimination_value(z, y).item() == pytest.approx(
                expected, abs=1e-5
            )


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 999), st.floats(1e-3, 1e3), st.floats(-100, 100))
def test_scale_shift_order_and_copies_of_dimensions_do_not_matter(seed, scale, shift):
    z, y = features(40, 4, 2, seed)
    z = z.double()
    value = generalized_discrimination_value(z, y)
    mixed = torch.randperm(40, generator=torch.Generator().manual_seed(seed))
    changed = torch.cat([z, z, torch.ones(40, 3).double()], dim=1)[mixed] * scale + shift
    torch.testing.assert_close(generalized_discrimination_value(changed, y[mixed]), value)


def test_known_values():
    y = torch.tensor([0, 0, 1, 1])
    apart = torch.tensor([[0.0, 5], [0, 5], [1, 9], [1, 9]])
    assert generalized_discrimination_value(apart, y) == pytest.approx(-1)
    assert generalized_discrimination_value(apart.double() * 1e-200, y) == pytest.approx(-1)
    assert generalized_discrimination_value(torch.ones(4, 3), y) == 0
    z = torch.randn(1500, 6, generator=torch.Generator().manual_seed(0))
    assert generalized_discrimination_value(z, torch.arange(1500) % 3) == pytest.approx(0, abs=0.01)


def test_type_and_gradient():
    z, y = features(40, 3, 2, 0)
    for dtype in (torch.float32, torch.float64):
        value = generalized_discrimination_value(z.to(dtype).requires_grad_(), y)
        assert value.dtype == dtype
        assert not value.requires_grad


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda():
    z, y = features(3000, 8, 4, 0)
    value = generalized_discrimination_value(z.cuda(), y.cuda())
    assert value.is_cuda
    torch.testing.assert_close(value.cpu(), generalized_discrimination_value(z, y))


@pytest.mark.parametrize(
    ("z", "y", "error", "message"),
    [
        (torch.ones(2, 1).long(), torch.zeros(2).long(), TypeError, "z must be floating point"),
        (torch.full((2, 1), torch.nan), torch.zeros(2).long(), ValueError, "z must be finite"),
        (torch.ones(2, 1), torch.zeros(2), TypeError, "y must be int64"),
        (torch.ones(2, 1), torch.zeros(2).long(), ValueError, r"got class sizes \[2\]"),
        (torch.ones(3, 1), torch.tensor([0, 0, 1]), ValueError, r"got class sizes \[2, 1\]"),
        (torch.ones(0, 1), torch.empty(0).long(), ValueError, r"got class sizes \[\]"),
    ],
)
def test_bad_input(z, y, error, message):
    with pytest.raises(error, match=message):
        generalized_discrimination_value(z, y)
