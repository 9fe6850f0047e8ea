"""Hypergraph of nearest neighbours: every row with its neighbours is a hyperedge."""

import torch
from torch import Tensor

from pyg_relational.ops import knn
from pyg_relational.ops.checks import check_matrix
from pyg_relational.transforms.knn_graph import Bandwidth, Metric, check_knn_graph, knn_weights

__all__ = ["check_knn_hypergraph", "knn_hypergraph"]


def knn_hypergraph(
    x: Tensor,
    k: int,
    *,
    metric: Metric = "euclidean",
    bandwidth: Bandwidth = "self_tuning",
    batch: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Hypergraph whose hyperedge :math:`i` is row :math:`i` with its :math:`k` nearest neighbours.

    As in `Rastogi and Nirwal, "Improved Hypergraph Laplacian Based Semi-supervised Support Vector Machine"
    <https://doi.org/10.1007/978-3-031-78192-6>`_ (ICPR 2024, p. 242), the weight of a hyperedge is the mean similarity
    of its members,

    .. math::
        w_e = \frac{1}{\delta_e (\delta_e - 1)} \sum_{i \ne j \in e} \exp\left(-\frac{4 d_{ij}^2}{\varepsilon_i
        \varepsilon_j}\right), \qquad \delta_e = k + 1,

    differentiable in ``x``, in :math:`O(n k^2 + n d)` memory. The text does not say how hyperedges are formed, nor
    :math:`\mu` of its :math:`\exp(-d^2 / \mu)`: they are formed as in its reference 13, and weights are those of
    :func:`knn_graph`; a number :math:`\varepsilon` as bandwidth is :math:`\mu = \varepsilon^2 / 4`. Read over unordered
    pairs the printed sum is half of this, which changes no normalised Laplacian.

    Args:
        x: Features. Half precision is computed in float32.
        k: Number of neighbours, the point itself not counted, ``1 <= k < n``.
        metric: ``"euclidean"`` or ``"cosine"``.
        bandwidth: Bandwidth of the Gaussian, as in :func:`knn_graph`.
        batch: Graph number of every row; hyperedges stay inside a graph.

    Shapes:
        ``x``: :math:`[n, d]`, ``batch``: :math:`[n]`,
        output: ``hyperedge_index`` :math:`[2, n (k + 1)]`, ``hyperedge_weight`` :math:`[n]`.

    Returns:
        Nodes (first row) and the hyperedges they are in (second), sorted by hyperedge, the row itself first, as
        :class:`torch_geometric.nn.HypergraphConv` takes them; and the weights.

    Raises:
        TypeError: If an argument is of a wrong type.
        ValueError: If one is out of range, or ``x`` is not finite.

    Example:
        >>> import torch
        >>> from pyg_relational.transforms import knn_hypergraph
        >>> hyperedge_index, hyperedge_weight = knn_hypergraph(torch.tensor([[0.0], [1.0], [3.0]]), k=1)
        >>> hyperedge_index.tolist()
        [[0, 1, 1, 0, 2, 1], [0, 0, 1, 1, 2, 2]]
    """
    check_knn_hypergraph(k, metric=metric, bandwidth=bandwidth)
    check_matrix(x)
    dtype, n = x.dtype, x.shape[0]
    x = x.float() if dtype in (torch.float16, torch.bfloat16) else x
    index = knn(x, k, metric, batch=batch).index
    members = torch.cat([torch.arange(n, device=x.device)[:, None], index], 1)
    with torch.autocast(x.device.type, enabled=False):
        a, b = torch.triu_indices(int(k) + 1, int(k) + 1, 1, device=x.device)
        pairs = torch.stack([members[:, a].flatten(), members[:, b].flatten()])
        weight = knn_weights(x, pairs, index[:, -1], metric, "gaussian", bandwidth)
        mean = weight.view(n, -1).mean(1).to(dtype)
    hyperedge = torch.arange(n, device=x.device).repeat_interleave(int(k) + 1)
    return torch.stack([members.flatten(), hyperedge]), mean


def check_knn_hypergraph(k: int, *, metric: Metric, bandwidth: Bandwidth, **_: object) -> None:
    """Raise unless the options of :func:`knn_hypergraph` are in range, as far as no rows are asked for.

    Args:
        k: As there.
        metric: As there.
        bandwidth: As there.

    Raises:
        TypeError: If one is of a wrong type.
        ValueError: If one is out of range.
    """
    rest = {"kernel": "gaussian", "symmetrize": "union", "recall": None}
    check_knn_graph(k, metric=metric, bandwidth=bandwidth, **rest)
