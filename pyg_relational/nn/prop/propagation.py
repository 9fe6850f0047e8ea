"""The module around a propagation function."""

from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor, nn


class Propagation(nn.Module):
    """Base of the modules: a function and its keyword arguments, those that are parameters registered.

    Args:
        **options: Keyword arguments of the function.
    """

    propagate: ClassVar[Callable[..., Any]]

    def __init__(self, **options: Any) -> None:
        super().__init__()
        learned = {k: v for k, v in options.items() if isinstance(v, nn.Parameter)}
        for name, parameter in learned.items():
            self.register_parameter(name, parameter)
        self.options = {k: v for k, v in options.items() if k not in learned}

    def forward(
        self,
        edge_index: Tensor,
        edge_weight: Tensor | None,
        y: Tensor,
        mask: Tensor | None = None,
        **options: Any,
    ) -> Tensor:
        """Return the propagated labels.

        Args:
            edge_index: Edges, in both directions.
            edge_weight: Their weights, ``None`` for ones.
            y: Classes or values of the nodes.
            mask: Labelled nodes, ``None`` for those with ``y >= 0``.
            **options: In place of those of the module.

        Shapes:
            ``edge_index``: :math:`[2, E]`, ``edge_weight``: :math:`[E]`, ``y``: :math:`[n]` or :math:`[n, c]`,
            ``mask``: :math:`[n]`, output: :math:`[n, c]`.
        """
        options = {**self.options, **dict(self.named_parameters()), **options}
        u: Tensor = type(self).propagate(edge_index, edge_weight, y, mask, **options)
        return u

    def extra_repr(self) -> str:
        """The options."""
        return ", ".join(f"{name}={value!r}" for name, value in self.options.items())
