import pytest
import torch
from torch import Tensor

from pyg_relational import distributed, ops
from pyg_relational.distributed.product import laplacian_product
from tests.distributed.pool import refused, share

PATH = torch.tensor([[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]])


def rows(rank: int, sizes: list[int], edges: Tensor) -> Tensor:
    start = sum(sizes[:rank])
    return edges[:, (edges[0] >= start) & (edges[0] < start + sizes[rank])]


def halves(rank: int, group) -> dict[str, object]:
    own = rows(rank, [1, 3], PATH)
    graph = distributed.ShardedGraph.from_rows(own.flip(1), None, [1, 3][rank], group)
    x = torch.arange(4.0)[[0]] if rank == 0 else torch.arange(4.0)[1:]
    return {
        "edges": graph.edge_index,
        "local": graph.local,
        "columns": graph.halo.columns,
        "rows": graph.halo.extend(x),
        "offsets": graph.offsets,
        "sizes": (graph.num_nodes, graph.num_rows),
    }


def test_edges_are_sorted_and_columns_of_others_come_behind_own_rows(ranks):
    first, second = ranks(2, halves)
    assert torch.cat([first["edges"], second["edges"]], 1).equal(PATH)
    assert first["columns"].tolist() == [1]
    assert second["columns"].tolist() == [0]
    assert first["local"].tolist() == [[0], [1]]
    assert second["local"].tolist() == [[0, 0, 1, 1, 2], [3, 1, 0, 2, 1]]
    assert first["rows"].tolist() == [0, 1]
    assert second["rows"].tolist() == [1, 2, 3, 0]
    assert first["offsets"] == second["offsets"] == (0, 1, 4)
    assert first["sizes"] == (4, 1)


def wrong(rank: int, group) -> dict[str, str]:
    own = rows(rank, [1, 3], PATH)
    size = [1, 3][rank]
    make = distributed.ShardedGraph.from_rows
    bad = -torch.ones(own.shape[1])
    calls = {
        "type": lambda: make(own.tolist(), None, size, group),
        "dtype": lambda: make(own.int() if rank else own, None, size, group),
        "shape": lambda: make(own.T if rank else own, None, size, group),
        "weights": lambda: make(own, torch.ones(2), size, group),
        "count": lambda: make(own, None, -1 if rank else size, group),
        "row": lambda: make(PATH if rank else own, None, size, group),
        "column": lambda: make(own + 2 * torch.tensor([[0], [1 - rank]]), None, 1, group),
        "twice": lambda: make(torch.cat([own, own], 1) if rank else own, None, size, group),
        "directed": lambda: make(own[:, :0] if rank == 0 else own, None, size, group),
        "negative": lambda: make(own, bad if rank else -bad, size, group),
        "integer": lambda: make(own, bad.long(), size, group),
        "after": lambda: make(own, None, size, group),
    }
    return {name: refused(call) for name, call in calls.items()}


def test_what_is_wrong_on_one_rank_is_raised_on_all(ranks):
    for got in ranks(2, wrong):
        assert got["type"] == "TypeError: edge_index must be a Tensor, got list (on rank 0)"
        assert got["dtype"] == "TypeError: edge_index must be int64, got torch.int32 (on rank 1)"
        assert "edge_index must have shape [2, E], got [5, 2] (on rank 1)" in got["shape"]
        assert "edge_weight must have shape [1], got [2] (on rank 0)" in got["weights"]
        assert "num_rows must be >= 0, got -1 (on rank 1)" in got["count"]
        assert "every row in [1, 4), got 0 (on rank 1)" in got["row"]
        assert "ValueError: edge_index must have every" in got["column"]
        assert "edge_index must hold every edge once" in got["twice"]
        assert "edge_weight must be equal in both directions" in got["directed"]
        assert "edge_weight must be finite and >= 0, got -1 to -1 (on rank 1)" in got["negative"]
        assert "edge_weight must be floating point, got torch.int64" in got["integer"]
        assert got["after"] == "no error"


def product(rank: int, group) -> bool:
    """Gradient of all ranks' products, on every rank, as gradcheck needs it."""
    torch.manual_seed(0)
    sizes = [1, 3]
    own = rows(rank, sizes, PATH)
    here = (PATH[0] >= [0, 1][rank]) & (PATH[0] < [1, 4][rank])
    graph = distributed.ShardedGraph.from_rows(own, None, sizes[rank], group)
    pair = torch.tensor([0, 0, 1, 1, 2, 2])

    def whole(w: Tensor, u: Tensor) -> Tensor:
        start = sum(sizes[:rank])
        out = laplacian_product(graph, w[pair][here], u[start : start + sizes[rank]])
        return distributed.gather(out, group)

    w = torch.rand(3, dtype=torch.float64, requires_grad=True)
    u = torch.randn(4, 2, dtype=torch.float64, requires_grad=True)
    out = whole(w, u)
    torch.testing.assert_close(out, ops.laplacian_product(PATH, w[pair], u))
    v = torch.randn(4, 2, dtype=torch.float64)
    found = torch.autograd.grad(out, (w, u), v, create_graph=True)
    found = [distributed.collectives.all_sum(part, group) / 2 for part in found]
    exact = torch.autograd.grad(
        ops.laplacian_product(PATH, w[pair], u), (w, u), v, create_graph=True
    )
    for a, b in zip(found, exact, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    return True


def test_the_product_and_its_derivatives_are_those_of_one_process(ranks):
    assert ranks(2, product) == [True, True]


def test_other_weights_must_fit():
    graph = distributed.ShardedGraph.from_rows(PATH, None, 4)
    with pytest.raises(ValueError, match=r"edge_weight must have shape \[6\], got \[5\]"):
        graph.with_weight(torch.ones(5))


def loaded(rank: int, group, folder: str) -> dict[str, object]:
    torch.manual_seed(0)
    x = torch.randn(40, 3, dtype=torch.float64)
    x, y, mask = (share(part, rank, [11, 0, 29]) for part in (x, torch.arange(40) % 3, x[:, 0] > 1))
    graph = distributed.knn_graph(x, 5, symmetrize="union", group=group)
    torch.save(graph.state_dict(), f"{folder}/{rank}.pt")
    state = torch.load(f"{folder}/{rank}.pt", weights_only=True)
    again = distributed.ShardedGraph.from_state_dict(state, group)
    other = torch.load(f"{folder}/{rank}.pt", weights_only=True)
    other["offsets"] = other["offsets"][1:] if rank == 1 else other["offsets"]

    def numbers(of: distributed.ShardedGraph) -> list[Tensor]:
        u = distributed.laplace_propagation(of, y, mask, num_classes=3, tau=0.1)
        return [u, distributed.modularity_loss(of, u)]

    return {
        "same": all(a.equal(b) for a, b in zip(numbers(graph), numbers(again), strict=True)),
        "edges": again.edge_index.equal(graph.edge_index),
        "offsets": again.offsets == graph.offsets,
        "other": refused(lambda: distributed.ShardedGraph.from_state_dict(other, group)),
    }


def test_a_saved_graph_gives_the_same_numbers(ranks, tmp_path):
    for got in ranks(3, loaded, str(tmp_path)):
        assert got["same"]
        assert got["edges"]
        assert got["offsets"]
        assert "state must be of 3 ranks, got one of 2 (on rank 1)" in got["other"]
