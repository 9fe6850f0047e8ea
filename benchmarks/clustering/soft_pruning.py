"""A whole graph pruned by gates that were trained on it, without labels."""

import torch
from torch import Tensor

from pyg_relational.nn import SoftModularityPruning, SoftPrunedGraph
from pyg_relational.ops import spmm, unit_rows
from pyg_relational.ops.graph.laplacian import degree

WALK = 30  # steps of the random walk over which features are averaged
PARTITIONS = 8
STEPS = 60
PRICE = 0.4  # of open gates: about twice this, in modularity, for all of them


def soft_pruned(
    x: Tensor, edge_index: Tensor, edge_weight: Tensor, k: int, seed: int
) -> SoftPrunedGraph:
    """Centroids and gates learn from the modularity of the graph, for seconds; then gates are hard."""
    z = diffused(x, edge_index, edge_weight)
    pruning = SoftModularityPruning(
        z.shape[1],
        k,
        "hard_concrete",
        partitions=PARTITIONS,
        keep=0.0,
        budget=PRICE,
        collapse=0.1,
    )
    pruning.reset_parameters(z, seed)
    rates = [{"params": [pruning.centroids], "lr": 0.03}, {"params": [pruning.affine], "lr": 0.2}]
    optimizer = torch.optim.Adam(rates)
    noise = torch.Generator().manual_seed(seed)
    for _ in range(STEPS):
        optimizer.zero_grad()
        pruning(z, edge_index, edge_weight, generator=noise).loss.backward()
        optimizer.step()
    with torch.no_grad():
        pruned: SoftPrunedGraph = pruning.eval()(z, edge_index, edge_weight)
    return pruned


def diffused(x: Tensor, edge_index: Tensor, edge_weight: Tensor) -> Tensor:
    """Features averaged over a random walk on the graph, centred, rows of length 1."""
    row, col = edge_index
    x = unit_rows(x - x.mean(0))
    share = edge_weight / degree(edge_index, edge_weight, len(x)).clamp(min=1e-12)[row]
    for _ in range(WALK):
        x = spmm(row, col, share, x, len(x))
    return unit_rows(x - x.mean(0))
