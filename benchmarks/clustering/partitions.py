"""Clusterings that every graph is given to."""

from collections.abc import Callable

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from benchmarks.clustering.graphs import Graph
from pyg_relational.cluster import absorb_small, leiden, spectral

STEPS = 12  # of the bisection


def leiden_at_one(graph: Graph, n: int, k: int, seed: int) -> Tensor:
    """Leiden at resolution 1; it is not told k."""
    return leiden(*graph, n, seed=seed)


def leiden_with_k(graph: Graph, n: int, k: int, seed: int) -> Tensor:
    """Leiden at a resolution that finds k clusters of n / (10 k) nodes or more; smaller ones are absorbed.

    Bisection of the logarithm of the resolution; the number of clusters nearest to k, where k isn't met.
    """
    low, high = -7.0, 5.0  # powers of 2
    best, off = torch.zeros(n, dtype=torch.int64), k
    for _ in range(STEPS):
        middle = (low + high) / 2
        found = leiden(*graph, n, resolution=2**middle, seed=seed)
        count = int((found.bincount() >= n / (10 * k)).sum())
        if abs(count - k) < off:
            best, off = found, abs(count - k)
        if count == k:
            break
        low, high = (middle, high) if count < k else (low, middle)
    return absorb_small(*graph, best, n / (10 * k))


def spectral_rows(graph: Graph, n: int, k: int, seed: int) -> Tensor:
    """Spectral clustering, rows scaled to length 1."""
    return spectral(*graph, k, min_size=max(2, n // (10 * k)), num_nodes=n, seed=seed)


def spectral_plain(graph: Graph, n: int, k: int, seed: int) -> Tensor:
    """Spectral clustering, rows scaled by degrees."""
    size = max(2, n // (10 * k))
    return spectral(*graph, k, row_normalize=False, min_size=size, num_nodes=n, seed=seed)


def sklearn(graph: Graph, n: int, k: int, seed: int) -> Tensor:
    """Spectral clustering of scikit-learn, with its defaults: stray groups take clusters."""
    from sklearn.cluster import SpectralClustering

    found = SpectralClustering(k, affinity="precomputed", random_state=seed)
    return torch.from_numpy(found.fit_predict(_adjacency(graph, n))).long()


def lanczos(graph: Graph, n: int, k: int, seed: int) -> Tensor:
    """Ng, Jordan and Weiss by the textbook: rows of ARPACK's largest eigenvectors, scaled to length 1, by k-means.

    Where components share the eigenvalue 1, one starting vector misses copies of it.
    """
    from sklearn.cluster import KMeans

    adjacency = _adjacency(graph, n)
    root = scipy.sparse.diags_array(adjacency.sum(1) ** -0.5)
    start = np.random.default_rng(seed).random(n)
    x = scipy.sparse.linalg.eigsh(root @ adjacency @ root, k, which="LA", v0=start)[1]
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return torch.from_numpy(KMeans(k, n_init=10, random_state=seed).fit_predict(x)).long()


def kmeans(x: Tensor, k: int, seed: int) -> Tensor:
    """k-means of the features, best of ten."""
    from sklearn.cluster import KMeans

    return torch.from_numpy(KMeans(k, n_init=10, random_state=seed).fit_predict(x.numpy())).long()


def hdbscan(x: Tensor, k: int, seed: int) -> Tensor:
    """HDBSCAN of 20 principal components; it is not told k. What it leaves out as noise is one more cluster."""
    from sklearn.cluster import HDBSCAN
    from sklearn.decomposition import PCA

    z = PCA(min(20, *x.shape), svd_solver="full").fit_transform(x.numpy())
    found = HDBSCAN(min_cluster_size=max(2, len(x) // (10 * k)), copy=True).fit_predict(z)
    return torch.from_numpy(np.where(found < 0, found.max() + 1, found)).long()


def density_peaks(x: Tensor, k: int, seed: int) -> Tensor:
    """Each point joins the nearest denser one, from the k peaks of highest density times distance to a denser one.

    `Rodriguez and Laio, "Clustering by fast search and find of density peaks" <https://doi.org/10.1126/science.1242072>`_
    (2014): Gaussian densities, of a width within which 2 % of the points are on average; without chance.
    """
    distance = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")
    width = distance.flatten().kthvalue(len(x) + round(0.02 * len(x) ** 2)).values
    density = (-(distance / width).square()).exp().sum(1)
    order = density.argsort(descending=True, stable=True)
    distance = distance[order][:, order].masked_fill_(
        torch.ones(len(x), len(x)).triu_() > 0, torch.inf
    )
    gap, denser = distance.min(1)
    gap[0] = torch.cdist(x[order[:1]], x).max()
    found = torch.full((len(x),), -1)
    found[(density[order] * gap).topk(k).indices] = torch.arange(k)
    label = found.tolist()
    for i, parent in enumerate(denser.tolist()):
        label[i] = label[i] if label[i] >= 0 else label[parent]
    return torch.empty_like(found).scatter_(0, order, torch.tensor(label))


def _adjacency(graph: Graph, n: int) -> scipy.sparse.csr_array:
    weight = graph.edge_weight.double().numpy()
    index = [ends.int().numpy() for ends in graph.edge_index]  # as scikit-learn asks
    return scipy.sparse.csr_array((weight, tuple(index)), shape=(n, n))


CLUSTERINGS: dict[str, Callable[[Graph, int, int, int], Tensor]] = {
    "leiden": leiden_at_one,
    "leiden_k": leiden_with_k,
    "spectral": spectral_rows,
    "spectral_plain": spectral_plain,
    "sklearn": sklearn,
    "lanczos": lanczos,
}
POINTS: dict[str, Callable[[Tensor, int, int], Tensor]] = {
    "kmeans": kmeans,
    "hdbscan": hdbscan,
    "density_peaks": density_peaks,
}
WITHOUT_SEED = {"hdbscan", "density_peaks"}
