"""Spectral clustering of a graph, with its connected components taken apart."""

from typing import Any

import numpy as np
import scipy.sparse
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyg_relational.ops.checks import check_count
from pyg_relational.ops.graph.components import smallest_member
from pyg_relational.ops.graph.undirected import undirected_edges

__all__ = ["Array", "spectral"]

Array = NDArray[Any]

_WEAK = 1e-8  # weaker entries of the normalised adjacency join nothing: no eigenvalue shows them
_FILL = 8_000_000  # bound on the entries of a factor, up to which it is worth it
_DENSE = 1024  # nodes up to which a dense eigensolver is as fast


def spectral(
    edge_index: Tensor,
    edge_weight: Tensor | None,
    num_clusters: int,
    *,
    row_normalize: bool = True,
    min_size: int = 2,
    num_nodes: int | None = None,
    seed: int = 0,
) -> Tensor:
    r"""Normalised spectral clustering of an undirected graph: k-means on eigenvectors of the Laplacian.

    The :math:`k` eigenvectors :math:`U` of :math:`D^{-1/2} W D^{-1/2}` with the largest eigenvalues, each row scaled to
    length 1 as in `Ng, Jordan and Weiss, "On spectral clustering"
    <https://proceedings.neurips.cc/paper/2001/hash/801272ee79cfde7fa5960571fee36b9b-Abstract.html>`_ (2001), or
    :math:`D^{-1/2} U` of `Shi and Malik <https://doi.org/10.1109/34.868688>`_ (2000); then k-means, best of 10 runs.

    Connected components share the eigenvalue 1, where an eigensolver gives mixtures. So each component's eigenvectors
    are computed apart, and the :math:`k` largest eigenvalues of all are taken. With more
    components than :math:`k`, the :math:`k` largest are the clusters. Nodes without eigenvector, those of smaller
    components and isolated ones, join the largest cluster. Self-loops are left out, and edges so weak
    (:math:`w_{ij} \leq 10^{-8} \sqrt{d_i d_j}`) that no eigenvalue shows them. Runs on the CPU.

    Args:
        edge_index: Edges, in both directions.
        edge_weight: Their weights, ``None`` for ones.
        num_clusters: Number of clusters :math:`k`.
        row_normalize: Whether to scale rows to length 1, or by :math:`D^{-1/2}`.
        min_size: Smallest component that may hold eigenvectors. Raise it where a stray group of a few nodes would take
            a whole cluster.
        num_nodes: Number of nodes, ``None`` for the largest index plus one.
        seed: Seed of k-means and of the eigensolver's start.

    Shapes:
        ``edge_index``: :math:`[2, E]`, ``edge_weight``: :math:`[E]`, output: :math:`[n]`, int64.

    Returns:
        Cluster of every node, counted from 0 in the order of their first nodes.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If a shape or value is out of range, the graph is not undirected, or fewer than
            ``num_clusters`` nodes are in components of ``min_size``.

    Example:
        >>> import torch
        >>> from pyg_relational.cluster import spectral
        >>> spectral(torch.tensor([[0, 1, 2, 3], [1, 0, 3, 2]]), None, 2).tolist()
        [0, 0, 1, 1]
    """
    from sklearn.cluster import KMeans

    k = check_count(num_clusters, "num_clusters")
    min_size = check_count(min_size, "min_size", 2)
    seed = check_count(seed, "seed", 0)
    edge_index, weight, n = undirected_edges(edge_index, edge_weight, num_nodes)
    adjacency, degree = _normalized_adjacency(edge_index, weight.detach(), n)
    embedding = _embedding(adjacency, k, min_size, seed)
    held = embedding.any(axis=1)
    x = embedding[held]
    scale = np.linalg.norm(x, axis=1) if row_normalize else np.sqrt(degree[held])
    label = KMeans(k, n_init=10, random_state=seed).fit_predict(x / scale[:, None])
    cluster = np.full(n, np.bincount(label).argmax())
    cluster[held] = label
    first = smallest_member(torch.from_numpy(cluster).to(edge_index.device, torch.int64))
    number: Tensor = first.unique(return_inverse=True)[1]
    return number


