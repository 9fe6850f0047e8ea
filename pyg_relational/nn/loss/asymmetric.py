"""Binary cross-entropy of samples of several classes, less of what is easy and more of what is rare."""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from pyg_relational.ops.checks import (
    Check,
    at_least,
    check_labels,
    check_matrix,
    check_number,
    finite,
    settle,
    zero_or_one,
)

__all__ = ["asymmetric_loss"]


def asymmetric_loss(
    logits: Tensor,
    y: Tensor,
    class_counts: Tensor | None = None,
    *,
    gamma_positive: float = 1.0,
    gamma_negative: float = 2.0,
    margin: float = 0.05,
) -> Tensor:
    r"""Binary cross-entropy in which easy labels count less, absent ones the most so, and rare classes more.

    The asymmetric loss of `Ridnik et al. <https://arxiv.org/abs/2009.14119>`_ (ICCV 2021), weighted by class as in
    `Rawlekar et al., "Improving Multi-label Recognition using Class Co-Occurrence Probabilities"
    <https://doi.org/10.1007/978-3-031-78192-6_28>`_ (ICPR 2024, eqs. 4 and 5). With :math:`p = \sigma(z)`, the margin
    :math:`m` and :math:`c_j` the number of samples that have class :math:`j`, in the mean over samples and classes,

    .. math::
        -\alpha_j \bigl(y_{ij} (1 - p_{ij})^{\gamma_+} \log p_{ij}
        + (1 - y_{ij}) \tilde p_{ij}^{\gamma_-} \log(1 - \tilde p_{ij})\bigr), \qquad
        \tilde p = \max(p - m, 0), \quad \alpha_j = \frac{\sum_i c_i}{c_j}

    The text prints eq. 4 without its minus, and :math:`a_{jj}` for :math:`c_j` in eq. 5, which is 1 for every class by
    its eq. 2. Powers and margin are by default those of its authors' program, which takes the powers as constants: here
    they are differentiated like all else. Without powers, margin and weights it is
    :func:`~torch.nn.functional.binary_cross_entropy_with_logits`.

    Args:
        logits: Scores :math:`z`.
        y: Classes of each sample: 1 where it has the class, 0 where not, or booleans.
        class_counts: Training samples of each class, one or more; without it all classes weigh 1.
        gamma_positive: :math:`\gamma_+`, 0, or 1 and more.
        gamma_negative: :math:`\gamma_-`, 0, or 1 and more.
        margin: :math:`m`, the probability up to which an absent class costs nothing; below 1.

    Shapes:
        ``logits``, ``y``: :math:`[B, C]`, ``class_counts``: :math:`[C]`, output: scalar, at least float32.

    Returns:
        The loss; 0 of no sample.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If shapes disagree, a score is not finite, ``y`` holds another number than 0 and 1, a class has no
            training sample, or an option is out of range.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import asymmetric_loss
        >>> logits, y = torch.tensor([[2.0, -4.0]]), torch.tensor([[1, 0]])  # -4 is below the margin
        >>> asymmetric_loss(logits, y)
        tensor(0.0076)
        >>> asymmetric_loss(logits, y, torch.tensor([10, 30]))  # the first class weighs 4
        tensor(0.0303)
    """
    _check_options(gamma_positive, gamma_negative, margin)
    check_matrix(logits, "logits")
    checks = [finite(logits, "logits"), zero_or_one(y, "y")]
    if y.shape != logits.shape:
        raise ValueError(
            f"y must have the shape of logits, {list(logits.shape)}, got {list(y.shape)}"
        )
    if class_counts is not None:
        checks.append(_seen(class_counts, logits.shape[1]))
    settle(*checks)
    with torch.autocast(logits.device.type, enabled=False):
        z = logits.to(torch.promote_types(logits.dtype, torch.float32))
        there = (-z).sigmoid() ** gamma_positive * logsigmoid(z)
        loss = -there.where(y != 0, _absent(z, gamma_negative, margin))
        if class_counts is not None:
            counts = class_counts.to(z.dtype)
            loss = loss * (counts.sum() / counts)
        return loss.sum() / max(1, loss.numel())


def _absent(z: Tensor, gamma: float, margin: float) -> Tensor:
    """Terms of classes that are not there; without a margin 1 - p may round to 0, not so its logarithm."""
    p = (z.sigmoid() - margin).relu() if margin else z.sigmoid()
    return p**gamma * (torch.log1p(-p) if margin else logsigmoid(-z))


def _check_options(gamma_positive: float, gamma_negative: float, margin: float) -> None:
    for name, gamma in (("gamma_positive", gamma_positive), ("gamma_negative", gamma_negative)):
        check_number(gamma, name)
        if gamma != 0 and not 1 <= gamma < float("inf"):
            raise ValueError(f"{name} must be 0, or >= 1 and finite, got {gamma}")
    check_number(margin, "margin")
    if not 0 <= margin < 1:
        raise ValueError(f"margin must be in [0, 1), got {margin}")


def _seen(class_counts: Tensor, num_classes: int) -> Check:
    check_labels(class_counts, num_classes, "class_counts")
    return at_least(class_counts, 1, "class_counts")
