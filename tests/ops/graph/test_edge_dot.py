import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.utils._python_dispatch import TorchDispatchMode

from pyg_relational.ops import edge_diff_dot, edge_dot

CUDA = pytest.param(
    "cuda",
    marks=[
        pytest.mark.cuda,
        pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
    ],
)


def literal_dot(u, v, edge_index):
    return (u[edge_index[0]] * v[edge_index[1]]).sum(1)


def literal_diff_dot(u, v, edge_index):
    i, j = edge_index
    return ((u[i] - u[j]) * (v[i] - v[j])).sum(1)


@st.composite
def graphs(draw):
    """Sizes and edges with loops and duplicates, in any order, possibly none."""
    n, m = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    edges = draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, m - 1)), max_size=30))
    return n, m, torch.tensor(edges, dtype=torch.int64).reshape(-1, 2).T


def both(f, literal, inputs, edge_index):
    """Values, gradients and gradients of gradients of the two."""
    for g in (f, literal):
        value = g(*inputs, edge_index)
        leaves = tuple({id(x): x for x in inputs}.values())
        first = torch.autograd.grad(value.square().sum(), leaves, create_graph=True)
        second = torch.autograd.grad(sum((x**2).sum() for x in first), leaves)
        yield value, *first, *second


@settings(deadline=None, max_examples=30)
@given(graphs(), st.integers(0, 4), st.integers(0, 2**31))
def test_equal_to_the_literal_forms(graph, d, seed):
    n, m, edge_index = graph
    generator = torch.Generator().manual_seed(seed)
    u, w = (torch.randn(n, d, dtype=torch.float64, generator=generator) for _ in range(2))
    v = torch.randn(m, d, dtype=torch.float64, generator=generator)
    u, v, w = u.requires_grad_(), v.requires_grad_(), w.requires_grad_()
    inner = edge_index % n
    for f, literal, inputs, edges in (
        (edge_dot, literal_dot, (u, v), edge_index),
        (edge_dot, literal_dot, (u, u), inner),
        (edge_diff_dot, literal_diff_dot, (u, w), inner),
        (edge_diff_dot, literal_diff_dot, (u, u), inner),
    ):
        for ours, expected in zip(*both(f, literal, inputs, edges), strict=True):
            torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9)


EDGES = torch.tensor([[0, 3, 1, 1, 2, 0, 0], [1, 2, 1, 0, 3, 1, 3]])


