import io
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from pyg_relational import distributed, nn
from tests.distributed.pool import refused

N, EPOCHS = 90, 3
EXACT = {"rtol": 1e-12, "atol": 1e-13}
OPTIONS = [
    {},
    {"targets": "cluster", "kernel": "gaussian", "clustering": "peer_pressure"},
    {"method": "approximate", "samples_per_cluster": 3, "warmup": 0, "interval": 2},
    {"memory": "fresh", "classes": torch.tensor([0, 2])},
]


def problem() -> tuple[Tensor, Tensor]:
    """Three classes, some of each among the others, some unlabelled."""
    torch.manual_seed(0)
    y = torch.arange(N) % 3
    blob = y.where(torch.arange(N) % 5 > 0, (y + 1) % 3)
    x = 0.4 * torch.randn(N, 4, dtype=torch.float64) + 2 * torch.eye(3, 4).double()[blob]
    return x, y.where(torch.arange(N) % 11 > 0, -1)


def features(x: Tensor, a: Tensor) -> list[Tensor]:
    """Two layers."""
    return [x @ a, ((x @ a)[:, :3]).tanh().view(-1, 3, 1)]


def dealt(batch: Tensor, rank: int, world: int, epoch: int) -> Tensor:
    """Rows of a rank: others in every epoch, in the last of several ranks none."""
    if world == 1:
        return batch
    if rank == world - 1 and epoch == 1:
        return batch[:0]
    parts = batch.tensor_split(world - (epoch == 1))
    return parts[rank]


def trained(correction: Any, rank: int, world: int, epochs: range, found: list[Tensor]) -> None:
    x, _ = problem()
    torch.manual_seed(1)
    a = torch.eye(4, dtype=torch.float64) + 0.1 * torch.randn(4, 4, dtype=torch.float64)
    a.requires_grad_()
    for epoch in range(EPOCHS):
        order = torch.randperm(N)[: N - 4 * (epoch == 0)]
        if epoch not in epochs:
            continue
        for number, batch in enumerate(order.split(30)):
            index = dealt(torch.cat([batch, batch[:2]]), rank, world, epoch)
            zs = features(x[index], a)
            along = [z.detach().sin() for z in zs] if number == 1 else None
            loss = correction(zs, index, along)
            (grad,) = torch.autograd.grad(loss, a)
            found += [loss.detach(), grad]
        if correction.memory == "fresh" and correction.due:
            index = torch.arange(rank, N, world)
            correction.record(features(x[index], a.detach()), index)
        correction.step()


def state(correction: Any) -> list[Tensor]:
    return [part for layer in correction._layers for part in (layer.clusters, layer.position)] + [
        t for t in (layer.target for layer in correction._layers) if t is not None
    ]


def learned(rank: int, group, options: dict) -> dict[str, Any]:
    world = distributed.collectives.rank_and_size(group)[1]
    correction = distributed.LatentClusterCorrection(problem()[1], layers=2, group=group, **options)
    found: list[Tensor] = []
    trained(correction, rank, world, range(2), found)
    written = io.BytesIO()
    torch.save(correction.state_dict(), written)
    trained(correction, rank, world, range(2, EPOCHS), found)

    resumed = distributed.LatentClusterCorrection(problem()[1], layers=2, group=group, **options)
    written.seek(0)
    resumed.load_state_dict(torch.load(written, weights_only=True))
    again: list[Tensor] = []
    trained(resumed, rank, world, range(2, EPOCHS), again)
    return {
        "found": found,
        "same": all(a.equal(b) for a, b in zip(found[-len(again) :], again, strict=True)),
        "state": state(correction),
        "info": correction.info,
        "kept": [m.latents.shape[0] for m in correction._memory if m.latents is not None],
    }


@pytest.mark.parametrize("world", [1, 2, 3, 4])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_numbers_are_those_of_one_process_and_resume(ranks, world, options):
    correction = nn.LatentClusterCorrection(problem()[1], layers=2, **options)
    expected: list[Tensor] = []
    trained(correction, 0, 1, range(EPOCHS), expected)
    assert expected[-2] > 0
    found = ranks(world, learned, options)
    for got in found:
        for a, b in zip(got["found"][::2], expected[::2], strict=True):
            torch.testing.assert_close(a, b, **EXACT)
        torch.testing.assert_close(got["state"][:4], state(correction)[:4])
        torch.testing.assert_close(got["state"][4:], state(correction)[4:], **EXACT)
        for info, one in zip(got["info"], correction.info, strict=True):
            assert info[:4] == one[:4]
            assert info.modularity == pytest.approx(one.modularity, rel=1e-12)
        assert got["same"]
    for number in range(1, len(expected), 2):
        summed = torch.stack([got["found"][number] for got in found]).mean(0)
        torch.testing.assert_close(summed, expected[number], **EXACT)
    if correction.memory == "running":
        assert sum(got["kept"][0] for got in found) == N


def wrong(rank: int, group) -> dict[str, str]:
    x, y = problem()
    make = distributed.LatentClusterCorrection
    correction = make(y, group=group)
    index = torch.arange(10)
    correction(x[index], index)
    saved = correction.state_dict()
    other = make(y[: N - 9], group=group)
    calls = {
        "classes": lambda: make(y + rank, group=group),
        "order": lambda: make(y.roll(rank), group=group),
        "function": lambda: make(y, group=group, clustering=lambda *_: y),
        "tangent": lambda: make(y, group=group, tangent_dim=1),
        "option": lambda: make(y, group=group, k=5 + rank),
        "index": lambda: correction(x[index], index + N * rank),
        "width": lambda: correction(x[index, : 4 - rank], index),
        "before": lambda: correction(x[index, :3], index),
        "epoch": lambda: correction.train(rank == 0)(x[index], index),
        "value": lambda: correction.train()(x[index] / rank, index),
        "state": lambda: other.load_state_dict(saved),
        "none": lambda: make(y, group=group).update(),
    }
    return {name: refused(call) for name, call in calls.items()}


