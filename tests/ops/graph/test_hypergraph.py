import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from pyg_relational.ops import hypergraph_laplacian_product
from pyg_relational.ops.graph.hypergraph import check_hypergraph, hypergraph_diagonal
from tests import oracles


def hypergraph(n: int, m: int, seed: int, share: float = 0.4, zeros: bool = False):
    g = torch.Generator().manual_seed(seed)
    f = (torch.rand(n, m, generator=g) < share).double()
    w = torch.rand(m, generator=g, dtype=torch.float64) + 0.1
    if zeros:
        w = w * (torch.arange(m) % 2)
    return f, f.nonzero().T, w


@given(
    st.integers(1, 12),
    st.integers(0, 8),
    st.integers(0, 999),
    st.floats(0, 1),
    st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_equals_the_dense_matrix(n, m, seed, share, zeros):
    f, index, w = hypergraph(n, m, seed, share, zeros)
    dense = oracles.hypergraph_laplacian(f, w)
    found = hypergraph_laplacian_product(index, w, torch.eye(n, dtype=torch.float64))
    torch.testing.assert_close(found, dense)
    torch.testing.assert_close(hypergraph_diagonal(index, w, n), dense.diagonal())
    torch.testing.assert_close(dense @ (f @ w).sqrt(), torch.zeros(n).double(), atol=1e-12, rtol=0)
    assert torch.linalg.eigvalsh(dense).min() >= -1e-12


def test_ones_are_not_in_the_kernel():
    _, index, w = hypergraph(8, 6, 0)
    assert hypergraph_laplacian_product(index, w, torch.ones(8, 1).double()).abs().max() > 0.05


def test_pairs_are_half_of_the_normalised_graph_laplacian():
    pairs = torch.tensor([[0, 1, 1, 2, 2, 3], [0, 0, 1, 1, 2, 2]])
    w = torch.tensor([1.0, 2.0, 3.0]).double()
    a = torch.zeros(4, 4).double()
    a[[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]] = torch.tensor([1.0, 1, 2, 2, 3, 3]).double()
    found = hypergraph_laplacian_product(pairs, w, torch.eye(4).double())
    torch.testing.assert_close(2 * found, oracles.dense_laplacian(a, "normalized"))


def test_gradients():
    f, index, w = hypergraph(5, 4, 3)
    u = torch.randn(5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    inputs = w.requires_grad_(), u.requires_grad_()
    assert gradcheck(lambda w, u: hypergraph_laplacian_product(index, w, u), inputs)
    assert gradgradcheck(lambda w, u: hypergraph_laplacian_product(index, w, u), inputs)
    dense = torch.autograd.grad((oracles.hypergraph_laplacian(f, w) @ u).square().sum(), (w, u))
    found = torch.autograd.grad(hypergraph_laplacian_product(index, w, u).square().sum(), (w, u))
    torch.testing.assert_close(found, dense)


@pytest.mark.parametrize(
    ("index", "weight", "error", "message"),
    [
        ([[0, 1], [0, 0]], None, TypeError, "hyperedge_weight must be a Tensor"),
        ([[0.0], [0.0]], [1.0], TypeError, "hyperedge_index must be int64"),
        ([[0], [0]], [1], TypeError, "hyperedge_weight must be floating point"),
        ([0], [1.0], ValueError, r"hyperedge_index must have shape \[2, nnz\]"),
        ([[0], [0]], [[1.0]], ValueError, r"hyperedge_weight must have shape \[m\]"),
        ([[3], [0]], [1.0], ValueError, r"hyperedge_index must be in \[0, 3\) and \[0, 1\)"),
        ([[-1], [0]], [1.0], ValueError, "hyperedge_index must be in"),
        ([[0], [1]], [1.0], ValueError, "hyperedge_index must be in"),
        ([[0], [0]], [-1.0], ValueError, "hyperedge_weight must be >= 0"),
        ([[0], [0]], [float("nan")], ValueError, "hyperedge_weight must be >= 0"),
        ([[0, 1, 0], [0, 0, 0]], [1.0], ValueError, "at most once"),
    ],
)
def test_bad_input_is_named(index, weight, error, message):
    with pytest.raises(error, match=message):
        check_hypergraph(torch.tensor(index), None if weight is None else torch.tensor(weight), 3)
