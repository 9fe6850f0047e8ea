"""GCR over the global batch of several processes: rows stay where they are, blocks of them go round.

Start with: torchrun --nproc-per-node 2 examples/distributed_gcr.py
"""

import os

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from pyg_relational.distributed import gather, graph_consistency_loss
from pyg_relational.nn import FeatureCapture


def train(rank: int, world: int) -> float:
    torch.manual_seed(0)
    x = torch.randn(65, 8)  # the global batch: 33 rows here, 32 there
    y = (x[:, 0] > 0).long()
    x, y = x[rank::world], y[rank::world]
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
    trained = DistributedDataParallel(model) if world > 1 else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)

    for _ in range(20):
        with FeatureCapture(model, ["1"]) as capture:
            logits = trained(x)
        own = cross_entropy(logits, y, reduction="none")
        loss = gather(own).mean() + graph_consistency_loss(capture.features, logits, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


def main() -> None:
    if "RANK" in os.environ:
        dist.init_process_group("gloo")
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    loss = train(rank, world)
    if rank == 0:
        print(f"{world} process(es): loss {loss:.6f}")
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
