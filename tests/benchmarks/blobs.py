"""Samples of classes, for tests of methods."""

import torch

from benchmarks.accuracy.methods import Samples


def samples(per_class: int, classes: int = 3, seed: int = 0, distance: float = 4.0) -> Samples:
    """Rows near the corners of a simplex, classes in turn, that overlap a little."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(per_class * classes) % classes
    x = distance * torch.eye(classes)[y] + torch.randn(len(y), classes, generator=generator)
    return Samples(x, y)
