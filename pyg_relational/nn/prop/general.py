"""Label propagation by an equation of your own: fluxes along edges, a reaction at nodes, a source."""

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from pyg_relational.nn.prop.inputs import check_inputs, node_source
from pyg_relational.nn.prop.laplace import laplace_propagation
from pyg_relational.nn.prop.unreachable import fill_unreachable
from pyg_relational.ops.checks import check_count, check_number
from pyg_relational.ops.graph.components import connected_components, joined
from pyg_relational.ops.linear.implicit import implicit_solve
from pyg_relational.ops.linear.solvers import ConvergenceError
from pyg_relational.ops.uncompiled import uncompiled

__all__ = ["propagation"]

# Of a step, at most. On k = 10 neighbours of 1,000 points in 3-d, the flux atan(50 q) with the reaction 100 (u - 1/2)^3
# diverges at 1 and takes 15, 14, 14 steps at 3, 5, 30; powers, sinh and exponentials need none.
_HALVINGS = 30


@uncompiled  # one break of the graph, at the solve
def propagation(
    edge_index: Any,
    edge_weight: Tensor | None,
    y: Tensor,
    mask: Tensor | None = None,
    *,
    phi: Callable[..., Tensor],
    sigma: Callable[..., Tensor] | None = None,
    f: float | Tensor = 0.0,
    parameters: tuple[Tensor, ...] = (),
    num_classes: int | None = None,
    initial: Tensor | None = None,
    tol: float = 1e-10,
    max_iter: int = 100,
) -> Tensor:
    r"""Label propagation by an equation of the general family.

    That of Theorem 5 of `Brown et al., 2024 <https://arxiv.org/abs/2412.08016>`_: off the labels

    .. math::
        \sum_j \phi(u_i - u_j, i, j) + \sigma(u_i, i) = f_i, \qquad u = y \text{ on them}

    Solved in float64 by Newton's method with sparse LU factors on the CPU, from the Laplace solution. Differentiable
    any number of times in ``edge_weight``, ``y``, ``f`` and ``parameters`` by the adjoint equation of the theorem.
    Where :math:`\phi` and :math:`\sigma` rise in their first argument, there is one solution. Where they do not, one
    near the start is found, or an error is raised.

    Args:
        edge_index: Edges, in both directions, or a graph that :func:`~pyg_relational.interop.as_edges` reads.
        edge_weight: Weights ``>= 0``, equal in both directions; ``None`` for ones or those of the graph. Self-loops
            have no effect.
        y: Classes (int64) or values (floating point, one column a class). Off the mask only the default of
            ``num_classes`` looks at them.
        mask: Labelled nodes; ``None`` takes those with ``y >= 0``.
        phi: ``phi(q, w, i, j, *parameters)``: flux of each edge, entry by entry of ``q``, differentiable twice.
        sigma: ``sigma(u, i, *parameters)``: reaction of each node, entry by entry of ``u``; ``None`` for 0.
        f: Right side :math:`f` of the equation, a number or one a node. It may be one a node and class, and does not
            count on labels.
        parameters: Tensors that ``phi`` and ``sigma`` depend on; others that they hold get no gradient.
        num_classes: Number of classes; ``None`` for the largest label of any row + 1.
        initial: Where the iteration starts, such as the last solution. ``None`` for the Laplace solution.
        tol: Relative tolerance. The last Newton step, and the residual over the diagonal of the Jacobian, are at most
            this times the largest value.
        max_iter: Most iterations. They are Newton steps.

    Shapes:
        ``edge_index``: :math:`[2, E]`, ``edge_weight``: :math:`[E]`, ``y``: :math:`[n]` or :math:`[n, c]`, ``mask``:
        :math:`[n]`, ``q``: :math:`[E, c]`, ``w``: :math:`[E, 1]`, ``i``, ``j``: :math:`[E]`, for ``sigma``
        :math:`[n]`, output: :math:`[n, c]`.

    Returns:
        :math:`u` in the weights' number type, labelled rows as given.

    Raises:
        TypeError: If a dtype does not fit.
        ValueError: If shapes or values do not fit, the graph is not undirected, or neither a label nor ``sigma``
            holds a node.
        ConvergenceError: If Newton's method does not converge.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import propagation
        >>> path = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
        >>> def cubic(q, w, i, j): return w * (q + q**3)
        >>> propagation(path, None, torch.tensor([0, -1, 1]), phi=cubic)
        tensor([[1.0000, 0.0000],
                [0.5000, 0.5000],
                [0.0000, 1.0000]])
    """
    check_number(tol, "tol")
    if not 0 < tol < 1:
        raise ValueError(f"tol must be in (0, 1), got {tol}")
    max_iter = check_count(max_iter, "max_iter")
    graph = check_inputs(edge_index, edge_weight, y, mask, num_classes)
    if graph.values.is_cuda:
        raise ValueError("propagation wants tensors on the CPU, got cuda")
    with torch.autocast("cpu", enabled=False):
        keep = (graph.edge_index[0] != graph.edge_index[1]) & (graph.edge_weight > 0)
        weight = graph.edge_weight[keep].double()
        start = _start(graph.values.detach(), initial, *graph[:2], graph.mask)
        equation = _General(graph.edge_index[:, keep], graph.mask, phi, sigma, start, tol, max_iter)
        rhs = graph.values.double().where(
            graph.mask[:, None], node_source(f, graph.values).double()
        )
        fill_unreachable(graph.values, equation.floating(rhs, weight, *parameters), graph, "error")
        u = implicit_solve(equation, rhs, weight, *parameters)
        return graph.values.where(graph.mask[:, None], u.to(graph.values.dtype))


