"""torch.func (grad, vmap, jacrev) and torch.compile through every autograd.Function of ops."""

import shutil

import pytest
import torch
from torch import Tensor

from pyg_relational.nn import (
    laplace_propagation,
    p_laplace_propagation,
    poisson_propagation,
    random_walk_propagation,
)
from pyg_relational.ops import (
    edge_diff_dot,
    edge_dot,
    laplacian_product,
    modularity,
    spmm,
    unit_rows,
)
from pyg_relational.ops.autograd.functorch import plainly
from pyg_relational.ops.graph.edge_dot import _Adjacency, _Laplacian
from pyg_relational.ops.linear.implicit import implicit_solve
from pyg_relational.transforms import knn_graph
from tests.graphs import random_graph

N, D, E = 6, 3, 9


class Root:
    """u^2 = t."""

    def solve(self, t):
        return t.sqrt()

    def residual(self, u, t):
        return u * u - t

    def adjoint(self, u, grad, t):
        return grad / (2 * u)


def draw(*shape):
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.2


EDGES = torch.randint(N, (2, E), generator=torch.Generator().manual_seed(1))
ROW, COL = EDGES
BOTH = torch.cat([EDGES, EDGES.flip(0)], 1)

# function, its literal form, arguments
CASES = {
    "edge_dot": (
        lambda u, v: edge_dot(u, v, EDGES),
        lambda u, v: (u[ROW] * v[COL]).sum(1),
        (draw(N, D), draw(N, D).square()),
    ),
    "edge_dot_of_one": (
        lambda u: edge_dot(u, u, EDGES),
        lambda u: (u[ROW] * u[COL]).sum(1),
        (draw(N, D),),
    ),
    "edge_diff_dot": (
        lambda u, v: edge_diff_dot(u, v, EDGES),
        lambda u, v: ((u[ROW] - u[COL]) * (v[ROW] - v[COL])).sum(1),
        (draw(N, D), draw(N, D).square()),
    ),
    "edge_square": (
        lambda u: edge_diff_dot(u, u, EDGES),
        lambda u: (u[ROW] - u[COL]).square().sum(1),
        (draw(N, D),),
    ),
    "adjacency": (
        lambda g, v: _Adjacency.apply(g, v, ROW, COL, N + 1),
        lambda g, v: v.new_zeros(N + 1, D).index_add(0, ROW, g[:, None] * v[COL]),
        (draw(E), draw(N, D)),
    ),
    "laplacian": (
        lambda g, v: _Laplacian.apply(g, v, ROW, COL),
        lambda g, v: (
            v.new_zeros(N, D)
            .index_add(0, ROW, g[:, None] * (v[ROW] - v[COL]))
            .index_add(0, COL, g[:, None] * (v[COL] - v[ROW]))
        ),
        (draw(E), draw(N, D)),
    ),
    "laplacian_product": (
        lambda w, u: laplacian_product(BOTH, torch.cat([w, w]), u),
        lambda w, u: (
            u.new_zeros(N, D)
            .index_add(0, ROW, w[:, None] * (u[ROW] - u[COL]))
            .index_add(0, COL, w[:, None] * (u[COL] - u[ROW]))
        ),
        (draw(E), draw(N, D)),
    ),
    "unit_rows": (unit_rows, lambda x: x / x.square().sum(1, keepdim=True).sqrt(), (draw(N, D),)),
    "implicit_solve": (lambda t: implicit_solve(Root(), t), torch.sqrt, (draw(N),)),
}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def loss(f):
    return lambda *inputs: f(*inputs).pow(3).sum()


def every(inputs):
    return tuple(range(len(inputs)))


def assert_all_close(ours, expected):
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9)


def test_grad_and_grad_of_grad(case):
    f, literal, inputs = case

    def slope(f, *inputs):
        grads = torch.func.grad(loss(f), every(inputs))(*inputs)
        return sum(g.pow(3).sum() for g in grads)

    results = []
    for g in (f, literal):
        first = torch.func.grad(loss(g), every(inputs))(*inputs)
        second = torch.func.grad(slope, tuple(i + 1 for i in every(inputs)))(g, *inputs)
        results.append((*first, *second))
    assert_all_close(*results)


def test_func_grad_mixes_with_autograd(case):
    f, literal, inputs = case
    leaves = [x.clone().requires_grad_() for x in inputs]
    results = []
    for g in (f, literal):
        first = torch.func.grad(loss(g), every(inputs))(*leaves)
        results.append(torch.autograd.grad(sum(x.square().sum() for x in first), leaves))
    assert_all_close(*results)


