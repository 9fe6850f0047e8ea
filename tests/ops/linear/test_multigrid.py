import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_relational.nn import laplace_propagation
from pyg_relational.ops import Multigrid
from pyg_relational.ops.linear import multigrid
from pyg_relational.ops.linear.multigrid import VCycle
from tests.graphs import graphs, random_graph
from tests.oracles import dense_laplacian, dense_weights, laplace

F64 = torch.float64


@pytest.fixture(autouse=True)
def fine(monkeypatch):
    """Levels down to 3 unknowns, so that small graphs have several."""
    monkeypatch.setattr(multigrid, "_COARSEST", 3)


def scaled_laplacian(graph, shift=0.0):
    w = dense_weights(graph.edge_index, graph.edge_weight, len(graph.y))
    a = dense_laplacian(w) + shift * torch.eye(len(w), dtype=F64)
    root = a.diagonal().sqrt()
    return a / (root[:, None] * root), root


def dense_cycle(a, near_null):
    cycle = VCycle(scipy.sparse.csr_array(a.numpy()), near_null.numpy())
    return cycle(torch.eye(len(a), dtype=F64), lambda x: a @ x)


def literal(a, near_null, levels):
    """A V-cycle as a matrix, by recursion, from the prolongations alone."""
    if not levels:
        return torch.linalg.pinv(a, hermitian=True)
    prolong = levels[0].prolong.to_dense()
    smooth = torch.diag(4 / 3 / a.abs().sum(1))
    coarse = prolong @ literal(prolong.T @ a @ prolong, None, levels[1:]) @ prolong.T
    one = torch.eye(len(a), dtype=F64)
    error = (one - smooth @ a) @ (one - coarse @ a) @ (one - smooth @ a)
    return (one - error) @ torch.linalg.inv(a)


@pytest.mark.parametrize("seed", range(5))
def test_equals_the_literal_cycle(seed):
    a, root = scaled_laplacian(random_graph(40, 0.05, seed=seed), shift=0.1)
    cycle = VCycle(scipy.sparse.csr_array(a.numpy()), root.numpy())
    ours = cycle(torch.eye(40, dtype=F64), lambda x: a @ x)
    levels = cycle._levels[F64]
    assert len(levels) >= 2
    torch.testing.assert_close(ours, literal(a, root, levels), rtol=1e-9, atol=1e-9)


@settings(deadline=None, max_examples=40)
@given(graphs(most=40), st.sampled_from([1e-6, 0.1, 10.0]))
def test_is_symmetric_and_positive(graph, shift):
    multigrid_matrix = dense_cycle(*scaled_laplacian(graph, shift))
    largest = multigrid_matrix.abs().max()
    torch.testing.assert_close(multigrid_matrix / largest, multigrid_matrix.T / largest)
    assert torch.linalg.eigvalsh(multigrid_matrix + multigrid_matrix.T).min() > 0


@settings(deadline=None, max_examples=40)
@given(graphs(most=40), st.sampled_from([0.0, 0.05]))
def test_solutions_equal_the_dense_ones(graph, tau):
    u = laplace_propagation(
        graph.edge_index,
        graph.edge_weight,
        graph.y,
        graph.mask,
        num_classes=4,
        tau=tau,
        solver=Multigrid(strict=True),
    )
    w = dense_weights(graph.edge_index, graph.edge_weight, len(graph.y))
    values = torch.nn.functional.one_hot(graph.y, 4).double()
    torch.testing.assert_close(u, laplace(w, values, graph.mask, tau=tau), rtol=1e-8, atol=1e-9)


def grid(n):
    node = np.arange(n * n).reshape(n, n)
    pairs = np.concatenate(
        [
            np.stack([node[:-1], node[1:]]).reshape(2, -1),
            np.stack([node[:, :-1], node[:, 1:]]).reshape(2, -1),
        ],
        1,
    )
    both = np.concatenate([pairs, pairs[::-1]], 1)
    return torch.from_numpy(both[:, np.lexsort(both[::-1])].copy())


def test_iterations_hardly_grow_with_a_grid():
    counts = []
    for n in (20, 40, 80, 160):
        y = torch.full((n * n,), -1)
        y[0], y[-1] = 0, 1
        edges = grid(n)
        _, info = laplace_propagation(
            edges, torch.ones(edges.shape[1]), y, solver=Multigrid(), return_info=True
        )
        assert info.converged
        counts.append(info.iterations)
    assert counts[-1] <= 64**0.15 * counts[0]


def test_a_clique_has_no_strong_edge_and_one_level():
    n = 60
    a = torch.eye(n, dtype=F64) - (1 - torch.eye(n, dtype=F64)) / (n - 1)
    cycle = VCycle(scipy.sparse.csr_array(a.numpy()), np.ones(n))
    assert cycle._levels[F64] == []
    b = torch.randn(n, 2, dtype=F64)
    torch.testing.assert_close(cycle(b, lambda x: a @ x), b * (4 / 3 / 2))


def test_rows_that_take_no_part_keep_to_themselves():
    a, root = scaled_laplacian(random_graph(30, 0.05))
    a[:5], a[:, :5], root[:5] = 0.0, 0.0, 0.0
    a[:5, :5] = torch.eye(5)
    out = dense_cycle(a, root)
    assert out[:5, 5:].eq(0).all()
    assert out[5:, :5].eq(0).all()


def test_numbers_are_the_same_every_time():
    a, root = scaled_laplacian(random_graph(50, 0.05))
    assert torch.equal(dense_cycle(a, root), dense_cycle(a, root))


def test_a_floating_component_of_one_unknown_is_nothing_but_rounding():
    graph = random_graph(40, 0.05)
    (a, root), (b, other) = scaled_laplacian(graph), scaled_laplacian(random_graph(12, 0.9, seed=1))
    cycle = dense_cycle(torch.block_diag(a, b), torch.cat([root, other]))
    assert torch.isfinite(cycle).all()
    assert cycle.abs().max() < 1e6
