"""What the layers between samples and proxies have in common."""

import copy
import io
import shutil
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.autograd import gradcheck
from torch.testing import assert_close
from torch_geometric import EdgeIndex
from torch_geometric.nn import HeteroConv

from pyg_relational.nn import ProxyAttentionConv, ProxyGATv2Conv, ProxyPoolConv
from tests import oracles

F64 = torch.float64
ATTENTION = (ProxyGATv2Conv, ProxyAttentionConv)
LAYERS = (*ATTENTION, ProxyPoolConv)
CUDA = pytest.param(
    "cuda",
    marks=[
        pytest.mark.cuda,
        pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
    ],
)


def build(layer, *args, dtype=F64, **options):
    """A layer whose biases are not zero."""
    conv = layer(*args, **options).to(dtype)
    with torch.no_grad():
        for p in conv.parameters():
            p.copy_(torch.randn_like(p) / 2)
    return conv


def pair(conv):
    """The oracle's score of a pair."""
    if isinstance(conv, ProxyGATv2Conv):
        return oracles.gatv2_pair
    return partial(oracles.attention_pair, width=round(conv.scale**-2))


def literal(conv, x, sets, edges):
    if isinstance(conv, ProxyPoolConv):
        return oracles.proxy_pool(conv, x, sets, edges)
    return oracles.proxy_attention(conv, pair(conv), x, sets, edges)


def complete(proxies, samples):
    return torch.cartesian_prod(torch.arange(proxies), torch.arange(samples)).T.reshape(2, -1)


def gradients(out, conv, x, sets):
    leaves = [*conv.parameters(), x, *sets]
    out = out + 0 * x.sum()  # what depends on nothing has gradient 0
    loss = (out * torch.linspace(-1, 2, out.numel(), dtype=out.dtype).view_as(out)).sum()
    return torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)


@st.composite
def problems(draw):
    """A layer, samples, sets and edges."""
    layer = draw(st.sampled_from(LAYERS))
    options = {
        "self_loop": draw(st.sampled_from(["none", "residual", "per_set", "raw"])),
        "combine": draw(st.sampled_from(["sum", "mean", "max", "cat"])),
        "bias": draw(st.booleans()),
    }
    args = [2 if options["self_loop"] == "per_set" else draw(st.sampled_from([2, (3, 2)])), 3]
    if layer is ProxyPoolConv:
        args.append(draw(st.sampled_from(["mean", "max", "sym"])))
        options["self_loop"] = "none" if options["self_loop"] == "none" else "residual"
        if args[2] != "mean":
            options["combine"] = "sum"
        if args[2] == "max":
            args[0] = 2
    else:
        args += [draw(st.integers(1, 3)), draw(st.booleans())]
        if draw(st.booleans()):
            options |= {"softmax": "joint", "combine": "sum"}
        if options["self_loop"] == "raw" and options["combine"] != "cat":
            args[0] = args[1] * (args[2] if args[3] else 1)
    sizes = draw(st.lists(st.integers(0, 4), min_size=1, max_size=3))
    if layer is ProxyAttentionConv:
        options["scale"] = draw(st.sampled_from(["head", "embed"]))
        options["num_sets"] = draw(st.sampled_from([1, 3]))
    torch.manual_seed(draw(st.integers(0, 2**31)))
    conv = build(layer, *args, **options)
    x = torch.randn(draw(st.integers(1, 4)), conv.target, dtype=F64, requires_grad=True)
    sets = [torch.randn(n, conv.source, dtype=F64, requires_grad=True) for n in sizes]
    edges = []
    for n in sizes:  # any multigraph
        ends = st.tuples(st.integers(0, max(n - 1, 0)), st.integers(0, len(x) - 1))
        found = draw(st.lists(ends, max_size=12 * (n > 0)))
        edges.append(torch.tensor(found, dtype=torch.int64).view(-1, 2).T)
    return conv, x, sets, edges


