"""LCC over several processes: each keeps a part of the latents, the first one clusters.

Start with: torchrun --nproc-per-node 2 examples/distributed_lcc.py
"""

import os
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from pyg_relational.datasets import PenDigits
from pyg_relational.distributed import LatentClusterCorrection, gather
from pyg_relational.nn import FeatureCapture

ROOT = Path(__file__).parents[1] / "datasets"


def train(rank: int, world: int) -> tuple[float, int]:
    x, y = (part[:1500] for part in PenDigits(ROOT).split("train"))
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 10)).double()
    trained = DistributedDataParallel(model) if world > 1 else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.003)
    correction = LatentClusterCorrection(y, k=10)  # classes of all samples, on every rank

    for _ in range(3):
        for batch in torch.randperm(len(x)).split(100):  # the same order on every rank
            index = batch[rank::world]
            with FeatureCapture(model, ["1"]) as capture:
                logits = trained(x[index].double())
            own = cross_entropy(logits, y[index], reduction="none")
            loss = gather(own).mean() + 0.01 * correction(capture.features, index)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        correction.step()
    (info,) = correction.info
    assert info is not None  # after three epochs there was an update
    return loss.item(), info.num_misclustered


def main() -> None:
    if "RANK" in os.environ:
        dist.init_process_group("gloo")
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    loss, misclustered = train(rank, world)
    if rank == 0:
        print(f"{world} process(es): loss {loss:.6f}, {misclustered} misclustered")
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
