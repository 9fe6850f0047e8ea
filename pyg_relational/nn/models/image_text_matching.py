"""Regularisation of an image encoder by graphs of words: global alignment, and clusters that match."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout
from torch_geometric.nn import GCNConv, global_mean_pool

from pyg_relational.nn.loss.cluster_matching import cluster_matching_loss, match_clusters
from pyg_relational.nn.loss.global_alignment import global_alignment_loss
from pyg_relational.nn.models.cnn2graph_loss import _cross_entropy
from pyg_relational.nn.pool.cluster_pool import cluster_pool
from pyg_relational.ops.checks import (
    Check,
    at_least,
    below,
    check_count,
    check_labels,
    check_matrix,
    check_number,
    finite,
    settle,
)
from pyg_relational.ops.graph.modularity import _modularity
from pyg_relational.ops.graph.per_graph import check_weights
from pyg_relational.ops.options import show_options
from pyg_relational.transforms import knn_graph

__all__ = ["ImageTextLosses", "ImageTextMatching"]


class ImageTextLosses(NamedTuple):
    """The losses of :class:`ImageTextMatching`, with their weights; their sum is what the text adds to a classifier's.

    Attributes:
        alignment: Loss of the alignment of images and both graphs, eq. 3, and the cross-entropy that keeps projected
            images from collapsing.
        modularity: Loss of the modularity of the clusters of both graphs, eq. 4.
        matching: Loss of the matching of the clusters of a sample and of others, eq. 6.
        auxiliary: Cross-entropies of the matched clusters and of the visual graph.
    """

    alignment: Tensor
    modularity: Tensor
    matching: Tensor
    auxiliary: Tensor


class ImageTextMatching(nn.Module):
    r"""Clustering-based image-text graph matching, a regulariser of an image encoder while it trains.

    From `Park et al., "Clustering-based Image-Text Graph Matching for Domain Generalization"
    <https://doi.org/10.1007/978-3-031-78192-6_26>`_ (ICPR 2024). The local features of an image, a grid before it is
    averaged, and the embedded words of its text are two graphs of nearest neighbours. Two graph convolutions, each with
    a linear layer, BatchNorm and ReLU, give node features: their mean is the feature of a graph, a softmax of a linear
    map of them an assignment to clusters. With the losses of eqs. 3, 4 and 6,

    .. math::
        L = L_c + L_{global} + \lambda_d L_d + \lambda_h L_h + \lambda_{aux} L_{aux}

    where :math:`L_c`, the classifier's, is yours. A batch is done at once, each sample with a number of nodes of its
    own. After training the image encoder and its classifier are all that is kept.

    The text leaves open, and here is:

    - Images have one projection, of their features and of their clusters, as printed. That of clusters of words cannot
      be that of eq. 3, whose input is a graph's feature: it is a layer of its own.
    - The text adds a classifier of the projected image to eq. 3 against collapse, without a weight: it has weight 1.
    - :math:`L_{aux}` is the cross-entropy of a classifier of the mean matched visual cluster; to it is added that of
      the visual graph's feature, whose weight is in a supplement.
    - Numbers of neighbours and clusters, and the margin, are in a supplement: the defaults are ours, within its bound
      of 5 clusters. An edge is between two nodes if either is a neighbour of the other.

    Args:
        in_channels: Channels of an image's features, global and local, and of a word's.
        hidden_channels: Channels of graphs' features and of projections.
        num_classes: Number of classes.
        num_clusters: Clusters of an image and of a text, no more of these.
        k: Neighbours of an image's node and of a word.
        margin: :math:`\epsilon` of :func:`~pyg_relational.nn.cluster_matching_loss`.
        dropout: Share of a graph's node features that is dropped before their mean.
        modularity_weight: :math:`\lambda_d`.
        matching_weight: :math:`\lambda_h`.
        auxiliary_weight: :math:`\lambda_{aux}`.

    Shapes:
        ``image``: :math:`[B, d]`, ``nodes``: :math:`[n, d]`, ``batch``: :math:`[n]`, ``words``: :math:`[m, e]`,
        ``words_batch``: :math:`[m]`, ``y``: :math:`[B]`, output: :class:`ImageTextLosses`, scalars, at least float32.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If an option is out of range, shapes disagree, a value is not finite, or a sample has not more than
            ``k`` nodes or words.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import ImageTextMatching
        >>> grid = torch.randn(4, 16, 7, 7)  # of a CNN, before its average pooling
        >>> nodes, batch = grid.flatten(2).mT.reshape(-1, 16), torch.arange(4).repeat_interleave(49)
        >>> words, words_batch = torch.randn(20, 8), torch.arange(4).repeat_interleave(5)
        >>> matching = ImageTextMatching((16, 8), 32, num_classes=3)
        >>> losses = matching(grid.mean((2, 3)), nodes, batch, words, words_batch, torch.tensor([0, 1, 2, 0]))
        >>> sum(losses).backward()
    """

    def __init__(
        self,
        in_channels: tuple[int, int],
        hidden_channels: int,
        num_classes: int,
        *,
        num_clusters: tuple[int, int] = (5, 3),
        k: tuple[int, int] = (5, 2),
        margin: float = 1.0,
        dropout: float = 0.0,
        modularity_weight: float = 1.0,
        matching_weight: float = 0.1,
        auxiliary_weight: float = 0.1,
    ) -> None:
        super().__init__()
        weights = {
            "modularity_weight": modularity_weight,
            "matching_weight": matching_weight,
            "auxiliary_weight": auxiliary_weight,
        }
        check_weights(margin=margin, **weights)
        check_number(dropout, "dropout")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {dropout}")
        d, e = _pair(in_channels, "in_channels")
        clusters, neighbors = _pair(num_clusters, "num_clusters"), _pair(k, "k")
        if clusters[1] > clusters[0]:
            raise ValueError(f"num_clusters must not be more of a text, got {clusters}")
        hidden = check_count(hidden_channels, "hidden_channels")
        classes = check_count(num_classes, "num_classes")
        self.visual = _Graphs(d, hidden, clusters[0], neighbors[0], dropout)
        self.textual = _Graphs(e, hidden, clusters[1], neighbors[1], dropout)
        self.project_image = nn.Linear(d, hidden)
        self.project_visual = nn.Linear(hidden, hidden)
        self.project_textual = nn.Linear(hidden, hidden)
        self.project_words = nn.Linear(e, hidden)
        self.num_classes = classes
        self.heads = nn.ModuleList(nn.Linear(hidden, classes) for _ in range(3))
        self.options: dict[str, Any] = {
            "num_clusters": clusters,
            "k": neighbors,
            "margin": margin,
            "dropout": dropout,
            **weights,
        }

    def forward(
        self,
        image: Tensor,
        nodes: Tensor,
        batch: Tensor,
        words: Tensor,
        words_batch: Tensor,
        y: Tensor,
    ) -> ImageTextLosses:
        """Return the losses of a batch.

        Args:
            image: Features of images.
            nodes: Local features of all images.
            batch: Image of every one of them.
            words: Embedded words of all texts.
            words_batch: Image of every word.
            y: Class of every image, -1 where unknown.
        """
        self._check(image, nodes, batch, words, words_batch, y)
        count, options = len(image), self.options
        visual, assignment, visual_loss = self.visual(nodes, batch, count)
        textual, words_assignment, textual_loss = self.textual(words, words_batch, count)
        projected = self.project_image(image)
        alignment = global_alignment_loss(
            projected, self.project_visual(visual), self.project_textual(textual)
        )
        pooled = cluster_pool(nodes, assignment, batch, count)
        clusters = self.project_image(pooled)
        pooled = cluster_pool(words, words_assignment, words_batch, count)
        words_clusters = self.project_words(pooled)
        matching = cluster_matching_loss(clusters, words_clusters, margin=options["margin"])
        match = match_clusters(clusters, words_clusters).match
        matched = clusters.take_along_dim(match[..., None], 1).mean(1)
        of_image, of_clusters, of_graph = (
            _cross_entropy(head(x), y)
            for head, x in zip(self.heads, (projected, matched, visual), strict=True)
        )
        return ImageTextLosses(
            alignment + of_image,
            options["modularity_weight"] * (visual_loss + textual_loss),
            options["matching_weight"] * matching,
            options["auxiliary_weight"] * (of_clusters + of_graph),
        )

    def _check(
        self,
        image: Tensor,
        nodes: Tensor,
        batch: Tensor,
        words: Tensor,
        words_batch: Tensor,
        y: Tensor,
    ) -> None:
        widths = {"image": (image, self.project_image), "nodes": (nodes, self.project_image)}
        widths["words"] = words, self.project_words
        for name, (x, layer) in widths.items():
            check_matrix(x, name)
            if x.shape[1] != layer.in_features:
                raise ValueError(f"{name} must have {layer.in_features} channels, got {x.shape[1]}")
        count = len(image)
        if not count:
            raise ValueError("image must have a row or more, got none")
        check_labels(y, count)
        settle(
            *(finite(x, name) for name, (x, _) in widths.items()),
            *_of_all(batch, len(nodes), count, "batch"),
            *_of_all(words_batch, len(words), count, "words_batch"),
            at_least(y, -1, "y"),
            below(y, self.num_classes, "y"),
        )

    def extra_repr(self) -> str:
        """Options shown by ``print``; channels are those of its parts."""
        return show_options(self.options)


class _Graphs(nn.Module):
    """Features, soft clusters and their modularity loss of the kNN graphs of one modality."""

    def __init__(
        self, channels: int, hidden: int, num_clusters: int, k: int, dropout: float
    ) -> None:
        super().__init__()
        sizes = (channels, hidden), (hidden, hidden)
        self.convs = nn.ModuleList(GCNConv(*size, add_self_loops=False) for size in sizes)
        self.after = nn.ModuleList(
            nn.Sequential(nn.Linear(hidden, hidden), nn.BatchNorm1d(hidden), nn.ReLU())
            for _ in sizes
        )
        self.assign = nn.Linear(hidden, num_clusters)
        self.k, self.dropout = k, dropout

    def forward(self, x: Tensor, batch: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
        edge_index, weight = knn_graph(x.detach(), self.k, kernel="binary", batch=batch)
        node = torch.arange(len(x), device=x.device)
        looped = torch.cat([edge_index, node.expand(2, -1)], 1)
        for conv, after in zip(self.convs, self.after, strict=True):
            x = after(conv(x, looped))
        scores = self.assign(x)
        assignment = scores.to(torch.promote_types(scores.dtype, torch.float32)).softmax(1)
        loss = _dmon(edge_index, weight, assignment, batch, count)
        x = dropout(x, self.dropout, training=self.training)
        return global_mean_pool(x, batch, count), assignment, loss


def _pair(value: Any, name: str) -> tuple[int, int]:
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise ValueError(f"{name} must be two ints, of images and of texts, got {value!r}")
    return check_count(value[0], name), check_count(value[1], name)


def _dmon(edge_index: Tensor, weight: Tensor, c: Tensor, batch: Tensor, count: int) -> Tensor:
    """Mean of eq. 4 over ``count`` graphs that are known to be sound and to have nodes."""
    with torch.autocast(c.device.type, enabled=False):
        q = _modularity(edge_index, weight.to(c.dtype), c, 1.0, batch, count)
        total = c.new_zeros(count, c.shape[1]).index_add(0, batch, c)
        size = c.new_zeros(count).index_add(0, batch, c.new_ones(len(c)))
        length = torch.linalg.vector_norm(total, dim=1) / size
        loss: Tensor = (math.sqrt(c.shape[1]) * length - 1 - q).mean().to(c.dtype)
        return loss


def _of_all(batch: Tensor, num_nodes: int, count: int, name: str) -> list[Check]:
    """Raise unless every node is of a sample, and every sample has a node."""
    check_labels(batch, num_nodes, name)
    rule = f"{name} must have nodes of all {count} samples"

    def samples() -> Tensor:
        there = torch.zeros(count, dtype=torch.int64, device=batch.device)
        return there.index_fill(0, batch.clamp(0, count - 1), 1).sum()

    def refuse() -> None:
        raise ValueError(f"{rule}, got those of {int(samples())}")

    first = at_least(batch, 0, name), below(batch, count, name)
    return [*first, Check(rule, samples, count, count, refuse)]
