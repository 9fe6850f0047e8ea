import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from pyg_relational.ops import gaussian_kernel, safe_sqrt, unit_rows


def test_gaussian_kernel_is_the_formula():
    square = torch.rand(50, dtype=torch.float64)
    scale = torch.rand(50, dtype=torch.float64) + 0.1
    torch.testing.assert_close(gaussian_kernel(square, scale), torch.exp(-4 * square / scale))
    torch.testing.assert_close(gaussian_kernel(square, 2.0), torch.exp(-2 * square))
    assert gradcheck(gaussian_kernel, (square.requires_grad_(), scale.requires_grad_()))


def test_gaussian_kernel_limits():
    square = torch.tensor([0.0, 0.0, 1e-30, 1.0, 1e30], requires_grad=True)
    scale = torch.tensor([0.0, 1.0, 0.0, 0.0, 1.0], requires_grad=True)
    weight = gaussian_kernel(square, scale)
    assert weight.tolist() == [1, 1, 0, 0, 0]
    by_square, by_scale = torch.autograd.grad(weight.sum(), (square, scale))
    assert by_square.tolist() == [0, -4, 0, 0, 0]
    assert by_scale.tolist() == [0, 0, 0, 0, 0]


def test_gaussian_kernel_of_a_tiny_scale_has_gradient_zero_not_nan():
    square = torch.ones(3, requires_grad=True)
    scale = torch.tensor([1e-19, 1e-30, 1e-38], requires_grad=True)
    weight = gaussian_kernel(square, scale)
    assert weight.tolist() == [0, 0, 0]
    for grad in torch.autograd.grad(weight.sum(), (square, scale)):
        assert grad.tolist() == [0, 0, 0]


def test_gaussian_kernel_keeps_the_smallest_weights_of_float64():
    square = torch.tensor([150.0, 180.0, 186.0], dtype=torch.float64)
    weight = gaussian_kernel(square, 1.0)
    assert (weight > 0).all()
    assert weight.equal(torch.exp(-4 * square))


def test_safe_sqrt():
    square = torch.tensor([0.0, 4.0, 1e-40, 1e38], requires_grad=True)
    root = safe_sqrt(square)
    assert root.equal(square.sqrt())
    (grad,) = torch.autograd.grad(root.sum(), square)
    assert grad[0] == 0
    assert grad[1] == 0.25
    assert grad.isfinite().all()
    assert gradgradcheck(safe_sqrt, torch.rand(9, dtype=torch.float64, requires_grad=True))


def test_safe_sqrt_does_not_hide_nan():
    assert safe_sqrt(torch.tensor([torch.nan, -1.0, torch.inf])).isnan().tolist() == [
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_unit_rows_at_every_magnitude(dtype):
    peak = torch.randn(7, 5, dtype=torch.float64)
    peak = peak / peak.abs().amax(1, keepdim=True)
    expected = torch.nn.functional.normalize(peak, dim=1).to(dtype)
    info = torch.finfo(dtype)
    for scale in (100 * info.tiny, 1e-25, 1.0, 1e25, info.max / 2, info.max):
        torch.testing.assert_close(unit_rows((peak * scale).to(dtype)), expected)


def test_unit_rows_of_denormal_numbers():
    x = torch.tensor([[3e-45, 0.0], [0.0, -1e-45], [1e-40, 1e-40]])
    expected = torch.tensor([[1.0, 0.0], [0.0, -1.0], [0.5**0.5, 0.5**0.5]])
    torch.testing.assert_close(unit_rows(x), expected)


def test_unit_rows_leaves_zero_rows_at_zero_with_gradient_zero():
    x = torch.tensor([[0.0, -0.0], [3.0, 4.0]], requires_grad=True)
    unit = unit_rows(x)
    torch.testing.assert_close(unit, torch.tensor([[0.0, 0.0], [0.6, 0.8]]))
    (grad,) = torch.autograd.grad(unit[0].sum(), x)
    assert grad.tolist() == [[0, 0], [0, 0]]
    assert unit_rows(torch.zeros(0, 3)).shape == (0, 3)
    assert unit_rows(torch.zeros(3, 0)).shape == (3, 0)


def test_unit_rows_gradients():
    x = torch.randn(5, 4, dtype=torch.float64)
    x[1] *= 1e6
    x[2] *= 1e-6
    x = x / x.norm(dim=1, keepdim=True).clamp(min=1e-3)
    x.requires_grad_()
    assert gradcheck(unit_rows, x)
    assert gradgradcheck(unit_rows, x[:2].detach().requires_grad_())
