"""Sum over all pairs of squared differences between two similarities, in tiles, with its gradient."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyg_relational.ops.autograd.call import call
from pyg_relational.ops.autograd.once import scaled
from pyg_relational.ops.checks import may_read
from pyg_relational.ops.fused.available import is_fused
from pyg_relational.ops.fused.consistency import consistency, pays

__all__ = ["PairWeights", "pair_consistency", "pairs_in_tiles", "tile_for"]


class PairWeights(NamedTuple):
    """Weight of a pair of one class and of a pair of two classes."""

    same: float
    different: float

    def at(self, same: Tensor, dtype: torch.dtype) -> Tensor:
        """Weight of each pair, from whether it is of one class."""
        return same.to(dtype).mul_(self.same - self.different).add_(self.different)


def pairs_in_tiles(
    u: Tensor,
    q: Tensor,
    y: Tensor,
    same: float,
    different: float,
    relu: bool,
    tile: int,
    by_u: bool,
    by_q: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Value and gradients of :func:`pair_consistency`, empty where they are not asked for.

    On CUDA, where triton is installed, one kernel computes them, where it pays.

    Args:
        u: Unit rows of features, sorted by class.
        q: Unit rows of predictions.
        y: Classes.
        same: Weight of the pairs of one class.
        different: Weight of the pairs of two.
        relu: Cut the feature similarity at 0.
        tile: Rows and columns of a tile.
        by_u: Whether the gradient in ``u`` is asked for.
        by_q: Whether that in ``q`` is.

    Shapes:
        As there.
    """
    if is_fused(u, q) and pays(*u.shape):
        return consistency(u, q, y, same, different, relu, by_u, by_q)
    grad_u, grad_q = (torch.zeros_like(x) if by else None for x, by in ((u, by_u), (q, by_q)))
    total = u.new_zeros((), dtype=torch.float64)
    buffer = u.new_empty(tile * tile)
    weights, bounds = PairWeights(same, different), _class_bounds(y, tile)
    for a, (i, _, last) in enumerate(bounds):
        for j, first, _ in bounds[a:]:
            total += _tile(u, q, y, i, j, first <= last, weights, relu, grad_u, grad_q, buffer)
    grad_u, grad_q = (u.new_empty(0) if grad is None else grad for grad in (grad_u, grad_q))
    return total.to(u.dtype), grad_u, grad_q


_operator = torch.library.custom_op(
    "pyg_relational::pair_consistency", pairs_in_tiles, mutates_args=()
)


@_operator.register_fake
def _(u: Tensor, q: Tensor, *options: Any) -> tuple[Tensor, Tensor, Tensor]:
    by_u, by_q = options[-2:]
    grads = (torch.empty_like(x) if need else u.new_empty(0) for x, need in ((u, by_u), (q, by_q)))
    return u.new_empty(()), *grads  # type: ignore[return-value]


class _PairConsistency(torch.autograd.Function):
    """Value and gradient in one pass over the tiles on and above the diagonal."""

    @staticmethod
    def forward(u: Tensor, q: Tensor, y: Tensor, *options: Any) -> tuple[Tensor, Tensor, Tensor]:
        run = _operator if torch.compiler.is_compiling() else pairs_in_tiles
        found: tuple[Tensor, Tensor, Tensor] = run(u, q, y, *options)
        return found

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*inputs[:2], *output[1:])
        ctx.needs = inputs[-2:]

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: Any) -> Any:
        u, q, *grads = ctx.saved_tensors
        of_inputs = [
            scaled(g, grad, u, q) if need and grad is not None else None
            for g, need in zip(grads, ctx.needs, strict=True)
        ]
        return *of_inputs, *[None] * 7


def _class_bounds(y: Tensor, tile: int) -> list[tuple[slice, int, int]]:
    """Rows of every tile with their first and last class; where none may be read, as if all had one in common."""
    starts = range(0, y.shape[0], tile)
    if len(y) <= tile or not may_read():
        return [(slice(s, s + tile), 0, 0) for s in starts]
    first = y[::tile].tolist()
    last = torch.cat([y[tile - 1 :: tile], y[-1:]]).tolist()
    return [(slice(s, s + tile), first[k], last[k]) for k, s in enumerate(starts)]


