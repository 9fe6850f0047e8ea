"""Backbones. Each gives the features before its linear head, and names the layers GCR looks at."""

from collections.abc import Callable
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn

from benchmarks.accuracy import pretrained
from benchmarks.registry import Registry


class Backbone(nn.Module):
    """Blocks, then a linear head.

    Args:
        blocks: Applied in turn; the last gives ``[n, channels]``.
        layers: Names of the submodules whose outputs are the features of each depth.
        channels: Width of the last features.
        num_classes: Width of the logits.
    """

    def __init__(
        self, blocks: nn.Sequential, layers: list[str], channels: int, num_classes: int
    ) -> None:
        super().__init__()
        self.blocks = blocks
        self.layers = layers
        self.channels = channels
        self.num_classes = num_classes
        self.head = nn.Linear(channels, num_classes)

    def embed(self, x: Tensor) -> Tensor:
        """Features before the head, ``[n, channels]``."""
        features: Tensor = self.blocks(x)
        return features

    def forward(self, x: Tensor) -> Tensor:
        """Logits, ``[n, num_classes]``."""
        logits: Tensor = self.head(self.embed(x))
        return logits


register: Registry[Callable[..., Backbone]] = Registry("model")


@register("mlp")
def mlp(shape: list[int], num_classes: int, *, width: int = 128, depth: int = 3) -> Backbone:
    """Flatten, then ``depth`` times linear, BatchNorm, ReLU; of depth 0 the head is all."""
    widths = [prod(shape)] + [width] * depth
    blocks = [
        nn.Sequential(nn.Linear(a, b), nn.BatchNorm1d(b), nn.ReLU()) for a, b in pairwise(widths)
    ]
    layers = [f"blocks.{i}" for i in range(1, depth + 1)]
    return Backbone(nn.Sequential(nn.Flatten(), *blocks), layers, widths[-1], num_classes)


@register("cnn")
def cnn(shape: list[int], num_classes: int, *, width: int = 16) -> Backbone:
    """Three times convolution, BatchNorm, ReLU, halving; then flatten, linear, ReLU."""
    channels = [shape[0], width, 2 * width, 4 * width]
    blocks = [
        nn.Sequential(
            nn.Conv2d(a, b, 3, padding=1, bias=False),
            nn.BatchNorm2d(b),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        for a, b in pairwise(channels)
    ]
    spatial = (shape[1] // 8) * (shape[2] // 8)
    neck = nn.Sequential(nn.Flatten(), nn.Linear(4 * width * spatial, 8 * width), nn.ReLU())
    layers = [f"blocks.{i}" for i in range(4)]
    return Backbone(nn.Sequential(*blocks, neck), layers, 8 * width, num_classes)


@register("efficientnet_lite0")
def efficientnet_lite0(shape: list[int], num_classes: int, *, trained_blocks: int = 1) -> Backbone:
    """Its last pretrained blocks, for data of this encoder and as many blocks; BatchNorm's statistics stay."""
    blocks = pretrained.blocks(trained_blocks).to(memory_format=torch.channels_last)
    layers = [f"blocks.{i}" for i in range(trained_blocks + 1)]
    return Backbone(blocks, layers, 1280, num_classes)


@register("resnet18")
def resnet18(shape: list[int], num_classes: int, *, width: int = 64) -> Backbone:
    """ResNet-18 (arXiv 1512.03385) with the 3x3 stem that is usual at 32 x 32."""
    stem = nn.Sequential(_conv(shape[0], width, 1), nn.BatchNorm2d(width), nn.ReLU())
    channels = [width, width, 2 * width, 4 * width, 8 * width]
    stages = [
        nn.Sequential(_Residual(a, b, 1 if i == 0 else 2), _Residual(b, b, 1))
        for i, (a, b) in enumerate(pairwise(channels))
    ]
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    layers = [f"blocks.{i}.{j}" for i in range(1, 5) for j in range(2)]
    return Backbone(nn.Sequential(stem, *stages, pool), layers, 8 * width, num_classes)


class _Residual(nn.Module):
    def __init__(self, a: int, b: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _conv(a, b, stride), nn.BatchNorm2d(b), nn.ReLU(), _conv(b, b, 1), nn.BatchNorm2d(b)
        )
        same = stride == 1 and a == b
        self.skip = (
            nn.Identity()
            if same
            else nn.Sequential(nn.Conv2d(a, b, 1, stride, bias=False), nn.BatchNorm2d(b))
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = (self.body(x) + self.skip(x)).relu()
        return out


def _conv(a: int, b: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(a, b, 3, stride, padding=1, bias=False)
