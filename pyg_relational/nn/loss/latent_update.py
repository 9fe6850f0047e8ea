"""Update of latent cluster correction: latents to a graph, the graph to clusters, clusters to targets."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from pyg_relational.cluster.leiden import leiden
from pyg_relational.nn.loss.latent_batch import check_finite
from pyg_relational.nn.loss.latent_cluster import full, latent_cluster_targets
from pyg_relational.nn.loss.latent_layer import LatentClusterInfo, LatentLayer
from pyg_relational.ops import modularity, tangent_basis
from pyg_relational.ops.checks import check_labels
from pyg_relational.transforms.knn_graph import knn_graph

__all__ = ["BuiltIn", "Clustering", "LatentKernel", "LatentUpdate"]

Clustering = Callable[[Tensor, Tensor, Tensor], Tensor]
BuiltIn = Literal["leiden", "peer_pressure"]
LatentKernel = Literal["binary", "gaussian"]


@dataclass(frozen=True, kw_only=True)
class LatentUpdate:
    """Options of an update.

    Args:
        k: Neighbours in the graph and in the exact targets.
        kernel: Weights of the graph.
        clustering: Name or function.
        tangent_dim: Dimension of the tangent space that a pull has no part in.
        tangent_k: Neighbours that the tangent space is from.
        seed: Seed of clustering and draws.
        targets: Options of :func:`~pyg_relational.nn.latent_cluster_targets`.
    """

    k: int
    kernel: LatentKernel
    clustering: BuiltIn | Clustering
    tangent_dim: int
    tangent_k: int
    seed: int
    targets: dict[str, Any]

    def __call__(
        self, layer: LatentLayer, latents: Tensor, y: Tensor, epoch: int, name: str
    ) -> None:
        """Give a layer new clusters and targets.

        Args:
            layer: The layer.
            latents: Its recorded latents.
            y: Classes of all samples.
            epoch: Number of finished epochs, added to the seed of the draws.
            name: How the caller's signature names the latents.

        Shapes:
            ``latents``: :math:`[N, d]`, ``y``: :math:`[N]`.
        """
        rows = layer.recorded.nonzero()[:, 0]
        z = latents if len(rows) == len(latents) else latents[rows]
        z = full(z)
        check_finite(z, rows, name)
        n = len(z)
        edge_index, edge_weight = knn_graph(z, self.k, kernel=self.kernel, bandwidth="unit")
        if not edge_weight.any():
            raise ValueError(
                f"kernel='gaussian': all weights exp(-d^2) of {name} are 0; scale them, or take 'binary'"
            )
        clusters = self.cluster(edge_index, edge_weight, z).to(z.device)
        y = y.to(z.device)[rows]
        found = latent_cluster_targets(
            z, y, clusters, k=self.k, seed=self.seed + epoch, **self.targets
        )
        layer.clusters = torch.full_like(layer.clusters, -1).index_copy(0, rows, clusters)
        layer.target = torch.cat([z.new_zeros(1, z.shape[1]), found.target])
        layer.tangent = self._tangent(z, found.index)
        place = torch.arange(1, len(layer.target), device=z.device)
        layer.position = torch.zeros_like(layer.position).index_copy(0, rows[found.index], place)
        layer.info = LatentClusterInfo(
            num_samples=n,
            num_clusters=len(clusters.unique()),
            num_misclustered=int(found.misclustered.sum()),
            num_correctible=len(place),
            modularity=modularity(edge_index, edge_weight, clusters).item(),
        )

    def cluster(self, edge_index: Tensor, edge_weight: Tensor, z: Tensor) -> Tensor:
        """Cluster of every row.

        Args:
            edge_index: Edges of the graph.
            edge_weight: Their weights.
            z: Latents, which only a function reads.
        """
        if self.clustering == "leiden":
            return leiden(edge_index, edge_weight, len(z), seed=self.seed)
        if self.clustering == "peer_pressure":
            from pyg_relational.cluster.peer_pressure import peer_pressure

            found: Tensor = peer_pressure(edge_index, edge_weight, len(z), seed=self.seed)
            return found
        assert callable(self.clustering)
        clusters = self.clustering(edge_index, edge_weight, z)
        check_labels(clusters, len(z), "clusters")
        return clusters

    def _tangent(self, z: Tensor, rows: Tensor) -> Tensor | None:
        if not self.tangent_dim:
            return None
        basis = tangent_basis(z, self.tangent_k, self.tangent_dim, rows)
        return torch.cat([basis.new_zeros(1, *basis.shape[1:]), basis])
