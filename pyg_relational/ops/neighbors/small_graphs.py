"""Nearest neighbours within many small graphs, all graphs at once."""

import torch
from torch import Tensor

__all__ = ["small", "within_small_graphs"]

_LARGEST = 128  # nodes of a graph up to which all its distances are taken
_NUMBERS = 2**25  # distances at once


def small(sizes: list[int]) -> bool:
    """Whether all distances within the graphs are few enough to be taken at once.

    Args:
        sizes: Number of nodes of every graph.

    Example:
        >>> from pyg_relational.ops.neighbors.small_graphs import small
        >>> small([49] * 64), small([49, 5000])
        (True, False)
    """
    most = max(sizes, default=0)
    return 0 < most <= _LARGEST and len(sizes) * most**2 <= _NUMBERS


def within_small_graphs(
    x: Tensor, k: int, graph: Tensor, sizes: Tensor, most: int
) -> tuple[Tensor, Tensor]:
    """The ``k`` nearest rows of every row within its graph, and their distances; ties to the lower row.

    Direct differences in float64, graphs padded to the size of the largest.

    Args:
        x: Features, graph after graph.
        k: Number of neighbours, less than each graph has nodes.
        graph: Graph of every row, in order.
        sizes: Number of nodes of every graph.
        most: The largest of them.

    Shapes:
        ``x``: :math:`[n, d]`, ``graph``: :math:`[n]`, ``sizes``: :math:`[B]`, output: two of :math:`[n, k]`.

    Example:
        >>> import torch
        >>> from pyg_relational.ops.neighbors.small_graphs import within_small_graphs
        >>> x = torch.tensor([[0.0], [1.0], [0.0], [5.0]])
        >>> within_small_graphs(x, 1, torch.tensor([0, 0, 1, 1]), torch.tensor([2, 2]), 2)[0].flatten().tolist()
        [1, 0, 3, 2]
    """
    node, slot = torch.arange(len(x), device=x.device), torch.arange(most, device=x.device)
    first = sizes.cumsum(0) - sizes
    place = node - first[graph]
    padded = x.new_zeros(len(sizes), most, x.shape[1], dtype=torch.float64)
    padded[graph, place] = x.double()
    distance = torch.cdist(padded, padded, compute_mode="donot_use_mm_for_euclid_dist")
    out = (slot >= sizes[:, None])[:, None] | (slot == slot[:, None])
    distance = distance.masked_fill(out, torch.inf)[graph, place]
    distance, nearest = (part[:, :k] for part in distance.sort(dim=-1, stable=True))
    return nearest + first[graph, None], distance.to(x.dtype)
