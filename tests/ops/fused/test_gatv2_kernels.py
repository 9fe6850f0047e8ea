import pytest
import torch
from torch.testing import assert_close

from pyg_relational.nn import ProxyGATv2Conv
from pyg_relational.nn.conv import proxy_gatv2_conv
from pyg_relational.ops.fused import gatv2
from pyg_relational.ops.pairs import gatv2_attention as pairs
from tests import oracles

F64 = torch.float64
SHAPES = [(1, 1, 1, 1), (5, 3, 2, 16), (33, 50, 2, 7), (31, 32, 1, 33), (64, 97, 1, 5)]


def inputs(b, p, h, c, dtype=torch.float32, device="cpu", scale=1.0):
    g = torch.Generator().manual_seed(b + p)
    shapes = (b, h, c), (p, h, c), (p, h, c), (h, c)
    made = [torch.randn(s, dtype=F64, generator=g) * scale for s in shapes]
    return [t.to(device, dtype).requires_grad_() for t in made]


def literal(query, key, value, att, slope):
    scores = oracles.gatv2_scores(query, key, att, slope)
    return torch.einsum("hbp,phc->bhc", scores.softmax(2), value), scores.logsumexp(2).T


def values_and_gradients(f, leaves, slope=0.2, of=(True, True)):
    results = f(*leaves, slope)
    upstream = [torch.linspace(-1, 2, r.numel(), dtype=F64).view_as(r) for r in results]
    loss = sum(
        (r * u.to(r)).sum() for r, u, chosen in zip(results, upstream, of, strict=True) if chosen
    )
    return [*results, *torch.autograd.grad(loss, leaves, materialize_grads=True)]


def assert_near(ours, exact, tol):
    for a, b in zip(ours, exact, strict=True):
        assert a.shape == b.shape
        assert_close(a.double().cpu(), b, rtol=0, atol=tol * max(b.abs().max().item(), 1.0))


def compare(leaves, slope=0.2, tol=5e-6, of=(True, True)):
    ours = values_and_gradients(pairs._attend, leaves, slope, of)
    doubles = [t.detach().cpu().double().requires_grad_() for t in leaves]
    assert_near(ours, values_and_gradients(literal, doubles, slope, of), tol)
    return ours


@pytest.mark.parametrize("shape", SHAPES)
def test_equals_the_literal_form(device, shape):
    compare(inputs(*shape, device=device))


@pytest.mark.parametrize("slope", [0.0, 1.0, -0.5, 2.5])
def test_every_slope(device, slope):
    compare(inputs(5, 6, 2, 3, device=device), slope)


@pytest.mark.parametrize("of", [(True, False), (False, True)])
def test_gradient_of_one_result(device, of):
    compare(inputs(5, 6, 2, 3, device=device), of=of)


@pytest.mark.parametrize("programs", [1, 2, 10**6])
def test_any_number_of_parts(device, programs, monkeypatch):
    monkeypatch.setattr(gatv2, "_PROGRAMS", programs)
    compare(inputs(3, 100, 1, 3, device=device))
    compare(inputs(100, 3, 1, 3, device=device))


@pytest.mark.parametrize("scale", [1e-3, 30.0])
def test_large_and_small_scores(device, scale):
    compare(inputs(9, 40, 1, 6, device=device, scale=scale), tol=2e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(device, dtype):
    leaves = inputs(20, 40, 2, 8, dtype, device)
    ours = compare(leaves, tol=torch.finfo(dtype).eps)
    assert [t.dtype for t in ours] == [dtype, torch.float32, *[dtype] * 4]


def test_ties_have_the_mean_of_both_slopes(device):
    g = torch.Generator().manual_seed(0)
    shapes = (9, 2, 4), (8, 2, 4), (8, 2, 4), (2, 4)
    leaves = [torch.randint(-2, 3, s, generator=g).float().to(device) for s in shapes]
    compare([t.requires_grad_() for t in leaves], 0.4)


def test_strided_and_shared_inputs(device):
    big = torch.randn(10, 3, 2, 12, device=device)
    query, key = big[:, 0, :, ::2], big[1:8, 1, :, 6:]
    att = torch.tensor([[2.0], [-1.0]], device=device).expand(2, 6)
    compare([t.detach().requires_grad_() for t in (query, key, key, att)])
    leaves = [t.detach().requires_grad_() for t in (query, key, att)]
    ours = values_and_gradients(lambda q, k, a, s: pairs._attend(q, k, k, a, s), leaves)
    doubles = [t.detach().cpu().double().requires_grad_() for t in leaves]
    assert_near(
        ours, values_and_gradients(lambda q, k, a, s: literal(q, k, k, a, s), doubles), 5e-6
    )


def test_value_is_the_key_turned(device):
    query, key, _, att = inputs(4, 5, 3, 3, device=device)
    with torch.no_grad():
        turned = key.transpose(1, 2)
    compare([query, key, turned.detach().requires_grad_(), att])


def test_second_derivative_is_the_torch_forms(device):
    leaves = inputs(3, 4, 1, 2, device=device)

    def second(f, leaves):
        total = sum(r.square().sum() for r in f(*leaves, 0.2))
        grads = torch.autograd.grad(total, leaves, create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in grads), leaves)

    doubles = [t.detach().cpu().double().requires_grad_() for t in leaves]
    assert_near(second(pairs._attend, leaves), second(pairs._plain, doubles), 2e-5)


def test_compiles_whole(device):
    leaves = inputs(5, 6, 1, 3, device=device)
    compiled = torch.compile(pairs._attend, fullgraph=True, backend="aot_eager")
    ours, eager = (values_and_gradients(f, leaves) for f in (compiled, pairs._attend))
    assert_close(ours, eager)