def _normalized_adjacency(edge_index: Tensor, weight: Tensor, n: int) -> tuple[Any, Array]:
    row, col = edge_index.cpu().numpy()
    w = np.where(row != col, weight.double().cpu().numpy(), 0)
    degree = np.bincount(row, w, minlength=n)
    inverse = np.divide(1, np.sqrt(degree), out=np.zeros(n), where=degree > 0)
    s = w * inverse[row] * inverse[col]
    keep = s > _WEAK
    return scipy.sparse.csr_array((s[keep], (row[keep], col[keep])), shape=(n, n)), degree


def _embedding(adjacency: Any, k: int, min_size: int, seed: int) -> Array:
    """The ``k`` eigenvectors ``[n, k]``, every one zero outside of its component."""
    component = scipy.sparse.csgraph.connected_components(adjacency, directed=False)[1]
    size = np.bincount(component)
    largest = np.argsort(-size, kind="stable")[:k]
    largest = largest[size[largest] >= min_size]
    if (total := size[size >= min_size].sum()) < k:
        raise ValueError(
            f"num_clusters must be <= {total}, the number of nodes in components of at least {min_size}, got {k}"
        )
    found = []
    for c in largest:
        nodes = np.flatnonzero(component == c)
        most = min(k - len(largest) + 1, len(nodes))
        values, vectors = _top_eigenvectors(adjacency[nodes][:, nodes], most, seed)
        found += [(-value, nodes, v) for value, v in zip(values, vectors.T, strict=True)]
    embedding = np.zeros((len(component), k))
    for column, (_, nodes, v) in enumerate(sorted(found, key=lambda pair: pair[0])[:k]):
        embedding[nodes, column] = v
    return embedding


def _top_eigenvectors(s: Any, q: int, seed: int) -> tuple[Array, Array]:
    """The ``q`` largest eigenvalues of a symmetric matrix, in descending order, and their vectors."""
    import scipy.linalg  # here, as it starts threads

    n = s.shape[0]
    if n <= _DENSE or q > n // 8:
        values, vectors = scipy.linalg.eigh(s.toarray(), subset_by_index=(n - q, n - 1))
    else:
        rng = np.random.default_rng(seed)
        values, vectors = _lanczos(s, q, rng.random(n))
        while (missed := _next_eigenvector(s, values, vectors, rng))[0] > values.min() + 1e-6:
            lowest = values.argmin()
            values[lowest], vectors[:, lowest] = missed
    order = np.argsort(-values, kind="stable")
    return values[order], vectors[:, order]


def _lanczos(s: Any, q: int, start: Array) -> tuple[Array, Array]:
    """Lanczos, on the inverse just above the spectrum where factors are small: graphs of few dimensions."""
    from scipy.sparse.linalg import LinearOperator, eigsh, splu

    if _profile(s) > _FILL:
        return eigsh(s, q, which="LA", v0=start, ncv=max(4 * q, 96), tol=1e-8)
    shift = 1 + 1e-4
    matrix = (s - shift * scipy.sparse.eye_array(len(start))).tocsc()
    options = {"SymmetricMode": True}
    factors = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options)
    inverse = LinearOperator(s.shape, matvec=factors.solve, dtype=float)
    found = eigsh(s, q, sigma=shift, OPinv=inverse, v0=start, tol=1e-8)
    return found


def _profile(s: Any) -> int:
    """Entries from the first of each row to the diagonal, in reverse Cuthill-McKee order: factors have no more."""
    order = scipy.sparse.csgraph.reverse_cuthill_mckee(s, symmetric_mode=True)
    place = np.empty_like(order)
    place[order] = np.arange(len(order), dtype=order.dtype)
    entries = s.tocoo()
    row, col = place[entries.row], place[entries.col]
    width = np.zeros(len(order), dtype=np.int64)
    np.maximum.at(width, row, row - col)
    return int(width.sum())


def _next_eigenvector(
    s: Any, values: Array, vectors: Array, rng: np.random.Generator
) -> tuple[Any, Array]:
    """The largest eigenvalue with a vector orthogonal to the given ones: Lanczos may miss copies of an eigenvalue."""
    from scipy.sparse.linalg import LinearOperator, eigsh

    n = s.shape[0]
    deflated = LinearOperator(
        s.shape, matvec=lambda x: s @ x - vectors @ ((values + 1) * (vectors.T @ x)), dtype=float
    )
    value, vector = eigsh(deflated, 1, which="LA", v0=rng.random(n), ncv=40, tol=1e-6)
    return value[0], vector[:, 0]
