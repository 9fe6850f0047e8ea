"""The proxies and anchors that samples attend to."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pyg_relational.nn.base_sampler import BaseSampler
from pyg_relational.ops.checks import check_count, check_labels
from pyg_relational.ops.options import show_options

__all__ = ["CHUNK", "ProxySet"]

CHUNK = 256  # anchors that are embedded at once


class ProxySet(nn.Module):
    r"""Learned proxies and fixed anchors of every class.

    From `"CNN2Graph: Building Graphs for Image Classification"
    <https://openaccess.thecvf.com/content/WACV2023/html/Trivedy_CNN2Graph_Building_Graphs_for_Image_Classification_WACV_2023_paper.html>`_.
    Proxies are parameters, drawn as He et al. do; anchors are training samples, drawn uniformly in each class by
    :meth:`choose`, of which an encoder makes embeddings (:meth:`refresh`). Embeddings and classes are in the
    ``state_dict``, the anchors' inputs are not.

    Args:
        num_classes: Number of classes.
        channels: Channels of an embedding.
        proxies_per_class: Proxies of each class. (default: 1)
        anchors_per_class: Anchors of each class. (default: 1)

    Attributes:
        proxies: :math:`[P, F]`. ``proxy_y``: their classes, :math:`[P]`.
        anchors: Embeddings of the last refresh, :math:`[A, F]`. ``anchor_y``: their classes, :math:`[A]`.
        inputs: The anchors' inputs, :math:`[A, *]`; ``None`` before :meth:`choose`. Set them to augment anchors.
        stale: Whether the embeddings have to be made anew.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import ProxySet
        >>> sets = ProxySet(num_classes=3, channels=8, proxies_per_class=2)
        >>> x, y = torch.randn(12, 5), torch.arange(12) % 3
        >>> sets.choose(x, y, torch.Generator().manual_seed(0))
        >>> sets.refresh(torch.nn.Linear(5, 8))
        >>> sets.proxies.shape, sets.anchors.shape, sets.anchor_y.tolist()
        (torch.Size([6, 8]), torch.Size([3, 8]), [0, 1, 2])
    """

    proxy_y: Tensor
    anchor_y: Tensor
    anchors: Tensor

    def __init__(
        self,
        num_classes: int,
        channels: int,
        proxies_per_class: int = 1,
        anchors_per_class: int = 1,
    ) -> None:
        super().__init__()
        least = {"num_classes": 1, "channels": 1, "proxies_per_class": 0, "anchors_per_class": 0}
        sizes = (num_classes, channels, proxies_per_class, anchors_per_class)
        for (name, bound), size in zip(least.items(), sizes, strict=True):
            check_count(size, name, bound)
        if proxies_per_class + anchors_per_class == 0:
            raise ValueError("proxies_per_class and anchors_per_class must not both be 0")
        self.num_classes, self.channels = num_classes, channels
        self.proxies_per_class, self.anchors_per_class = proxies_per_class, anchors_per_class
        self._inputs: Tensor | None = None
        self.stale = anchors_per_class > 0
        classes = torch.arange(num_classes)
        self.register_buffer("proxy_y", classes.repeat_interleave(proxies_per_class))
        self.register_buffer("anchor_y", classes.repeat_interleave(anchors_per_class))
        self.register_buffer("anchors", torch.full((len(self.anchor_y), channels), torch.nan))
        self.proxies = nn.Parameter(torch.empty(len(self.proxy_y), channels))
        self.register_load_state_dict_post_hook(_trust_what_was_loaded)
        self.reset_parameters()

    def extra_repr(self) -> str:
        """Options shown by ``print``."""
        names = ("proxies_per_class", "anchors_per_class")
        options = show_options({name: getattr(self, name) for name in names})
        return f"{self.num_classes}, {self.channels}, {options}"

    @property
    def inputs(self) -> Tensor | None:
        """The anchors' inputs."""
        return self._inputs

    @inputs.setter
    def inputs(self, x: Tensor) -> None:
        if not isinstance(x, Tensor) or len(x) != len(self.anchor_y):
            got = list(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise ValueError(f"inputs must be a Tensor of {len(self.anchor_y)} rows, got {got}")
        self._inputs, self.stale = x, True

    def reset_parameters(self) -> None:
        """Draw the proxies anew."""
        if len(self.proxies):
            nn.init.kaiming_normal_(self.proxies)

    def choose(self, x: Tensor, y: Tensor, generator: torch.Generator | None = None) -> None:
        """Draw the anchors among labelled samples, uniformly in each class.

        Args:
            x: Inputs, :math:`[n, *]`; those drawn are kept.
            y: Classes, :math:`[n]`; -1 is never drawn.
            generator: Source of randomness.

        Raises:
            TypeError: If ``y`` is not int64.
            ValueError: If shapes disagree or a class has too few samples.
        """
        check_labels(y, len(x))
        count = y[y >= 0].bincount(minlength=self.num_classes)
        if len(count) > self.num_classes:
            raise ValueError(f"y must be < {self.num_classes}, got {len(count) - 1}")
        if int(count.min()) < self.anchors_per_class:
            raise ValueError(
                f"y must hold {self.anchors_per_class} samples of every class, "
                f"got {int(count.min())} of class {int(count.argmin())}"
            )
        if self.anchors_per_class:
            index = BaseSampler(y, self.anchors_per_class, generator=generator)()
            self.inputs = x[index.to(x.device)].detach().clone()

    @torch.no_grad()
    def refresh(self, encoder: Callable[[Tensor], Tensor]) -> None:
        """Embed the anchors anew, in evaluation mode and without gradient.

        Args:
            encoder: Function from inputs to embeddings, :math:`[A, *]` to :math:`[A, F]`; a module is put back into its
                mode.

        Raises:
            RuntimeError: If no anchors have been chosen.
            ValueError: If embeddings have another shape.
        """
        if not self.anchors_per_class:
            return
        parts = self.chosen().split(CHUNK)
        modules = list(encoder.modules()) if isinstance(encoder, nn.Module) else []
        modes = [module.training for module in modules]
        for module in modules:
            module.training = False
        try:
            embeddings = torch.cat([encoder(part) for part in parts])
        finally:
            for module, mode in zip(modules, modes, strict=True):
                module.training = mode
        if embeddings.shape != self.anchors.shape:
            raise ValueError(
                f"encoder must give {list(self.anchors.shape)}, got {list(embeddings.shape)}"
            )
        self.anchors.copy_(embeddings)
        self.stale = False

    def chosen(self) -> Tensor:
        """Return the anchors' inputs, on the device of their embeddings.

        Raises:
            RuntimeError: If no anchors have been chosen.
        """
        if self._inputs is None:
            raise RuntimeError("anchors must be chosen first, with ProxySet.choose(x, y)")
        self._inputs = self._inputs.to(self.anchors.device)
        return self._inputs

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "ProxySet":
        if self._inputs is not None:  # no buffer: a copy of the module may have none yet
            self._inputs = fn(self._inputs)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self


def _trust_what_was_loaded(sets: nn.Module, incompatible: Any) -> None:
    """Embeddings fit the weights that they were saved with."""
    assert isinstance(sets, ProxySet)
    missing = any(key.split(".")[-1] == "anchors" for key in incompatible.missing_keys)
    sets.stale = missing or not bool(sets.anchors.isfinite().all())
