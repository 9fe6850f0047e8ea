import pytest
import torch
from torch import Tensor

from pyg_relational.ops.pairs.consistency import PairWeights
from pyg_relational.ops.pairs.cross_consistency import cross_consistency, sorted_rows

WEIGHTS = PairWeights(0.7, 0.2)


def literal(u: Tensor, q: Tensor, y: Tensor, v: Tensor, p: Tensor, z: Tensor, relu: bool) -> Tensor:
    same = (y[:, None] == z).to(u.dtype)
    f = u @ v.T
    square = ((f.relu() if relu else f) - same * (q @ p.T)) ** 2
    return (square * (same * WEIGHTS.same + (1 - same) * WEIGHTS.different)).sum()


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("tile", [None, 1, 4])
@pytest.mark.parametrize("sizes", [(9, 13), (0, 3), (3, 0), (1, 1)])
def test_value_and_gradients_are_those_of_the_formula(relu, tile, sizes):
    torch.manual_seed(0)
    u, v = (torch.randn(n, 3, dtype=torch.float64) for n in sizes)
    q, p = (torch.rand(n, 2, dtype=torch.float64) for n in sizes)
    y, z = (torch.randint(4, (n,)) for n in sizes)
    rows, others = sorted_rows(u, q, y), sorted_rows(v, p, z)
    a, b = rows.u.clone().requires_grad_(), rows.q.clone().requires_grad_()
    exact = literal(a, b, rows.y, v, p, z, relu)
    exact.backward()
    grads = torch.ones_like(a.detach()), torch.ones_like(b.detach())
    value = cross_consistency(rows, others, WEIGHTS, grads, relu=relu, tile=tile)
    torch.testing.assert_close(value, exact.detach(), rtol=1e-12, atol=1e-14)
    for grad, leaf in zip(grads, (a, b), strict=True):
        torch.testing.assert_close(grad - 1, leaf.grad, rtol=1e-12, atol=1e-13)


def test_float32_is_summed_in_float64():
    u = torch.ones(600, 1)
    rows = sorted_rows(u, u, torch.arange(600))
    none = torch.empty(0)
    value = cross_consistency(rows, rows, PairWeights(1.0, 1.0), (none, none))
    assert value.dtype == torch.float64
    assert value.item() == 600 * 599
