import torch

from pyg_relational.ops.linear.bicgstab import bicgstab


def matrix(n):
    """Unsymmetric, of unit diagonal."""
    g = torch.Generator().manual_seed(0)
    off = torch.rand(n, n, generator=g, dtype=torch.float64) - 0.5
    return torch.eye(n).double() + off.fill_diagonal_(0) / n


def test_equals_a_direct_solver_column_by_column():
    g = torch.Generator().manual_seed(1)
    a, b = matrix(30), torch.randn(30, 4, generator=g, dtype=torch.float64)
    b[:, 1] = 0
    b[:, 2] *= 1e6  # each column has a tolerance of its own
    x, iterations = bicgstab(lambda x: a @ x, b, tol=1e-10, max_iter=100)
    error = (x - torch.linalg.solve(a, b)).abs().amax(0)
    assert (error <= 1e-9 * b.abs().amax(0)).all()
    assert 1 < iterations < 100
    alone, fewer = bicgstab(lambda x: a @ x, b[:, :1], tol=1e-3, max_iter=100)
    assert fewer < iterations
    assert (a @ alone - b[:, :1]).abs().max() <= 1e-3 * b[:, :1].abs().max()


def test_stops_where_it_may_go_no_further():
    a = matrix(30)
    assert bicgstab(lambda x: a @ x, torch.ones(30, 1).double(), tol=1e-12, max_iter=2)[1] == 2


def test_a_breakdown_leaves_finite_numbers():
    a = torch.tensor([[1.0, -2.0], [0.0, 1.0]]).double()  # a @ b is orthogonal to b
    x, _ = bicgstab(lambda x: a @ x, torch.ones(2, 1).double(), tol=1e-10, max_iter=5)
    assert x.isfinite().all()
