"""Derivatives of the solution of an equation, written once for every equation and every solver."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

__all__ = ["Equation", "implicit_solve"]


class Equation(Protocol):
    r"""An equation :math:`F(u, \theta) = 0` and how to solve it and its adjoint."""

    @property
    def solve(self) -> Callable[..., Tensor]:
        r"""``solve(*theta)``: the solution :math:`u`, without gradient."""

    @property
    def residual(self) -> Callable[..., Tensor]:
        r"""``residual(u, *theta)``: :math:`F(u, \theta)`, differentiable in :math:`\theta`."""

    @property
    def adjoint(self) -> Callable[..., Tensor]:
        r"""``adjoint(u, g, *theta)``: :math:`\lambda` with :math:`(\partial F / \partial u)^T \lambda = g`.

        Differentiable in all of them.
        """


class _Implicit(torch.autograd.Function):
    @staticmethod
    def forward(equation: Equation, *theta: Tensor) -> Tensor:
        return equation.solve(*theta)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.equation, *theta = inputs
        ctx.save_for_backward(output, *theta)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        with torch.autocast(grad.device.type, enabled=False):
            grads = iter(_derivative(ctx, grad))
        return None, *(next(grads) if need else None for need in ctx.needs_input_grad[1:])

    @staticmethod
    def vmap(info: Any, dims: Any, equation: Equation, *theta: Tensor) -> Any:
        """One solve a part."""
        parts = zip(*map(_parts, theta, dims[1:], [info.batch_size] * len(theta)), strict=True)
        return torch.stack([_Implicit.apply(equation, *part) for part in parts]), 0


def _parts(x: Tensor, dim: int | None, size: int) -> Sequence[Tensor]:
    return [x] * size if dim is None else x.unbind(dim)


def _derivative(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
    u, *theta = ctx.saved_tensors
    wanted = [i for i, need in enumerate(ctx.needs_input_grad[1:]) if need]

    def residual(*some: Tensor) -> Tensor:  # u depends on theta, but not on these
        full = list(theta)
        for i, t in zip(wanted, some, strict=True):
            full[i] = t
        left: Tensor = ctx.equation.residual(u, *full)
        return left

    adjoint = ctx.equation.adjoint(u, grad, *theta)
    pull = torch.func.vjp(residual, *(theta[i] for i in wanted))[1]
    grads: tuple[Tensor, ...] = pull(-adjoint)
    return grads


def implicit_solve(equation: Equation, *theta: Tensor) -> Tensor:
    r"""Solution :math:`u(\theta)` of :math:`F(u, \theta) = 0`, differentiable any number of times.

    By the implicit function theorem

    .. math::
        \frac{dJ}{d\theta} = -\left(\frac{\partial F}{\partial \theta}\right)^T \lambda, \qquad
        \left(\frac{\partial F}{\partial u}\right)^T \lambda = \frac{\partial J}{\partial u},

    so that the backward pass costs one linear solve and keeps nothing of the forward iteration. As the adjoint is
    itself such a solution, second derivatives follow by the same rule.

    Args:
        equation: What is solved.
        *theta: The tensors it depends on.

    Example:
        >>> import torch
        >>> from pyg_relational.ops.linear.implicit import implicit_solve
        >>> class Root:  # u^2 = theta
        ...     def solve(self, t): return t.sqrt()
        ...     def residual(self, u, t): return u * u - t
        ...     def adjoint(self, u, grad, t): return grad / (2 * u)
        >>> t = torch.tensor([4.0], requires_grad=True)
        >>> torch.autograd.grad(implicit_solve(Root(), t).sum(), t)[0]
        tensor([0.2500])
    """
    u: Tensor = _Implicit.apply(equation, *theta)
    return u
