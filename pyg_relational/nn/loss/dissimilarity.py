"""Learned distances to prototypes."""

import torch
from torch import Tensor

from pyg_relational.ops.checks import batch_checks, check_share, settle

__all__ = ["dissimilarity_loss"]


def dissimilarity_loss(predicted: Tensor, distance: Tensor, *, mse_weight: float = 0.85) -> Tensor:
    r"""Squared error of predicted distances to prototypes, and divergence of their distributions.

    From `Leonardi and Riesen, "Dissimilarity-Based Graph Embedding: An Efficient GAT-based Approach"
    <https://doi.org/10.1007/978-3-031-78192-6>`_ (ICPR 2024, p. 361, eq. 3),

    .. math::
        \lambda \operatorname{mean}_{ij} (y_{ij} - \hat y_{ij})^2
        + (1 - \lambda) \operatorname{mean}_i \sum_j p_{ij} \log \frac{p_{ij}}{q_{ij}}, \qquad
        p_i = \mathrm{softmax}(\hat y_i), \quad q_i = \mathrm{softmax}(y_i)

    The text does not say how distances become distributions, nor whether its sums run over graphs or prototypes: the
    softmax over prototypes, and the means, are ours. As there, the prediction's distribution is the first.

    Args:
        predicted: Distances :math:`\hat y` that a model gives.
        distance: Distances :math:`y` themselves.
        mse_weight: :math:`\lambda`.

    Shapes:
        ``predicted``, ``distance``: :math:`[n, m]`, output: scalar, at least float32.

    Returns:
        The loss; 0 of no row.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If shapes disagree, a value is not finite, there is no prototype, or the weight is not in [0, 1].

    Example:
        >>> import torch
        >>> from pyg_relational.nn import dissimilarity_loss
        >>> dissimilarity_loss(torch.tensor([[1.0, 3.0]]), torch.tensor([[2.0, 4.0]]))  # shifted: no divergence
        tensor(0.8500)
    """
    check_share(mse_weight, "mse_weight")
    checks = batch_checks({"predicted": predicted, "distance": distance}, {})
    if predicted.shape != distance.shape:
        raise ValueError(
            f"distance must have the shape of predicted, {list(predicted.shape)}, got {list(distance.shape)}"
        )
    if not predicted.shape[1]:
        raise ValueError("predicted must have a column for a prototype, got none")
    settle(*checks)
    with torch.autocast(predicted.device.type, enabled=False):
        found, wanted = (
            y.to(torch.promote_types(y.dtype, torch.float32)) for y in (predicted, distance)
        )
        rows = max(1, len(found))
        square = (wanted - found).square().sum() / (rows * found.shape[1])
        p, q = found.log_softmax(1), wanted.log_softmax(1)
        return mse_weight * square + (1 - mse_weight) * (p.exp() * (p - q)).sum() / rows