@settings(deadline=None, max_examples=250)
@given(problems())
def test_equals_the_literal_loop_on_any_graph(problem):
    conv, x, sets, edges = problem
    out, exact = conv(x, sets, edges), literal(conv, x, sets, edges)
    assert_close(out, exact, rtol=1e-10, atol=1e-12)
    for a, b in zip(*(gradients(o, conv, x, sets) for o in (out, exact)), strict=True):
        assert_close(a, b, rtol=1e-8, atol=1e-10)


@settings(deadline=None, max_examples=250)
@given(problems())
def test_all_to_all_equals_the_complete_graph(problem):
    conv, x, sets, _ = problem
    edges = [complete(len(g), len(x)) for g in sets]
    out, sparse = conv(x, tuple(sets)), conv(x, sets, edges)
    assert_close(out, literal(conv, x, sets, edges), rtol=1e-10, atol=1e-12)
    assert_close(out, sparse, rtol=1e-10, atol=1e-12)
    for a, b in zip(*(gradients(o, conv, x, sets) for o in (out, sparse)), strict=True):
        assert_close(a, b, rtol=1e-8, atol=1e-10)
    if len(sets) == 1:
        assert_close(conv(x, sets[0]), out)
        assert_close(conv(x, sets[0], edges[0]), out, rtol=1e-10, atol=1e-12)
    assert conv(x[:0], sets).shape == conv(x[:0], sets, [e[:, :0] for e in edges]).shape
    assert conv(x[:0], sets).shape == (0, out.shape[1])


@settings(deadline=None, max_examples=150)
@given(problems())
def test_weights_sum_to_one_and_give_the_output(problem):
    conv, x, sets, edges = problem
    if isinstance(conv, ProxyPoolConv):
        return
    out, dense = conv(x, sets, return_attention_weights=True)
    assert_close(out, conv(x, sets))
    sparse_out, sparse = conv(x, sets, edges, return_attention_weights=True)
    assert_close(sparse_out, conv(x, sets, edges))
    groups = [torch.cat(sets)] if conv.softmax == "joint" else sets
    values = [conv.project(g, i)[1] for i, g in enumerate(sets)]
    values = [torch.cat(values)] if conv.softmax == "joint" else values
    own = conv.self_loop == "per_set"
    parts, sparse_parts = [], []
    for group, weights, (index, edge_weights) in zip(groups, dense, sparse, strict=True):
        assert weights.shape == (len(x), len(group) + own, conv.heads)
        if weights.shape[1]:
            assert_close(weights.sum(1), torch.ones_like(weights[:, 0]))
        value = values.pop(0)
        part = torch.einsum("bph,phc->bhc", weights[:, : len(group)], value)
        if own:
            value = torch.cat([value, conv.project(x, len(parts))[1]])
            part = part + weights[:, -1, :, None] * value[len(group) :]
        parts.append(part)
        total = torch.zeros(len(x), conv.heads, dtype=F64).index_add(0, index[1], edge_weights)
        reached = torch.zeros(len(x)).index_fill(0, index[1], 1).bool()
        assert_close(total, reached[:, None].expand_as(total).to(F64))
        sparse_parts.append(
            torch.zeros_like(part).index_add(
                0, index[1], edge_weights[:, :, None] * value[index[0]]
            )
        )
    for got, found in ((out, parts), (sparse_out, sparse_parts)):
        rows = []
        for i, sample in enumerate(x):
            each = [p[i].flatten() if conv.concat else p[i].mean(0) for p in found]
            base = conv.skip(sample)
            base = 0.0 if base is None else base
            if conv.self_loop == "raw":
                each, base = [sample, *(p + base for p in each)], 0.0
            rows.append(oracles.combined(each, conv.combine, base))
        assert_close(got, torch.stack(rows), rtol=1e-10, atol=1e-12)


