import copy
import os
import subprocess
import sys

import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pyg_relational.distributed import gather
from pyg_relational.nn import ProxyContrastiveLoss, proxy_contrastive_loss
from tests import oracles
from tests.distributed.test_gather import spawn

TERMS = st.lists(st.integers(-1, 4), max_size=7)
REDUCTIONS = ["mean", "nonzero_mean"]
MININGS = ["all", "semihard", "random"]


def rows(labels: list[int], f: int, seed: int) -> tuple[Tensor, Tensor]:
    x = torch.randn(
        len(labels), f, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    return x.requires_grad_(), torch.tensor(labels, dtype=torch.int64)


def batch(
    b: int, c: int, k: int, f: int, dtype: torch.dtype = torch.float64, seed: int = 0
) -> list[Tensor]:
    """Images of random classes, ``k`` anchors and ``k`` proxies a class."""
    g = torch.Generator().manual_seed(seed)
    y = torch.arange(c).repeat(k)
    sets = [
        torch.randn(n, f, generator=g, dtype=torch.float64).to(dtype) for n in (b, c * k, c * k)
    ]
    images, anchors, proxies = (x.requires_grad_() for x in sets)
    return [images, torch.randint(c, (b,), generator=g), anchors, y, proxies, y]


def clones(inputs: list[Tensor], dtype: torch.dtype, device: str = "cpu") -> list[Tensor]:
    out = [x.detach().to(device, dtype if x.is_floating_point() else x.dtype) for x in inputs]
    return [x.clone().requires_grad_() if x.is_floating_point() else x for x in out]


def grads(inputs: list[Tensor]) -> list[Tensor]:
    return [x.grad for x in inputs[::2]]


@given(
    labels=st.tuples(TERMS, TERMS, TERMS),
    f=st.integers(2, 5),
    seed=st.integers(0, 99),
    mining=st.sampled_from(["all", "semihard"]),
    reduction=st.sampled_from(REDUCTIONS),
    margin=st.sampled_from([0.2, 0.93, 5.0]),
    pair_margin=st.sampled_from([0.31, 1.0, 3.0]),
    term_weights=st.sampled_from([(1, 1, 1, 1), (0, 2.5, 1, 0.5), (1, 0, 0, 0)]),
)
@settings(max_examples=150, deadline=None)
def test_equals_oracle_in_value_and_gradient(
    labels, f, seed, mining, reduction, margin, pair_margin, term_weights
):
    inputs = [t for i, y in enumerate(labels) for t in rows(y, f, seed + 100 * i)]
    theirs = clones(inputs, torch.float64)
    options = {
        "margin": margin,
        "pair_margin": pair_margin,
        "mining": mining,
        "reduction": reduction,
        "term_weights": term_weights,
    }
    got = proxy_contrastive_loss(*inputs, **options)
    want = oracles.proxy_contrastive(*theirs, **options)
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
    got.backward()
    want.backward()
    for a, b in zip(grads(inputs), grads(theirs), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("mining", ["all", "semihard"])
def test_gradcheck(mining, reduction):
    x, y, anchors, anchor_y, proxies, proxy_y = batch(7, 3, 2, 4)

    def f(x: Tensor, anchors: Tensor, proxies: Tensor) -> Tensor:
        return proxy_contrastive_loss(
            x, y, anchors, anchor_y, proxies, proxy_y, mining=mining, reduction=reduction
        )

    assert f(x, anchors, proxies) > 0.1
    assert torch.autograd.gradcheck(f, (x, anchors, proxies))


def test_gradcheck_of_random_triplets():
    x, y, anchors, anchor_y, proxies, proxy_y = batch(7, 3, 2, 4)

    def f(x: Tensor, anchors: Tensor, proxies: Tensor) -> Tensor:
        g = torch.Generator().manual_seed(0)
        sets = (x, y, anchors, anchor_y, proxies, proxy_y)
        return proxy_contrastive_loss(*sets, mining="random", generator=g)

    assert torch.autograd.gradcheck(f, (x, anchors, proxies))


@pytest.mark.parametrize("mining", MININGS)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(
    "labels",
    [
        ([], [], []),
        ([], [0], [0]),
        ([0, 0, 0], [0, 0], [0]),
        ([0, 0], [], [1]),
        ([0, 1], [2, 3], [2]),
        ([-1, -1], [0, 1], [0]),
        ([0, 1], [-1, -1], [-1, -1]),
        ([0], [1], [-1, 1]),
    ],
)
def test_without_triplet_or_pair_loss_and_gradient_are_exactly_0(labels, reduction, mining):
    inputs = [t for i, y in enumerate(labels) for t in rows(y, 3, i)]
    loss = proxy_contrastive_loss(*inputs, mining=mining, reduction=reduction)
    assert loss == 0
    loss.backward()
    for x, grad in zip(inputs[::2], grads(inputs), strict=True):
        assert grad.equal(torch.zeros_like(x))


@pytest.mark.parametrize("mining", MININGS)
def test_satisfied_margins_give_exactly_0(mining):
    y = torch.arange(3)
    x = torch.eye(3, dtype=torch.float64)
    inputs = [t for _ in range(3) for t in (x.clone().requires_grad_(), y)]
    loss = proxy_contrastive_loss(*inputs, mining=mining, reduction="nonzero_mean", margin=2.0)
    loss.backward()
    assert loss == 0  # D^2 is 0 and 2: at the margin, not above it
    assert not any(grad.any() for grad in grads(inputs))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("mining", MININGS)
def test_zero_and_equal_rows_have_finite_gradients(mining, dtype):
    inputs = batch(6, 3, 2, 4, dtype)
    with torch.no_grad():
        for x in inputs[::2]:
            x[0] = 0
            x[2] = x[3]  # of another class
            x[5] = x[4] * 3
    loss = proxy_contrastive_loss(*inputs, mining=mining, pair_margin=1.5)
    loss.backward()
    assert loss.isfinite()
    for grad in grads(inputs):
        assert grad.isfinite().all()
        assert not grad[0].any()
        assert grad.any()


def test_all_rows_equal():
    inputs = batch(6, 3, 2, 4)
    with torch.no_grad():
        for x in inputs[::2]:
            x[:] = torch.arange(4.0)
    loss = proxy_contrastive_loss(*inputs, margin=0.3, pair_margin=0.5)
    loss.backward()
    pairs = 12 / 15 * 0.5**2 / 2  # 12 of 15 pairs are of two classes
    torch.testing.assert_close(loss.item(), 3 * 0.3 + pairs, rtol=1e-12, atol=0)
    for grad in grads(inputs):
        torch.testing.assert_close(grad, torch.zeros_like(grad), rtol=0, atol=1e-7)


@pytest.mark.parametrize("gap", [1e-3, 1e-5])
def test_near_proxies_keep_their_distance_in_float32(gap):
    proxies = torch.tensor([[1.0, 0.0], [1.0, gap]], requires_grad=True)
    empty, none = torch.empty(0, 2), torch.empty(0, dtype=torch.int64)
    loss = proxy_contrastive_loss(empty, none, empty, none, proxies, torch.tensor([0, 0]))
    loss.backward()
    assert loss.item() == pytest.approx(gap**2 / 2, rel=1e-4)
    assert proxies.grad[1, 1].item() == pytest.approx(gap, rel=1e-2)


@pytest.mark.parametrize("mining", MININGS)
def test_unlabelled_rows_take_no_part(mining):
    inputs = batch(12, 3, 4, 4)
    for i in (1, 3, 5):
        inputs[i] = inputs[i].clone()
        inputs[i][i::3] = -1
    loss = proxy_contrastive_loss(*inputs, mining=mining, margin=3.0)
    loss.backward()
    for x, y in zip(inputs[::2], inputs[1::2], strict=True):
        assert not x.grad[y < 0].any()
        assert x.grad[y >= 0].any()
    if mining != "random":
        labelled = [y >= 0 for y in inputs[1::2] for _ in range(2)]
        kept = [t[rows] for t, rows in zip(inputs, labelled, strict=True)]
        want = proxy_contrastive_loss(*kept, mining=mining, margin=3.0)
        torch.testing.assert_close(loss, want, rtol=1e-12, atol=1e-12)


def test_random_equals_all_where_there_is_no_choice():
    inputs = batch(2, 2, 1, 4)
    inputs[1] = torch.tensor([1, 0])
    for reduction in REDUCTIONS:
        a = proxy_contrastive_loss(*inputs, mining="random", reduction=reduction)
        b = proxy_contrastive_loss(*inputs, mining="all", reduction=reduction)
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_random_positives_and_negatives_are_uniform():
    """With a margin above 4 no triplet is cut: the mean over draws is the mean over triplets of each source."""
    inputs = batch(4000, 1, 1, 3)
    inputs[1] = torch.tensor([0, 1]).repeat(2000)
    with torch.no_grad():
        inputs[0][:] = inputs[0][:1]
    bank_y = torch.tensor([2, 0, -1, 1, 0, 1, 2, 0])
    g = torch.Generator().manual_seed(1)
    bank = torch.randn(8, 3, generator=g, dtype=torch.float64)
    empty, none = torch.empty(0, 3), torch.empty(0, dtype=torch.int64)
    sets = (bank, bank_y, inputs[0], inputs[1], empty, none)
    got = proxy_contrastive_loss(*sets, margin=5.0, mining="random", generator=g).item()
    u = torch.nn.functional.normalize(inputs[0][:1], dim=1)
    d = (u - torch.nn.functional.normalize(bank, dim=1)).square().sum(1)
    means = [
        (d[bank_y == k].mean() - d[(bank_y != k) & (bank_y >= 0)].mean() + 5).item() for k in (0, 1)
    ]
    assert got == pytest.approx(sum(means) / 2, abs=4 * d.std().item() * (2 / 4000) ** 0.5)


def test_generator_decides_the_random_triplets():
    inputs = batch(9, 4, 3, 4)
    losses = [
        proxy_contrastive_loss(
            *inputs, mining="random", generator=torch.Generator().manual_seed(seed)
        ).item()
        for seed in (0, 0, 1)
    ]
    assert losses[0] == losses[1] != losses[2]


def test_sources_without_positive_or_negative_are_left_out_of_random():
    x, y, anchors, anchor_y, *proxies = batch(9, 3, 2, 4)
    y = torch.arange(9) % 3
    anchor_y = torch.where(torch.arange(6) % 2 == 0, 7, anchor_y)
    sets = (x, y, anchors, anchor_y, *proxies)
    loss = proxy_contrastive_loss(*sets, mining="random")
    loss.backward()
    assert not anchors.grad[::2].any()
    assert anchors.grad[1::2].any()
    loss = proxy_contrastive_loss(*sets, mining="random", margin=1e3)
    assert abs(loss - 3e3) < 30  # a mean over three anchors, not over six


def test_ties_are_not_semihard():
    """Squared distances 2 to the positive; 2, 4 and 3.2 to negatives: of these the last alone is in (2, 2 + 2)."""
    source = torch.tensor([[1.0, 0.0, 0.0]])
    images = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [-0.6, 0.8, 0.0]])
    y = torch.tensor([0, 1, 2, 3])
    empty, none = torch.empty(0, 3), torch.empty(0, dtype=torch.int64)
    for number, want in ((3, 0.0), (4, 0.8)):
        got = proxy_contrastive_loss(
            images[:number], y[:number], source, y[:1], empty, none, margin=2.0, mining="semihard"
        )
        assert got.item() == pytest.approx(want, abs=1e-6)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("mining", ["all", "semihard"])
