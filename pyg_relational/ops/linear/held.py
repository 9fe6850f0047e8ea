"""A symmetric linear equation whose values are held at some nodes: what all of them share."""

from abc import ABC, abstractmethod

from torch import Tensor

from pyg_relational.ops.linear.implicit import implicit_solve

__all__ = ["HeldEquation"]


class HeldEquation(ABC):
    r"""The equation :math:`u = y` on fixed nodes and :math:`A u = f` on the others, :math:`A = A^T`.

    For :func:`~pyg_relational.ops.linear.implicit.implicit_solve`, with one right-hand side that holds both.

    Args:
        fixed: Nodes whose values are given.

    Shapes:
        ``fixed``: :math:`[n]`.
    """

    def __init__(self, fixed: Tensor) -> None:
        self.fixed = fixed

    @abstractmethod
    def product(self, u: Tensor, *theta: Tensor) -> Tensor:
        """Product with the matrix, differentiable any number of times."""

    @abstractmethod
    def solve(self, rhs: Tensor, *theta: Tensor) -> Tensor:
        """Solution for ``rhs``, which holds values at fixed nodes and sources at the others."""

    def residual(self, u: Tensor, rhs: Tensor, *theta: Tensor) -> Tensor:
        """Left side less right side, differentiable."""
        return self.product(u, *theta).where(~self.fixed[:, None], u) - rhs

    def adjoint(self, u: Tensor, grad: Tensor, rhs: Tensor, *theta: Tensor) -> Tensor:
        """The same equation for values 0 at fixed nodes, and what its flux leaves there."""
        fixed = self.fixed[:, None]
        inner = implicit_solve(self, grad.masked_fill(fixed, 0.0), *theta)
        if not rhs.requires_grad:  # else the flux is the gradient of the fixed values
            return inner
        return inner.where(~fixed, grad - self.product(inner, *theta))
