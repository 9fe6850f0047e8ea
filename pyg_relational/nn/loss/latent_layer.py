"""Latents of a layer as they are recorded, and the pull to their targets."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from pyg_relational.nn.loss.latent_cluster import full, pull_length

__all__ = ["LatentClusterInfo", "LatentLayer"]


class LatentClusterInfo(NamedTuple):
    """What an update found in one layer.

    Attributes:
        num_samples: Samples in the graph.
        num_clusters: Number of clusters.
        num_misclustered: Labelled samples in a cluster of another label.
        num_correctible: Misclustered samples that have a target.
        modularity: Modularity of the clusters on the graph.
    """

    num_samples: int
    num_clusters: int
    num_misclustered: int
    num_correctible: int
    modularity: float


@dataclass
class LatentLayer:
    """One layer's recorded latents, by sample, and what the last update made of them.

    Attributes:
        recorded: Whether a sample has latents.
        position: Row of a sample in ``target`` and ``tangent``; row 0 is that of samples without a target.
        clusters: Cluster of a sample, -1 for none.
        latents: Recorded latents.
        target: Where samples are pulled to.
        tangent: Bases of the tangent spaces there.
        info: What the last update found.
    """

    recorded: Tensor
    position: Tensor
    clusters: Tensor
    latents: Tensor | None = None
    target: Tensor | None = None
    tangent: Tensor | None = None
    info: LatentClusterInfo | None = None

    @classmethod
    def of(cls, n: int) -> "LatentLayer":
        """Nothing recorded.

        Args:
            n: Number of samples.
        """
        none = torch.full((n,), -1, device="cpu")
        return cls(none >= 0, none + 1, none.clone())

    def to(self, device: torch.device) -> None:
        """Move all tensors.

        Args:
            device: Where to.
        """
        if self.recorded.device != device:
            for name, value in vars(self).items():
                if isinstance(value, Tensor):
                    setattr(self, name, value.to(device))

    def store(self, z: Tensor, index: Tensor) -> None:
        """Keep the latents of samples; of copies, the last.

        Args:
            z: Latents.
            index: Samples that they are of.

        Shapes:
            ``z``: :math:`[B, d]`, ``index``: :math:`[B]`.
        """
        self.to(z.device)
        rows = index.to(z.device)
        if self.latents is None:
            self.latents = z.new_zeros((len(self.recorded), z.shape[1]))
        dtype = torch.promote_types(self.latents.dtype, z.dtype)
        self.latents = self.latents.to(dtype)
        self.latents.index_copy_(0, rows, z.to(dtype)[_last_copies(rows)])
        self.recorded.index_fill_(0, rows, True)

    def forget(self) -> None:
        """Drop the latents."""
        self.latents, self.recorded = None, torch.zeros_like(self.recorded)

    def loss(self, z: Tensor, index: Tensor, basis: Tensor | None) -> Tensor:
        """Mean over the rows with a target; nothing here waits for a GPU.

        Args:
            z: Latents.
            index: Samples that they are of.
            basis: For each row, directions that the pull has no part in.

        Shapes:
            ``z``: :math:`[B, d]`, ``index``: :math:`[B]`, ``basis``: :math:`[B, d, r]`, output: scalar.
        """
        length, pulled = self.pulls(z, index, basis)
        return length.sum() / pulled.sum().clamp(min=1)

    def pulls(self, z: Tensor, index: Tensor, basis: Tensor | None) -> tuple[Tensor, Tensor]:
        """Length of each row's pull, 0 without a target, and whether it has one.

        Args:
            z: Latents.
            index: Samples that they are of.
            basis: For each row, directions that the pull has no part in.

        Shapes:
            ``z``: :math:`[B, d]`, ``index``: :math:`[B]`, ``basis``: :math:`[B, d, r]`, output: two of :math:`[B]`.
        """
        if self.target is None:
            return full(z[:, :0]).sum(1), torch.zeros_like(index, dtype=torch.bool)
        self.to(z.device)
        position = self.position.index_select(0, index)
        if self.tangent is not None:
            tangent = self.tangent.index_select(0, position)
            basis = tangent if basis is None else torch.cat([tangent, basis.to(tangent)], dim=2)
        length = pull_length(z, self.target.index_select(0, position), basis)
        pulled = position > 0
        return length.where(pulled, 0), pulled


def _last_copies(index: Tensor) -> Tensor:
    """For each of ``index``, the last place of the same number: copies of a row would race on a GPU."""
    order = index.argsort(stable=True)
    after = torch.searchsorted(index.index_select(0, order), index, right=True)
    return order.index_select(0, after - 1)
