"""Learned options that stay in their range whatever step an optimiser takes."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

__all__ = ["RANGES", "Learned"]


def _above_0(raw: Tensor) -> Tensor:
    return softplus(raw).clamp(min=torch.finfo(raw.dtype).tiny)


def _below_1(raw: Tensor) -> Tensor:
    return raw.sigmoid().clamp(max=1 - torch.finfo(raw.dtype).eps)


def _softplus_of(value: Tensor) -> Tensor:
    return value + (-torch.expm1(-value)).log()


_Map = Callable[[Tensor], Tensor]
RANGES: dict[str, tuple[_Map, _Map, float]] = {  # to the range, back, and where it ends
    "tau": (_above_0, _softplus_of, torch.inf),
    "alpha": (_below_1, torch.logit, 1.0),
}


class Learned(nn.Module):
    r"""An option that is learned: :math:`\tau > 0` as a softplus, :math:`0 < \alpha < 1` as a sigmoid.

    The optimiser steps on ``raw``, which may take any value; a call gives the option.

    Args:
        name: ``"tau"`` or ``"alpha"``.
        start: First value.

    Raises:
        ValueError: If the first value is not within the range.

    Example:
        >>> import torch
        >>> from pyg_relational.nn.prop.learned import Learned
        >>> tau = Learned("tau", torch.tensor(0.1))
        >>> torch.optim.SGD(tau.parameters(), lr=1.0).zero_grad()
        >>> with torch.no_grad():
        ...     _ = tau.raw.sub_(5.0)
        >>> 0 < tau().item() < 0.001
        True
    """

    def __init__(self, name: str, start: Tensor) -> None:
        super().__init__()
        self.name = name
        _, back, end = RANGES[name]
        start_ = start.detach()
        if not bool(((start_ > 0) & (start_ < end)).all()):
            raise ValueError(f"{name} must be in (0, {end}) to be learned, got {start_.tolist()}")
        self.raw = nn.Parameter(back(start_), start.requires_grad)

    def forward(self) -> Tensor:
        """Return the option."""
        return RANGES[self.name][0](self.raw)

    def extra_repr(self) -> str:
        """The value."""
        return f"{self.name}={self().tolist()}"
