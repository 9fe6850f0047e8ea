"""Classification and contrast of images, anchors and proxies."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pyg_relational.nn.loss.proxy_contrastive import ProxyContrastiveLoss, check_term_weights
from pyg_relational.nn.models.cnn2graph import CNN2GraphOutput
from pyg_relational.ops.checks import (
    Check,
    check_labels,
    check_matrix,
    check_number,
    finite,
    settle,
)

__all__ = ["CNN2GraphLoss"]


class CNN2GraphLoss(nn.Module):
    r"""Loss of :class:`~pyg_relational.nn.CNN2Graph`.

    From `"CNN2Graph: Building Graphs for Image Classification" <https://openaccess.thecvf.com/content/WACV2023/html/Trivedy_CNN2Graph_Building_Graphs_for_Image_Classification_WACV_2023_paper.html>`_.

    The mean cross-entropy of the images, of the anchors and of the proxies, all through one classifier (eqs. 16-17),
    and a contrastive loss:

    .. math::
        \mathcal{L} = \sum_{S \in \{images, anchors, proxies\}} \frac{1}{|S|} \sum_{i \in S} -\log p_{i, y_i}
        + \lambda \mathcal{L}_{contrastive}

    The weights, and unlabelled rows, are ours; the paper's are all 1.

    Rows with class -1 (unlabelled) take no part; a set without a labelled row adds 0.

    Args:
        contrastive: Contrastive loss of embeddings; ``None`` is :class:`~pyg_relational.nn.ProxyContrastiveLoss`
            with its defaults.
        weight: :math:`\lambda`.
        class_weights: Factors of the cross-entropies of images, anchors and proxies. (default: all 1)

    Shapes:
        ``output``: the model's for :math:`B` images, ``y``: :math:`[B]`, output: scalar, at least float32.

    Raises:
        TypeError: If ``contrastive`` is no module or ``weight`` no number, logits are not floating point, or classes
            are not int64.
        ValueError: If ``weight`` is below 0, shapes disagree, a value is not finite, or a class has no logit.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import CNN2GraphLoss, CNN2GraphOutput
        >>> x, y = torch.eye(3), torch.arange(3)
        >>> output = CNN2GraphOutput(9 * x, x, x, x, 9 * x, 9 * x, y, y)
        >>> round(CNN2GraphLoss()(output, y).item(), 4)
        0.0007
    """

    def __init__(
        self,
        contrastive: nn.Module | None = None,
        weight: float = 1.0,
        class_weights: Sequence[float] = (1.0, 1.0, 1.0),
    ) -> None:
        super().__init__()
        if not isinstance(contrastive, nn.Module | None):
            raise TypeError(
                f"contrastive must be a torch.nn.Module or None, got {type(contrastive).__name__}"
            )
        check_number(weight, "weight")
        if not 0 <= weight < math.inf:
            raise ValueError(f"weight must be finite and >= 0, got {weight}")
        self.contrastive = ProxyContrastiveLoss() if contrastive is None else contrastive
        check_term_weights(class_weights, 3, "class_weights")
        self.weight, self.class_weights = weight, tuple(class_weights)

    def forward(self, output: CNN2GraphOutput, y: Tensor) -> Tensor:
        """Return the loss of a batch."""
        named = {"logits": output.logits, "y": y}, _of(output, "anchor"), _of(output, "proxy")
        settle(*(check for pair in named for check in _checks(pair)))
        pairs = zip(named, self.class_weights, strict=True)
        parts = [weight * _cross_entropy(*pair.values()) for pair, weight in pairs]
        if self.weight:
            contrastive = self.contrastive(
                output.embedding,
                y,
                output.anchors,
                output.anchor_y,
                output.proxies,
                output.proxy_y,
            )
            parts.append(self.weight * contrastive)
        return torch.stack(parts).sum()

    def extra_repr(self) -> str:
        """Options shown by ``print``."""
        return f"weight={self.weight!r}, class_weights={self.class_weights!r}"


def _of(output: CNN2GraphOutput, kind: str) -> dict[str, Tensor]:
    names = f"{kind}_logits", f"{kind}_y"
    return {name: getattr(output, name) for name in names}


def _checks(pair: dict[str, Tensor]) -> list[Check]:
    """What is asked of values; dtypes and shapes are checked at once."""
    (name, logits), (y_name, y) = pair.items()
    check_matrix(logits, name)
    check_labels(y, logits.shape[0], y_name)
    rule = f"{y_name} must be -1 or a class in [0, {logits.shape[1]})"

    def bound(pick: Callable[[Tensor], Tensor]) -> Check:
        def number() -> Tensor:
            return pick(y) if y.numel() else y.new_full((), -1)

        def refuse() -> None:
            raise ValueError(f"{rule}, got {int(number())}")

        return Check(rule, number, -1, logits.shape[1] - 1, refuse)

    return [finite(logits, name), bound(torch.amin), bound(torch.amax)]


def _cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Mean over the labelled rows, 0 without one."""
    with torch.autocast(logits.device.type, enabled=False):
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        total = cross_entropy(logits, y, ignore_index=-1, reduction="sum")
        return total / (y >= 0).sum().clamp(min=1)
