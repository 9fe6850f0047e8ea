"""An image, the graph of its parts and the graph of its text at one place."""

import torch
from torch import Tensor

from pyg_relational.ops import safe_sqrt
from pyg_relational.ops.checks import batch_checks, settle

__all__ = ["global_alignment_loss"]


def global_alignment_loss(image: Tensor, visual: Tensor, textual: Tensor) -> Tensor:
    r"""Distances of each image to the graph of its parts and to the graph of its text.

    From `Park et al., "Clustering-based Image-Text Graph Matching for Domain Generalization"
    <https://doi.org/10.1007/978-3-031-78192-6_26>`_ (ICPR 2024, eq. 3), in the mean over the samples,

    .. math::
        \lVert x_b - v_b \rVert_2 + \lVert x_b - t_b \rVert_2

    It has its minimum where all are one point: the text adds a classifier of :math:`x` against that.

    Args:
        image: Projected features of images.
        visual: Projected features of their visual graphs.
        textual: Projected features of their textual graphs.

    Shapes:
        ``image``, ``visual``, ``textual``: :math:`[B, p]`, output: scalar, at least float32.

    Returns:
        The loss; 0 of no sample. The gradient of a distance of 0 is 0.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If shapes disagree or a value is not finite.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import global_alignment_loss
        >>> global_alignment_loss(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 1.0]]))
        tensor(6.)
    """
    given = {"image": image, "visual": visual, "textual": textual}
    checks = batch_checks(given, {})
    for name, x in given.items():
        if x.shape != image.shape:
            raise ValueError(
                f"{name} must have the shape of image, {list(image.shape)}, got {list(x.shape)}"
            )
    settle(*checks)
    with torch.autocast(image.device.type, enabled=False):
        x, v, t = (
            part.to(torch.promote_types(part.dtype, torch.float32)) for part in given.values()
        )
        to_visual, to_textual = (safe_sqrt((x - other).square().sum(1)) for other in (v, t))
        return (to_visual + to_textual).sum() / max(1, len(image))