def test_operators_are_registered_well(device):
    leaves = inputs(3, 4, 1, 2, device=device)
    tests = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(pairs._attend, (*leaves, 0.2), test_utils=tests)


@pytest.mark.parametrize("self_loop", ["none", "residual", "per_set", "raw"])
@pytest.mark.parametrize("softmax", ["per_set", "joint"])
def test_the_layer(device, self_loop, softmax, monkeypatch):
    torch.manual_seed(0)
    conv = ProxyGATv2Conv(8, 4, heads=2, self_loop=self_loop, softmax=softmax, dropout=0.5)
    conv = conv.to(device).eval()
    x, *sets = (torch.randn(n, 8, device=device, requires_grad=True) for n in (5, 7, 40))
    calls = []
    for fused in (False, True):
        run = pairs._attend if fused else pairs._plain
        attention = lambda *a, run=run: calls.append(run) or run(*a)  # noqa: E731
        monkeypatch.setattr(proxy_gatv2_conv, "is_fused", lambda *t, fused=fused: fused)
        monkeypatch.setattr(proxy_gatv2_conv, "gatv2_attention", attention)
        out = conv(x, sets)
        slope = torch.linspace(-1, 2, out.numel(), device=device).view_as(out)
        wanted = [x, *sets, *conv.parameters()]
        grads = torch.autograd.grad((out * slope).sum(), wanted)
        if not fused:
            exact = out, *grads
    assert_close((out, *grads), exact, rtol=1e-4, atol=1e-5)
    sets_seen = 1 if softmax == "joint" else 2
    assert len(calls) == sets_seen
    conv.eval()(x, sets, return_attention_weights=True)
    assert len(calls) == sets_seen


def dropped(query, key, value, att, slope, dropout, seed):
    """The literal form with the weights that the kernels leave out."""
    keep = gatv2.kept(seed, query.shape[1], len(query), len(key), dropout).cpu().double()
    scores = oracles.gatv2_scores(query, key, att, slope)
    out = torch.einsum("hbp,phc->bhc", scores.softmax(2) * keep, value)
    return out, scores.logsumexp(2).T


@pytest.mark.parametrize("shape", [(5, 3, 2, 4), (33, 50, 2, 7), (64, 97, 1, 5)])
@pytest.mark.parametrize("programs", [1, 10**6])
def test_dropout_equals_the_literal_form(device, shape, programs, monkeypatch):
    monkeypatch.setattr(gatv2, "_PROGRAMS", programs)
    seed = torch.tensor([7], device=device)
    leaves = inputs(*shape, device=device)
    ours = values_and_gradients(lambda *a: pairs._attend(*a, 0.4, seed), leaves)
    doubles = [t.detach().cpu().double().requires_grad_() for t in leaves]
    exact = values_and_gradients(lambda *a: dropped(*a, 0.4, seed), doubles)
    assert_near(ours, exact, 5e-6)


def test_dropout_leaves_out_its_share_by_the_seed(device):
    a, b = (gatv2.kept(torch.tensor([s], device=device), 3, 50, 70, 0.3) for s in (1, 2))
    again = gatv2.kept(torch.tensor([1], device=device), 3, 50, 70, 0.3)
    assert a.equal(again)
    assert sorted(set(a.flatten().tolist())) == pytest.approx([0, 1 / 0.7])
    error = (0.3 * 0.7 / a.numel()) ** 0.5
    for part in (a, b):
        assert abs((part == 0).double().mean().item() - 0.3) < 4 * error
    both = ((a == 0) & (b == 0)).double().mean().item()
    assert abs(both - 0.09) < 4 * (0.09 * 0.91 / a.numel()) ** 0.5
    heads = ((a[0] == 0) & (a[1] == 0)).double().mean().item()
    assert abs(heads - 0.09) < 4 * (0.09 * 0.91 / a[0].numel()) ** 0.5


def test_second_derivative_with_dropout(device):
    leaves = inputs(3, 4, 1, 2, device=device)
    seed = torch.tensor([3], device=device)

    def second(f, leaves):
        total = sum(r.square().sum() for r in f(*leaves, 0.2, 0.5, seed))
        grads = torch.autograd.grad(total, leaves, create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in grads), leaves)

    doubles = [t.detach().cpu().double().requires_grad_() for t in leaves]
    assert_near(second(pairs._attend, leaves), second(dropped, doubles), 2e-5)


@pytest.mark.parametrize("self_loop", ["none", "per_set"])
def test_dropout_of_the_layer(device, self_loop, monkeypatch):
    torch.manual_seed(0)
    conv = ProxyGATv2Conv(4, 3, self_loop=self_loop, dropout=0.5, bias=False).to(device)
    x, g = torch.randn(30, 4, device=device), torch.randn(6, 4, device=device)
    exact = conv.eval()(x, g)
    calls = []
    monkeypatch.setattr(proxy_gatv2_conv, "is_fused", lambda *t: True)
    monkeypatch.setattr(pairs, "is_fused", lambda *t: True)
    plain = pairs._attend
    monkeypatch.setattr(pairs, "_attend", lambda *a: calls.append(a[5]) or plain(*a))
    draws = torch.stack([conv.train()(x, g) for _ in range(40)])
    assert calls == [0.5] * 40
    error = draws.std(0) / 40**0.5
    assert ((draws.mean(0) - exact).abs() < 5 * error + 1e-5).all()
    assert draws.std(0).min() > 1e-3
