import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_relational.ops import CG
from pyg_relational.ops.linear.game_p_laplacian import GamePLaplacian, PolicyEquation
from tests.graphs import random_graph


def made(n, seed, p=4.0):
    graph = random_graph(n, seed=seed)
    draws = torch.Generator().manual_seed(seed)
    game = GamePLaplacian(graph.edge_index, graph.mask, 1 / (p - 1), 1e-12, CG())
    return game, graph.edge_weight, torch.randn(n, 2, generator=draws).double()


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 12), st.integers(0, 99), st.sampled_from([2.0, 4.0, 20.0]))
def test_every_free_node_is_the_mean_of_three(n, seed, p):
    game, weight, values = made(n, seed, p)
    u = game.solve(values, weight)
    assert torch.equal(u[game.fixed], values[game.fixed])
    row, col = game.edge_index
    for i in (~game.fixed).nonzero()[:, 0].tolist():
        near, w = u[col[row == i]], weight[row == i, None]
        mean, extreme = (w * near).sum(0) / w.sum(), (near.amin(0) + near.amax(0)) / 2
        expected = game.alpha * mean + (1 - game.alpha) * extreme
        torch.testing.assert_close(u[i], expected, rtol=1e-9, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 10), st.integers(0, 99))
def test_the_transpose_is_the_transpose(n, seed):
    game, weight, values = made(n, seed)
    policy = game.policy(values[:, :1])
    one = torch.eye(n).double()

    def matrix(transpose):
        linear = PolicyEquation(game, policy, 1e-9, transpose)
        return torch.cat([linear.product(one[:, [j]], weight) for j in range(n)], 1)

    torch.testing.assert_close(matrix(True), matrix(False).T)


def test_the_first_of_equal_neighbours_is_chosen():
    star = torch.tensor([[0, 0, 0, 1, 2, 3], [1, 2, 3, 0, 0, 0]])
    game = GamePLaplacian(star, torch.tensor([False, True, True, True]), 0.5, 1e-9, CG())
    low, high = game.policy(torch.tensor([[0.0], [5.0], [5.0], [2.0]]).double())
    assert (low[0].item(), high[0].item()) == (3, 1)
    assert low[1:].flatten().tolist() == [0, 0, 0]


@pytest.mark.filterwarnings("ignore")
def test_what_is_not_reached_is_said():
    game, weight, values = made(8, 0)
    game.solver = CG(max_iter=1)
    game.solve(values, weight)
    assert not game.info.converged
    assert game.info.iterations == 1
