import torch

from pyg_relational.ops.linear.cg import conjugate_round


class Dense:
    """A matrix as conjugate gradients see it, without a preconditioner."""

    def __init__(self, matrix):
        self.matrix = matrix

    def apply(self, x):
        return self.matrix.to(x.dtype) @ x

    def precondition(self, r):
        return r


def test_a_direction_that_rounding_made_indefinite_is_not_taken():
    matrix = torch.diag(torch.tensor([1.0, 1.0, -1e-3, 0.0], dtype=torch.float64))
    b = torch.eye(4, dtype=torch.float64)
    x, iterations = conjugate_round(Dense(matrix), b, torch.float64, 1e-8, 50)
    assert torch.equal(x[:, :2], b[:, :2])  # columns beside it go on
    assert x[:, 2:].eq(0).all()  # -1000 and infinity otherwise
    assert iterations < 50
