import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_relational.ops import tangent_basis
from tests import oracles

F64 = torch.float64


def points(n: int, d: int, seed: int = 0) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    scale = torch.arange(1.0, d + 1, dtype=F64)  # directions of unlike spread
    return torch.randn(n, d, generator=g, dtype=F64) * scale


@settings(deadline=None, max_examples=40)
@given(
    st.integers(4, 25), st.integers(1, 5), st.integers(1, 9), st.integers(1, 5), st.integers(0, 99)
)
def test_spans_what_the_covariance_of_the_neighbours_does(n, d, k, dim, seed):
    k = min(k, n - 1)
    dim = min(dim, k, d)
    x = points(n, d, seed)
    found = tangent_basis(x, k, dim)
    expected = oracles.tangent_projection(x, k, dim)
    torch.testing.assert_close(found @ found.mT, expected, atol=1e-7, rtol=0)
    rows = torch.arange(n).flip(0)[: n // 2]
    some = tangent_basis(x, k, dim, rows)
    torch.testing.assert_close(some @ some.mT, expected[rows], atol=1e-7, rtol=0)


def test_of_a_plane_it_is_the_plane():
    g = torch.Generator().manual_seed(0)
    plane = torch.linalg.qr(torch.randn(7, 2, generator=g, dtype=F64)).Q
    x = torch.randn(60, 2, generator=g, dtype=F64) @ plane.T + 5
    found = tangent_basis(x, 10, 4)
    torch.testing.assert_close(found @ found.mT, (plane @ plane.T).expand(60, 7, 7))
    assert not found[..., 2:].any()


def test_duplicates_have_no_direction():
    x = torch.ones(9, 3)
    assert tangent_basis(x, 4, 2).equal(torch.zeros(9, 3, 2))
    x[0] = 5  # its neighbours are one point
    assert not tangent_basis(x, 4, 2, torch.tensor([0])).any()
    assert tangent_basis(x, 4, 2, torch.empty(0, dtype=torch.int64)).shape == (0, 3, 2)


def test_is_a_constant_of_at_least_float32():
    x = points(12, 3).half().requires_grad_()
    found = tangent_basis(x, 4, 2)
    assert found.dtype == torch.float32
    assert not found.requires_grad


@pytest.mark.parametrize(
    ("k", "dim", "message"),
    [
        (4, 0, r"dim must be in 1..min\(k, d\) = 3, got 0"),
        (4, 4, r"dim must be in 1..min\(k, d\) = 3, got 4"),
        (2, 3, r"dim must be in 1..min\(k, d\) = 2, got 3"),
        (12, 1, r"k must be in 1..n - 1 = 11, got 12"),
    ],
)
def test_bad_input(k, dim, message):
    with pytest.raises(ValueError, match=message):
        tangent_basis(points(12, 3), k, dim)
    with pytest.raises(ValueError, match="x must be finite"):
        tangent_basis(points(12, 3) * torch.nan, 4, 2)
