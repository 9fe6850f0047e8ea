import importlib

import pytest
import torch
from torch.testing import assert_close
from torch_geometric.nn import GATConv, GATv2Conv

from pyg_relational.nn import ProxyGATv2Conv

module = importlib.import_module("pyg_relational.nn.conv.proxy_gatv2_conv")
F64 = torch.float64
EDGES = torch.cartesian_prod(torch.arange(7), torch.arange(5)).T
CUDA = pytest.param(
    "cuda",
    marks=[
        pytest.mark.cuda,
        pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
    ],
)


def theirs(channels=(4, 3), out=2, dtype=F64, **options):
    """PyG's layer; its biases are not zero, and no parameter is a float32."""
    conv = GATv2Conv(channels, out, **{"add_self_loops": False, **options}).to(dtype)
    with torch.no_grad():
        for p in conv.parameters():
            p.normal_()
    return conv


@pytest.mark.parametrize("concat", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("device", ["cpu", CUDA])
def test_equals_pyg_with_its_weights(concat, bias, residual, device):
    options = {"heads": 3, "concat": concat, "bias": bias, "residual": residual}
    conv = theirs(negative_slope=0.4, **options).to(device)
    ours = ProxyGATv2Conv.from_pyg(conv)
    for name, value in conv.state_dict().items():
        assert ours.state_dict()[name].equal(value)
    x, g = (
        torch.randn(n, d, dtype=F64, device=device, requires_grad=True) for n, d in ((5, 3), (7, 4))
    )
    edges = EDGES.to(device)
    exact, (index, alpha) = conv((g, x), edges, return_attention_weights=True)
    out, (weights,) = ours(x, g, return_attention_weights=True)
    for found in (out, ours(x, g), ours(x, (g[:2], g[2:])), ours(x, g, edges)):
        assert_close(found, exact, rtol=1e-10, atol=1e-12)
        slope = torch.linspace(-1, 2, exact.numel(), dtype=F64, device=device).view_as(exact)
        grads = (
            torch.autograd.grad((o * slope).sum(), [x, g, *c.parameters()], retain_graph=True)
            for o, c in ((found, ours), (exact, conv))
        )
        for a, b in zip(*grads, strict=True):
            assert_close(a, b, rtol=1e-8, atol=1e-10)
    assert_close(weights[index[1], index[0]], alpha)
    some = edges[:, ::3]
    assert_close(ours(x, g, some), conv((g, x), some), rtol=1e-10, atol=1e-12)


def test_from_pyg_keeps_what_the_layer_was():
    conv = theirs(4, dropout=0.5, dtype=torch.bfloat16).eval()
    ours = ProxyGATv2Conv.from_pyg(conv, softmax="per_set", combine="mean")
    assert not ours.training
    assert (ours.dropout, ours.softmax, ours.combine) == (0.5, "per_set", "mean")
    assert ours.att.dtype == torch.bfloat16
    assert ours.att.data_ptr() != conv.att.data_ptr()
    assert [(n, p.shape) for n, p in ours.named_parameters()] == [
        (n, p.shape) for n, p in conv.named_parameters()
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"add_self_loops": True}, "add_self_loops=False, got True"),
        ({"edge_dim": 2}, "edge_dim=None, got 2"),
        ({"channels": 4, "share_weights": True}, "share_weights=False, got True"),
        ({"aggr": "mean"}, "aggr='add', got 'mean'"),
        ({"flow": "target_to_source"}, "flow='source_to_target', got 'target_to_source'"),
    ],
)
def test_from_pyg_refuses_what_it_has_not(options, message):
    with pytest.raises(ValueError, match=f"conv must have {message}"):
        ProxyGATv2Conv.from_pyg(theirs(**options))


def test_from_pyg_refuses_other_layers():
    with pytest.raises(
        TypeError, match=r"conv must be a torch_geometric.nn.GATv2Conv, got GATConv"
    ):
        ProxyGATv2Conv.from_pyg(GATConv(2, 2))


def test_attention_follows_the_nearer_proxy():
    conv = ProxyGATv2Conv(1, 2, bias=False)
    with torch.no_grad():  # the score is a share of -|x - g|
        conv.lin_l.weight.copy_(torch.tensor([[-1.0], [1.0]]))
        conv.lin_r.weight.copy_(torch.tensor([[1.0], [-1.0]]))
        conv.att.fill_(-50.0)
    _, (weights,) = conv(
        torch.tensor([[0.1], [0.9]]), torch.tensor([[0.0], [1.0]]), return_attention_weights=True
    )
    assert_close(weights[:, :, 0], torch.eye(2), rtol=0, atol=1e-6)


@pytest.mark.parametrize("self_loop", ["none", "per_set"])
def test_the_form_for_kernels(self_loop, monkeypatch):
    torch.manual_seed(0)
    conv = ProxyGATv2Conv(4, 3, heads=2, self_loop=self_loop, dropout=0.5, bias=False).double()
    x, g = torch.randn(3, 4, dtype=F64), torch.randn(6, 4, dtype=F64)
    exact = conv.eval()(x, g)
    monkeypatch.setattr(module, "is_fused", lambda *t: True)
    assert_close(conv(x, g), exact)
    draws = torch.stack([conv.train()(x, g).detach() for _ in range(100)])
    assert ((draws.mean(0) - exact).abs() < 5 * draws.std(0) / 10).all()
    assert draws.std(0).min() > 1e-3
