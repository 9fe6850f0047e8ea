import pytest
import torch
from torch import Tensor

from pyg_relational import distributed, ops, transforms
from tests.distributed.pool import refused, share

SIZES = {1: [41], 2: [30, 11], 3: [20, 0, 21], 4: [1, 17, 3, 20]}


def points(kind: str) -> Tensor:
    """41 rows: normal, a lattice full of ties, or few different ones."""
    torch.manual_seed(0)
    if kind == "normal":
        return torch.randn(41, 3, dtype=torch.float64)
    if kind == "lattice":
        return torch.cartesian_prod(torch.arange(6.0), torch.arange(7.0))[:41].double()
    return torch.randint(3, (41, 2)).double()


def some(n: int) -> Tensor:
    """Numbers without a pattern, as gradient of as many weights."""
    return torch.arange(n, dtype=torch.float64).square().sin()


def make(rank: int, group, kind: str, k: int, options: dict) -> dict[str, Tensor]:
    world = distributed.collectives.rank_and_size(group)[1]
    x = share(points(kind), rank, SIZES[world]).clone().requires_grad_()
    graph = distributed.knn_graph(x, k, group=group, **options)
    first, last = graph.offsets[rank], graph.offsets[rank + 1]
    row = graph.edge_index[0]
    assert bool(((row >= first) & (row < last)).all())
    grad = some(41 * 41)[graph.edge_index[0] * 41 + graph.edge_index[1]]
    (graph.edge_weight * grad).sum().backward()
    return {"edge_index": graph.edge_index, "w": graph.edge_weight.detach(), "grad": x.grad}


def one(kind: str, k: int, options: dict) -> dict[str, Tensor]:
    x = points(kind).requires_grad_()
    edge_index, w = transforms.knn_graph(x, k, **options)
    (w * some(41 * 41)[edge_index[0] * 41 + edge_index[1]]).sum().backward()
    return {"edge_index": edge_index, "w": w.detach(), "grad": x.grad}


OPTIONS = [
    {},
    {"symmetrize": "mutual"},
    {"kernel": None, "metric": "cosine"},
    {"kernel": "cosine"},
    {"bandwidth": 1.5},
]


@pytest.mark.parametrize("world", SIZES)
@pytest.mark.parametrize("kind", ["normal", "lattice", "repeated"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_edges_weights_and_gradient_are_those_of_one_process(ranks, world, kind, options):
    expected = one(kind, 4, options)
    found = ranks(world, make, kind, 4, options)
    whole = {key: torch.cat([part[key] for part in found], -1) for key in ("edge_index", "w")}
    assert whole["edge_index"].equal(expected["edge_index"])
    torch.testing.assert_close(whole["w"], expected["w"], rtol=1e-12, atol=1e-12)
    grad = torch.cat([part["grad"] for part in found])
    torch.testing.assert_close(grad, expected["grad"], rtol=1e-10, atol=1e-12)


def neighbours(rank: int, group, kind: str, k: int, metric: str, dtype: torch.dtype):
    world = distributed.collectives.rank_and_size(group)[1]
    x = share(points(kind), rank, SIZES[world]).to(dtype)
    return tuple(distributed.knn(x, k, metric, group=group))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", ["normal", "lattice", "repeated"])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_neighbours_are_those_of_one_process(ranks, kind, metric, dtype):
    for k in (1, 7, 40):
        expected = ops.knn(points(kind).to(dtype), k, metric)
        for world in SIZES:
            found = ranks(world, neighbours, kind, k, metric, dtype)
            index, distance = (torch.cat(part) for part in zip(*found, strict=True))
            assert index.equal(expected.index)
            torch.testing.assert_close(distance, expected.distance)


def second(rank: int, group) -> Tensor:
    x = share(points("normal"), rank, SIZES[3]).clone().requires_grad_()
    w = distributed.knn_graph(x, 4, group=group).edge_weight
    (grad,) = torch.autograd.grad(w.square().sum(), x, create_graph=True)
    (again,) = torch.autograd.grad((grad * x.detach().cos()).sum(), x)
    return again


def test_second_derivatives_are_those_of_one_process(ranks):
    x = points("normal").requires_grad_()
    w = transforms.knn_graph(x, 4)[1]
    (grad,) = torch.autograd.grad(w.square().sum(), x, create_graph=True)
    (again,) = torch.autograd.grad((grad * x.detach().cos()).sum(), x)
    torch.testing.assert_close(torch.cat(ranks(3, second)), again, rtol=1e-9, atol=1e-10)


def wrong(rank: int, group) -> dict[str, str]:
    x = torch.randn(5, 2)
    bad = x.clone()
    bad[3, 1] = torch.nan
    calls = {
        "type": lambda: distributed.knn([1.0] if rank == 1 else x, 2, group=group),
        "value": lambda: distributed.knn(bad if rank == 2 else x, 2, group=group),
        "dtype": lambda: distributed.knn_graph(x.double() if rank else x, 2, group=group),
        "width": lambda: distributed.knn_graph(torch.ones(5, 2 + (rank == 2)), 2, group=group),
        "k": lambda: distributed.knn_graph(x, 2 + rank, group=group),
        "grad": lambda: distributed.knn_graph(x.clone().requires_grad_(rank == 0), 2, group=group),
        "kernel": lambda: distributed.knn_graph(
            x, 2, kernel=None if rank else "cosine", group=group
        ),
        "call": lambda: (distributed.knn if rank else distributed.knn_graph)(x, 2, group=group),
        "most": lambda: distributed.knn(x, 15, group=group),
        "directed": lambda: distributed.knn_graph(x, 2, symmetrize=None, group=group),
        "norm": lambda: distributed.knn(x * (1e25 if rank else 1), 2, group=group),
        "after": lambda: distributed.knn(x, 2, group=group),
    }
    return {name: refused(call) for name, call in calls.items()}


def test_what_is_wrong_on_one_rank_is_raised_on_all_and_the_group_lives(ranks):
    found = ranks(3, wrong)
    alike = "must be alike on all ranks of the group, got "
    for got in found:
        assert got["type"] == "TypeError: x must be a Tensor, got list (on rank 1)"
        assert (
            got["value"] == "ValueError: x must be finite, got nan in row 3, column 1 (on rank 2)"
        )
        assert f"x {alike}torch.float32 [n, 2] on cpu without gradient on rank 0" in got["dtype"]
        assert "torch.float64 [n, 2] on cpu without gradient on rank 1" in got["dtype"]
        assert "[n, 3] on cpu without gradient on rank 2" in got["width"]
        assert got["k"] == f"ValueError: k {alike}2 on rank 0, 3 on rank 1"
        assert "cpu with gradient on rank 0, " in got["grad"]
        assert got["kernel"] == f"ValueError: kernel {alike}cosine on rank 0, None on rank 1"
        assert f"call {alike}knn_graph on rank 0, knn on rank 1" in got["call"]
        assert "k must be in 1..n - 1 = 14 for n = 15 rows, got 15" in got["most"]
        assert "symmetrize must be one of ('union', 'mutual'), got None" in got["directed"]
        assert "x must have finite squared norms in torch.float32" in got["norm"]
        assert got["after"] == "no error"


def test_one_process_needs_no_group():
    x = points("normal")
    graph = distributed.knn_graph(x, 4)
    edge_index, weight = transforms.knn_graph(x, 4)
    assert graph.edge_index.equal(edge_index)
    assert graph.local.equal(edge_index)
    torch.testing.assert_close(graph.edge_weight, weight, rtol=1e-12, atol=1e-12)
