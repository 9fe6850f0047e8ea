import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_relational.ops.graph.quadratic_form import quadratic_form
from tests.graphs import random_graph


def dense(edge_index, w, c, graph, count):
    n = len(c)
    a = w.new_zeros(n, n).index_put(tuple(edge_index), w, accumulate=True)
    node = (a @ c * c).sum(1)
    return torch.stack([node[graph == g].sum() for g in range(count)]).double()


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 12), st.integers(1, 3), st.integers(0, 2**31))
def test_value_and_derivatives_are_those_of_the_matrix(n, count, seed):
    torch.manual_seed(seed)
    graph = random_graph(n)
    part = torch.randint(count, (n,))
    inside = part[graph.edge_index[0]] == part[graph.edge_index[1]]
    edges, pair = graph.edge_index[:, inside], graph.pair[inside]
    w, c = graph.weight.clone().requires_grad_(), torch.randn(n, 2).double().requires_grad_()

    def ours(w, c):
        return quadratic_form(edges, w[pair], c, part, count)

    def exact(w, c):
        return dense(edges, w[pair], c, part, count)

    torch.testing.assert_close(ours(w, c), exact(w, c))
    assert torch.autograd.gradcheck(ours, (w, c))
    for f, g in zip(
        *(torch.autograd.grad(h(w, c).square().sum(), (w, c)) for h in (ours, exact)), strict=True
    ):
        torch.testing.assert_close(f, g)
    if len(pair):
        assert torch.autograd.gradgradcheck(ours, (w, c))


def test_one_sparse_product_serves_value_and_gradient(monkeypatch):
    import importlib

    module = importlib.import_module("pyg_relational.ops.graph.quadratic_form")
    taken = []
    plain = module.spmm
    monkeypatch.setattr(module, "spmm", lambda *args: taken.append(1) or plain(*args))
    monkeypatch.setattr(module, "_Adjacency", None)
    graph = random_graph(9)
    c = torch.randn(9, 2).double().requires_grad_()
    zero = torch.zeros(9).long()
    quadratic_form(graph.edge_index, graph.weight[graph.pair], c, zero, 1).sum().backward()
    assert taken == [1]
    assert c.grad.any()


@pytest.mark.parametrize("mapped", [(0, None), (None, 0), (0, 0)])
def test_vmap_is_one_form_a_part(mapped):
    graph = random_graph(6)
    w = graph.weight[graph.pair]
    w = torch.stack([w, 2 * w, 3 * w]) if mapped[0] == 0 else w
    c = torch.randn(*([3] if mapped[1] == 0 else []), 6, 2).double()
    zero = torch.zeros(6).long()

    def f(w, c):
        return quadratic_form(graph.edge_index, w, c, zero, 1)

    found = torch.func.vmap(f, mapped)(w, c)
    for i in range(3):
        part = (t if dim is None else t[i] for t, dim in zip((w, c), mapped, strict=True))
        torch.testing.assert_close(found[i], f(*part))
