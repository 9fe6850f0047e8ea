import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck
from torch.testing import assert_close

from pyg_relational.ops import gatv2_scores
from pyg_relational.ops.pairs import gatv2
from tests import oracles

F64 = torch.float64
SLOPES = (0.2, 0.0, 1.0, 2.5, -0.5, -1.0)
SIGNS = {
    "mixed": lambda a: a,
    "zero": torch.zeros_like,
    "some zero": lambda a: a * (a > 0),
    "positive": torch.abs,
    "negative": lambda a: -a.abs(),
}
CUDA = pytest.param(
    "cuda",
    marks=[
        pytest.mark.cuda,
        pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
    ],
)


def inputs(b, p, h, c, signs="mixed", dtype=F64, seed=0):
    g = torch.Generator().manual_seed(seed)
    q, k, a = (torch.randn(s, dtype=F64, generator=g) for s in ((b, h, c), (p, h, c), (h, c)))
    return [t.to(dtype).requires_grad_() for t in (q, k, SIGNS[signs](a))]


def values_and_gradients(f, leaves, slope=0.2, create_graph=False):
    scores = f(*leaves, slope)
    upstream = torch.linspace(-1, 2, scores.numel(), dtype=scores.dtype, device=scores.device)
    loss = (scores * upstream.view_as(scores)).sum()
    return scores, *torch.autograd.grad(loss, leaves, create_graph=create_graph)


def assert_same(ours, exact, value, gradient, floor=1.0):
    """Up to a share of the largest, or of ``floor``."""
    for a, b, tol in zip(ours, exact, (value, *[gradient] * 3), strict=True):
        scale = b.abs().max().item() if b.numel() else 0.0
        assert_close(a.double(), b, rtol=0, atol=tol * max(scale, floor))


@settings(deadline=None, max_examples=150)
@given(
    st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(1, 3), st.integers(1, 5)),
    st.sampled_from(sorted(SIGNS)),
    st.sampled_from(SLOPES),
    st.integers(0, 2**31),
)
def test_equals_the_broadcast_form(shape, signs, slope, seed):
    leaves = inputs(*shape, signs, seed=seed)
    exact = values_and_gradients(oracles.gatv2_scores, leaves, slope)
    assert exact[0].shape == (shape[2], shape[0], shape[1])
    assert_same(values_and_gradients(gatv2_scores, leaves, slope), exact, 1e-12, 1e-10)


@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e-18, 1e15, 1e30])
@pytest.mark.parametrize("signs", ["mixed", "positive"])
def test_float32_of_every_magnitude(scale, signs):
    q, k, a = (t.detach() for t in inputs(30, 40, 2, 64, signs))
    leaves = [t.float().requires_grad_() for t in (scale * q, scale * k, a)]
    exact = values_and_gradients(oracles.gatv2_scores, [t.double() for t in leaves])
    assert_same(values_and_gradients(gatv2_scores, leaves), exact, 1e-5, 1e-5, floor=0.0)


@pytest.mark.parametrize("offset", [1e2, 1e4])
def test_opposite_offsets_lose_no_more_than_rounding_the_inputs_would(offset):
    q, k, a = (t.detach().float() for t in inputs(20, 30, 2, 16))
    q, k = q + offset, k - offset
    exact = oracles.gatv2_scores(q.double(), k.double(), a.double(), 0.2)
    bound = (a.abs() * (q.abs()[:, None] + k.abs())).sum(-1).permute(2, 0, 1)
    assert ((gatv2_scores(q, k, a) - exact).abs() < 4 * torch.finfo(q.dtype).eps * bound).all()


@pytest.mark.parametrize("slope", SLOPES)
def test_first_and_second_derivatives(slope):
    leaves = inputs(3, 4, 2, 3)
    assert gradcheck(lambda *t: gatv2_scores(*t, slope), leaves)
    assert gradgradcheck(lambda *t: gatv2_scores(*t, slope), leaves)


