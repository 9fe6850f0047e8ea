"""Latent cluster correction in a training loop."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from pyg_relational.distributed.agree import agree, fingerprint
from pyg_relational.distributed.collectives import rank_and_size
from pyg_relational.distributed.gather import gather
from pyg_relational.nn.loss.latent_batch import (
    batch_facts,
    checked_latents,
    gathered,
    local_bases,
)
from pyg_relational.nn.loss.latent_cluster import Method, Targets
from pyg_relational.nn.loss.latent_layer import LatentClusterInfo, LatentLayer
from pyg_relational.nn.loss.latent_update import BuiltIn, Clustering, LatentKernel, LatentUpdate
from pyg_relational.ops.checks import check_choice, check_count, check_labels
from pyg_relational.ops.options import show_options

__all__ = ["LatentClusterCorrection", "Memory"]

Memory = Literal["running", "fresh"]


class LatentClusterCorrection(nn.Module):
    r"""Latent cluster correction: latents are clustered between epochs, misclustered samples are pulled in batches.

    From `Ho Thanh, "Improving Fine-Tuning with Latent Cluster Correction" <https://arxiv.org/abs/2501.11919>`_. An
    update takes each layer's recorded latents to a kNN graph (union), the graph to clusters, the clusters to labels
    and targets (:func:`latent_cluster_targets`). From then on, a batch's loss is that of
    :func:`latent_cluster_loss` with the targets of the last update, by the samples' indices, summed over layers:

    .. math::
        \mathcal{L} = \sum_l \frac{1}{\sqrt{d_l} \, N_l} \sum_i \lVert z_i^{(l)} - \bar z_i^{(l)} \rVert

    over the :math:`N_l` samples of the batch that have a target. It is 0 before the first update.

    Latents are kept by sample index, so the order of samples doesn't matter; of a sample that is in a batch twice, the
    last row. With ``memory="running"``, each training batch's latents are recorded as they pass by: no extra pass over
    the data, but they are as old as up to an epoch, and samples that never passed by take no part. With
    ``memory="fresh"``, you :meth:`record` all of them by a pass of your own (where :attr:`due`) before :meth:`step`,
    which then forgets them.

    Each layer takes :math:`O(N d)` memory on the device of its features, an update :math:`O(N (k + d))`. Clustering
    runs on the CPU. ``state_dict`` holds epoch, latents and targets, so that a resumed run goes on as if it had not
    stopped. In several processes, batches are gathered: every process records all rows, and the loss is that of the
    global batch; all must call alike, and what is wrong in one is raised in all.

    ``kernel="binary"`` is the author's program, ``"gaussian"``, with weights :math:`\exp(-\lVert z_i - z_j \rVert^2)`,
    the paper's text (section III.B); ``targets="class"`` is the text (eq. 7), ``"cluster"`` its section VI.B and the
    program. ``tangent_dim`` is the text's orthogonal correction (section V.C), which the program has not: the pull
    less its part in the tangent space at the sample, :func:`~pyg_relational.ops.tangent_basis` of its ``tangent_k``
    nearest latents of any class. What else differs from `the program <https://github.com/altaris/lcc>`_: a sample's
    target stays till the next update, where the program searches anew for each batch, among the latents of the last
    update; with an interval, correction goes on between updates; layers are summed, not averaged.

    Args:
        y: Classes of all samples; -1: unlabelled, takes part in the graph only.
        layers: Number of layers.
        k: Neighbours in the graph and in the exact targets.
        kernel: Weights of the graph, ``"binary"`` or ``"gaussian"``, which vanish where latents are far apart.
        clustering: ``"leiden"``, ``"peer_pressure"``, or a function from ``edge_index``, ``edge_weight`` and the
            latents to the cluster of every row.
        targets: ``"class"`` or ``"cluster"``, see :func:`latent_cluster_targets`.
        method: ``"exact"`` or ``"approximate"``.
        samples_per_cluster: Samples that the approximate method draws from a cluster.
        classes: Correct the samples of these classes only.
        tangent_dim: Dimension of the tangent space that a pull has no part in, 0 for the whole pull.
        tangent_k: Neighbours that the tangent space is from.
        warmup: Number of epochs before the first update; for one before the first epoch, take 0 and call
            :meth:`update` after recording.
        interval: Epochs from one update to the next; targets stay in between.
        memory: ``"running"`` or ``"fresh"``.
        seed: Seed of clustering and random draws; that of the draws differs from epoch to epoch.

    Attributes:
        epoch: Number of finished epochs.
        clusters: For each layer, the cluster of every sample at the last update, -1 where it was not recorded.
        info: For each layer, the :class:`LatentClusterInfo` of the last update, ``None`` before the first.

    Shapes:
        ``y``: :math:`[N]`, ``features``: :math:`[B, *]` each, flattened, ``index``: :math:`[B]`, output: scalar.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If an argument is out of range or unknown.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import LatentClusterCorrection
        >>> x = torch.tensor([[0.0], [2.0], [4.0], [9.0], [9.5], [8.0]], requires_grad=True)
        >>> y = torch.tensor([0, 0, 0, 1, 1, 0])
        >>> correction = LatentClusterCorrection(y, k=2)
        >>> for epoch in range(2):
        ...     for index in torch.arange(6).split(3):
        ...         loss = correction(x[index], index)
        ...     correction.step()
        >>> correction.info[0].num_misclustered, loss.item()
        (1, 5.0)
    """

    group: Any = None  # all processes

    def __init__(
        self,
        y: Tensor,
        *,
        layers: int = 1,
        k: int = 5,
        kernel: LatentKernel = "binary",
        clustering: BuiltIn | Clustering = "leiden",
        targets: Targets = "class",
        method: Method = "exact",
        samples_per_cluster: int = 1,
        classes: Tensor | None = None,
        tangent_dim: int = 0,
        tangent_k: int = 50,
        warmup: int = 1,
        interval: int = 1,
        memory: Memory = "running",
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_labels(y, y.numel() if isinstance(y, Tensor) else 0)
        check_choice(targets, Targets, "targets")
        check_choice(method, Method, "method")
        check_choice(memory, Memory, "memory")
        check_choice(kernel, LatentKernel, "kernel")
        if not callable(clustering):
            check_choice(clustering, BuiltIn, "clustering")
        layers = check_count(layers, "layers")
        k = check_count(k, "k")
        tangent_dim = check_count(tangent_dim, "tangent_dim", 0)
        tangent_k = check_count(tangent_k, "tangent_k")
        samples_per_cluster = check_count(samples_per_cluster, "samples_per_cluster")
        warmup = check_count(warmup, "warmup", 0)
        interval = check_count(interval, "interval")
        seed = check_count(seed, "seed", 0)
        if classes is not None:
            check_labels(classes, classes.numel() if isinstance(classes, Tensor) else 0, "classes")
        self.y = y
        self.options: dict[str, Any] = {
            "targets": targets,
            "method": method,
            "samples_per_cluster": samples_per_cluster,
            "classes": classes,
        }
        self.k = k
        self.kernel = kernel
        self.clustering = clustering
        self.tangent_dim = tangent_dim
        self.tangent_k = tangent_k
        self.warmup = warmup
        self.interval = interval
        self.memory = memory
        self.seed = seed
        self.epoch = 0
        self._layers = [LatentLayer.of(len(y)) for _ in range(layers)]

    @property
    def clusters(self) -> list[Tensor]:
        """Cluster of every sample, layer by layer; -1 where it was not recorded."""
        return [layer.clusters for layer in self._layers]

    @property
    def info(self) -> list[LatentClusterInfo | None]:
        """What the last update found, layer by layer."""
        return [layer.info for layer in self._layers]

    @property
    def due(self) -> bool:
        """Whether the next :meth:`step` updates."""
        since = self.epoch + 1 - self.warmup
        return since >= 0 and since % self.interval == 0

    def forward(
        self,
        features: Tensor | Sequence[Tensor],
        index: Tensor,
        orthogonal_to: Tensor | Sequence[Tensor] | None = None,
    ) -> Tensor:
        """Loss of a batch. In training with ``memory="running"``, its latents are recorded.

        Args:
            features: Latents of each layer.
            index: Samples that the rows are of.
            orthogonal_to: For each layer, a basis :math:`[B, d, r]` for each row, or a direction in the features'
                shape, that the pull has no part in; see :func:`latent_cluster_loss`.
        """
        zs, gs = self._checked("forward", features, index, orthogonal_to)
        gs = [None if g is None else gather(g) for g in gs]
        zs, index = gathered(zs, index)
        if self.training and self.memory == "running":
            self._store(zs, index)
        losses = [
            layer.loss(z, index.to(z.device), g)
            for layer, z, g in zip(self._layers, zs, gs, strict=True)
        ]
        return torch.stack([loss.to(losses[0]) for loss in losses]).sum()

    @torch.no_grad()
    def record(self, features: Tensor | Sequence[Tensor], index: Tensor) -> None:
        """Keep the latents of samples for the next update.

        Args:
            features: Latents of each layer.
            index: Samples that the rows are of.
        """
        self._store(*gathered(self._checked("record", features, index)[0], index))

    def _checked(
        self, call: str, features: Any, index: Tensor, orthogonal_to: Any = None
    ) -> tuple[list[Tensor], list[Tensor | None]]:
        """Latents and bases of the rows here, once every process has found its own right."""
        zs: list[Tensor] = []
        gs: list[Tensor | None] = []

        def facts() -> tuple[dict[str, object], list[int]]:
            zs.extend(checked_latents(self._layers, self._kept(), features, index))
            gs.extend([None] * len(zs) if orthogonal_to is None else local_bases(orthogonal_to, zs))
            state = {"call": call, "training": self.training, "epoch": self.epoch}
            return {**state, "samples": len(self.y), **batch_facts(zs, gs)}, []

        agree(facts, self.group)
        return zs, gs

    @torch.inference_mode(False)  # an inference tensor could not be written to later
    @torch.no_grad()
    def _store(self, zs: list[Tensor], index: Tensor) -> None:
        for layer, z in zip(self._layers, zs, strict=True):
            layer.store(z, index)

    def step(self) -> None:
        """End an epoch, with :meth:`update` where it is due."""
        due = self.due
        self.epoch += 1
        if due:
            self.update()

    @torch.inference_mode(False)
    @torch.no_grad()
    def update(self) -> None:
        """Cluster the recorded latents, and take new targets from them.

        Raises:
            RuntimeError: If no latents were recorded, in any process.
            ValueError: If there are not more than ``k`` of them, a value is not finite, or all weights are 0, in any
                process, or processes find different clusters.
        """
        agree(self._ready, self.group)
        update = LatentUpdate(**self._update_options, targets=self.options)
        for number, (pull, memory) in enumerate(zip(self._layers, self._kept(), strict=True)):
            assert memory.latents is not None
            self._renew(update, pull, memory.latents, memory.recorded, f"features[{number}]")
            if self.memory == "fresh":
                memory.forget()

    def _ready(self) -> tuple[dict[str, object], list[int]]:
        if any(memory.latents is None for memory in self._kept()):
            how = "forward() in training mode" if self.memory == "running" else "record()"
            raise RuntimeError(f"an update needs latents, got none: call {how} first")
        return {"call": "update", "epoch": self.epoch}, []

    def _kept(self) -> list[LatentLayer]:
        """Where the latents of each layer are."""
        return self._layers

    def _renew(
        self, update: LatentUpdate, pull: LatentLayer, latents: Tensor, recorded: Tensor, name: str
    ) -> None:
        """Clusters and targets of a layer."""

        def facts() -> tuple[dict[str, object], list[int]]:
            update(pull, latents, self.y, self.epoch, name)
            if rank_and_size(self.group)[1] == 1:
                return {}, []
            found = {"clusters": pull.clusters, "samples with a target": pull.position}
            return {what: fingerprint(of) for what, of in found.items()}, []

        agree(facts, self.group)

    def get_extra_state(self) -> dict[str, Any]:
        """State for ``state_dict``: tensors and numbers."""
        layers = [
            {**vars(layer), "info": layer.info and tuple(layer.info)} for layer in self._layers
        ]
        return {"epoch": self.epoch, "layers": layers}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take the state of :meth:`get_extra_state`; it comes to the features' device at the next call."""
        layers = [LatentLayer(**values) for values in state["layers"]]
        if len(layers) != len(self._layers):
            raise ValueError(f"state must hold {len(self._layers)} layers, got {len(layers)}")
        for layer in layers:
            if len(layer.recorded) != len(self.y):
                raise ValueError(
                    f"state must hold {len(self.y)} samples, got {len(layer.recorded)}"
                )
            for name, value in vars(layer).items():
                if isinstance(value, Tensor):
                    setattr(layer, name, value.clone())
            layer.info = layer.info and LatentClusterInfo(*layer.info)
        self.epoch, self._layers = state["epoch"], layers

    @property
    def _update_options(self) -> dict[str, Any]:
        names = ("k", "kernel", "clustering", "tangent_dim", "tangent_k", "seed")
        return {name: getattr(self, name) for name in names}

    def extra_repr(self) -> str:
        """Options shown by ``print``."""
        update = self._update_options
        first = {name: update.pop(name) for name in ("k", "kernel", "clustering")}
        rest = {name: getattr(self, name) for name in ("warmup", "interval", "memory")}
        options = {"layers": len(self._layers), **first, **self.options, **update, **rest}
        return f"{len(self.y)}, {show_options(options)}"