def test_what_is_wrong_on_one_rank_is_raised_on_all(ranks):
    expected = {
        "classes": "y must be alike on all ranks",
        "order": "y must be alike on all ranks",
        "function": "clustering must be a name over ranks, got a function",
        "tangent": "tangent_dim must be 0 over ranks, got 1",
        "option": "k must be alike on all ranks of the group, got 5 on rank 0, 6 on rank 1",
        "index": "index must be in 0..89 for 90 samples, got 99 (on rank 1)",
        "width": "features[0] must have 4 values a row as before, got 3 (on rank 1)",
        "before": "features[0] must have 4 values a row as before, got 3",
        "epoch": "training must be alike on all ranks of the group, got True on rank 0",
        "value": "features[0] must be finite",
        "state": "which this rank keeps, got one of",
        "none": "an update needs latents, got none",
    }
    for got in ranks(2, wrong):
        for name, text in expected.items():
            assert text in got[name]


def broken(rank: int, group, make: Callable[..., Any]) -> dict[str, str]:
    """Only rank 1 has something else."""
    x, y = problem()
    index = torch.arange(10)
    z, mine = x[index], rank == 1
    correction = make(y)
    correction(z, index)
    saved = correction.state_dict()
    short, loaded = make(y), make(y)
    if not mine:
        loaded.load_state_dict(saved)
    calls = {
        "type": lambda: correction(None if mine else z, index),
        "layers": lambda: correction([z, z] if mine else z, index),
        "index": lambda: correction(z, index + N * mine),
        "rows": lambda: correction.record(z, index[mine:]),
        "value": lambda: correction.record(z / 0 if mine else z, index),
        "width": lambda: correction(z[:, mine:], index),
        "first width": lambda: short(z[:, mine:], index),
        "direction": lambda: correction(z, index, z[:, mine:]),
        "no direction": lambda: correction(z, index, None if mine else z),
        "call": lambda: (correction.record if mine else correction)(z, index),
        "mode": lambda: correction.train(not mine)(z, index),
        "latents": lambda: loaded.update(),
        "step": lambda: loaded.step() if mine else loaded(z, index),
        "after": lambda: correction.train()(z, index),
    }
    return {name: refused(call) for name, call in calls.items()}


BROKEN = {
    "type": "TypeError: 'NoneType' object is not iterable (on rank 1)",
    "layers": "ValueError: features must hold 1 layers, got 2 (on rank 1)",
    "index": "ValueError: index must be in 0..89 for 90 samples, got 99 (on rank 1)",
    "rows": "ValueError: index must have shape [10], got [9] (on rank 1)",
    "value": "ValueError: features[0] must be finite, got ",
    "width": "ValueError: features[0] must have 4 values a row as before, got 3 (on rank 1)",
    "first width": "ValueError: features[0] must be alike on all ranks of the group, got ",
    "direction": "ValueError: orthogonal_to[0] must have the shape of features[0], flattened ",
    "no direction": "ValueError: orthogonal_to[0] must be alike on all ranks of the group, got ",
    "call": "ValueError: call must be alike on all ranks of the group, got forward on rank 0, record on rank 1",
    "mode": "ValueError: training must be alike on all ranks of the group, got True on rank 0, False on rank 1",
    "latents": "RuntimeError: an update needs latents, got none: call forward() in training mode first (on rank 1)",
    "step": "RuntimeError: an update needs latents, got none: call forward() in training mode first (on rank 1)",
    "after": "no error",
}


def gathering(rank: int, group) -> dict[str, str]:
    return broken(rank, group, nn.LatentClusterCorrection)


def keeping(rank: int, group) -> dict[str, str]:
    return broken(rank, group, partial(distributed.LatentClusterCorrection, group=group))


@pytest.mark.parametrize(("world", "run"), [(4, gathering), (2, keeping), (3, keeping)])
def test_what_one_rank_lacks_or_has_wrong_is_raised_on_all(ranks, world, run):
    for got in ranks(world, run):
        for name, text in BROKEN.items():
            assert got[name].startswith(text), name


def clustered(rank: int, group) -> dict[str, str]:
    """Clusters that are not the same in all processes."""
    x, y = problem()

    def updated(clustering: Callable[..., Tensor], y: Tensor = y) -> str:
        correction = nn.LatentClusterCorrection(y, clustering=clustering)
        correction.record(x, torch.arange(N))
        return refused(correction.update)

    def fails(edge_index: Tensor, edge_weight: Tensor, z: Tensor) -> Tensor:
        return {0: y + 1, 2: y + 1, 3: y + 1}[rank]

    return {
        "other": updated(lambda edge_index, edge_weight, z: (y + 1).roll(rank)),
        "fails": updated(fails),
        "classes": updated(lambda edge_index, edge_weight, z: y + 1, y.roll(rank)),
        "samples": refused(lambda: nn.LatentClusterCorrection(y[rank:])(x[:5], torch.arange(5))),
        "after": updated(lambda edge_index, edge_weight, z: y + 1),
    }


def test_processes_that_find_different_clusters_say_so(ranks):
    for got in ranks(4, clustered):
        assert "clusters must be alike on all ranks of the group, got (90, " in got["other"]
        assert got["fails"] == "ValueError: 1 (on rank 1)"
        assert "samples with a target must be alike on all ranks" in got["classes"]
        assert "samples must be alike on all ranks of the group, got 90 on rank 0" in got["samples"]
        assert got["after"] == "no error"