def formats(edges, proxies, samples):
    yield edges
    yield EdgeIndex(edges, sparse_size=(proxies, samples))
    yield EdgeIndex(edges)
    adj_t = torch.sparse_coo_tensor(edges.flip(0), torch.ones(edges.shape[1]), (samples, proxies))
    yield from (adj_t.coalesce(), adj_t, adj_t.to_sparse_csr(), adj_t.to_sparse_csc())


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("layer", LAYERS)
def test_every_kind_of_graph(layer):
    conv = build(layer, 3, 2, combine="mean")
    x, sets = torch.randn(5, 3, dtype=F64), (torch.randn(7, 3, dtype=F64),)
    edges = complete(7, 5)[:, torch.randperm(35)]
    right, part = conv(x, sets), conv(x, sets, (edges[:, :20],))
    for whole, some in zip(formats(edges, 7, 5), formats(edges[:, :20], 7, 5), strict=True):
        assert_close(conv(x, sets, (whole,)), right)
        assert_close(conv(x, sets[0], some), part)


@pytest.mark.extras
@pytest.mark.parametrize("layer", LAYERS)
def test_sparse_tensor(layer):
    sparse = pytest.importorskip("torch_sparse", reason="needs torch_sparse (make test-extras)")
    conv = build(layer, 3, 2)
    x, proxies = torch.randn(5, 3, dtype=F64), torch.randn(7, 3, dtype=F64)
    edges = complete(7, 5)[:, torch.randperm(35)[:20]]
    adj_t = sparse.SparseTensor(row=edges[1], col=edges[0], sparse_sizes=(5, 7))
    assert_close(conv(x, proxies, adj_t), conv(x, proxies, edges))
    with pytest.raises(ValueError, match=r"edge_index .* \[5, 7\], got \[7, 5\]"):
        conv(x, proxies, adj_t.t())


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("residual", ["none", "residual"])
def test_derivatives(layer, residual):
    conv = build(layer, 2, 2, self_loop=residual)
    x, a, b = (torch.randn(n, 2, dtype=F64, requires_grad=True) for n in (2, 3, 1))
    assert gradcheck(lambda *t: conv(t[0], t[1:]), (x, a, b))


