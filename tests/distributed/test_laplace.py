import warnings
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from pyg_relational import distributed, transforms
from pyg_relational.nn import GraphLearningLayer, laplace_propagation
from pyg_relational.ops import CG, Direct, unit_rows
from tests.distributed.pool import refused, share

SIZES = {1: [60], 2: [45, 15], 3: [0, 29, 31], 4: [13, 20, 0, 27]}
CLOSE = {"rtol": 1e-6, "atol": 1e-7}


def problem() -> tuple[Tensor, Tensor, Tensor]:
    """60 rows of three overlapping blobs, nine labelled, all among the last 31."""
    torch.manual_seed(0)
    y = torch.arange(60) % 3
    x = torch.randn(60, 4, dtype=torch.float64) + 2 * torch.eye(3, 4).double()[y]
    return x, y, torch.arange(60) > 50


def share_of(rank: int, group, *rows: Tensor) -> list[Tensor]:
    world = distributed.collectives.rank_and_size(group)[1]
    return [share(part, rank, SIZES[world]).clone() for part in rows]


def of_rows(u: Tensor, x: Tensor) -> Tensor:
    """A loss without a pattern."""
    return (u**2 * x[:, :3].detach().cos()).sum()


def learned(rank: int, group, tau: float) -> dict[str, Tensor]:
    x, y, mask = share_of(rank, group, *problem())
    x.requires_grad_()
    graph = distributed.knn_graph(unit_rows(x), 6, bandwidth=1.0, group=group)
    u, info = distributed.laplace_propagation(
        graph, y, mask, num_classes=3, tau=tau, return_info=True
    )
    of_rows(u, x).backward()
    assert info.converged
    return {"u": u.detach(), "grad": x.grad}


@pytest.mark.parametrize("world", SIZES)
@pytest.mark.parametrize("tau", [0.0, 0.07])
def test_graph_learning_has_values_and_gradient_of_one_process(ranks, world, tau):
    x, y, mask = problem()
    x.requires_grad_()
    u = GraphLearningLayer(6, tau, solver=Direct())(x, y, mask, 3)
    of_rows(u, x).backward()
    found = ranks(world, learned, tau)
    torch.testing.assert_close(torch.cat([f["u"] for f in found]), u.detach(), **CLOSE)
    torch.testing.assert_close(torch.cat([f["grad"] for f in found]), x.grad, **CLOSE)


def edges(graph, rank: int, world: int) -> tuple[Tensor, Tensor]:
    edge_index, weight = graph
    start, stop = sum(SIZES[world][:rank]), sum(SIZES[world][: rank + 1])
    here = (edge_index[0] >= start) & (edge_index[0] < stop)
    return edge_index[:, here], weight[here]


def of_everything(rank: int, group, dtype: torch.dtype) -> dict[str, Tensor]:
    world = distributed.collectives.rank_and_size(group)[1]
    x, mask = share_of(rank, group, problem()[0], problem()[2])
    edge_index, weight = edges(transforms.knn_graph(problem()[0], 5), rank, world)
    weight = weight.to(dtype).requires_grad_()
    values = x[:, :3].sin().to(dtype).requires_grad_()
    tau = torch.tensor(0.3, dtype=dtype, requires_grad=True)
    graph = distributed.ShardedGraph.from_rows(edge_index.flip(1), None, len(x), group)
    graph = graph.with_weight(weight)
    u = distributed.laplace_propagation(graph, values, mask, tau=tau)
    (first,) = torch.autograd.grad(of_rows(u, x), weight, create_graph=True)
    (first.square().sum() + of_rows(u, x)).backward()
    found = {"u": u, "first": first, "w": weight.grad, "values": values.grad}
    return {name: value.detach() for name, value in found.items()} | {"tau": tau.grad}


@pytest.mark.parametrize("world", SIZES)
def test_gradients_of_weights_values_and_tau_twice(ranks, world):
    x, _, mask = problem()
    edge_index, weight = (part.clone() for part in transforms.knn_graph(x, 5))
    weight.requires_grad_()
    values = x[:, :3].sin().requires_grad_()
    tau = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    u = laplace_propagation(edge_index, weight, values, mask, tau=tau, solver=Direct())
    (first,) = torch.autograd.grad(of_rows(u, x), weight, create_graph=True)
    (first.square().sum() + of_rows(u, x)).backward()
    found = ranks(world, of_everything, torch.float64)
    expected = {"u": u, "first": first, "w": weight.grad, "values": values.grad}
    for name, value in expected.items():
        torch.testing.assert_close(torch.cat([f[name] for f in found]), value.detach(), **CLOSE)
    torch.testing.assert_close(sum(f["tau"] for f in found), tau.grad, **CLOSE)


def test_float32_is_held_to_its_tolerance(ranks):
    x, _, mask = problem()
    graph = transforms.knn_graph(x, 5)
    exact = laplace_propagation(*graph, x[:, :3].sin(), mask, tau=0.3, solver=Direct())
    found = torch.cat([f["u"] for f in ranks(3, of_everything, torch.float32)])
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=2e-5)