@pytest.mark.parametrize("dim", [0, -1])
def test_vmap_of_value_and_gradient(case, dim):
    f, literal, inputs = case
    batched = [torch.stack([x, x + 0.3, x.square() + 0.1], dim) for x in inputs]
    for dims in {(dim,) * len(inputs), (dim, *(None,) * (len(inputs) - 1))}:
        given = [b if d is not None else x for b, d, x in zip(batched, dims, inputs, strict=True)]
        for make in (lambda g: g, lambda g: torch.func.grad(loss(g), every(inputs))):
            ours, expected = (torch.func.vmap(make(g), dims)(*given) for g in (f, literal))
            assert_all_close(ours, expected)


def test_vmap_over_edges():
    x, edges = draw(N, D), torch.stack([EDGES, EDGES.flip(1), EDGES.flip(0)])
    for f in (edge_dot, edge_diff_dot):
        ours = torch.func.vmap(f, (None, None, 0))(x, x.square(), edges)
        assert_all_close(ours, torch.stack([f(x, x.square(), e) for e in edges]))


def test_jacobian_of_jacobian(case):
    f, literal, inputs = case
    ours, expected = (torch.func.jacrev(torch.func.jacrev(g))(*inputs) for g in (f, literal))
    assert_all_close(ours, expected)


@pytest.mark.parametrize(
    ("name", "backend"),
    [(name, "aot_eager") for name in CASES if name != "implicit_solve"]
    + [("laplacian", "inductor")],
)
def test_compiles_whole_with_its_backward(name, backend):
    if backend == "inductor" and not shutil.which("c++"):
        pytest.skip("needs a C++ compiler")
    f, _, inputs = CASES[name]
    leaves = [x.clone().requires_grad_() for x in inputs]
    results = []
    for g in (torch.compile(f, fullgraph=True, backend=backend), f):
        value = g(*leaves)
        results.append((value, *torch.autograd.grad(value.pow(3).sum(), leaves)))
    assert_all_close(*results)


def test_spmm_compiles_whole():
    g, v = draw(E), draw(N, D)
    f = torch.compile(spmm, fullgraph=True, backend="aot_eager")
    assert_all_close(f(ROW, COL, g, v, N), spmm(ROW, COL, g, v, N))


def assert_same_derivatives(f, x: Tensor):
    """First and second, by torch.func and by autograd."""
    leaf = x.clone().requires_grad_()
    (first,) = torch.autograd.grad(f(leaf), leaf, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), leaf)
    assert first.abs().max() > 0
    slope = torch.func.grad(f)
    torch.testing.assert_close(slope(x), first.detach(), rtol=1e-6, atol=1e-9)
    ours = torch.func.grad(lambda x: slope(x).square().sum())(x)
    torch.testing.assert_close(ours, second, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    "propagate",
    [
        laplace_propagation,
        poisson_propagation,
        random_walk_propagation,
        lambda *args: p_laplace_propagation(*args, p=3.0),
        lambda *args: p_laplace_propagation(*args, p=3.0, equation="game"),
    ],
)
def test_grad_through_propagation(propagate):
    graph = random_graph(12)
    y = graph.y.where(graph.mask, -1)

    def f(weight):
        return propagate(graph.edge_index, weight[graph.pair], y).pow(3).sum()

    assert_same_derivatives(f, graph.weight)


def test_jacobian_of_laplace_propagation():
    graph = random_graph(8)
    y = graph.y.where(graph.mask, -1)

    def f(weight):
        return laplace_propagation(graph.edge_index, weight[graph.pair], y)

    ours = torch.func.jacrev(f)(graph.weight)
    assert_all_close(ours, torch.autograd.functional.jacobian(f, graph.weight))


def test_grad_through_a_knn_graph_and_modularity():
    x = draw(20, 3)
    assert_same_derivatives(lambda x: knn_graph(x, 4)[1].pow(3).sum(), x)
    graph = random_graph(9)
    c = draw(9, 3)
    assert_same_derivatives(lambda c: modularity(graph.edge_index, None, c).pow(2), c)
    assert_same_derivatives(
        lambda w: modularity(graph.edge_index, w[graph.pair], c).pow(2), graph.weight
    )


def test_plainly_has_no_gradient():
    x = torch.tensor(2.0, requires_grad=True)
    assert not plainly(torch.exp, x).requires_grad
    twice = torch.func.grad(torch.func.grad(lambda x: x**3 * plainly(torch.sign, x)))
    assert twice(torch.tensor(-2.0)) == 12
