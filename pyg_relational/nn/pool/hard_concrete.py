"""Gates that are random in training and open or closed where they can be."""

import torch
from torch import Tensor

__all__ = ["hard_concrete"]


def hard_concrete(
    logits: Tensor, *, noise: bool = True, generator: torch.Generator | None = None
) -> Tensor:
    r"""Hard concrete gates of `"Learning Sparse Neural Networks through L0 Regularization" <https://arxiv.org/abs/1712.01312>`_.

    .. math::
        g = \min(1, \max(0, s (\zeta - \gamma) + \gamma)), \qquad
        s = \sigma\Big(\frac{\log u - \log(1 - u) + \log \alpha}{\beta}\Big), \qquad u \sim \mathcal{U}(0, 1)

    with :math:`\gamma = -0.1`, :math:`\zeta = 1.1`, :math:`\beta = 2/3`; without noise :math:`s = \sigma(\log \alpha)`.

    Args:
        logits: :math:`\log \alpha`, any shape.
        noise: Whether to draw :math:`u`. (default: ``True``)
        generator: Where to draw it from, on the device of the logits.

    Example:
        >>> import torch
        >>> from pyg_relational.nn.pool.hard_concrete import hard_concrete
        >>> hard_concrete(torch.tensor([-4.0, 0.0, 4.0]), noise=False)
        tensor([0.0000, 0.5000, 1.0000])
    """
    if noise:
        u = torch.rand(logits.shape, dtype=logits.dtype, device=logits.device, generator=generator)
        logits = (u.logit() + logits) * 1.5
    return (1.2 * logits.sigmoid() - 0.1).clamp(0, 1)