@pytest.mark.parametrize("layer", LAYERS)
def test_samples_do_not_see_each_other(layer):
    options = {} if layer is ProxyPoolConv else {"combine": "max"}
    conv = build(layer, 3, 2, **options).eval()
    x, sets = torch.randn(6, 3, dtype=F64), (torch.randn(4, 3, dtype=F64),) * 2
    one_by_one = torch.cat([conv(row[None], sets) for row in x])
    assert_close(one_by_one, conv(x, sets), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("layer", ATTENTION)
@pytest.mark.parametrize("options", [{}, {"self_loop": "per_set"}])
def test_dropout_in_training_only(layer, options):
    torch.manual_seed(0)
    conv = build(layer, 4, 4, dropout=0.5, **options)
    x, sets = torch.randn(3, 4, dtype=F64), torch.randn(400, 4, dtype=F64)
    edges = complete(400, 3)
    exact = conv.eval()(x, sets)
    assert_close(conv(x, sets), exact, rtol=0, atol=0)
    conv.train()
    assert not conv(x, sets).equal(conv(x, sets))
    for graph in (None, edges):
        out, (weights,) = conv(x, sets, graph, return_attention_weights=True)
        weights = weights if graph is None else weights[1]
        assert 0.4 < (weights == 0).float().mean() < 0.6
        assert_close(weights.sum() / 3, torch.ones((), dtype=F64), rtol=0.25, atol=0)
        assert out.shape == exact.shape
    mean = torch.stack([conv(x, sets) for _ in range(400)]).mean(0)
    assert (mean - exact).abs().max() < 0.15 * exact.abs().max()


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_and_autocast(layer, dtype):
    torch.manual_seed(0)
    conv = build(layer, 16, 16, dtype=torch.float32)
    x, sets = torch.randn(6, 16), (torch.randn(9, 16), torch.randn(4, 16))
    exact, graph = conv(x, sets), (complete(9, 6), complete(4, 6))
    tol = {"rtol": 5e-2, "atol": 5e-2 * exact.abs().max().item()}
    half = copy.deepcopy(conv).to(dtype)
    low = x.to(dtype), tuple(g.to(dtype) for g in sets)
    with torch.autocast("cpu", dtype):
        results = [conv(x, sets), conv(x, sets, graph)]
    results += [half(*low), half(*low, graph)]
    assert results[2].dtype == results[3].dtype == dtype
    for out in results:
        assert_close(out.float(), exact, **tol)
    if layer is not ProxyPoolConv:
        with torch.autocast("cpu", dtype):
            conv(x, sets, return_attention_weights=True)[0].sum().backward()
        assert all(p.grad.isfinite().all() for p in conv.parameters())


class All(nn.Module):
    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList(build(layer, 8, 8, dtype=torch.float32) for layer in LAYERS)

    def forward(self, x, sets):
        return sum(conv(x, sets).sin() for conv in self.convs)


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compiles_whole_with_its_backward(backend):
    if backend == "inductor" and not any(map(shutil.which, ("g++", "clang++", "c++"))):
        pytest.skip("needs a C++ compiler")
    convs = All()
    compiled = torch.compile(convs, fullgraph=True, backend=backend)
    x, sets = torch.randn(6, 8, requires_grad=True), (torch.randn(9, 8), torch.randn(4, 8))
    results = [gradients(f(x, sets), convs, x, ()) for f in (compiled, convs)]
    assert_close(compiled(x, sets), convs(x, sets), rtol=1e-4, atol=1e-5)
    for a, b in zip(*results, strict=True):
        assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layer", ATTENTION)
@pytest.mark.parametrize(
    "options", [{"self_loop": "per_set"}, {"softmax": "joint"}, {"combine": "cat", "concat": False}]
)
def test_options_and_weights_compile_whole(layer, options):
    conv = build(layer, 4, 3, heads=2, **options)
    x, sets = torch.randn(5, 4, dtype=F64), (torch.randn(3, 4, dtype=F64),) * 2

    def run(x):
        return conv(x, sets, return_attention_weights=True)

    assert_close(torch.compile(run, fullgraph=True, backend="aot_eager")(x), run(x))


@pytest.mark.parametrize("layer", LAYERS)
def test_called_as_pygs_layers_are(layer):
    conv = build(layer, 3, 2, self_loop="residual")
    x, g = torch.randn(5, 3, dtype=F64), torch.randn(7, 3, dtype=F64)
    edges = complete(7, 5)[:, ::2]
    want = conv(x, g, edges)
    assert_close(conv((g, x), edges), want)
    adj_t = torch.sparse_coo_tensor(edges.flip(0), torch.ones(edges.shape[1]), (5, 7))
    assert_close(conv((g, x), adj_t.to_sparse_csr()), want)
    own = complete(5, 5)[:, ::3]
    assert_close(conv(x, own), conv(x, x, own))
    hetero = HeteroConv({("proxy", "to", "image"): conv, ("image", "to", "image"): conv})
    out = hetero(
        {"image": x, "proxy": g},
        {("proxy", "to", "image"): edges, ("image", "to", "image"): own},
    )
    assert_close(out["image"], want + conv(x, x, own))
    with pytest.raises(
        ValueError, match=r"x must be samples or \(proxies, samples\), got a tuple of 3"
    ):
        conv((x, g, g), edges)
    with pytest.raises(TypeError, match="edge_index must come second"):
        conv((g, x), g, edges)


@pytest.mark.parametrize("layer", LAYERS)
def test_output_channels_are_those_of_the_output(layer):
    for combine in ("sum", "cat"):
        for self_loop in ("none", "residual") if layer is ProxyPoolConv else ("none", "raw"):
            conv = build(layer, 4, 4, combine=combine, self_loop=self_loop)
            for sets in (1, 2):
                out = conv(torch.randn(3, 4, dtype=F64), (torch.randn(5, 4, dtype=F64),) * sets)
                assert out.shape[1] == conv.output_channels(sets)


def test_more_sets_than_maps_are_refused():
    conv = build(ProxyAttentionConv, 4, 4)
    x = torch.randn(3, 4, dtype=F64)
    with pytest.raises(ValueError, match="sets must be 2 at most, got 3"):
        conv(x, (x, x, x))


@pytest.mark.parametrize("layer", LAYERS)
def test_state_and_copies(layer):
    conv, other = (build(layer, 3, 2, self_loop="residual") for _ in range(2))
    x, g = torch.randn(4, 3, dtype=F64), torch.randn(5, 3, dtype=F64)
    right = conv(x, g)
    file = io.BytesIO()
    torch.save(conv.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert other(x, g).equal(right)
    twin = copy.deepcopy(conv)
    assert twin(x, g).equal(right)
    before = {name: p.clone() for name, p in conv.named_parameters()}
    torch.manual_seed(0)
    conv.reset_parameters()
    torch.manual_seed(0)
    other.reset_parameters()
    for (name, p), q in zip(conv.named_parameters(), other.parameters(), strict=True):
        assert not p.equal(before[name])
        assert p.equal(q)
    assert twin(x, g).equal(right)
    assert repr(conv).startswith(layer.__name__)


@pytest.mark.parametrize("layer", ATTENTION)
@pytest.mark.parametrize(
    ("args", "options", "message"),
    [
        ((0, 3), {}, "in_channels must be >= 1, got 0"),
        ((2.0, 3), {}, "in_channels must be an int, got float"),
        (((2, 3, 4), 3), {}, r"in_channels .* got \(2, 3, 4\)"),
        ((2, 0), {}, "out_channels must be >= 1, got 0"),
        ((2, 3, 0), {}, "heads must be >= 1, got 0"),
        ((2, 3), {"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ((2, 3), {"dropout": -0.1}, "dropout"),
        ((2, 3), {"dropout": float("nan")}, "dropout"),
        ((2, 3), {"softmax": "both"}, "softmax must be one of .* got 'both'"),
        ((2, 3), {"self_loop": True}, "self_loop must be one of .* got True"),
        ((2, 3), {"combine": "min"}, "combine must be one of .* got 'min'"),
        ((2, 3), {"softmax": "joint", "combine": "cat"}, "combine must be \"sum\" .* got 'cat'"),
        (((2, 3), 3), {"self_loop": "per_set"}, r'"per_set" needs equal in_channels, got \(2, 3\)'),
        (
            (2, 3),
            {"self_loop": "raw"},
            'self_loop="raw" needs combine="cat" or 2 channels a set, got 3',
        ),
    ],
)
def test_bad_arguments(layer, args, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        layer(*args, **options)


@pytest.mark.parametrize("device", [CUDA])
@pytest.mark.parametrize("layer", LAYERS)
def test_cuda_equals_cpu(device, layer):
    conv = build(layer, 8, 8, self_loop="residual")
    x, sets = torch.randn(30, 8, dtype=F64), (torch.randn(20, 8, dtype=F64),) * 2
    edges = [complete(20, 30)[:, ::3]] * 2
    here = [conv(x, sets), conv(x, sets, edges)]
    conv.to(device)
    x, sets, edges = x.to(device), [g.to(device) for g in sets], [e.to(device) for e in edges]
    assert_close([conv(x, sets).cpu(), conv(x, sets, edges).cpu()], here)


def test_repr_says_sizes_and_options():
    assert repr(ProxyGATv2Conv((4, 3), 2, heads=5)) == (
        "ProxyGATv2Conv((4, 3), 2, heads=5, concat=True, dropout=0.0, softmax='per_set', "
        "self_loop='none', combine='sum', negative_slope=0.2, bias=True)"
    )
    assert repr(ProxyPoolConv(4, 2, "max")) == (
        "ProxyPoolConv((4, 4), 2, aggr='max', self_loop='residual', combine='sum', bias=True)"
    )