@pytest.mark.parametrize("slope", SLOPES)
def test_ties_have_the_mean_of_both_slopes(slope):
    g = torch.Generator().manual_seed(0)
    leaves = [
        torch.randint(-2, 3, s, generator=g).to(F64).requires_grad_()
        for s in ((9, 2, 4), (8, 2, 4), (2, 4))
    ]
    exact = values_and_gradients(oracles.gatv2_scores, leaves, slope)
    for create_graph in (False, True):
        ours = values_and_gradients(gatv2_scores, leaves, slope, create_graph)
        assert_same(ours, exact, 1e-12, 1e-10)
    q = torch.tensor([[[0.1]]], requires_grad=True)
    k = torch.tensor([[[-0.1]]], requires_grad=True)
    a = torch.tensor([[3.0]], requires_grad=True)
    scores, *grads = values_and_gradients(gatv2_scores, (q, k, a), slope)
    assert scores.item() == 0
    assert [t.item() for t in grads] == pytest.approx([-3 * (1 + slope) / 2] * 2 + [0])


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 2), (1, 2)])
def test_gradients_of_only_some_inputs(wanted):
    leaves = inputs(5, 4, 2, 3)
    all_of_them = values_and_gradients(oracles.gatv2_scores, leaves, 0.7)[1:]
    some = [t if i in wanted else t.detach() for i, t in enumerate(leaves)]
    upstream = torch.linspace(-1, 2, 40, dtype=F64).view(2, 5, 4)
    for create_graph in (False, True):
        total = (gatv2_scores(*some, 0.7) * upstream).sum()
        grads = torch.autograd.grad(total, [leaves[i] for i in wanted], create_graph=create_graph)
        for i, grad in zip(wanted, grads, strict=True):
            assert_close(grad, all_of_them[i], rtol=1e-10, atol=1e-12)


def test_strided_and_expanded_inputs_are_read_and_left_as_they_are():
    big = torch.randn(4, 10, 3, 2, dtype=F64)
    q, k = big[0].transpose(1, 2)[::2, :, 1:], big[1].mT[1:4, :, :2]
    a = torch.tensor([[2.0], [-1.0]], dtype=F64).expand(2, 2)
    before = big.clone()
    leaves = [t.detach().requires_grad_() for t in (q, k, a)]
    ours = values_and_gradients(gatv2_scores, leaves)
    exact = values_and_gradients(oracles.gatv2_scores, [t.contiguous() for t in leaves])
    assert_same(ours, exact, 1e-12, 1e-10)
    assert big.equal(before)
    one = torch.randn(3, 1, 2, dtype=F64, requires_grad=True)  # query and key are one tensor
    att = torch.randn(1, 2, dtype=F64)
    ours, exact = (
        torch.autograd.grad(f(one, one, att, 0.2).square().sum(), one)[0]
        for f in (gatv2_scores, oracles.gatv2_scores)
    )
    assert_close(ours, exact)


@pytest.mark.parametrize(
    "dtypes",
    [
        (torch.bfloat16,) * 3,
        (torch.float16,) * 3,
        (torch.bfloat16, torch.bfloat16, torch.float32),
        (torch.float16, torch.bfloat16, torch.float32),
        (torch.float32, F64, torch.bfloat16),
    ],
)
@pytest.mark.parametrize("autocast", [False, True])
def test_half_precision_is_computed_in_float32(dtypes, autocast):
    leaves = [
        t.detach().to(d).requires_grad_()
        for t, d in zip(inputs(20, 30, 2, 64), dtypes, strict=True)
    ]
    wide = F64 if F64 in dtypes else torch.float32
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        ours = values_and_gradients(gatv2_scores, leaves)
        twice = torch.autograd.grad(
            gatv2_scores(*leaves).square().sum(), leaves[0], create_graph=True
        )[0]
    full = [t.detach().to(wide).requires_grad_() for t in leaves]
    exact = values_and_gradients(gatv2_scores, full)
    assert ours[0].dtype == wide
    assert ours[0].equal(exact[0])
    for grad, right, leaf in zip(ours[1:], exact[1:], leaves, strict=True):
        assert grad.dtype == leaf.dtype
        assert_close(grad, right.to(leaf.dtype))
    once = torch.autograd.grad(gatv2_scores(*full).square().sum(), full[0])[0]
    assert_close(twice, once.to(dtypes[0]), rtol=2e-2, atol=2e-2 * once.abs().max().item())


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_not_finite_does_not_vanish(which, value):
    leaves = [t.detach() for t in inputs(3, 4, 1, 5)]
    leaves[which].view(-1)[0] = value
    scores = gatv2_scores(*leaves)
    touched = torch.ones(1, 3, 4, dtype=torch.bool)
    if which < 2:
        touched[:] = False
        touched.select(which + 1, 0)[:] = True
    assert not scores[touched].isfinite().any()
    assert scores[~touched].isfinite().all()


