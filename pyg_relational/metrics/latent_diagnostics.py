"""How well one layer's latent space is clustered by class."""

from typing import NamedTuple

from torch import Tensor

from pyg_relational.cluster.leiden import leiden
from pyg_relational.metrics.correctly_clustered import ClusteredScores, clustered_scores
from pyg_relational.metrics.gdv import generalized_discrimination_value
from pyg_relational.ops import modularity
from pyg_relational.transforms.knn_graph import knn_graph

__all__ = ["LatentDiagnostics", "latent_diagnostics"]


class LatentDiagnostics(NamedTuple):
    """Clusters of a latent space, and what they have to do with classes.

    Attributes:
        num_clusters: Number of clusters.
        modularity: Modularity of the clusters on the graph.
        gdv: Generalized discrimination value of the classes, low where they are apart.
        scores: Accuracy and cross-entropy of correctly clustered and of misclustered samples.
    """

    num_clusters: int
    modularity: float
    gdv: float
    scores: ClusteredScores


def latent_diagnostics(
    z: Tensor, logits: Tensor, y: Tensor, *, k: int = 20, seed: int = 0
) -> LatentDiagnostics:
    r"""Clusters of a layer's latents, as latent cluster correction sees them, and measures of these and of the classes.

    The binary union graph of the ``k`` nearest neighbours is clustered by :func:`~pyg_relational.cluster.leiden`; the
    classifier is told apart on correctly clustered and on misclustered samples by
    :func:`~pyg_relational.metrics.clustered_scores`. For the curves over layers and epochs of `Ho Thanh, "Improving
    Fine-Tuning with Latent Cluster Correction" <https://arxiv.org/abs/2501.11919>`_, call it for each.

    Args:
        z: Latents, rows of samples.
        logits: The classifier's unnormalised log-probabilities of the same samples.
        y: Class of each sample, -1 where it is unknown.
        k: Number of neighbours.
        seed: Seed of the clustering.

    Shapes:
        - **z:** :math:`(n, d)`, **logits:** :math:`(n, c)`, floating point
        - **y:** :math:`(n)`, int64

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: On wrong shapes or values that are not finite, ``k`` not below :math:`n`, or fewer than two
            samples of two classes.

    Example:
        >>> import torch
        >>> from pyg_relational.metrics import latent_diagnostics
        >>> z = torch.tensor([[0.0], [1], [2], [10], [11], [12]])
        >>> y = torch.tensor([0, 0, 0, 1, 1, 0])  # the last is among the others
        >>> found = latent_diagnostics(z, torch.cat([6 - z, z - 6], 1), y, k=2)
        >>> found.num_clusters, found.scores.cc.accuracy, found.scores.mc.accuracy
        (2, 1.0, 0.0)
    """
    edge_index, edge_weight = knn_graph(z, k, kernel="binary")
    clusters = leiden(edge_index, edge_weight, len(z), seed=seed)
    return LatentDiagnostics(
        num_clusters=len(clusters.unique()),
        modularity=modularity(edge_index, edge_weight, clusters).item(),
        gdv=generalized_discrimination_value(z, y).item(),
        scores=clustered_scores(logits, y, clusters),
    )
