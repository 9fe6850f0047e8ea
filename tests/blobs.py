"""Points of classes, for tests."""

import torch
from torch import Tensor


def corners(n: int, distance: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Points of three classes, in turn, around the corners of a triangle in the plane, and their classes."""
    torch.manual_seed(seed)
    y = torch.arange(n) % 3
    return torch.randn(n, 2) + distance * torch.tensor([[0.0, 0], [1, 0], [0, 1]])[y], y