def test_float32_is_accurate(mining, reduction):
    inputs = batch(300, 20, 5, 64, torch.float32)
    exact = clones(inputs, torch.float64)
    got, want = (
        proxy_contrastive_loss(*sets, mining=mining, reduction=reduction)
        for sets in (inputs, exact)
    )
    assert got.dtype == torch.float32
    assert abs(got.double() - want) <= 1e-5 * want
    got.backward()
    want.backward()
    for a, b in zip(grads(inputs), grads(exact), strict=True):
        assert (a - b).norm() <= 2e-3 * b.norm()  # a triplet at the border may count or not


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype):
    inputs = clones(batch(20, 4, 2, 8), dtype)
    got = proxy_contrastive_loss(*inputs)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, proxy_contrastive_loss(*clones(inputs, torch.float32)))
    got.backward()
    assert all(grad.dtype == dtype and grad.any() for grad in grads(inputs))


@pytest.mark.parametrize("mining", ["all", "semihard"])
def test_autocast_changes_nothing(mining):
    inputs = batch(50, 4, 2, 8, torch.float32)
    want = proxy_contrastive_loss(*inputs, mining=mining)
    with torch.autocast("cpu", torch.bfloat16):
        assert proxy_contrastive_loss(*inputs, mining=mining) == want


