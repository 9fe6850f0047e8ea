import pytest
import torch
from torch.testing import assert_close
from torch_geometric.nn import SAGEConv, TransformerConv

from pyg_relational.nn import ProxyAttentionConv

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
    """PyG's layer; no parameter is a float32."""
    conv = TransformerConv(channels, out, **options).to(dtype)
    with torch.no_grad():
        for p in conv.parameters():
            p.normal_()
    return conv


@pytest.mark.parametrize("concat", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("root_weight", [True, False])
@pytest.mark.parametrize("device", ["cpu", CUDA])
def test_equals_pyg_with_its_weights(concat, bias, root_weight, device):
    conv = theirs(heads=3, concat=concat, bias=bias, root_weight=root_weight).to(device)
    ours = ProxyAttentionConv.from_pyg(conv)
    named = {
        name.replace("key.", "key.0.").replace("value.", "value.0."): p
        for name, p in conv.named_parameters()
    }
    shared = {name: p for name, p in ours.named_parameters() if name in named}
    assert dict(ours.named_parameters()).keys() - named.keys() <= {"lin_skip.bias"}  # of PyG 2.6
    assert all(p.equal(named[name]) for name, p in shared.items())
    x, g = (
        torch.randn(n, d, dtype=F64, device=device, requires_grad=True) for n, d in ((5, 3), (7, 4))
    )
    edges = EDGES.to(device)
    exact, (index, alpha) = conv((g, x), edges, return_attention_weights=True)
    out, (weights,) = ours(x, g, return_attention_weights=True)
    slope = torch.linspace(-1, 2, exact.numel(), dtype=F64, device=device).view_as(exact)
    for found in (out, ours(x, g), ours(x, (g[:2], g[2:])), ours(x, g, edges)):
        assert_close(found, exact, rtol=1e-10, atol=1e-12)
        leaves = [x, g, *shared.values()], [x, g, *(named[name] for name in shared)]
        grads = (
            torch.autograd.grad((o * slope).sum(), wanted, retain_graph=True)
            for o, wanted in zip((found, exact), leaves, strict=True)
        )
        for a, b in zip(*grads, strict=True):
            assert_close(a, b, rtol=1e-8, atol=1e-10)
    assert_close(weights[index[1], index[0]], alpha)
    some = edges[:, ::3]
    assert_close(ours(x, g, some), conv((g, x), some), rtol=1e-10, atol=1e-12)


def test_from_pyg_keeps_what_the_layer_was():
    conv = theirs(4, dropout=0.5, dtype=torch.bfloat16).eval()
    ours = ProxyAttentionConv.from_pyg(conv, softmax="per_set", combine="cat")
    assert not ours.training
    assert (ours.dropout, ours.softmax, ours.combine) == (0.5, "per_set", "cat")
    assert ours.lin_key[0].weight.dtype == torch.bfloat16
    assert ours.lin_key[0].weight.data_ptr() != conv.lin_key.weight.data_ptr()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta": True}, "beta=False, got True"),
        ({"edge_dim": 2}, "edge_dim=None, got 2"),
        ({"aggr": "max"}, "aggr='add', got 'max'"),
        ({"flow": "target_to_source"}, "flow='source_to_target', got 'target_to_source'"),
    ],
)
def test_from_pyg_refuses_what_it_has_not(options, message):
    with pytest.raises(ValueError, match=f"conv must have {message}"):
        ProxyAttentionConv.from_pyg(theirs(**options))


def test_from_pyg_refuses_other_layers():
    with pytest.raises(TypeError, match=r"conv must be a torch_geometric.nn.Trans.*, got SAGEConv"):
        ProxyAttentionConv.from_pyg(SAGEConv(2, 2))


@pytest.mark.parametrize("combine", ["cat", "max"])
def test_eqs_5_to_7_literally(combine):
    torch.manual_seed(0)
    conv = ProxyAttentionConv(4, 4, self_loop="raw", combine=combine, bias=False).double()
    x, anchors, proxies = (torch.randn(n, 4, dtype=F64) for n in (5, 3, 6))
    w_q, (w_k1, w_k2), (w_v1, w_v2) = (
        conv.lin_query.weight,
        [lin.weight for lin in conv.lin_key],
        [lin.weight for lin in conv.lin_value],
    )
    l_mha = torch.softmax((x @ w_q.T) @ (anchors @ w_k1.T).T / 2, 1) @ (anchors @ w_v1.T)
    p_mha = torch.softmax((x @ w_q.T) @ (proxies @ w_k2.T).T / 2, 1) @ (proxies @ w_v2.T)
    parts = [x, l_mha, p_mha]
    want = torch.cat(parts, 1) if combine == "cat" else torch.stack(parts).amax(0)
    assert_close(conv(x, (anchors, proxies)), want)


def test_scale_by_all_heads_is_a_softer_softmax():
    head, embed = (
        ProxyAttentionConv(3, 4, heads=9, scale=scale).double() for scale in ("head", "embed")
    )
    embed.load_state_dict(head.state_dict())
    x, g = torch.randn(5, 3, dtype=F64), torch.randn(7, 3, dtype=F64)
    sharp, soft = (c(x, g, return_attention_weights=True)[1][0].log() for c in (head, embed))
    assert_close((soft - soft[:, :1]) * 3, sharp - sharp[:, :1])
    with pytest.raises(ValueError, match=r"scale must be one of .* got 'none'"):
        ProxyAttentionConv(3, 4, scale="none")
