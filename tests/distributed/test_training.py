"""Training over ranks ends with the parameters of one process."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from pyg_relational import distributed, transforms
from pyg_relational.nn import (
    LatentClusterCorrection,
    dgcluster_loss,
    graph_consistency_loss,
    grapix_loss,
    laplace_propagation,
    modularity_loss,
)
from pyg_relational.ops import CG, Direct
from tests.distributed.pool import share

# Rows of the ranks in each batch: fewer in the last, and of some ranks none.
SIZES = {
    1: [[30], [21], [12]],
    2: [[15, 15], [20, 1], [12, 0]],
    3: [[10, 10, 10], [9, 5, 7], [0, 12, 0]],
    4: [[8, 8, 7, 7], [1, 6, 6, 8], [5, 0, 7, 0]],
}
SOLVER = CG(tol=1e-12)
Batch = tuple[Tensor, Tensor, Tensor, Tensor]


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.hidden, self.head = nn.Linear(4, 6).double(), nn.Linear(6, 3).double()
        self.centroids = nn.Parameter(torch.randn(3, 6, dtype=torch.float64))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        z = self.hidden(x).tanh()
        return z, self.head(z), 1 * self.centroids  # which FSDP takes back


def batches() -> list[Batch]:
    """Features, classes, numbers, and which are given to the graph."""
    torch.manual_seed(1)
    x, index = torch.randn(63, 4, dtype=torch.float64), torch.arange(63)
    parts = (part.split([30, 21, 12]) for part in (x, index % 3, index, index % 7 < 3))
    return list(zip(*parts, strict=True))


def lost(own: Tensor, u: Tensor, y: Tensor) -> Tensor:
    return own - (u.gather(1, y[:, None])[:, 0] + 0.01).log()


def one_loss(
    z: Tensor, logits: Tensor, centroids: Tensor, y: Tensor, index: Tensor, mask: Tensor
) -> Tensor:
    edges = transforms.knn_graph(z, 4, bandwidth=1.0)
    u = laplace_propagation(*edges, y, mask, num_classes=3, tau=0.1, solver=Direct())
    own = cross_entropy(logits, y, reduction="none")
    loss = lost(own, u, y).mean() + modularity_loss(*edges, logits.softmax(1))
    loss = loss + grapix_loss(z, centroids, *edges) + dgcluster_loss(*edges, z, y)
    return loss + graph_consistency_loss(z, logits, y, detach_target=False)


def loss_of_ranks(
    z: Tensor,
    logits: Tensor,
    centroids: Tensor,
    y: Tensor,
    index: Tensor,
    mask: Tensor,
    group: Any,
) -> Tensor:
    graph = distributed.knn_graph(z, 4, bandwidth=1.0, group=group)
    u = distributed.laplace_propagation(graph, y, mask, num_classes=3, tau=0.1, solver=SOLVER)
    own = cross_entropy(logits, y, reduction="none")
    loss = distributed.gather(lost(own, u, y), group).mean()
    loss = loss + distributed.modularity_loss(graph, logits.softmax(1))
    loss = loss + distributed.grapix_loss(graph, z, centroids)
    loss = loss + distributed.dgcluster_loss(graph, z, y)
    return loss + distributed.graph_consistency_loss(z, logits, y, detach_target=False, group=group)


def corrected(correction: nn.Module, group: Any = None) -> Callable[..., Tensor]:
    """Cross-entropy and latent cluster correction."""

    def loss_of(
        z: Tensor, logits: Tensor, centroids: Tensor, y: Tensor, index: Tensor, mask: Tensor
    ) -> Tensor:
        own = distributed.gather(cross_entropy(logits, y, reduction="none"), group).mean()
        return own + correction(z, index) + 0 * centroids.sum()

    return loss_of


def train(
    model: nn.Module,
    parts: list[Batch],
    loss_of: Callable[..., Tensor],
    hold: Callable[[bool], Any] = lambda last: nullcontext(),
    epoch_ends: Callable[[], None] | None = None,
) -> None:
    """Two steps: on the sum of the first two batches' gradients, then on the last one's. Twice where epochs end."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.5)
    for _ in range(1 if epoch_ends is None else 2):
        for number, (x, *rest) in enumerate(parts):
            with hold(number > 0):
                loss_of(*model(x), *rest).backward()
            if number > 0:
                optimizer.step()
                optimizer.zero_grad()
        if epoch_ends is not None:
            epoch_ends()


def with_ddp(rank: int, group: Any, make: Callable[[Any], Any] | None) -> list[Tensor]:
    model = Network()
    trained = DistributedDataParallel(model, process_group=group)
    hold = lambda sync: nullcontext() if sync else trained.no_sync()  # noqa: E731
    _on_rank(rank, group, trained, hold, make)
    return [p.detach() for p in model.parameters()]


def with_fsdp(rank: int, group: Any, make: Callable[[Any], Any] | None) -> list[Tensor]:
    mesh = DeviceMesh.from_group(group or dist.group.WORLD, "cpu")
    model = Network()
    for module in (model.hidden, model.head, model):
        fully_shard(module, mesh=mesh)

    def hold(sync: bool) -> Any:
        model.set_requires_gradient_sync(sync)
        return nullcontext()

    _on_rank(rank, group, model, hold, make)
    return [p.full_tensor().detach() for p in model.parameters()]


def _on_rank(
    rank: int,
    group: Any,
    model: nn.Module,
    hold: Callable[[bool], Any],
    make: Callable[[Any], Any] | None,
) -> None:
    sizes = SIZES[distributed.collectives.rank_and_size(group)[1]]
    parts = [
        tuple(share(part, rank, size) for part in batch)
        for batch, size in zip(batches(), sizes, strict=True)
    ]
    if make is None:
        train(model, parts, lambda *args: loss_of_ranks(*args, group), hold)
    else:
        correction = make(group)
        train(model, parts, corrected(correction, group), hold, correction.step)


def same(found: list[list[Tensor]], model: nn.Module) -> None:
    for parameters in found:
        for got, p in zip(parameters, model.parameters(), strict=True):
            torch.testing.assert_close(got, p.detach(), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("world", SIZES)
@pytest.mark.parametrize("run", [with_ddp, with_fsdp])
def test_parameters_are_those_of_one_process(ranks, world, run):
    model = Network()
    train(model, batches(), one_loss)
    same(ranks(world, run, None), model)


def keeping(group: Any) -> nn.Module:
    return distributed.LatentClusterCorrection(torch.arange(63) % 3, k=4, group=group)


def gathering(group: Any) -> nn.Module:
    return LatentClusterCorrection(torch.arange(63) % 3, k=4)


@pytest.mark.parametrize(("world", "make"), [(2, keeping), (3, keeping), (4, gathering)])
@pytest.mark.parametrize("run", [with_ddp, with_fsdp])
def test_latent_cluster_correction_trains_as_in_one_process(ranks, world, make, run):
    model, correction = Network(), gathering(None)
    train(model, batches(), corrected(correction), epoch_ends=correction.step)
    assert correction.info[0].num_correctible > 0
    same(ranks(world, run, make), model)
