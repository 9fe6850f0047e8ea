"""How much the neighbourhoods of an edge's two ends overlap."""

import torch
from torch import Tensor

__all__ = ["neighbour_overlap"]

_WEDGES = 1 << 22  # tried at once


def neighbour_overlap(edge_index: Tensor, num_nodes: int) -> Tensor:
    r"""Share of the neighbours of an edge's two ends that they have in common, each node being its own neighbour.

    .. math::
        J_{ij} = \frac{|N_i \cap N_j|}{|N_i \cup N_j|}, \qquad i \in N_i

    It tells edges of a binary graph apart: those inside of a dense group close many triangles, those between two groups
    hardly any. Triangles are found once, at their end of lowest degree, in :math:`O(E^{3/2})` time and in tiles of
    memory. Weights do not count. Self-loops have an overlap of 1.

    Args:
        edge_index: Edges, in both directions, without duplicates.
        num_nodes: Number of nodes.

    Shapes:
        ``edge_index``: :math:`[2, E]`, output: :math:`[E]`, float32.

    Example:
        >>> import torch
        >>> from pyg_relational.cluster.overlap import neighbour_overlap
        >>> triangle_and_tail = torch.tensor([[0, 1, 0, 2, 1, 2, 2, 3], [1, 0, 2, 0, 2, 1, 3, 2]])
        >>> neighbour_overlap(triangle_and_tail, 4).tolist()
        [1.0, 1.0, 0.75, 0.75, 0.75, 0.75, 0.5, 0.5]
    """
    row, col = edge_index
    apart = (row != col).nonzero()[:, 0]
    degree = row[apart].bincount(minlength=num_nodes)
    low, high = torch.minimum(row, col), torch.maximum(row, col)
    key, pair = (low * num_nodes + high)[apart].unique(return_inverse=True)
    triangles = _triangles(key, degree, num_nodes)[pair]
    overlap = torch.ones(len(row), device=row.device)
    ends = (degree[row] + degree[col])[apart]
    overlap[apart] = (triangles + 2) / (ends - triangles)
    return overlap


def _triangles(key: Tensor, degree: Tensor, n: int) -> Tensor:
    """Number of triangles of every pair of neighbours ``i < j``, sorted by ``i n + j``."""
    count = torch.zeros_like(key)
    if not len(key):
        return count
    i, j = key // n, key % n
    down = (degree[j] < degree[i]).long()  # from the end of lower degree
    tail = torch.where(down == 1, j, i)
    order = tail.argsort(stable=True)
    out = tail.bincount(minlength=n)
    first = (out.cumsum(0) - out)[tail[order]]
    later = first + out[tail[order]] - torch.arange(len(key), device=key.device) - 1
    head = (i + j - tail)[order]
    ends = later.cumsum(0)
    start = 0
    while start < len(key):
        done = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(torch.searchsorted(ends, done + _WEDGES, right=True)))
        one = torch.arange(start, stop, device=key.device).repeat_interleave(later[start:stop])
        before = (ends - later)[one] - done
        other = one + 1 + torch.arange(len(one), device=key.device) - before
        a, b = head[one], head[other]
        closing = torch.minimum(a, b) * n + torch.maximum(a, b)
        third = torch.searchsorted(key, closing).clamp(max=len(key) - 1)
        closed = key[third] == closing
        for edge in (order[one[closed]], order[other[closed]], third[closed]):
            count += edge.bincount(minlength=len(key))
        start = stop
    return count
