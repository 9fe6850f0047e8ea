import importlib
import os

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from pyg_relational.nn import graph_consistency_loss
from pyg_relational.ops import unit_rows
from pyg_relational.ops.fused import consistency as launch
from pyg_relational.ops.fused.consistency import consistency
from pyg_relational.ops.pairs.consistency import PairWeights, pair_consistency

F64 = torch.float64
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
tiled = importlib.import_module("pyg_relational.ops.pairs.consistency")
tiles = launch.TILES
dense = importlib.import_module("pyg_relational.nn.loss.dense_consistency")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Tiles of which a few rows have many, and columns that are not parted."""
    monkeypatch.setattr(launch, "_PROGRAMS", 1)
    monkeypatch.setattr(launch, "TILES", dict.fromkeys(tiles, 16))


def made(n, d, c, classes=3):
    """Unit rows in float64, unsorted classes."""
    g = torch.Generator().manual_seed(n + d)
    u, q = (unit_rows(torch.randn(n, k, dtype=F64, generator=g)) for k in (d, c))
    return u, q.abs(), torch.randint(-1, classes, (n,), generator=g)


def literal(u, q, y, same, different, relu):
    """Value and both gradients by autograd of the formula over whole matrices."""
    u, q = u.clone().requires_grad_(), q.clone().requires_grad_()
    f = u @ u.T
    alike = y[:, None] == y
    gap = (f.relu() if relu else f) - alike * (q @ q.T)
    value = (torch.where(alike, same, different) * gap.square()).triu(1).sum()
    return value.detach(), *torch.autograd.grad(value, (u, q))


def on(device, *tensors):
    return [t.to(device, torch.float32) if t.is_floating_point() else t.to(device) for t in tensors]


def near(found, exact, error):
    for a, b in zip(found, exact, strict=True):
        assert_close(a.cpu().double(), b, rtol=0, atol=error * max(1.0, b.abs().max().item()))


@pytest.mark.parametrize(
    ("n", "d", "c", "classes"),
    [(1, 1, 1, 1), (2, 3, 1, 1), (35, 5, 20, 1), (33, 20, 5, 3), (20, 5, 3, 60)],
)
@pytest.mark.parametrize(("relu", "ordered"), [(True, True), (False, False)])
def test_equals_the_literal_form(device, n, d, c, classes, relu, ordered):
    u, q, y = made(n, d, c, classes)
    y = y.sort().values if ordered else y
    exact = literal(u, q, y, 0.7, 0.2, relu)
    near(consistency(*on(device, u, q, y), 0.7, 0.2, relu, True, True), exact, 5e-6)


@pytest.mark.parametrize(("by_u", "by_q"), [(True, False), (False, True), (False, False)])
def test_gradients_that_are_not_asked_for_are_empty(device, by_u, by_q):
    u, q, y = made(40, 5, 3)
    value, *grads = literal(u, q, y, 1.0, 1.0, True)
    found, *given = consistency(*on(device, u, q, y), 1.0, 1.0, True, by_u, by_q)
    near([found], [value], 5e-6)
    for grad, exact, by in zip(given, grads, (by_u, by_q), strict=True):
        assert len(grad) == (len(u) if by else 0)
        near([grad] * by, [exact] * by, 5e-6)


@pytest.mark.parametrize("by_q", [True, False])
def test_the_tiles_of_a_card(device, monkeypatch, by_q):
    monkeypatch.setattr(launch, "TILES", tiles)
    u, q, y = made(70, 130, 3)
    exact = literal(u, q, y, 0.7, 0.2, True)
    found = consistency(*on(device, u, q, y), 0.7, 0.2, True, True, by_q)
    near(found[: 2 + by_q], exact[: 2 + by_q], 5e-6)


@pytest.mark.parametrize(("programs", "parts"), [(1, 1), (12, 2), (512, 3)])
def test_columns_in_parts(device, monkeypatch, programs, parts):
    u, q, y = made(40, 7, 3)
    monkeypatch.setattr(launch, "_PROGRAMS", programs)
    whole, found_parts = launch._whole, []
    monkeypatch.setattr(launch, "_whole", lambda x: found_parts.append(len(x)) or whole(x))
    found = consistency(*on(device, u, q, y), 1.0, 0.5, True, True, True)
    near(found, literal(u, q, y, 1.0, 0.5, True), 5e-6)
    assert found_parts == [parts] * 2


def test_strided_rows(device):
    u, q, y = made(20, 12, 6)
    exact = literal(u, q, y, 1.0, 1.0, True)
    u, q, y = on(device, u, q, y)
    strided = u.T.contiguous().T, torch.stack([q, q], 2)[:, :, 0], torch.stack([y, y], 1)[:, 0]
    near(consistency(*strided, 1.0, 1.0, True, True, True), exact, 5e-6)


@pytest.fixture
def bfloat16_products(monkeypatch):
    """The interpreter multiplies the bits of bfloat16 as integers: numpy has no such numbers."""
    if not INTERPRETED:
        return
    interpreter = importlib.import_module("triton.runtime.interpreter")
    dot = interpreter.InterpreterBuilder.create_dot

    def widened(builder, a, b, *rest):
        for handle in (a, b):
            if handle.data.dtype == np.uint16:
                handle.data = (handle.data.astype(np.uint32) << 16).view(np.float32)
        return dot(builder, a, b, *rest)

    monkeypatch.setattr(interpreter.InterpreterBuilder, "create_dot", widened)


@pytest.mark.parametrize(("precision", "error"), [("high", 5e-3), ("medium", 3e-2)])
def test_the_callers_precision(device, bfloat16_products, precision, error):
    u, q, y = made(36, 40, 5)
    exact = literal(u, q, y, 1 / 36, 1 / 36, True)
    torch.set_float32_matmul_precision(precision)
    try:
        found = consistency(*on(device, u, q, y), 1 / 36, 1 / 36, True, True, True)
    finally:
        torch.set_float32_matmul_precision("highest")
    near(found, exact, error)
    assert all(t.dtype == torch.float32 for t in found)
    rounded = (found[0].double() - exact[0]).abs() > 1e-4
    assert bool(rounded) == (precision == "medium") or not INTERPRETED


def test_what_pays(monkeypatch):
    monkeypatch.setattr(launch, "TILES", tiles)
    assert launch.pays(512, 512)
    assert launch.pays(10**6, 128)
    assert not launch.pays(513, 129)
    assert not launch.pays(2, 513)
    monkeypatch.setattr(launch, "precision", lambda: "tf32")
    assert launch.pays(512, 512)
    assert not launch.pays(513, 128)


@pytest.fixture
def taken(monkeypatch):
    """Calls of the kernel by the losses, as on CUDA."""
    calls = []
    for module in (tiled, dense):
        monkeypatch.setattr(module, "is_fused", lambda *t: t[0].dtype == torch.float32)
        monkeypatch.setattr(
            module, "consistency", lambda *args: calls.append(args) or consistency(*args)
        )
    return calls


@pytest.mark.parametrize("method", ["dense", "tiled"])
@pytest.mark.parametrize("options", [{}, {"detach_target": False, "relu": False, "center": True}])
def test_the_loss(device, taken, method, options):
    g = torch.Generator().manual_seed(0)
    x, z = torch.randn(37, 9, generator=g), torch.randn(37, 4, generator=g)
    y = torch.randint(4, (37,), generator=g)

    def run(device, dtype):
        leaves = [t.to(device, dtype).requires_grad_() for t in (x, z)]
        value = graph_consistency_loss(*leaves, y.to(device), method=method, **options)
        needed = leaves if "relu" in options else leaves[:1]
        return value.detach(), *torch.autograd.grad(value, needed)

    found = run(device, torch.float32)
    assert len(taken) == 1
    near(found, run("cpu", F64), 5e-6)
    assert len(taken) == 1  # float64 is left to torch


def test_second_derivatives_are_of_the_torch_form(device, taken):
    x, z, y = made(20, 6, 3)
    x = x * 3

    def second(x):
        x = x.clone().requires_grad_()
        loss = graph_consistency_loss(x, z.to(x), y.abs().to(x.device), method="dense")
        (slope,) = torch.autograd.grad(loss, x, create_graph=True)
        return torch.autograd.grad(slope.square().sum(), x)

    near(second(x.to(device, torch.float32)), second(x), 3e-5)
    assert len(taken) == 1


def test_tiles_with_weights_of_pairs(device, taken):
    u, q, y = made(36, 8, 3)
    exact = literal(u, q, y, 2.0, 0.5, True)
    leaves = [t.requires_grad_() for t in on(device, u, q)]
    value = pair_consistency(*leaves, y.to(device), PairWeights(2.0, 0.5))
    near((value.detach(), *torch.autograd.grad(value, leaves)), exact, 5e-6)
    assert len(taken) == 1