def path(rank: int, group, n: int, cut: int | None, options: dict) -> dict[str, object]:
    """A path over all ranks, ends labelled, in two parts where it is cut."""
    world = distributed.collectives.rank_and_size(group)[1]
    sizes = [n // world] * (world - 1) + [n - n // world * (world - 1)]
    node = torch.arange(n - 1)
    pairs = torch.stack([node, node + 1])[:, node != (n if cut is None else cut)]
    both = torch.cat([pairs, pairs.flip(0)], 1)
    start = sum(sizes[:rank])
    here = both[:, (both[0] >= start) & (both[0] < start + sizes[rank])]
    graph = distributed.ShardedGraph.from_rows(here, None, sizes[rank], group)
    y = torch.full((n,), -1)
    y[0] = 0
    y[-1] = 1 if cut is None else -1
    own = y[start : start + sizes[rank]]
    answer: dict[str, object] = {}

    def call() -> None:
        u, info = distributed.laplace_propagation(graph, own, return_info=True, **options)
        answer.update(u=u, info=tuple(info))

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        answer["error"] = refused(call)
    answer["warning"] = [str(w.message) for w in said if w.category is RuntimeWarning]
    return answer


def test_values_travel_over_all_ranks(ranks):
    found = ranks(4, path, 63, None, {"solver": CG(tol=1e-8)})
    u = torch.cat([f["u"] for f in found])
    assert not any(f["warning"] for f in found)
    torch.testing.assert_close(u[:, 1], torch.linspace(0, 1, 63), rtol=0, atol=1e-6)
    assert len({f["info"][0] for f in found}) == 1


@pytest.mark.parametrize("cut", [20, 100, 201])
def test_what_no_label_reaches_is_counted_on_all_ranks(ranks, cut):
    for f in ranks(3, path, 203, cut, {}):
        assert f["error"] == (
            f"ValueError: mask must label a node of every component, got {202 - cut} nodes that "
            f"no label reaches, the first is node {cut + 1}; set tau > 0"
        )
    for f in ranks(3, path, 203, cut, {"tau": 0.1}):
        assert f["error"] == "no error"


def test_what_does_not_converge_is_said_on_all_ranks(ranks):
    for f in ranks(3, path, 203, None, {"solver": CG(max_iter=3, strict=True)}):
        assert f["error"].startswith("ConvergenceError: the linear solve did not converge: ")
        assert "after 3 iterations with CG(tol=None, max_iter=3, strict=True)" in f["error"]
    for f in ranks(3, path, 203, None, {"solver": CG(max_iter=3)}):
        assert f["error"] == "no error"
        assert len(f["warning"]) == 1
        assert not f["info"][2]


def wrong(rank: int, group) -> dict[str, str]:
    x, y, mask = share_of(rank, group, *problem())
    graph = distributed.knn_graph(x, 6, group=group)
    lighter = graph.with_weight(graph.edge_weight * (1 + (rank == 1)))
    half = graph.with_weight(graph.edge_weight.float() if rank == 1 else graph.edge_weight)
    negative = graph.with_weight(graph.edge_weight * (-1) ** (rank == 1))

    def solve(graph=graph, y=y, mask=mask, **options):
        return lambda: distributed.laplace_propagation(graph, y, mask, **options)

    calls = {
        "graph": solve(SimpleNamespace(group=group) if rank == 1 else graph),
        "rows": solve(y=y[:-1] if rank == 2 else y),
        "mask": solve(mask=mask & False),
        "classes": solve(num_classes=3 + rank),
        "label": solve(num_classes=2),
        "tau": solve(tau=-1.0 if rank == 2 else 0.0),
        "other tau": solve(tau=float(rank)),
        "solver": solve(solver=Direct()),
        "weight": solve(half),
        "direction": solve(lighter),
        "negative": solve(negative),
        "after": solve(),
    }
    return {name: refused(call) for name, call in calls.items()}


def test_what_is_wrong_on_one_rank_is_raised_on_all(ranks):
    alike = "must be alike on all ranks of the group, got "
    for got in ranks(3, wrong):
        assert got["rows"] == "ValueError: y must have the graph's 31 rows, got [30] (on rank 2)"
        assert "mask must mark at least one labelled node, got none of 60" in got["mask"]
        assert got["classes"] == f"ValueError: num_classes {alike}3 on rank 0, 4 on rank 1"
        assert "y must be in [0, 2) on labelled nodes, got 2 (on rank 2)" in got["label"]
        assert "tau must be >= 0 and finite, got -1.0 (on rank 2)" in got["tau"]
        assert got["other tau"] == f"ValueError: tau {alike}0.0 on rank 0, 1.0 on rank 1"
        assert "TypeError: solver must be CG(...) or None, got Direct(" in got["solver"]
        assert f"edge_weight {alike}torch.float64 on cpu" in got["weight"]
        assert "edge_weight must be equal in both directions" in got["direction"]
        assert "edge_weight must be finite and >= 0, got -0.744 to" in got["negative"]
        assert got["after"] == "no error"
    assert "graph must be a ShardedGraph, got SimpleNamespace (on rank 1)" in got["graph"]


def test_one_process_needs_no_group():
    x, y, mask = problem()
    graph = distributed.knn_graph(x, 6)
    u = distributed.laplace_propagation(graph, y, mask)
    exact = laplace_propagation(*transforms.knn_graph(x, 6), y, mask, solver=Direct())
    torch.testing.assert_close(u, exact, **CLOSE)
