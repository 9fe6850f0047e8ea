"""Modularity of one clustering of two modalities."""

import torch
from torch import Tensor

from pyg_relational.nn.loss.balance import check_columns, collapse_of
from pyg_relational.ops.checks import Check, batch_checks, check_matrix, finite, settle
from pyg_relational.ops.graph.modularity import check_resolution, modularity_of
from pyg_relational.ops.graph.per_graph import check_weights, mean_of_present
from pyg_relational.transforms import knn_graph

__all__ = ["image_text_graph", "image_text_modularity_loss"]


def image_text_graph(
    image: Tensor,
    text: Tensor,
    k: int = 10,
    *,
    pair_weight: float = 1.0,
    batch: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Graph of :math:`n` images (nodes :math:`0..n-1`) and their texts (:math:`n..2n-1`).

    Each modality has its own kNN graph, weighted by :math:`\max(\cos, 0)`, so that the two may live in spaces
    of different sizes; an edge of weight ``pair_weight`` joins each image with its text.

    Args:
        image: Embedded images.
        text: Embedded texts, row :math:`i` that of image :math:`i`.
        k: Number of neighbours within a modality.
        pair_weight: Weight of the edge of a pair; 1 is the cosine of a point with itself.
        batch: Graph of every pair.

    Shapes:
        ``image``: :math:`[n, d]`, ``text``: :math:`[n, e]`, ``batch``: :math:`[n]`,
        output: ``edge_index`` :math:`[2, E]`, ``edge_weight`` :math:`[E]`, differentiable in both modalities.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If there are not as many texts as images, ``k`` is out of range, or a value is not finite.

    Example:
        >>> import torch
        >>> from pyg_relational.nn.loss.image_text import image_text_graph
        >>> image_text_graph(torch.eye(2) + 1, torch.ones(2, 3), k=1)[0].tolist()
        [[0, 1, 2, 3, 0, 1, 2, 3], [1, 0, 3, 2, 2, 3, 0, 1]]
    """
    settle(*_checks(image, text, pair_weight))
    return _graph(image, text, k, pair_weight, batch)


def _checks(image: Tensor, text: Tensor, pair_weight: float) -> list[Check]:
    checks = batch_checks({"image": image, "text": text}, {})
    check_weights(pair_weight=pair_weight)
    if len(text) != len(image):
        raise ValueError(f"text must have the {len(image)} rows of image, got {len(text)}")
    return checks


def _graph(
    image: Tensor, text: Tensor, k: int, pair_weight: float, batch: Tensor | None
) -> tuple[Tensor, Tensor]:
    n = len(image)
    inside = [knn_graph(x, k, metric="cosine", kernel="cosine", batch=batch) for x in (image, text)]
    pair = torch.arange(n, device=image.device)
    pairs = torch.stack([pair, pair + n])
    weights = [weight for _, weight in inside]
    dtype = torch.promote_types(weights[0].dtype, weights[1].dtype)
    return (
        torch.cat([inside[0][0], inside[1][0] + n, pairs, pairs.flip(0)], dim=1),
        torch.cat(
            [
                *(w.to(dtype) for w in weights),
                weights[0].new_full((2 * n,), pair_weight, dtype=dtype),
            ]
        ),
    )


def image_text_modularity_loss(
    image: Tensor,
    text: Tensor,
    assignment_image: Tensor,
    assignment_text: Tensor,
    k: int = 10,
    *,
    pair_weight: float = 1.0,
    resolution: float = 1.0,
    collapse: float = 1.0,
    batch: Tensor | None = None,
) -> Tensor:
    r"""DMoN loss of one soft clustering of images and texts, on the joint graph of :func:`image_text_graph`.

    .. math::
        \mathcal{L} = -Q(A, C) + \lambda_c \left(\frac{\sqrt{k}}{2n} \Big\lVert \sum_i c_i \Big\rVert_2 - 1\right),
        \qquad A = \begin{pmatrix} A_{\text{image}} & w I \\ w I & A_{\text{text}} \end{pmatrix}, \quad
        C = \begin{pmatrix} C_{\text{image}} \\ C_{\text{text}} \end{pmatrix}

    Column :math:`a` is the same cluster in both modalities; the edges of the pairs draw an image and its text
    to one.

    This is an assumption, not a transcript: the plainest modularity over two modalities, with no source
    that states its graph, its weights or its constants.

    Args:
        image: Embedded images.
        text: Embedded texts, row :math:`i` that of image :math:`i`.
        assignment_image: Soft assignment of the images.
        assignment_text: Soft assignment of the texts.
        k: Number of neighbours within a modality.
        pair_weight: :math:`w`.
        resolution: Resolution of the modularity.
        collapse: :math:`\lambda_c`.
        batch: Graph of every pair; the mean of the graphs' losses is taken.

    Shapes:
        ``image``: :math:`[n, d]`, ``text``: :math:`[n, e]`, assignments: :math:`[n, c]`, ``batch``: :math:`[n]`,
        output: scalar, at least float32.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If shapes disagree, ``k`` is out of range, or a value is not finite.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import image_text_modularity_loss
        >>> image = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
        >>> text, clusters = image.repeat(1, 2), torch.eye(2)[[0, 0, 1, 1]]
        >>> image_text_modularity_loss(image, text, clusters, clusters, k=1)
        tensor(-0.5000)
        >>> image_text_modularity_loss(image, text, clusters, clusters.flip(1), k=1, resolution=0.0)
        tensor(-0.5000)
    """
    checks = _checks(image, text, pair_weight)
    check_resolution(resolution)
    check_weights(collapse=collapse)
    for name, c, x in (
        ("assignment_image", assignment_image, image),
        ("assignment_text", assignment_text, text),
    ):
        check_matrix(c, name)
        if c.shape != (len(x), assignment_image.shape[1]):
            raise ValueError(
                f"{name} must have shape [{len(x)}, {assignment_image.shape[1]}], got {list(c.shape)}"
            )
        checks.append(finite(c, name))
    c = torch.cat([assignment_image, assignment_text])
    if collapse:
        check_columns(c)
    settle(*checks)
    edges = _graph(image, text, k, pair_weight, batch)
    batch = None if batch is None else batch.repeat(2)
    loss = -mean_of_present(modularity_of(*edges, c, resolution, batch), batch)
    if collapse:
        c = c.to(torch.promote_types(c.dtype, torch.float32))
        loss = loss + collapse * collapse_of(c, batch)
    return loss