def _tile(
    u: Tensor,
    q: Tensor,
    y: Tensor,
    i: slice,
    j: slice,
    shares_class: bool,
    weights: PairWeights,
    relu: bool,
    grad_u: Tensor | None,
    grad_q: Tensor | None,
    buffer: Tensor,
) -> Tensor:
    """Value of tile ``(i, j)``; adds its part to the gradients."""
    a, b = u[i], u[j]
    f = buffer[: a.shape[0] * b.shape[0]].view(a.shape[0], b.shape[0])
    torch.mm(a, b.T, out=f)
    if relu:
        f.relu_()
    if i == j:
        f.triu_(1)
    if not shares_class:
        value = _square_sum(f) * weights.different
        _add_products(grad_u, u, f, i, j, 2 * weights.different)
        return value
    same = y[i, None] == y[j]
    if i == j:
        same.triu_(1)
    passed = f > 0 if relu else None
    f -= (q[i] @ q[j].T).mul_(same)
    scale = weights.at(same, f.dtype)
    value = f.square().mul_(scale).sum(dtype=torch.float64)
    f *= scale
    _add_products(grad_q, q, f * same, i, j, -2)
    if passed is not None:
        f *= passed
    _add_products(grad_u, u, f, i, j, 2)
    return value


def tile_for(u: Tensor) -> int:
    """Rows of a tile that stay in the cache, more on a GPU.

    Args:
        u: The rows.
    """
    return 4096 if u.is_cuda else 512


def _square_sum(f: Tensor) -> Tensor:
    total: Tensor = torch.linalg.vecdot(f, f).sum(dtype=torch.float64)
    return total


def _add_products(
    grad: Tensor | None, x: Tensor, g: Tensor, i: slice, j: slice, alpha: float
) -> None:
    """Add the gradient of ``<g, x_i x_j^T>`` times ``alpha``."""
    if grad is None:
        return
    if i == j:
        grad[i].addmm_(g + g.T, x[i], alpha=alpha)
    else:
        grad[i].addmm_(g, x[j], alpha=alpha)
        grad[j].addmm_(g.T, x[i], alpha=alpha)


def pair_consistency(
    u: Tensor,
    q: Tensor,
    y: Tensor,
    weights: PairWeights,
    *,
    relu: bool = True,
    tile: int | None = None,
) -> Tensor:
    r"""Weighted squared difference of the two pair graphs, over all unordered pairs.

    .. math::
        \sum_{i < j} w_{ij} \left(\max(\langle u_i, u_j \rangle, 0)
        - [y_i = y_j] \langle q_i, q_j \rangle\right)^2

    Exact, with the gradient computed in the same pass, in :math:`O(n d + \text{tile}^2)` memory. The
    gradient is not differentiable again.

    Args:
        u: Unit rows of features.
        q: Unit rows of predictions.
        y: Classes.
        weights: Weight of the pairs of one class and of two.
        relu: Cut the feature similarity at 0; without it, it is the bare inner product.
        tile: Rows and columns of a tile; ``None`` is 512, which stays in the cache, and 4096 on a GPU.

    Shapes:
        ``u``: :math:`[n, d]`, ``q``: :math:`[n, c]`, ``y``: :math:`[n]`, output: scalar.

    Example:
        >>> import torch
        >>> from pyg_relational.ops.pairs.consistency import PairWeights, pair_consistency
        >>> u = torch.eye(2)[[0, 0, 1]]
        >>> pair_consistency(u, u, torch.tensor([0, 1, 1]), PairWeights(1.0, 1.0)).item()
        1.0
    """
    tile = tile or tile_for(u)
    order = y.argsort(stable=True)
    u, q = u[order], q[order]
    options = *weights, relu, tile, u.requires_grad, q.requires_grad
    total: Tensor = call(_PairConsistency, u, q, y[order], *options)[0]
    return total