def _start(
    values: Tensor, initial: Tensor | None, edge_index: Tensor, weight: Tensor, mask: Tensor
) -> Tensor:
    if initial is None:
        start = laplace_propagation(edge_index, weight.detach(), values, mask, on_unreachable="nan")
        return start.double().nan_to_num(nan=0.0)
    if initial.shape != values.shape or not bool(torch.isfinite(initial).all()):
        raise ValueError(
            f"initial must be finite and have shape {list(values.shape)}, got {list(initial.shape)}"
        )
    return initial.detach().double().where(~mask[:, None], values.double())


class _General:
    """The equation, and by its Jacobian the adjoint.

    Args:
        edge_index: Edges, no self-loops.
        fixed: Labelled nodes.
        phi: Flux.
        sigma: Reaction.
        start: Where Newton's method starts.
        tol: Its tolerance.
        max_iter: Its most steps.
    """

    def __init__(
        self,
        edge_index: Tensor,
        fixed: Tensor,
        phi: Callable[..., Tensor],
        sigma: Callable[..., Tensor] | None,
        start: Tensor,
        tol: float,
        max_iter: int,
    ) -> None:
        self.edge_index = edge_index
        self.fixed = fixed
        self.phi = phi
        self.sigma = sigma
        self.start = start
        self.tol = tol
        self.max_iter = max_iter

    def solve(self, rhs: Tensor, weight: Tensor, *parameters: Tensor) -> Tensor:
        """Newton's method, its steps halved while the residual does not fall."""
        u = rhs.where(self.fixed[:, None], self.start)
        r = self.residual(u, rhs, weight, *parameters)
        for _ in range(self.max_iter):
            stiffness, slope = self._slopes(u, weight, *parameters)
            step = _Linear(self.edge_index, self.fixed).solve(-r, stiffness, slope)
            if not bool(torch.isfinite(step).all()):
                raise ConvergenceError("propagation did not converge: its Jacobian is singular")
            for _ in range(_HALVINGS):
                new = self.residual(u + step, rhs, weight, *parameters)
                rises = new.norm(dim=0) > r.norm(dim=0)
                if not bool(rises.any()):
                    break
                step = step.where(~rises, step / 2)  # columns do not know of each other
            u, r = u + step, new
            diagonal = (_sum(self.edge_index[0], stiffness, u) + slope).abs()
            off = (r.abs() / diagonal.where(diagonal > 0, 1.0)).where(~self.fixed[:, None], 0.0)
            size = u.abs().amax().clamp(min=torch.finfo(u.dtype).tiny)
            if bool(torch.maximum(off, step.abs()).max() <= self.tol * size):
                return u
        raise ConvergenceError(
            f"propagation did not converge: residual {r.abs().max().item():.1e} after {self.max_iter} Newton steps; "
            "give initial=, more max_iter, or a phi and a sigma that rise in their first argument"
        )

    def residual(self, u: Tensor, rhs: Tensor, weight: Tensor, *parameters: Tensor) -> Tensor:
        """Left side less right side, differentiable."""
        i, j = self.edge_index
        flux = self._checked(
            self.phi(u[i] - u[j], weight[:, None], i, j, *parameters), "phi", len(i)
        )
        total = _sum(i, flux, u)
        if self.sigma is not None:
            total = total + self._reaction(u, *parameters)
        return total.where(~self.fixed[:, None], u) - rhs

    def adjoint(
        self, u: Tensor, grad: Tensor, rhs: Tensor, weight: Tensor, *parameters: Tensor
    ) -> Tensor:
        """Solution for the transposed Jacobian."""
        stiffness, slope = self._slopes(u, weight, *parameters)
        return implicit_solve(_Linear(self.edge_index, self.fixed, True), grad, stiffness, slope)

    def floating(self, rhs: Tensor, weight: Tensor, *parameters: Tensor) -> Tensor:
        """Nodes that neither a label nor a reaction holds."""
        with torch.no_grad():
            u = rhs.where(self.fixed[:, None], self.start)
            slope = self._slopes(u, weight, *parameters)[1] if self.sigma else torch.zeros_like(u)
            pushed = self._slopes(u + 1, weight, *parameters)[1] if self.sigma else slope
        held = self.fixed | (slope != 0).all(1) | (pushed != 0).all(1)
        return ~joined(connected_components(self.edge_index, len(held)), held)

    def _slopes(self, u: Tensor, weight: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Derivatives of the flux of every edge and of the reaction of every node."""
        i, j = self.edge_index
        again = torch.is_grad_enabled()
        with torch.enable_grad():
            q, at = (
                t if t.requires_grad else t.detach().requires_grad_() for t in (u[i] - u[j], u)
            )
            flux = self.phi(q, weight[:, None], i, j, *parameters)
            stiffness = _slope(flux, q, again)
            slope = torch.zeros_like(u)
            if self.sigma is not None:
                slope = _slope(self._reaction(at, *parameters), at, again)
        return stiffness, slope

    def _reaction(self, u: Tensor, *parameters: Tensor) -> Tensor:
        assert self.sigma is not None
        node = torch.arange(len(u), device=u.device)
        return self._checked(self.sigma(u, node, *parameters), "sigma", len(u))

    def _checked(self, value: Tensor, name: str, rows: int) -> Tensor:
        shape = (rows, self.start.shape[1])
        if value.shape != shape:
            raise ValueError(f"{name} must return shape {list(shape)}, got {list(value.shape)}")
        if not bool(torch.isfinite(value.detach()).all()):
            raise ConvergenceError(f"propagation did not converge: {name} is not finite")
        return value


def _slope(value: Tensor, at: Tensor, again: bool) -> Tensor:
    if not value.requires_grad:
        return torch.zeros_like(at)
    (slope,) = torch.autograd.grad(
        value.sum(), at, create_graph=again, allow_unused=True, materialize_grads=True
    )
    return slope


def _sum(index: Tensor, value: Tensor, like: Tensor) -> Tensor:
    return torch.zeros_like(like).index_add(0, index, value)


class _Linear:
    """The Jacobian as a linear equation, or its transpose: identity at fixed nodes.

    Args:
        edge_index: Edges.
        fixed: Labelled nodes.
        transposed: Which of the two.
    """

    def __init__(self, edge_index: Tensor, fixed: Tensor, transposed: bool = False) -> None:
        self.edge_index = edge_index
        self.fixed = fixed
        self.transposed = transposed

    def solve(self, rhs: Tensor, stiffness: Tensor, slope: Tensor) -> Tensor:
        """Sparse LU, column by column; NaN where the matrix is singular."""
        from scipy.sparse.linalg import splu

        n = len(rhs)
        free = (~self.fixed).numpy()
        i, j = self.edge_index.numpy()
        columns = []
        for s, t, b in zip(
            stiffness.detach().T.numpy(), slope.detach().T.numpy(), rhs.detach().T, strict=True
        ):
            diagonal = np.where(free, np.bincount(i, s, n) + t, 1.0)
            off = scipy.sparse.coo_array((-s * free[i], (i, j)), shape=(n, n))
            matrix = (off + scipy.sparse.diags_array(diagonal)).tocsc()
            try:
                x = splu(matrix.T.tocsc() if self.transposed else matrix).solve(b.numpy())
            except RuntimeError:  # "Factor is exactly singular"
                x = np.full(n, np.nan)
            columns.append(torch.from_numpy(x))
        return torch.stack(columns, 1)

    def residual(self, x: Tensor, rhs: Tensor, stiffness: Tensor, slope: Tensor) -> Tensor:
        """Left side less right side, differentiable."""
        i, j = self.edge_index
        inner = x.where(~self.fixed[:, None], 0.0)
        if self.transposed:
            flux = stiffness * inner[i]
            total = _sum(i, flux, x) - _sum(j, flux, x) + slope * inner
            return total + x.where(self.fixed[:, None], 0.0) - rhs
        total = _sum(i, stiffness * (x[i] - x[j]), x) + slope * x
        return total.where(~self.fixed[:, None], x) - rhs

    def adjoint(
        self, x: Tensor, grad: Tensor, rhs: Tensor, stiffness: Tensor, slope: Tensor
    ) -> Tensor:
        """Solution for the other of the two."""
        other = _Linear(self.edge_index, self.fixed, not self.transposed)
        return implicit_solve(other, grad, stiffness, slope)
