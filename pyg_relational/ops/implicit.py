"""Derivatives of the solution of an equation, written once for every equation and every solver."""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor


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
    def forward(ctx: Any, equation: Equation, *theta: Tensor) -> Tensor:
        u = equation.solve(*theta)
        ctx.equation = equation
        ctx.save_for_backward(u, *theta)
        return u

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        with torch.autocast(grad.device.type, enabled=False):
            grads = iter(_derivative(ctx, grad))
        return None, *(next(grads) if need else None for need in ctx.needs_input_grad[1:])


def _derivative(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
    u, *theta = ctx.saved_tensors
    adjoint = ctx.equation.adjoint(u, grad, *theta)
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        theta = [t.view_as(t) for t in theta]  # u depends on theta, but not on these
        wanted = [t for t, need in zip(theta, ctx.needs_input_grad[1:], strict=True) if need]
        residual = ctx.equation.residual(u, *theta)
        return torch.autograd.grad(residual, wanted, -adjoint, create_graph=again)


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
        >>> from pyg_relational.ops.implicit import implicit_solve
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
