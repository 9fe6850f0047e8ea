import torch

from pyg_relational.ops import CG
from pyg_relational.ops.linear.implicit import implicit_solve
from pyg_relational.ops.linear.p_laplacian import PLaplacian


def test_a_newton_step_that_overshoots_is_halved():
    """From a flat start a full step leaves far too high: the flux of |t|^6 t is all but flat there."""
    edge = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    one, zero = torch.ones(4).double(), torch.zeros(3).double()
    fixed = torch.tensor([True, False, False])
    equation = PLaplacian(edge, fixed, 8.0, CG(), 1e-8)
    value = torch.tensor([[0.0], [0.0], [1e-3]]).double()  # a source at the end

    def energy(u):
        return equation_energy(u, value)

    def equation_energy(u, value):
        drop = (u[edge[0]] - u[edge[1]]).square() + 1e-12
        return (drop**4).sum() / 16 - (value * u).sum()

    u = torch.zeros(3, 1).double()
    at = equation._look(u, value, one, zero, 8.0)
    full = u + equation._direction(at.f, at.stiffness, zero)
    new = equation._step(u, at, value, one, zero, 8.0, 1e-8)[0]
    assert energy(full) > 1e6
    assert energy(new) < energy(full) / 1e6


def test_blocks_of_one_graph_are_solved_as_graphs_of_their_own():
    """Each by its own numbers: one is done at once, one takes a step that is halved, and gradients agree."""
    edge = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    fixed = torch.tensor([True, False, False])
    values = torch.tensor([[0.0, 0.0, 1e-3], [0.0, 0.0, 0.0], [2.0, 1.0, 0.0]]).double()

    def solved(value, blocks):
        weight, shift = torch.ones(4).double(), torch.zeros(3).double()
        parts = [value.reshape(-1, 1), weight.repeat(blocks), shift.repeat(blocks)]
        first = 3 * torch.arange(blocks)[:, None]
        edges = (edge[:, None] + first).reshape(2, -1)
        theta = [part.clone().requires_grad_() for part in parts]
        equation = PLaplacian(edges, fixed.repeat(blocks), 8.0, CG(), 1e-9, blocks)
        u = implicit_solve(equation, *theta)
        (u * torch.arange(1, 4).double().repeat(blocks)[:, None]).sum().backward()
        return u.detach().view(blocks, -1), [t.grad.view(blocks, -1) for t in theta], equation.info

    u, grads, info = solved(values, 3)
    assert info.converged
    assert info.residual.shape == (3,)
    for i, value in enumerate(values):
        alone, of_alone, its = solved(value, 1)
        assert its.iterations <= info.iterations
        torch.testing.assert_close(u[i : i + 1], alone, rtol=1e-6, atol=1e-9)
        for g, h in zip(grads, of_alone, strict=True):
            torch.testing.assert_close(g[i : i + 1], h, rtol=1e-5, atol=1e-9)
    assert info.iterations == sum(solved(value, 1)[2].iterations for value in values)
