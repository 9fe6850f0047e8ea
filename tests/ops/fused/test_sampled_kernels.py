import importlib

import pytest
import torch
from torch.testing import assert_close

from pyg_relational.ops import edge_diff_dot, edge_dot
from pyg_relational.ops.fused.sampled import sampled

F64 = torch.float64
module = importlib.import_module("pyg_relational.ops.graph.edge_dot")


def made(edges, n, d, seed=0):
    g = torch.Generator().manual_seed(seed)
    u, v = (torch.randn(n, d, dtype=F64, generator=g) for _ in range(2))
    return *torch.randint(n, (2, edges), generator=g), u, v


@pytest.mark.parametrize(("edges", "n", "d"), [(1, 1, 1), (65, 9, 33), (128, 20, 64), (3, 4, 7)])
@pytest.mark.parametrize("diff", [False, True])
def test_equals_the_literal_form(device, edges, n, d, diff):
    row, col, u, v = made(edges, n, d)
    exact = ((u[row] - u[col]) * (v[row] - v[col]) if diff else u[row] * v[col]).sum(1)
    u, v = (t.to(device, torch.float32) for t in (u, v))
    assert_close(
        sampled(row.to(device), col.to(device), u, v, diff).cpu().double(), exact, rtol=0, atol=3e-5
    )


def test_strided_inputs(device):
    row, col, u, v = made(70, 12, 10)
    u, v = u.float().to(device)[:, ::2], v.float().to(device).T[:5].T
    edges = torch.stack([row, col], 1).to(device)
    exact = (u.double()[edges[:, 0]] * v.double()[edges[:, 1]]).sum(1)
    found = sampled(edges[:, 0], edges[:, 1], u, v, False)
    assert_close(found.double(), exact, rtol=0, atol=1e-5)


@pytest.mark.parametrize("f", [edge_dot, edge_diff_dot])
@pytest.mark.parametrize("same", [False, True])
def test_two_derivatives(device, f, same, monkeypatch):
    monkeypatch.setattr(module, "is_fused", lambda *t: t[0].dtype == torch.float32)
    row, col, u, v = made(40, 9, 5)

    def run(u, v, edges):
        u, v = u.requires_grad_(), v.requires_grad_()
        leaves = [u] if same else [u, v]
        value = f(u, u if same else v, edges)
        first = torch.autograd.grad(value.square().sum(), leaves, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), leaves)
        return [t.detach().cpu().double() for t in (value, *first, *second)]

    edges = torch.stack([row, col])
    ours = run(u.to(device, torch.float32), v.to(device, torch.float32), edges.to(device))
    for a, b in zip(ours, run(u, v, edges), strict=True):
        assert_close(a, b, rtol=0, atol=1e-5 * b.abs().max().item())


def test_no_edges(device, monkeypatch):
    monkeypatch.setattr(module, "is_fused", lambda *t: True)
    x = torch.randn(3, 4, device=device)
    assert edge_dot(x, x, torch.zeros(2, 0, dtype=torch.int64, device=device)).shape == (0,)