@pytest.mark.parametrize("buffer", [1, 2 * 5 * 4 * 2, 10**9])
def test_the_form_for_other_devices(monkeypatch, buffer):
    class Elsewhere(torch.Tensor):
        device = torch.device("cuda")

    q, k, a = (t.detach() for t in inputs(3, 4, 2, 5))
    a[0, 0] = 0
    grad = torch.randn(2, 3, 4, dtype=F64)
    q, k = q.transpose(0, 1).contiguous(), k.transpose(0, 1).contiguous()
    here = gatv2._signed_distance(q, k, a), gatv2._slopes(grad, q, k, 0.2)
    monkeypatch.setattr(gatv2, "BUFFER", buffer)
    there = (
        gatv2._signed_distance(q, k, a.as_subclass(Elsewhere)),
        gatv2._slopes(grad, q.as_subclass(Elsewhere), k, 0.2),
    )
    assert_close([t.as_subclass(torch.Tensor) for t in there], list(here))


def test_compiles_whole():
    leaves = inputs(5, 4, 2, 3)
    with torch.no_grad():
        leaves[1][0] = -leaves[0][0]  # a tie
    compiled = torch.compile(gatv2_scores, fullgraph=True, backend="aot_eager")
    assert_same(
        values_and_gradients(compiled, leaves),
        values_and_gradients(oracles.gatv2_scores, leaves),
        1e-12,
        1e-10,
    )


@pytest.mark.parametrize(
    "shapes",
    [
        ((3, 2, 4), (5, 2, 3), (2, 4)),
        ((3, 2, 4), (5, 1, 4), (2, 4)),
        ((3, 2, 4), (5, 2, 4), (1, 4)),
        ((3, 2, 4), (5, 2, 4), (1, 2, 4)),
        ((2, 4), (5, 2, 4), (2, 4)),
        ((1, 3, 2, 4), (5, 2, 4), (2, 4)),
    ],
)
def test_bad_shapes(shapes):
    with pytest.raises(ValueError, match=r"query, key and att must have shapes .* got \[") as error:
        gatv2_scores(*map(torch.zeros, shapes))
    assert all(str(list(shape)) in str(error.value) for shape in shapes)


GROWTH = """
import torch
from pyg_relational.nn import ProxyGATv2Conv
from pyg_relational.ops import gatv2_scores
def peak():
    return int(next(s for s in open("/proc/self/status") if s.startswith("VmHWM")).split()[1]) / 1024
def run(b, p):
    q, k, a = (torch.randn(*s, 4, 64, requires_grad=True) for s in ((b,), (p,), ()))
    gatv2_scores(q, k, a).square().sum().backward()
    conv = ProxyGATv2Conv(64, 64, heads=4)
    conv(torch.randn(b, 64), (torch.randn(p, 64),)).sum().backward()
run(8, 8)
before = peak()
run(256, 500)
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is on Linux")
def test_memory_is_far_below_all_pairs_times_channels():
    done = subprocess.run(
        [sys.executable, "-c", GROWTH], capture_output=True, text=True, check=True
    )
    assert 1 < float(done.stdout) < 30  # MiB; 256 x 500 x 4 x 64 float32 are 125


@pytest.mark.parametrize("device", [CUDA])
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_cuda_equals_cpu(device, dtype):
    leaves = inputs(30, 40, 3, 16, "some zero", dtype)
    moved = [t.detach().to(device).requires_grad_() for t in leaves]
    exact = values_and_gradients(oracles.gatv2_scores, [t.double() for t in leaves])
    ours = [t.cpu() for t in values_and_gradients(gatv2_scores, moved)]
    tol = 1e-5 if dtype == torch.float32 else 1e-10
    assert_same(ours, exact, tol, tol)
