"""Classification by attention to proxies and anchors."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pyg_relational.nn.conv.proxy_gatv2_conv import ProxyGATv2Conv
from pyg_relational.nn.conv.proxy_set import ProxySet
from pyg_relational.ops.checks import check_count
from pyg_relational.ops.options import show_options
from pyg_relational.ops.uncompiled import uncompiled

__all__ = ["CNN2Graph", "CNN2GraphOutput"]


class CNN2GraphOutput(NamedTuple):
    """Logits, and what :class:`~pyg_relational.nn.CNN2GraphLoss` needs.

    Shapes: logits :math:`[B, c]`, :math:`[A, c]`, :math:`[P, c]`; embeddings :math:`[B, F]`, :math:`[A, F]`,
    :math:`[P, F]`; classes :math:`[A]`, :math:`[P]`.
    """

    logits: Tensor
    embedding: Tensor
    anchors: Tensor
    proxies: Tensor
    anchor_logits: Tensor
    proxy_logits: Tensor
    anchor_y: Tensor
    proxy_y: Tensor


class CNN2Graph(nn.Module):
    r"""A backbone whose samples attend to anchors and proxies of every class.

    From `"CNN2Graph: Building Graphs for Image Classification"
    <https://openaccess.thecvf.com/content/WACV2023/html/Trivedy_CNN2Graph_Building_Graphs_for_Image_Classification_WACV_2023_paper.html>`_:
    embeddings :math:`z = \mathrm{backbone}(x)`, features :math:`z' = \mathrm{conv}(z, (\mathrm{anchors},
    \mathrm{proxies}))`, logits :math:`W z' +
    b`. Anchors and proxies go through the same classifier; where features are wider
    than embeddings (``combine="cat"``), as the paper leaves open how, they pass ``conv`` first, as samples do.
    Samples do not see each other: one at a time in evaluation mode gives what a batch gives.

    Choose the anchors before the first call: ``model.sets.choose(x, y)``. To draw them anew, or augment them, each
    epoch, as the paper does, call it again, or set ``model.sets.inputs``.

    - ``anchor_grad=True``: in training, the anchors join every batch, with gradient, and count in the statistics of
      BatchNorm.
    - ``anchor_grad=False``: in training they are embedded once an epoch, at the first batch after ``model.train()``,
      in evaluation mode and without gradient.
    - In evaluation mode under ``torch.no_grad()`` they are embedded once, and anew when the backbone has changed (as
      far as PyTorch counts: not through ``.data``, nor by a fused optimizer); with gradients, at each call. Saving
      embeds them anew likewise.

    A model that was loaded from a ``state_dict`` needs no anchors chosen to predict, only to train.

    Args:
        backbone: Gives embeddings ``[B, channels]``.
        channels: Channels of an embedding.
        num_classes: Number of classes.
        conv: Layer from embeddings and sets to features. (default:
            ``ProxyGATv2Conv(channels, channels, self_loop="residual")``)
        out_channels: Channels of the features. (default: what ``conv.output_channels`` says, or ``channels``)
        proxies_per_class: Proxies of each class. (default: 1)
        anchors_per_class: Anchors of each class. (default: 1)
        anchor_grad: See above. (default: ``True``)

    Shapes:
        ``x``: :math:`[B, *]`, output: :class:`CNN2GraphOutput`.

    Raises:
        RuntimeError: At a call, if anchors are needed and none have been chosen.
        ValueError: If an argument is out of range, or embeddings or features have other than ``channels`` channels.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import CNN2Graph, CNN2GraphLoss
        >>> model = CNN2Graph(torch.nn.Linear(5, 8), channels=8, num_classes=3)
        >>> x, y = torch.randn(12, 5), torch.arange(12) % 3
        >>> model.sets.choose(x, y)
        >>> CNN2GraphLoss()(model(x), y).backward()
        >>> model.eval()(x).logits.shape
        torch.Size([12, 3])
    """

    def __init__(
        self,
        backbone: nn.Module,
        channels: int,
        num_classes: int,
        conv: nn.Module | None = None,
        *,
        out_channels: int | None = None,
        proxies_per_class: int = 1,
        anchors_per_class: int = 1,
        anchor_grad: bool = True,
    ) -> None:
        super().__init__()
        self.sets = ProxySet(num_classes, channels, proxies_per_class, anchors_per_class)
        self.backbone, self.anchor_grad = backbone, anchor_grad
        if not isinstance(conv, nn.Module | None):
            raise TypeError(f"conv must be a torch.nn.Module or None, got {type(conv).__name__}")
        self.conv = conv or ProxyGATv2Conv(channels, channels, self_loop="residual")
        if out_channels is None:
            sets = (proxies_per_class > 0) + (anchors_per_class > 0)
            says = getattr(self.conv, "output_channels", None)
            out_channels = channels if says is None else says(sets)
        out_channels = check_count(out_channels, "out_channels")
        self.classifier = nn.Linear(out_channels, num_classes)
        self.embedded_by: list[Any] = []
        self.register_state_dict_pre_hook(_refresh_before_saving)

    def extra_repr(self) -> str:
        """Options shown by ``print``; the others are those of its parts."""
        return show_options({"anchor_grad": self.anchor_grad})

    def train(self, mode: bool = True) -> "CNN2Graph":
        """Set the mode; anchors that are at hand are embedded anew at the next call."""
        self.sets.stale = self.sets.stale or self.sets.inputs is not None
        return super().train(mode)

    def forward(self, x: Tensor) -> CNN2GraphOutput:
        """Return logits and embeddings."""
        sets = self.sets
        embedding, anchors = self._embed(x)
        _check_width(embedding, sets.anchors.shape[1], "backbone")
        groups = tuple(s for s in (anchors, sets.proxies) if len(s))
        wide = self.classifier.in_features != sets.anchors.shape[1]
        rows = torch.cat([embedding, *groups]) if wide else embedding
        features = self.conv(rows, groups)
        _check_width(features, self.classifier.in_features, "conv")
        if wide:
            parts = features.split([len(embedding), len(anchors), len(sets.proxies)])
        else:
            parts = features, anchors, sets.proxies
        logits, anchor_logits, proxy_logits = (self.classifier(part) for part in parts)
        return CNN2GraphOutput(
            logits,
            embedding,
            anchors,
            sets.proxies,
            anchor_logits,
            proxy_logits,
            sets.anchor_y,
            sets.proxy_y,
        )

    def _embed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        sets = self.sets
        if not sets.anchors_per_class:
            return self.backbone(x), sets.anchors
        if self.training:
            sets.chosen()
            together = self.anchor_grad
        else:
            together = torch.is_grad_enabled() and sets.inputs is not None
        if not together:
            if sets.stale or not self.training:
                _refresh(self)
            return self.backbone(x), sets.anchors
        sets.stale = True
        both = self.backbone(torch.cat([x, sets.chosen().to(x.dtype)]))
        embedding, anchors = both.split([len(x), len(both) - len(x)])
        return embedding, anchors if self.anchor_grad else anchors.detach()


@uncompiled  # versions cannot be traced
def _refresh(model: CNN2Graph) -> None:
    """Embed anchors anew where they have to be."""
    sets = model.sets
    if sets.stale or (sets.inputs is not None and model.embedded_by != _versions(model)):
        sets.refresh(model.backbone)
        model.embedded_by = _versions(model)


def _versions(model: CNN2Graph) -> list[Any]:
    """What changes with the backbone, with autocast, and when something overwrites the embeddings."""
    anchors, inputs = model.sets.anchors, model.sets.inputs
    tensors = [*model.backbone.parameters(), *model.backbone.buffers(), anchors]
    tensors += [] if inputs is None else [inputs]
    versions = [(id(t), t._version) for t in tensors if not t.is_inference()]
    return [torch.is_autocast_enabled(anchors.device.type), *versions]


def _refresh_before_saving(model: nn.Module, *_: Any) -> None:
    assert isinstance(model, CNN2Graph)
    if model.sets.inputs is not None:
        _refresh(model)


def _check_width(x: Tensor, channels: int, name: str) -> None:
    if x.dim() != 2 or x.shape[1] != channels:
        raise ValueError(f"{name} must give [B, {channels}], got {list(x.shape)}")
