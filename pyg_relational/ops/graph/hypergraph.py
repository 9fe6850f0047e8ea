"""Normalised Laplacian of a hypergraph, as a product in the number of incidences."""

from typing import Any

import torch
from torch import Tensor

from pyg_relational.ops.checks import Check, settle

__all__ = [
    "check_hypergraph",
    "hypergraph_diagonal",
    "hypergraph_laplacian_product",
    "hypergraph_scales",
]


def hypergraph_laplacian_product(
    hyperedge_index: Tensor, hyperedge_weight: Tensor, u: Tensor
) -> Tensor:
    r"""Product :math:`H u` with the normalised Laplacian of a hypergraph.

    `Zhou, Huang and Schölkopf, "Learning with Hypergraphs"
    <https://papers.nips.cc/paper/3128-learning-with-hypergraphs-clustering-classification-and-embedding>`_ (2006). With
    the incidence :math:`F_{ve} = [v \in e]`, :math:`\delta_e = \sum_v F_{ve}` and :math:`d_v = \sum_e w_e F_{ve}`:

    .. math::
        H = I - D_v^{-1/2} F W D_e^{-1} F^T D_v^{-1/2}

    in :math:`O(c \cdot \text{nnz})` time and memory, differentiable any number of times. :math:`H \sqrt{d} = 0`, but
    :math:`H 1 \ne 0` unless all degrees are equal. A node in no hyperedge of positive weight has a row of zeros.

    Args:
        hyperedge_index: Nodes and the hyperedges they are in, as of :class:`torch_geometric.nn.HypergraphConv`.
        hyperedge_weight: Weight of every hyperedge.
        u: Values of the nodes.

    Shapes:
        ``hyperedge_index``: :math:`[2, \text{nnz}]`, ``hyperedge_weight``: :math:`[m]`, ``u``, output: :math:`[n, c]`.

    Example:
        >>> import torch
        >>> from pyg_relational.ops import hypergraph_laplacian_product
        >>> pairs = torch.tensor([[0, 1, 1, 2], [0, 0, 1, 1]])  # {0, 1} and {1, 2}
        >>> hypergraph_laplacian_product(pairs, torch.ones(2), torch.tensor([[1.0], [2**0.5], [1.0]]))
        tensor([[0.],
                [0.],
                [0.]])
    """
    node, edge = hyperedge_index
    scale, share = hypergraph_scales(hyperedge_index, hyperedge_weight, len(u))
    scaled = scale[:, None] * u
    total = u.new_zeros(len(hyperedge_weight), u.shape[1])
    total = total.index_add(0, edge, scaled.index_select(0, node)) * share[:, None]
    back = torch.zeros_like(u).index_add(0, node, total.index_select(0, edge))
    return (scale > 0)[:, None] * u - scale[:, None] * back


def hypergraph_diagonal(
    hyperedge_index: Tensor, hyperedge_weight: Tensor, num_nodes: int
) -> Tensor:
    """Diagonal of the same matrix.

    Args:
        hyperedge_index: As there.
        hyperedge_weight: As there.
        num_nodes: Number of nodes.

    Shapes:
        ``hyperedge_index``: :math:`[2, nnz]`, ``hyperedge_weight``: :math:`[m]`, output: :math:`[n]`.
    """
    node, edge = hyperedge_index
    scale, share = hypergraph_scales(hyperedge_index, hyperedge_weight, num_nodes)
    own = torch.zeros_like(scale).index_add(0, node, share[edge])
    return (scale > 0).to(scale) - scale.square() * own


def hypergraph_scales(
    hyperedge_index: Tensor, hyperedge_weight: Tensor, num_nodes: int
) -> tuple[Tensor, Tensor]:
    """:math:`D_v^{-1/2}`, 0 at nodes of no degree, and :math:`W D_e^{-1}`.

    Args:
        hyperedge_index: As there.
        hyperedge_weight: As there.
        num_nodes: Number of nodes.

    Shapes:
        ``hyperedge_index``: :math:`[2, nnz]`, ``hyperedge_weight``: :math:`[m]`, output: :math:`[n]`, :math:`[m]`.
    """
    scale = _inverse_root(hyperedge_index, hyperedge_weight, num_nodes)
    return scale, hyperedge_weight / _sizes(hyperedge_index[1], hyperedge_weight)


def _sizes(edge: Tensor, weight: Tensor) -> Tensor:
    """Members of each hyperedge, 1 of none; unlike a ``bincount`` it does not wait for a device."""
    one = torch.ones_like(edge, dtype=weight.dtype)
    return torch.zeros_like(weight).index_add(0, edge, one).clamp(min=1)


def _inverse_root(hyperedge_index: Tensor, hyperedge_weight: Tensor, n: int) -> Tensor:
    node, edge = hyperedge_index
    degree = hyperedge_weight.new_zeros(n).index_add(
        0, node, hyperedge_weight.index_select(0, edge)
    )
    return degree.where(degree > 0, 1).rsqrt().where(degree > 0, 0)


def check_hypergraph(hyperedge_index: Any, hyperedge_weight: Any, num_nodes: int) -> None:
    """Raise unless both are those of a hypergraph of as many nodes.

    Args:
        hyperedge_index: The argument to check.
        hyperedge_weight: The argument to check.
        num_nodes: Number of nodes.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If a shape or value is out of range, or a node is twice in a hyperedge.
    """
    for name, value in (
        ("hyperedge_index", hyperedge_index),
        ("hyperedge_weight", hyperedge_weight),
    ):
        if not isinstance(value, Tensor):
            raise TypeError(f"{name} must be a Tensor, got {type(value).__name__}")
    if hyperedge_index.dtype != torch.int64:
        raise TypeError(f"hyperedge_index must be int64, got {hyperedge_index.dtype}")
    if not hyperedge_weight.is_floating_point():
        raise TypeError(f"hyperedge_weight must be floating point, got {hyperedge_weight.dtype}")
    if hyperedge_index.dim() != 2 or hyperedge_index.shape[0] != 2:
        raise ValueError(
            f"hyperedge_index must have shape [2, nnz], got {list(hyperedge_index.shape)}"
        )
    if hyperedge_weight.dim() != 1:
        raise ValueError(
            f"hyperedge_weight must have shape [m], got {list(hyperedge_weight.shape)}"
        )
    settle(*_checks(hyperedge_index, hyperedge_weight.detach(), num_nodes))


def _checks(index: Tensor, weight: Tensor, n: int) -> list[Check]:
    def inside() -> Tensor:
        return ((index >= 0).all(0) & (index[0] < n) & (index[1] < len(weight))).all()

    def refuse_index() -> None:
        raise ValueError(
            f"hyperedge_index must be in [0, {n}) and [0, {len(weight)}), got "
            f"{index.min(1).values.tolist()} to {index.max(1).values.tolist()}"
        )

    def refuse_weight() -> None:
        raise ValueError("hyperedge_weight must be >= 0 and finite")

    def refuse_twice() -> None:
        raise ValueError("hyperedge_index must have a node at most once in a hyperedge")

    def once() -> Tensor:
        key = (index[1] * n + index[0]).sort().values
        return (key[1:] != key[:-1]).all()

    return [
        Check("hyperedge_index", inside, 1, 1, refuse_index),
        Check(
            "hyperedge_weight",
            lambda: ((weight >= 0) & weight.isfinite()).all(),
            1,
            1,
            refuse_weight,
        ),
        Check("a node is once in a hyperedge", once, 1, 1, refuse_twice),
    ]
