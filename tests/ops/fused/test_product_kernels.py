import pytest
import torch
from torch.testing import assert_close

from pyg_relational.ops.fused.product import product
from pyg_relational.ops.graph import quadratic_form as forms
from pyg_relational.ops.graph import spmm as products
from pyg_relational.ops.graph.spmm import csr_matrix

F64 = torch.float64


def made(n, m, edges, c, device="cpu"):
    """Entries, some at one place, the features, and the literal product in float64."""
    g = torch.Generator().manual_seed(n + edges)
    row, col = torch.randint(n, (edges,), generator=g), torch.randint(m, (edges,), generator=g)
    weight, x = torch.randn(edges, generator=g), torch.randn(m, c, generator=g)
    dense = torch.zeros(n, m, dtype=F64).index_put((row, col), weight.double(), accumulate=True)
    return [t.to(device) for t in (row, col, weight, x)], dense @ x.double()


@pytest.mark.parametrize(
    ("n", "m", "edges", "c"), [(1, 1, 1, 1), (5, 3, 40, 10), (7, 7, 300, 130), (40, 9, 5, 33)]
)
def test_equals_the_literal_form(device, n, m, edges, c):
    (row, col, weight, x), exact = made(n, m, edges, c, device)
    out, form = product(csr_matrix(row, col, weight, (n, m)), x)
    assert_close(out.cpu().double(), exact, rtol=0, atol=3e-5)
    assert len(form) == 0


@pytest.mark.parametrize(("n", "edges", "c"), [(1, 1, 1), (12, 60, 20), (5, 7, 130), (9, 3, 17)])
def test_inner_products_of_rows(device, n, edges, c):
    (row, col, weight, x), exact = made(n, n, edges, c, device)
    out, form = product(csr_matrix(row, col, weight, (n, n)), x, form=True)
    assert_close(out.cpu().double(), exact, rtol=0, atol=3e-5)
    assert_close(form.cpu().double(), (exact * x.cpu()).sum(1), rtol=0, atol=3e-5)


def test_strided_features(device):
    (row, col, weight, x), exact = made(6, 8, 20, 5, device)
    strided = torch.stack([x, x], 2)[:, :, 0]
    out, _ = product(csr_matrix(row, col, weight, (6, 8)), strided)
    assert_close(out.cpu().double(), exact, rtol=0, atol=1e-5)


def test_the_callers(device, monkeypatch):
    (row, col, weight, x), exact = made(9, 9, 30, 4, device)
    taken = []

    def spy(*args, **kwargs):
        taken.append(1)
        return product(*args, **kwargs)

    for module in (products, forms):
        monkeypatch.setattr(module, "is_fused", lambda *t: True)
        monkeypatch.setattr(module, "product", spy)
    assert_close(products.spmm(row, col, weight, x, 9).cpu().double(), exact, rtol=0, atol=1e-5)
    both = torch.cat([torch.stack([row, col]), torch.stack([col, row])], 1)
    w, c = weight.repeat(2).requires_grad_(), x.clone().requires_grad_()
    graph = torch.zeros(9, dtype=torch.int64, device=device)
    value = forms.quadratic_form(both, w, c, graph, 1)
    assert len(taken) == 2
    value.sum().backward()
    dense = torch.zeros(9, 9, dtype=F64).index_put(
        tuple(both.cpu()), w.detach().cpu().double(), accumulate=True
    )
    double = x.cpu().double().requires_grad_()
    literal = (dense * (double @ double.T)).sum()
    literal.backward()
    assert_close(value.cpu(), literal.detach()[None], rtol=1e-5, atol=1e-5)
    assert_close(c.grad.cpu().double(), double.grad, rtol=0, atol=1e-5)
