"""Latent cluster correction whose latents stay on the ranks that keep them."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pyg_relational.distributed.agree import agree, fingerprint
from pyg_relational.distributed.collectives import all_sum, all_to_all, rank_and_size
from pyg_relational.distributed.loss.latent_update import update_over_ranks
from pyg_relational.nn.loss import latent_cluster_correction
from pyg_relational.nn.loss.latent_cluster import full
from pyg_relational.nn.loss.latent_layer import LatentLayer
from pyg_relational.nn.loss.latent_update import LatentUpdate

__all__ = ["LatentClusterCorrection"]


class LatentClusterCorrection(latent_cluster_correction.LatentClusterCorrection):
    r"""Latent cluster correction over ranks, with the numbers of one process.

    As :class:`pyg_relational.nn.LatentClusterCorrection`, which keeps all latents on every rank, and updates on every
    rank. Here rank :math:`r` of :math:`W` keeps the latents of samples
    :math:`\lfloor N r / W \rfloor` to :math:`\lfloor N (r + 1) / W \rfloor - 1`, whichever rank has them in a batch:
    :math:`O(N d / W)` memory. An update builds the kNN graph over ranks, sends its edges to the first rank, which
    clusters, and searches each sample's target where its latents are; clusters and targets are then on every rank.
    A batch's loss is that of the global batch, the same number on every rank, and its gradient that of the sum of the
    ranks' losses; nothing but two numbers a layer is exchanged for it.

    All ranks call it alike, one without rows too. ``state_dict`` is the rank's own: save one for each rank, and load
    them with as many. Not over ranks: a ``clustering`` function of your own, and ``tangent_dim``.

    Args:
        y: Classes of all samples, on every rank; -1: unlabelled.
        group: Processes. (default: all)
        **options: As there.

    Shapes:
        ``y``: :math:`[N]`, ``features``: :math:`[B_r, *]` each, ``index``: :math:`[B_r]`, output: scalar.

    Raises:
        TypeError: If a dtype is wrong, on any rank.
        ValueError: If an argument is out of range or unknown on any rank, or differs between ranks.

    Example:
        >>> import torch
        >>> from pyg_relational.distributed import LatentClusterCorrection
        >>> x = torch.tensor([[0.0], [2.0], [4.0], [9.0], [9.5], [8.0]], requires_grad=True)
        >>> correction = LatentClusterCorrection(torch.tensor([0, 0, 0, 1, 1, 0]), k=2)
        >>> for epoch in range(2):
        ...     for index in torch.arange(6).split(3):
        ...         loss = correction(x[index], index)
        ...     correction.step()
        >>> correction.info[0].num_misclustered, loss.item()
        (1, 5.0)
    """

    def __init__(self, y: Tensor, *, group: Any = None, **options: Any) -> None:
        agree(lambda: _asked(y, options), group)
        super().__init__(y, **options)
        rank, size = rank_and_size(group)
        self.group = group
        self._bounds = torch.tensor([len(y) * r // size for r in range(size + 1)])
        self._start, stop = self._bounds[rank : rank + 2].tolist()
        self._memory = [LatentLayer.of(stop - self._start) for _ in self._layers]

    def forward(
        self,
        features: Tensor | Sequence[Tensor],
        index: Tensor,
        orthogonal_to: Tensor | Sequence[Tensor] | None = None,
    ) -> Tensor:
        """Loss of the global batch. In training with ``memory="running"``, its latents are recorded.

        Args:
            features: Latents of each layer, of the rows here.
            index: Samples that these are of.
            orthogonal_to: For each layer, a basis for each row, or a direction, that the pull has no part in.
        """
        zs, gs = self._checked("forward", features, index, orthogonal_to)
        if self.training and self.memory == "running":
            self._store(zs, index)
        parts = []
        for layer, z, g in zip(self._layers, zs, gs, strict=True):
            length, pulled = layer.pulls(z, index.to(z.device), g)
            parts += [length.sum().double(), pulled.sum().double()]
        total, count = all_sum(torch.stack(parts), self.group).view(-1, 2).unbind(1)
        return (total / count.clamp(min=1)).sum().to(full(zs[0]).dtype)

    @torch.no_grad()
    def record(self, features: Tensor | Sequence[Tensor], index: Tensor) -> None:
        """Keep the latents of samples for the next update.

        Args:
            features: Latents of each layer, of the rows here.
            index: Samples that these are of.
        """
        self._store(self._checked("record", features, index)[0], index)

    @torch.inference_mode(False)
    @torch.no_grad()
    def _store(self, zs: list[Tensor], index: Tensor) -> None:
        """Rows go to the ranks that keep them."""
        device = zs[0].device
        owner = torch.searchsorted(self._bounds.to(device), index.to(device), right=True) - 1
        order = owner.argsort(stable=True)
        size = len(self._bounds) - 1
        counts = torch.zeros(size, dtype=torch.int64, device=device)
        counts = counts.index_add(0, owner, torch.ones_like(owner))
        coming = all_to_all(counts, [1] * size, [1] * size, self.group)
        send, receive = torch.stack([counts, coming]).tolist()
        at = all_to_all(index.to(device)[order], send, receive, self.group) - self._start
        for layer, z in zip(self._memory, zs, strict=True):
            layer.store(all_to_all(z.detach()[order], send, receive, self.group), at)

    def _kept(self) -> list[LatentLayer]:
        return self._memory

    def _renew(
        self, update: LatentUpdate, pull: LatentLayer, latents: Tensor, recorded: Tensor, name: str
    ) -> None:
        kept = latents, recorded, self._start
        update_over_ranks(update, pull, *kept, self.y, self.epoch, name, self.group)

    def get_extra_state(self) -> dict[str, Any]:
        """State of this rank for ``state_dict``: tensors and numbers."""
        memory = [{"recorded": m.recorded, "latents": m.latents} for m in self._memory]
        return {**super().get_extra_state(), "start": self._start, "memory": memory}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take the state of :meth:`get_extra_state` of this rank, among as many."""
        kept = [(len(m["recorded"]), state["start"]) for m in state["memory"]]
        own = [(len(m.recorded), self._start) for m in self._memory]
        if kept != own:
            raise ValueError(
                f"state must be of samples {own[0][1]} to {sum(own[0]) - 1}, which this rank keeps, "
                f"got one of {kept[0][1]} to {sum(kept[0]) - 1}: load it on the rank that saved it, among as many"
            )
        super().set_extra_state(state)
        for memory, values in zip(self._memory, state["memory"], strict=True):
            memory.recorded = values["recorded"].clone()
            memory.latents = None if values["latents"] is None else values["latents"].clone()


def _asked(y: Any, options: dict[str, Any]) -> tuple[dict[str, object], list[int]]:
    made = latent_cluster_correction.LatentClusterCorrection(y, **options)
    if callable(made.clustering):
        raise ValueError("clustering must be a name over ranks, got a function")
    if made.tangent_dim:
        raise ValueError(f"tangent_dim must be 0 over ranks, got {made.tangent_dim}")
    return {"y": fingerprint(y), **options}, []
