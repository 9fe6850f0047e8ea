"""Samples to take out before clustering; they get the cluster of the nearest of the others."""

from collections.abc import Callable

import torch
from torch import Tensor

from pyg_relational.cluster import outliers

NEIGHBOURS = 10  # of the text, as is the default of ``whisker``


def without_outliers(x: Tensor, seed: int) -> Tensor:
    """Rows that are no outliers."""
    return (~outliers(x, NEIGHBOURS).mask).nonzero().flatten()


def without_random(x: Tensor, seed: int) -> Tensor:
    """Control: as many rows, the others taken out at random."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(len(x), generator=generator)[: len(without_outliers(x, seed))].sort()[0]


NODES: dict[str, Callable[[Tensor, int], Tensor]] = {  # what is taken out: rows that are left
    "outliers": without_outliers,
    "random": without_random,
}
