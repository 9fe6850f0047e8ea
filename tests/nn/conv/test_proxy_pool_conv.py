import pytest
import torch
from torch.testing import assert_close
from torch_geometric.nn import SAGEConv

from pyg_relational.nn import ProxyPoolConv

F64 = torch.float64
CUDA = pytest.param(
    "cuda",
    marks=[
        pytest.mark.cuda,
        pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
    ],
)


@pytest.mark.parametrize("aggr", ["mean"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("device", ["cpu", CUDA])
def test_equals_sage(aggr, bias, residual, device):
    sage = SAGEConv((4, 3), 2, aggr=aggr, bias=bias, root_weight=residual).double().to(device)
    self_loop = "residual" if residual else "none"
    conv = ProxyPoolConv((4, 3), 2, aggr, self_loop=self_loop, bias=bias).double().to(device)
    conv.load_state_dict(sage.state_dict())
    x, g = torch.randn(5, 3, dtype=F64, device=device), torch.randn(7, 4, dtype=F64, device=device)
    edges = torch.cartesian_prod(torch.arange(7), torch.arange(5)).T.to(device)
    assert_close(conv(x, g), sage((g, x), edges))
    for some in (edges[:, ::3], edges[:, :0], torch.cat([edges, edges[:, :9]], 1)):
        assert_close(conv(x, g, some), sage((g, x), some))


def test_sym_depends_on_the_size_of_the_batch():
    conv = ProxyPoolConv(3, 2, "sym", self_loop="none", bias=False).double()
    x, g = torch.randn(8, 3, dtype=F64), torch.randn(5, 3, dtype=F64)
    assert_close(conv(x, g), conv(x[:2], g)[:1].expand(8, -1) / 2)
    assert_close(conv(x[:1], g)[0], conv.lin_l(g.sum(0)) / 5**0.5)


def test_eq_2_pools_over_anchors_and_proxies_as_one_bank():
    """D^-1/2 A D^-1/2 [X | P | L], A the complete bipartite graph."""
    conv = ProxyPoolConv(3, 3, "sym", self_loop="none", bias=False).double()
    torch.nn.init.eye_(conv.lin_l.weight)
    x, p, anchors = (torch.randn(n, 3, dtype=F64) for n in (4, 5, 2))
    a = torch.zeros(11, 11, dtype=F64)
    a[:4, 4:] = 1
    a[4:, :4] = 1
    scale = torch.diag(a.sum(1).rsqrt())
    want = (scale @ a @ scale @ torch.cat([x, p, anchors]))[:4]
    assert_close(conv(x, (anchors, p)), want)


def test_maximum_includes_the_sample_itself():
    conv = ProxyPoolConv(3, 3, "max", self_loop="none", bias=False).double()
    torch.nn.init.eye_(conv.lin_l.weight)
    x, p, anchors = (torch.randn(n, 3, dtype=F64) for n in (4, 5, 2))
    want = torch.stack([torch.cat([row[None], p, anchors]).amax(0) for row in x])
    assert_close(conv(x, (anchors, p)), want)
    none = torch.empty(2, 0, dtype=torch.int64)
    assert_close(conv(x, (anchors, p), (none, none)), x)


@pytest.mark.parametrize("aggr", ["mean", "sym"])
def test_without_the_sample_itself_all_outputs_are_equal(aggr):
    conv = ProxyPoolConv(3, 2, aggr, self_loop="none")
    out = conv(torch.randn(4, 3), torch.randn(5, 3))
    assert out.equal(out[:1].expand(4, -1))
    assert conv(torch.randn(4, 3), torch.empty(0, 3)).equal(conv.lin_l.bias.expand(4, -1))


@pytest.mark.parametrize(
    ("args", "options", "message"),
    [
        ((2, 3, "sum"), {}, "aggr must be one of .* got 'sum'"),
        ((2, 3), {"self_loop": "per_set"}, "self_loop must be one of .* got 'per_set'"),
        ((2, 3), {"combine": "min"}, "combine must be one of .* got 'min'"),
        ((2, 3, "sym"), {"combine": "cat"}, "combine must be \"sum\" with aggr='sym', got 'cat'"),
        (((2, 3), 3, "max"), {}, r'aggr="max" needs equal in_channels, got \(2, 3\)'),
        ((0, 3), {}, "in_channels must be >= 1, got 0"),
        ((2, 0), {}, "out_channels must be >= 1, got 0"),
    ],
)
def test_bad_arguments(args, options, message):
    with pytest.raises(ValueError, match=message):
        ProxyPoolConv(*args, **options)
