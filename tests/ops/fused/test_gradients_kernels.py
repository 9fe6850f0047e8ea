import pytest
import torch
from torch.testing import assert_close

from pyg_relational.ops.fused import gradients
from pyg_relational.ops.fused.gradients import Iterate
from pyg_relational.ops.linear import cg

F64 = torch.float64


class Scaled:
    """A positive definite matrix of unit diagonal, and a preconditioner or none."""

    def __init__(self, n, inverse=False):
        g = torch.Generator().manual_seed(n)
        a = torch.randn(n, n, generator=g, dtype=F64)
        a = a @ a.T + n * torch.eye(n, dtype=F64)
        self.matrix = a / (a.diag()[:, None] * a.diag()).sqrt()
        self.inverse = torch.eye(n, dtype=F64) + 0.1 * self.matrix if inverse else None

    def apply(self, x):
        return self.matrix.to(x) @ x

    def precondition(self, r):
        return r if self.inverse is None else self.inverse.to(r) @ r


def literal(system, r, steps):
    """Hestenes and Stiefel's conjugate gradients in float64, column by column, until r M^-1 r <= 1."""
    out = []
    for b in r.double().cpu().unbind(1):
        x, b = torch.zeros_like(b), b.clone()
        p = z = system.precondition(b[:, None])[:, 0]
        for _ in range(steps):
            square = b @ z
            if square <= 1:
                break
            q = system.apply(p[:, None])[:, 0]
            alpha = square / (p @ q)
            x, b = x + alpha * p, b - alpha * q
            z = system.precondition(b[:, None])[:, 0]
            p = z + (b @ z) / square * p
        out.append((x, b))
    return [torch.stack(part, 1) for part in zip(*out, strict=True)]


def steps(system, r, count):
    at = Iterate(r.clone())
    for _ in range(count):
        z = system.precondition(at.r)
        at.step(z, system.apply(z))
    return at


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize(("n", "c", "count"), [(1, 1, 1), (3, 5, 2), (70, 10, 4), (40, 140, 3)])
def test_steps_equal_the_literal_form(device, n, c, count, inverse):
    system = Scaled(n, inverse)
    r = 100 * torch.randn(n, c, generator=torch.Generator().manual_seed(c))
    x, left = literal(system, r, count)
    at = steps(system, r.to(device), count)
    assert_close(at.x.cpu().double(), x, rtol=0, atol=2e-3)  # of 100
    assert_close(at.r.cpu().double(), left, rtol=0, atol=2e-3)


def test_rows_in_many_parts(device, monkeypatch):
    system = Scaled(37)
    r = 100 * torch.randn(37, 3).to(device)
    whole = steps(system, r, 2)
    monkeypatch.setattr(gradients, "SUMS", 8)
    monkeypatch.setattr(gradients, "_NUMBERS", 16)
    monkeypatch.setattr(gradients, "_TILES", 1)
    for programs, parts in ((512, 19), (7, 7)):
        monkeypatch.setattr(gradients, "_PROGRAMS", programs)
        parted = steps(system, r, 2)
        assert parted._sums.shape[1] == parts
        assert_close(parted.x, whole.x, rtol=1e-5, atol=1e-4)


def test_columns_that_are_done_or_have_no_curvature_stay(device):
    system = Scaled(4)
    system.matrix = torch.diag(torch.tensor([1.0, 1.0, -1e-3, 0.0], dtype=F64))
    r = torch.tensor([0.5, 9.0, 9.0, 9.0]).diag().to(device)
    at = steps(system, r, 3)
    assert_close(at.x, torch.tensor([0.0, 9.0, 0.0, 0.0]).diag().to(device))
    assert_close(at.r, torch.tensor([0.5, 0.0, 9.0, 9.0]).diag().to(device))
    assert at.size.isinf().all()


@pytest.mark.parametrize("inverse", [False, True])
def test_a_round_equals_that_of_torch(device, monkeypatch, inverse):
    system = Scaled(60, inverse)
    b = torch.randn(60, 7, dtype=F64).to(device)
    b[:, 3] = 0
    wanted, count = cg.conjugate_round(system, b, torch.float32, 1e-5, 100)
    monkeypatch.setattr(cg, "is_fused", lambda *t: True)
    taken = []
    monkeypatch.setattr(cg, "Iterate", lambda r: taken.append(r) or Iterate(r))
    found, looked = cg.conjugate_round(system, b, torch.float32, 1e-5, 100)
    assert len(taken) == 1
    assert count <= looked <= count + 16
    assert_close(found, wanted, rtol=0, atol=1e-4)
    assert found[:, 3].eq(0).all()
    assert (system.apply(found) - b).norm(dim=0).le(1e-4 * b.norm(dim=0)).all()
    assert cg.conjugate_round(system, b, torch.float32, 1e-5, 3)[1] == 3
