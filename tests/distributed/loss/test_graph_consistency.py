from unittest.mock import patch

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from pyg_relational import distributed, nn
from tests.distributed.pool import refused, share

SIZES = {1: [40], 2: [30, 10], 3: [11, 0, 29], 4: [1, 20, 17, 2]}
EXACT = {"rtol": 1e-12, "atol": 1e-13}
OPTIONS = [
    {},
    {"detach_target": False, "weights": "linear", "stage": "early+late", "relu": False},
    {"center": True, "balance": True, "detach_target": False, "detach_weights": False},
    {"target": "label", "reduction": "sum", "weights": "equal", "center": True},
    {"balance": True, "reduction": "sum", "weights": [0.5, -2.0, 1.0], "temperature": 0.2},
]


def problem() -> tuple[list[Tensor], Tensor, Tensor]:
    """Three layers of 40 rows, one of them of images; some rows without a class, and classes far apart."""
    torch.manual_seed(0)
    features = [torch.randn(40, *width, dtype=torch.float64) for width in ((5,), (2, 3), (4,))]
    y = torch.tensor([7, -1, 0, 10**9, 0])[torch.randint(5, (40,))]
    return features, torch.randn(40, 3, dtype=torch.float64), y


def leaves(*tensors: Tensor) -> list[Tensor]:
    return [x.clone().requires_grad_() for x in tensors]


def learned(rank: int, group, options: dict) -> list[Tensor]:
    sizes = SIZES[distributed.collectives.rank_and_size(group)[1]]
    features, logits, y = problem()
    *features, logits = leaves(*(share(x, rank, sizes) for x in (*features, logits)))
    loss = distributed.graph_consistency_loss(
        features, logits, share(y, rank, sizes), group=group, **options
    )
    loss.backward()
    return [loss.detach(), *(x.grad for x in (*features, logits))]


@pytest.mark.parametrize("world", SIZES)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("tile", [512, 3])
def test_value_and_gradients_are_those_of_one_process(ranks, world, options, tile):
    features, logits, y = problem()
    *features, logits = leaves(*features, logits)
    loss = nn.graph_consistency_loss(features, logits, y, **options)
    loss.backward()
    found = ranks(world, in_tiles, tile, options)
    for value, *_ in found:
        torch.testing.assert_close(value, loss.detach(), **EXACT)
    for number, x in enumerate((*features, logits), 1):
        parts = [f[number] for f in found]
        if x.grad is None:
            assert all(part is None for part in parts)
        else:
            torch.testing.assert_close(torch.cat(parts) / world, x.grad, **EXACT)


def in_tiles(rank: int, group, tile: int, options: dict) -> list[Tensor]:
    from pyg_relational.distributed.loss import ring_consistency
    from pyg_relational.ops.pairs import cross_consistency

    with (
        patch.object(ring_consistency, "tile_for", lambda u: tile),
        patch.object(cross_consistency, "tile_for", lambda u: tile),
    ):
        return learned(rank, group, options)


def others(rank: int, group) -> dict[str, object]:
    (x, *_), logits, y = problem()
    x, logits, y = (share(part, rank, [11, 0, 29]) for part in (x, logits, y))
    loss = distributed.graph_consistency_loss
    weights = torch.ones(1, dtype=torch.float64, requires_grad=True)
    loss(x, logits, y, weights=weights, group=group).backward()
    (a,) = leaves(x)
    (first,) = torch.autograd.grad(loss(a, logits, y, group=group), a, create_graph=True)
    return {
        "mixed": loss([x.float(), x], logits.half(), y, group=group),
        "float32": loss(x.float(), logits.float(), y, group=group),
        "nothing": loss(x, logits, torch.full_like(y, -1), group=group, balance=True, center=True),
        "none": loss(x[:0], logits[:0], y[:0], group=group),
        "weights": weights.grad,
        "second": refused(lambda: first.sum().backward()) if len(x) else "",
    }


def test_types_and_emptiness(ranks):
    (x, *_), logits, y = problem()
    one = nn.graph_consistency_loss
    found = ranks(3, others)
    for got in found:
        torch.testing.assert_close(
            got["mixed"], one([x.float(), x], logits.half(), y), rtol=1e-6, atol=0
        )
        assert got["mixed"].dtype == torch.float64
        torch.testing.assert_close(
            got["float32"], one(x.float(), logits.float(), y), rtol=1e-5, atol=0
        )
        assert got["nothing"] == got["none"] == 0
        torch.testing.assert_close(got["weights"], one(x, logits, y)[None], **EXACT)
    assert "no second derivative" in found[0]["second"]


def wrong(rank: int, group) -> dict[str, str]:
    (x, *_), logits, y = problem()
    loss = distributed.graph_consistency_loss
    calls = {
        "rows": lambda: loss(x[1:] if rank == 1 else x, logits, y, group=group),
        "value": lambda: loss(x, logits / 0 if rank == 2 else logits, y, group=group),
        "width": lambda: loss(x[:, : 5 - rank], logits, y, group=group),
        "layers": lambda: loss([x] * (1 + rank), logits, y, group=group),
        "grad": lambda: loss(x.clone().requires_grad_(rank == 0), logits, y, group=group),
        "option": lambda: loss(x, logits, y, group=group, temperature=1.0 + rank),
        "unknown": lambda: loss(x, logits, y, group=group, stages="late"),
        "weights": lambda: loss(x, logits, y, group=group, weights=[1.0, 2.0]),
        "rbf": lambda: loss(x, logits, y, group=group, similarity="rbf"),
        "dense": lambda: loss(x, logits, y, group=group, method="dense"),
        "samples": lambda: loss(x, logits, y, group=group, num_samples=5),
        "after": lambda: loss(x, logits, y, group=group),
    }
    return {name: refused(call) for name, call in calls.items()}


def test_what_is_wrong_on_one_rank_is_raised_on_all(ranks):
    expected = {
        "rows": "features[0] must have the 40 rows of logits, got 39 (on rank 1)",
        "value": "logits must be finite",
        "width": "features[0] must be alike on all ranks",
        "layers": "features[1] must be alike on all ranks",
        "grad": "with gradient on rank 0, torch.float64 [n, 5] on cpu without gradient on rank 1",
        "option": "temperature must be alike on all ranks of the group, got 1.0 on rank 0, 2.0",
        "unknown": "stages must be an option of GraphConsistencyOptions, such as stage",
        "weights": "weights must have one number for each of 1 layers, got 2",
        "rbf": "similarity must be 'cosine' over ranks, got 'rbf'",
        "dense": "method must be 'auto' or 'tiled' over ranks, got 'dense'",
        "samples": "num_samples must be None over ranks, got 5",
        "after": "no error",
    }
    for got in ranks(3, wrong):
        for name, text in expected.items():
            assert text in got[name]


def sent(rank: int, group) -> int:
    features, logits, y = problem()
    asked = []

    def batch(ops: list) -> list:
        asked.extend(op.tensor.nbytes for op in ops if op.op is dist.isend)
        return pass_on(ops)

    part = [share(x, rank, [13, 7, 20]) for x in (*features, logits, y.abs())]
    pass_on = dist.batch_isend_irecv
    with patch.object(dist, "batch_isend_irecv", batch):
        distributed.graph_consistency_loss(part[:3], *part[3:], group=group)
    return sum(asked)


def test_blocks_go_once_round_the_ring(ranks):
    row = 8 * (5 + 6 + 4 + 3 + 1)
    assert ranks(3, sent) == [row * (40 - ahead) for ahead in (7, 20, 13)]
