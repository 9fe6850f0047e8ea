"""The module around a propagation function."""

from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor, nn

from pyg_relational.nn.prop.inputs import check_class_count
from pyg_relational.nn.prop.learned import RANGES, Learned
from pyg_relational.ops.options import check_options, show_options

__all__ = ["Propagation"]


class Propagation(nn.Module):
    """Base of the modules: a function and its keyword arguments, those that are parameters learned.

    Args:
        **options: Keyword arguments of the function. A :class:`torch.nn.Parameter` is registered; for ``tau`` and
            ``alpha`` it is the first value of a :class:`~pyg_relational.nn.prop.learned.Learned`.

    Raises:
        TypeError: If the function has no such argument, or a value is of a wrong type.
        ValueError: If a value is out of range.
    """

    propagate: ClassVar[Callable[..., Any]]
    check: ClassVar[Callable[..., None]]

    def __init__(self, **options: Any) -> None:
        super().__init__()
        asked = check_options(type(self).propagate, options)
        type(self).check(**asked)
        check_class_count(asked["num_classes"])
        learned = {k: v for k, v in options.items() if isinstance(v, nn.Parameter)}
        for name, parameter in learned.items():
            if name in RANGES:
                self.add_module(name, Learned(name, parameter))
            else:
                self.register_parameter(name, parameter)
        self.options = {k: v for k, v in options.items() if k not in learned}

    def forward(
        self,
        edge_index: Any,
        edge_weight: Tensor | None,
        y: Tensor,
        mask: Tensor | None = None,
        **options: Any,
    ) -> Tensor:
        """Return the propagated labels.

        Args:
            edge_index: Edges, in both directions, or a graph that :func:`~pyg_relational.interop.as_edges` reads.
            edge_weight: Their weights, ``None`` for ones or those of the graph.
            y: Classes or values of the nodes.
            mask: Labelled nodes, ``None`` for those with ``y >= 0``.
            **options: In place of those of the module.

        Shapes:
            ``edge_index``: :math:`[2, E]`, ``edge_weight``: :math:`[E]`, ``y``: :math:`[n]` or :math:`[n, c]`,
            ``mask``: :math:`[n]`, output: :math:`[n, c]`.
        """
        learned = {name: module() for name, module in self.named_children()}
        registered = dict(self.named_parameters(recurse=False))
        options = {**self.options, **registered, **learned, **options}
        u: Tensor = type(self).propagate(edge_index, edge_weight, y, mask, **options)
        return u

    def extra_repr(self) -> str:
        """The options."""
        return show_options(self.options | dict(self.named_parameters(recurse=False)))