def test_sets_of_several_precisions_are_promoted():
    inputs = batch(20, 4, 2, 8)
    mixed = [inputs[0].detach().bfloat16(), inputs[1], inputs[2].detach().float(), *inputs[3:]]
    want = proxy_contrastive_loss(*clones(mixed, torch.float64))
    torch.testing.assert_close(proxy_contrastive_loss(*mixed), want)


def test_module_equals_function():
    inputs = batch(9, 3, 2, 4)
    options = {"margin": 0.5, "pair_margin": 0.7, "mining": "random", "reduction": "nonzero_mean"}
    module = copy.deepcopy(ProxyContrastiveLoss(**options))
    got, want = (
        f(*inputs, generator=torch.Generator().manual_seed(3))
        for f in (module, lambda *a, **k: proxy_contrastive_loss(*a, **k, **options))
    )
    assert got == want
    assert repr(module) == (
        "ProxyContrastiveLoss(margin=0.5, pair_margin=0.7, mining='random', reduction='nonzero_mean', "
        "term_weights=(1.0, 1.0, 1.0, 1.0))"
    )


MEMORY = """
import sys, torch
from pyg_relational.nn import proxy_contrastive_loss

def peak():  # of this process alone: ru_maxrss begins at the parent's
    return int(next(s for s in open("/proc/self/status") if s.startswith("VmHWM")).split()[1]) / 1024

def step(b, c, mining):
    y = torch.arange(c).repeat(10)
    images, anchors, proxies = (torch.randn(n, 128, requires_grad=True) for n in (b, len(y), len(y)))
    labels = torch.randint(c, (b,))
    before = peak()
    proxy_contrastive_loss(images, labels, anchors, y, proxies, y, mining=mining).backward()
    return peak() - before

torch.manual_seed(0)
step(200, 20, sys.argv[1])
print(step(1024, 100, sys.argv[1]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is on Linux")
@pytest.mark.parametrize("mining", ["all", "semihard"])
def test_memory_is_that_of_a_few_distance_matrices(mining):
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, mining], capture_output=True, text=True, check=True
    )
    assert 4 < float(done.stdout) < 96  # MiB; one 1024 x 1000 float32 is 4, all triplets are 38,000


def work(rank: int, folder: str, sizes: list[int], mining: str) -> None:
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=len(sizes)
    )
    inputs = batch(11, 3, 2, 4)
    part = slice(sum(sizes[:rank]), sum(sizes[: rank + 1]))
    x, y = inputs[0].detach()[part].requires_grad_(), inputs[1][part]
    loss = proxy_contrastive_loss(gather(x), gather(y), *inputs[2:], mining=mining)
    loss.backward()
    saved = {"loss": loss.detach(), "own": x.grad, "proxies": inputs[4].grad}
    torch.save(saved, f"{folder}/{rank}.pt")
    dist.barrier()
    os._exit(0)  # gloo's destructor can wait for the GIL forever


@pytest.mark.parametrize("mining", ["all", "semihard"])
def test_compiled_whole_it_equals_eager_on_unlabelled_rows_and_refuses_bad_input(mining):
    compiled = torch.compile(proxy_contrastive_loss, fullgraph=True, backend="aot_eager")
    inputs = batch(12, 3, 2, 4)
    for i in (1, 3, 5):
        inputs[i] = inputs[i].clone()
        inputs[i][i::3] = -1
    other = clones(inputs, torch.float64)
    losses = [
        f(*sets, margin=3.0, mining=mining)
        for f, sets in ((proxy_contrastive_loss, inputs), (compiled, other))
    ]
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-12, atol=1e-12)
    for loss in losses:
        loss.backward()
    for a, b in zip(grads(other), grads(inputs), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
    for at, bad, message in (
        (0, inputs[0].detach() * torch.nan, "embedding must be finite"),
        (5, inputs[5] - 4, "proxy_y must be >= -1"),
    ):
        with pytest.raises((RuntimeError, ValueError), match=message):
            compiled(*inputs[:at], bad, *inputs[at + 1 :], margin=3.0, mining=mining)


def test_two_processes_that_gather_give_the_gradient_of_one(tmp_path):
    sizes, inputs = [7, 4], batch(11, 3, 2, 4)
    loss = proxy_contrastive_loss(*inputs, mining="semihard")
    loss.backward()
    spawn(work, (str(tmp_path), sizes, "semihard"), processes=2)
    parts = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for part in parts:
        torch.testing.assert_close(part["loss"], loss.detach(), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(part["proxies"], inputs[4].grad, rtol=1e-12, atol=1e-12)
    own = torch.cat([part["own"] for part in parts]) / 2  # what averaging over processes leaves
    torch.testing.assert_close(own, inputs[0].grad, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"embedding": torch.ones(4)}, ValueError, r"embedding must have shape \[n, d\], got \[4\]"),
        ({"anchors": torch.ones(4, 2).long()}, TypeError, "anchors must be floating point"),
        ({"proxies": torch.ones(4, 3)}, ValueError, "proxies must have the 2 columns of embedding, got 3"),
        ({"anchors": torch.full((4, 2), torch.nan)}, ValueError, "anchors must be finite, got nan"),
        ({"y": torch.zeros(3).long()}, ValueError, r"y must have shape \[4\], got \[3\]"),
        ({"anchor_y": torch.zeros(4)}, TypeError, r"anchor_y must be int64, got torch\.float32"),
        ({"proxy_y": torch.tensor([0, 1, -2, 0])}, ValueError, "proxy_y must be >= -1, got -2"),
        ({"margin": 0.0}, ValueError, "margin must be finite and > 0, got 0.0"),
        ({"margin": "0.2"}, TypeError, "margin must be a number or a Tensor, got str"),
        ({"pair_margin": float("nan")}, ValueError, "pair_margin must be finite and > 0, got nan"),
        ({"mining": "hard"}, ValueError, "mining must be one of .*, got 'hard'"),
        ({"reduction": "sum"}, ValueError, "reduction must be one of .*, got 'sum'"),
        ({"generator": 3}, TypeError, r"generator must be a torch\.Generator or None, got int"),
    ],
)  # fmt: skip
def test_errors_name_the_argument(change, error, message):
    x, y = torch.ones(4, 2), torch.zeros(4, dtype=torch.int64)
    sets = {"embedding": x, "y": y, "anchors": x, "anchor_y": y, "proxies": x, "proxy_y": y}
    with pytest.raises(error, match=message):
        proxy_contrastive_loss(**{**sets, **change})


def test_the_module_checks_its_options():
    with pytest.raises(ValueError, match="margin must be finite and > 0, got -1"):
        ProxyContrastiveLoss(margin=-1)
    with pytest.raises(ValueError, match="mining must be one of"):
        ProxyContrastiveLoss(mining="easy")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("mining", MININGS)
def test_cuda_equals_cpu(mining):
    inputs = batch(500, 10, 1 if mining == "random" else 5, 16)
    if mining == "random":  # one positive and one negative: no choice
        inputs = batch(500, 2, 1, 16)
    there = clones(inputs, torch.float64, "cuda")
    losses = [proxy_contrastive_loss(*sets, mining=mining) for sets in (inputs, there)]
    for loss in losses:
        loss.backward()
    torch.testing.assert_close(losses[1].cpu(), losses[0])
    for a, b in zip(grads(there), grads(inputs), strict=True):
        torch.testing.assert_close(a.cpu(), b)
