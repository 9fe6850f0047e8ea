"""Latent cluster correction in a training loop."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from pyg_relational.cluster.leiden import leiden
from pyg_relational.distributed import gather
from pyg_relational.nn.loss.latent_cluster import (
    Method,
    Targets,
    full,
    latent_cluster_targets,
    pull_length,
)
from pyg_relational.ops import modularity, tangent_basis
from pyg_relational.ops.checks import check_choice, check_count, check_labels
from pyg_relational.transforms.knn_graph import knn_graph

__all__ = [
    "BuiltIn",
    "Clustering",
    "LatentClusterCorrection",
    "LatentClusterInfo",
    "LatentKernel",
    "Memory",
]

Clustering = Callable[[Tensor, Tensor, Tensor], Tensor]
BuiltIn = Literal["leiden", "peer_pressure"]
LatentKernel = Literal["binary", "gaussian"]
Memory = Literal["running", "fresh"]


class LatentClusterInfo(NamedTuple):
    """What an update found in one layer.

    Attributes:
        num_samples: Samples in the graph.
        num_clusters: Number of clusters.
        num_misclustered: Labelled samples in a cluster of another label.
        num_correctible: Those of them that have a target.
        modularity: Of the clusters on the graph.
    """

    num_samples: int
    num_clusters: int
    num_misclustered: int
    num_correctible: int
    modularity: float


@dataclass
class _Layer:
    """By sample; ``position`` is the row in ``target`` and ``tangent``, whose row 0 is nobody's."""

    recorded: Tensor
    position: Tensor
    clusters: Tensor
    latents: Tensor | None = None
    target: Tensor | None = None
    tangent: Tensor | None = None
    info: LatentClusterInfo | None = None

    def to(self, device: torch.device) -> None:
        if self.recorded.device != device:
            for name, value in vars(self).items():
                if isinstance(value, Tensor):
                    setattr(self, name, value.to(device))


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
    global batch; all must call alike.

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
        samples_per_cluster: Of the approximate method.
        classes: Correct the samples of these classes only.
        tangent_dim: Dimension of the tangent space that a pull has no part in, 0 for the whole pull.
        tangent_k: Neighbours that the tangent space is from.
        warmup: Number of epochs before the first update; for one before the first epoch, take 0 and call
            :meth:`update` after recording.
        interval: Epochs from one update to the next; targets stay in between.
        memory: ``"running"`` or ``"fresh"``.
        seed: Of clustering and draws; those of the draws differ from epoch to epoch.

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
        samples_per_cluster = check_count(samples_per_cluster, "samples_per_cluster")
        tangent_dim = check_count(tangent_dim, "tangent_dim", 0)
        tangent_k = check_count(tangent_k, "tangent_k")
        warmup = check_count(warmup, "warmup", 0)
        interval = check_count(interval, "interval")
        if classes is not None:
            check_labels(classes, classes.numel() if isinstance(classes, Tensor) else 0, "classes")
        self.y = y
        self.k = k
        self.kernel = kernel
        self.clustering = clustering
        self.tangent_dim = tangent_dim
        self.tangent_k = tangent_k
        self.options: dict[str, Any] = {
            "targets": targets,
            "method": method,
            "samples_per_cluster": samples_per_cluster,
            "classes": classes,
        }
        self.warmup = warmup
        self.interval = interval
        self.memory = memory
        self.seed = seed
        self.epoch = 0
        none = torch.full((len(y),), -1)
        self._layers = [_Layer(none >= 0, none + 1, none.clone()) for _ in range(layers)]

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
        zs = self._checked(features, index)
        gs = [None] * len(zs) if orthogonal_to is None else _bases(orthogonal_to, zs)
        zs, index = _gathered(zs, index)
        if self.training and self.memory == "running":
            self._store(zs, index)
        losses = [
            _batch_loss(layer, z, index.to(z.device), g)
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
        self._store(*_gathered(self._checked(features, index), index))

    @torch.inference_mode(False)  # an inference tensor could not be written to later
    @torch.no_grad()
    def _store(self, zs: list[Tensor], index: Tensor) -> None:
        for layer, z in zip(self._layers, zs, strict=True):
            layer.to(z.device)
            rows = index.to(z.device)
            if layer.latents is None:
                layer.latents = z.new_zeros((len(self.y), z.shape[1]))
            dtype = torch.promote_types(layer.latents.dtype, z.dtype)
            layer.latents = layer.latents.to(dtype)
            layer.latents.index_copy_(0, rows, z.to(dtype)[_last_copies(rows)])
            layer.recorded.index_fill_(0, rows, True)

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
            RuntimeError: If no latents were recorded.
            ValueError: If there are not more than ``k`` of them, a value is not finite, or all weights are 0.
        """
        for number, layer in enumerate(self._layers):
            if layer.latents is None:
                how = "forward() in training mode" if self.memory == "running" else "record()"
                raise RuntimeError(f"an update needs latents, got none: call {how} first")
            self._update(layer, layer.latents, f"features[{number}]")
            if self.memory == "fresh":
                layer.latents, layer.recorded = None, torch.zeros_like(layer.recorded)

    def _update(self, layer: _Layer, latents: Tensor, name: str) -> None:
        rows = layer.recorded.nonzero()[:, 0]
        z = latents if len(rows) == len(latents) else latents[rows]
        z = full(z)
        _check_finite(z, rows, name)
        n = len(z)
        edge_index, edge_weight = knn_graph(z, self.k, kernel=self.kernel, bandwidth="unit")
        if not edge_weight.any():
            raise ValueError(
                f"kernel='gaussian': all weights exp(-d^2) of {name} are 0; scale them, or take 'binary'"
            )
        clusters = self._cluster(edge_index, edge_weight, z).to(z.device)
        y = self.y.to(z.device)[rows]
        found = latent_cluster_targets(
            z, y, clusters, k=self.k, seed=self.seed + self.epoch, **self.options
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

    def _cluster(self, edge_index: Tensor, edge_weight: Tensor, z: Tensor) -> Tensor:
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

    def _checked(self, features: Tensor | Sequence[Tensor], index: Tensor) -> list[Tensor]:
        """The layers' features as matrices."""
        zs = _tensors(features)
        if len(zs) != len(self._layers):
            raise ValueError(f"features must hold {len(self._layers)} layers, got {len(zs)}")
        for number, (layer, z) in enumerate(zip(self._layers, zs, strict=True)):
            _check_layer(layer, z, f"features[{number}]")
            check_labels(index, len(z), "index")
        n = len(self.y)
        if index.device.type == "cpu" and len(index):  # elsewhere, looking would wait
            low, high = int(index.min()), int(index.max())
            if low < 0 or high >= n:
                raise ValueError(
                    f"index must be in 0..{n - 1} for {n} samples, got {low if low < 0 else high}"
                )
        zs = [z.flatten(1) for z in zs]
        for number, z in enumerate(zs):
            if z.device.type == "cpu":
                _check_finite(z.detach(), index, f"features[{number}]")
        return zs

    def get_extra_state(self) -> dict[str, Any]:
        """State for ``state_dict``: tensors and numbers."""
        layers = [
            {**vars(layer), "info": layer.info and tuple(layer.info)} for layer in self._layers
        ]
        return {"epoch": self.epoch, "layers": layers}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take the state of :meth:`get_extra_state`; it comes to the features' device at the next call."""
        layers = [_Layer(**values) for values in state["layers"]]
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

    def extra_repr(self) -> str:
        """Options shown by ``print``."""
        options = {
            "layers": len(self._layers),
            "k": self.k,
            "kernel": self.kernel,
            "clustering": self.clustering,
            **self.options,
            "tangent_dim": self.tangent_dim,
            "tangent_k": self.tangent_k,
            "warmup": self.warmup,
            "interval": self.interval,
            "memory": self.memory,
            "seed": self.seed,
        }
        return f"{len(self.y)}, " + ", ".join(
            f"{name}={value!r}" for name, value in options.items()
        )


def _tensors(features: Tensor | Sequence[Tensor]) -> list[Tensor]:
    return [features] if isinstance(features, Tensor) else list(features)


def _check_layer(layer: _Layer, z: Any, name: str) -> None:
    if not isinstance(z, Tensor) or not z.is_floating_point():
        got = z.dtype if isinstance(z, Tensor) else type(z).__name__
        raise TypeError(f"{name} must be a floating-point Tensor, got {got}")
    if z.dim() < 2:
        raise ValueError(f"{name} must have shape [B, ...], got {list(z.shape)}")
    d = z.shape[1:].numel()
    known = layer.target if layer.latents is None else layer.latents
    if known is not None and known.shape[1] != d:
        raise ValueError(f"{name} must have {known.shape[1]} values a row as before, got {d}")


def _check_finite(z: Tensor, samples: Tensor, name: str) -> None:
    """Raise at a value that is not finite; ``samples`` are those that the rows are of."""
    if not torch.isfinite(z.sum()) and len(bad := (~torch.isfinite(z)).nonzero()):
        row, column = bad[0].tolist()
        value, sample = z[row, column].item(), int(samples[row])
        raise ValueError(f"{name} must be finite, got {value} in sample {sample}, column {column}")


def _bases(orthogonal_to: Tensor | Sequence[Tensor], zs: list[Tensor]) -> list[Tensor | None]:
    """A basis ``[B, d, r]`` for each layer."""
    given = _tensors(orthogonal_to)
    if len(given) != len(zs):
        raise ValueError(f"orthogonal_to must hold {len(zs)} layers, got {len(given)}")
    return [
        gather(_basis(g, z, number)) for number, (g, z) in enumerate(zip(given, zs, strict=True))
    ]


def _basis(g: Any, z: Tensor, number: int) -> Tensor:
    if not isinstance(g, Tensor):
        raise TypeError(f"orthogonal_to[{number}] must be a Tensor, got {type(g).__name__}")
    if g.dim() == 3 and g.shape[:2] == z.shape:
        return g
    if g.shape[:1] != z.shape[:1] or g.numel() != z.numel():
        raise ValueError(
            f"orthogonal_to[{number}] must have the shape of features[{number}], flattened "
            f"{list(z.shape)}, or [{len(z)}, {z.shape[1]}, r], got {list(g.shape)}"
        )
    return g.flatten(1)[..., None]


def _last_copies(index: Tensor) -> Tensor:
    """For each of ``index``, the last place of the same number: copies of a row would race on a GPU."""
    order = index.argsort(stable=True)
    after = torch.searchsorted(index.index_select(0, order), index, right=True)
    return order.index_select(0, after - 1)


def _gathered(zs: list[Tensor], index: Tensor) -> tuple[list[Tensor], Tensor]:
    """The global batch."""
    return [gather(z) for z in zs], gather(index.to(zs[0].device))


def _batch_loss(layer: _Layer, z: Tensor, index: Tensor, basis: Tensor | None) -> Tensor:
    """Mean over the rows with a target; nothing here waits for a GPU."""
    if layer.target is None:
        return full(z[:0]).sum()
    layer.to(z.device)
    position = layer.position.index_select(0, index)
    if layer.tangent is not None:
        tangent = layer.tangent.index_select(0, position)
        basis = tangent if basis is None else torch.cat([tangent, basis.to(tangent)], dim=2)
    length = pull_length(z, layer.target.index_select(0, position), basis)
    pulled = position > 0
    return length.where(pulled, 0).sum() / pulled.sum().clamp(min=1)
