import math

import pytest
import torch

from pyg_relational.ops.fused.minima import precision
from pyg_relational.ops.neighbors.candidates import slack


def tf32(x):
    """Rounded to 10 bits behind the point."""
    return ((x.view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)


def products(q, x, way):
    """As tensor cores take them, but added up without error."""
    (a, b), (c, d) = ((tf32(t).double(), tf32(t - tf32(t)).double()) for t in (q, x))
    return a @ c.T + (0 if way == "tf32" else a @ d.T + b @ c.T)


@pytest.fixture(params=["tf32", "tf32x3"])
def way(request):
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = request.param == "tf32"
    yield request.param
    torch.backends.cuda.matmul.allow_tf32 = before


@pytest.mark.parametrize("d", [1, 2, 8, 64, 512])
def test_products_are_within_the_slack(way, d):
    class Cuda(torch.Tensor):
        is_cuda = True

    assert precision() == way
    g = torch.Generator().manual_seed(d)
    q, x = (torch.randn(50, d, generator=g) * (1 + torch.rand(50, 1, generator=g)) for _ in "qx")
    exact = 2 * q.double() @ x.double().T
    error = (2 * products(q, x, way) - exact).abs()
    square = torch.cdist(q.double(), x.double()).square().float()
    norm = q.norm(dim=1)[:, None].expand_as(square)
    room = slack(norm.as_subclass(Cuda), square.as_subclass(Cuda), d).as_subclass(torch.Tensor)
    assert (2 * error < room).all()
    if way == "tf32x3":
        assert error.max() < 1e-6 * exact.abs().max().clamp(min=math.sqrt(d))
    else:
        assert error.max() > 1e-5
