"""Samples and prototypes as a bipartite graph whose edges hold distances."""

import torch
from torch import Tensor

from pyg_relational.ops import edge_diff_dot, edge_dot, safe_sqrt, unit_rows
from pyg_relational.ops.checks import batch_checks, check_choice, settle
from pyg_relational.transforms.knn_graph import Metric

__all__ = ["dissimilarity_graph"]


def dissimilarity_graph(
    x: Tensor, prototypes: Tensor, *, metric: Metric = "euclidean"
) -> tuple[Tensor, Tensor]:
    r"""Complete bipartite graph from prototypes to samples, with distances on the edges.

    The dissimilarity embedding of a sample, as in `Leonardi and Riesen, "Dissimilarity-Based Graph Embedding: An
    Efficient GAT-based Approach" <https://doi.org/10.1007/978-3-031-78192-6>`_ (ICPR 2024, p. 361), there of graphs,

    .. math::
        \varphi(x) = (d(x, p_1), \ldots, d(x, p_m)),

    is ``distance.view(n, m)``; as ``edge_attr`` the distances go to any bipartite layer of PyG. Differentiable in both,
    with gradient 0 at a distance of 0, in :math:`O(n m + (n + m) d)` memory.

    Args:
        x: Samples.
        prototypes: Prototypes.
        metric: ``"euclidean"`` or ``"cosine"`` (:math:`d = 1 - \cos`).

    Shapes:
        ``x``: :math:`[n, d]`, ``prototypes``: :math:`[m, d]`, output: ``edge_index`` :math:`[2, n m]` (prototype,
        sample), ``distance`` :math:`[n m]`, sample after sample.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If widths disagree, a value is not finite, or ``metric`` is none.

    Example:
        >>> import torch
        >>> from pyg_relational.transforms import dissimilarity_graph
        >>> edge_index, distance = dissimilarity_graph(torch.tensor([[0.0], [3.0]]), torch.tensor([[1.0], [5.0]]))
        >>> edge_index.tolist(), distance.view(2, 2).tolist()
        ([[0, 1, 0, 1], [0, 0, 1, 1]], [[1.0, 5.0], [2.0, 2.0]])
    """
    check_choice(metric, Metric, "metric")
    checks = batch_checks({"x": x, "prototypes": prototypes}, {})
    if prototypes.shape[1] != x.shape[1]:
        raise ValueError(f"prototypes must have {x.shape[1]} columns, got {prototypes.shape[1]}")
    settle(*checks)
    dtype = torch.promote_types(x.dtype, prototypes.dtype)
    n, m = len(x), len(prototypes)
    sample = torch.arange(n, device=x.device).repeat_interleave(m)
    prototype = torch.arange(m, device=x.device).repeat(n)
    with torch.autocast(x.device.type, enabled=False):
        both = torch.cat([prototypes, x]).to(torch.promote_types(dtype, torch.float32))
        pairs = torch.stack([prototype, sample + m])
        if metric == "euclidean":
            distance = safe_sqrt(edge_diff_dot(both, both, pairs))
        else:
            unit = unit_rows(both)
            distance = 1 - edge_dot(unit, unit, pairs)
    return torch.stack([prototype, sample]), distance.to(dtype)
