"""A graph learning layer over the global batch: features, graph and labels stay where they are.

Start with: torchrun --nproc-per-node 2 examples/distributed_gll.py
"""

import os

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pyg_relational.distributed import gather, knn_graph, laplace_propagation
from pyg_relational.ops import unit_rows


def graph_learning(z: Tensor, y: Tensor, mask: Tensor) -> Tensor:
    """Local rows of the propagated labels, on the graph of all ranks' rows."""
    graph = knn_graph(unit_rows(z), k=10, bandwidth=1.0)
    return laplace_propagation(graph, y, mask, num_classes=3, tau=0.07)


def train(rank: int, world: int) -> tuple[float, float]:
    torch.manual_seed(0)
    y = torch.randint(3, (301,))  # the global batch: 151 rows here, 150 there
    x = torch.randn(301, 8, dtype=torch.float64) + 1.5 * torch.eye(3, 8)[y]
    mask = torch.arange(301) < 30
    x, y, mask = x[rank::world], y[rank::world], mask[rank::world]
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)).double()
    trained = DistributedDataParallel(model) if world > 1 else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)

    for _ in range(20):
        u = graph_learning(trained(x), y, mask)
        own = -(u.gather(1, y[:, None])[~mask, 0] + 1e-8).log()
        loss = gather(
            own
        ).mean()  # one number a row; the average of the ranks' gradients is that of one process
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    right = (u.argmax(1) == y)[~mask]
    return loss.item(), gather(right).double().mean().item()


def main() -> None:
    if "RANK" in os.environ:
        dist.init_process_group("gloo")
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    loss, accuracy = train(rank, world)
    if rank == 0:
        print(f"{world} process(es): {100 * accuracy:.1f} % right, loss {loss:.6f}")
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