@pytest.mark.parametrize("f", [edge_dot, edge_diff_dot])
def test_derivatives(f):
    u, v = (torch.randn(4, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    for g, inputs in (
        (lambda u, v: f(u, v, EDGES), (u, v)),
        (lambda u: f(u, v.detach(), EDGES), (u,)),
        (lambda v: f(u.detach(), v, EDGES), (v,)),
        (lambda u: f(u, u, EDGES), (u,)),
        (lambda u: f(2 * u, u.exp(), EDGES), (u,)),
    ):
        assert gradcheck(g, inputs)
        assert gradgradcheck(g, inputs, fast_mode=True)


@pytest.mark.parametrize("f", [edge_dot, edge_diff_dot])
def test_third_derivative(f):
    u = torch.randn(4, 2, dtype=torch.float64, requires_grad=True)

    def gradient(u):
        return torch.autograd.grad(f(u, u, EDGES).pow(3).sum(), u, create_graph=True)[0]

    assert gradgradcheck(gradient, u, fast_mode=True)


def test_bipartite_sizes():
    u = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    v = torch.randn(6, 2, dtype=torch.float64, requires_grad=True)
    edge_index = torch.tensor([[2, 0, 0, 1], [5, 0, 4, 5]])
    assert gradcheck(lambda u, v: edge_dot(u, v, edge_index), (u, v))


@pytest.mark.parametrize("f", [edge_dot, edge_diff_dot])
def test_no_edges_have_gradient_zero(f):
    none = torch.empty(2, 0, dtype=torch.int64)
    for n in (0, 3):
        u = torch.randn(n, 2, requires_grad=True)
        value = f(u, u, none)
        assert value.shape == (0,)
        (grad,) = torch.autograd.grad(value.sum(), u)
        assert grad.equal(torch.zeros(n, 2))


def test_a_large_offset_costs_no_digits():
    x = torch.randint(-8, 8, (50, 6)).float() + 2.0**20
    x = x.requires_grad_()
    edge_index = torch.randint(50, (2, 400))
    value = edge_diff_dot(x, x, edge_index)
    exact = x.detach().double().requires_grad_()
    expected = literal_diff_dot(exact, exact, edge_index)
    assert value.double().equal(expected)
    (grad,) = torch.autograd.grad(value.sum(), x)
    (expected,) = torch.autograd.grad(expected.sum(), exact)
    torch.testing.assert_close(grad.double(), expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize(
    ("f", "literal"), [(edge_dot, literal_dot), (edge_diff_dot, literal_diff_dot)]
)
def test_in_float32_over_chunks_of_edges_and_columns(f, literal, device):
    generator = torch.Generator().manual_seed(0)
    u, v = (torch.randn(60, 300, generator=generator).to(device).requires_grad_() for _ in range(2))
    edge_index = torch.randint(60, (2, 5000), generator=generator).to(device)
    value = f(u, v, edge_index)
    expected = literal(u.double(), v.double(), edge_index)
    torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-4)
    grads = torch.autograd.grad(value.sum(), (u, v))
    for grad, right in zip(grads, torch.autograd.grad(expected.sum(), (u, v)), strict=True):
        torch.testing.assert_close(grad, right, rtol=1e-4, atol=1e-3)


class Largest(TorchDispatchMode):
    """Remembers the largest tensor that an operation gave."""

    elements = 0

    def __torch_dispatch__(self, f, types, args=(), kwargs=None):
        out = f(*args, **(kwargs or {}))
        if isinstance(out, Tensor) and out.layout == torch.strided:
            self.elements = max(self.elements, out.numel())
        return out


@pytest.mark.parametrize("f", [edge_dot, edge_diff_dot])
def test_nothing_of_size_edges_times_features(f):
    x = torch.randn(1000, 256, requires_grad=True)
    edge_index = torch.randint(1000, (2, 20_000))
    with Largest() as largest:
        f(x, x, edge_index).square().sum().backward()
    assert 256_000 <= largest.elements <= 2**19 < edge_index.shape[1] * 256 / 9


@pytest.mark.parametrize("f", [edge_dot, edge_diff_dot])
def test_autocast_changes_nothing(f):
    x = torch.randn(20, 8, requires_grad=True)
    edge_index = torch.randint(20, (2, 50))
    value = f(x, x, edge_index)
    (grad,) = torch.autograd.grad(value.sum(), x)
    with torch.autocast("cpu", torch.bfloat16):
        cast = f(x, x, edge_index)
        (cast_grad,) = torch.autograd.grad(cast.sum(), x)
    assert cast.equal(value)
    assert cast_grad.equal(grad)


@pytest.mark.parametrize("f", [edge_dot, edge_diff_dot])
@pytest.mark.parametrize(
    ("u", "v", "edge_index", "error", "message"),
    [
        (
            torch.ones(2, 3).bfloat16(),
            None,
            EDGES,
            TypeError,
            "u must be float32 .* got .*bfloat16",
        ),
        (torch.ones(2, 3), torch.ones(2, 3).double(), EDGES, TypeError, "v must be .* got .*64"),
        (torch.ones(2), None, EDGES, ValueError, r"u must have shape \[n, d\].* got \[2\]"),
        (torch.ones(2, 3), torch.ones(2, 1), EDGES, ValueError, r"v must have .* got \[2, 1\]"),
        (torch.ones(2, 3), None, EDGES.int(), TypeError, "edge_index must be int64, got .*int32"),
        (torch.ones(2, 3), None, EDGES[0], ValueError, r"edge_index must .*\[2, E\], got \[7\]"),
        (torch.ones(2, 3), None, EDGES.T, ValueError, r"edge_index must .*\[2, E\], got \[7, 2\]"),
    ],
)
def test_bad_input(f, u, v, edge_index, error, message):
    with pytest.raises(error, match=message):
        f(u, u if v is None else v, edge_index)


def test_differences_need_one_shape():
    with pytest.raises(ValueError, match=r"v must have u's shape \[5, 2\], got \[7, 2\]"):
        edge_diff_dot(torch.ones(5, 2), torch.ones(7, 2), torch.tensor([[0], [1]]))


@pytest.mark.parametrize("f", [edge_dot, edge_diff_dot])
def test_an_edge_to_nowhere_is_an_error(f):
    with pytest.raises(IndexError):
        f(torch.ones(2, 3), torch.ones(2, 3), torch.tensor([[0], [2]]))
